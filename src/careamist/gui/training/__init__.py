"""The Train dock: what is chosen, what is started, and what is left of it."""
