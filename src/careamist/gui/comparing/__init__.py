"""The Compare dock: views of two layers, a line through them, what is measured."""
