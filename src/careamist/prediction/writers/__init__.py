"""Table of contents: one file per way to write."""

from careamist.prediction.writers import tiff

WRITERS = {"tiff": tiff}

__all__ = ["WRITERS"]
