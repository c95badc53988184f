"""Table of contents: one file per format, one line here."""

from careamist.dataset.image_stack import array, czi, image, tiff, zarr
from careamist.dataset.image_stack.protocol import ImageInfo, ImageStack

FORMATS = {"array": array, "tiff": tiff, "zarr": zarr, "czi": czi, "image": image}

__all__ = ["FORMATS", "ImageInfo", "ImageStack"]
