"""The Models dock, and what can be done with a model."""
