"""The Predict dock: what is chosen, the layers and files that fill, many files."""
