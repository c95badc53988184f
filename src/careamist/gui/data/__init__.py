"""A layer or a path, and what it holds."""
