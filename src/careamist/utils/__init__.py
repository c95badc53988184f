"""Axes algebra: pure functions that know nobody."""
