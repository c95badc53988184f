"""From regions to results."""
