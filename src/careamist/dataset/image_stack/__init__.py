"""Table of contents: one file per format, one line here."""

from careamist.dataset.image_stack import array, tiff
from careamist.dataset.image_stack.protocol import ImageStack

FORMATS = {"array": array, "tiff": tiff}

__all__ = ["FORMATS", "ImageStack"]
