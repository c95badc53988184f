"""TIFF files as image stacks: mapped where the file allows it, else decoded part by part."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from careamist.dataset.image_stack.base import SlicedStack
from careamist.dataset.image_stack.file_utils import (
    cut_short,
    existing_file,
    is_plausible,
    reading,
)
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.dataset.image_stack.tiff_metadata import (
    channel_names,
    check_ome_size,
    known_axes,
    missing_files,
    ome_pixels,
    pixel_sizes,
    warnings_of,
)
from careamist.dataset.image_stack.tiff_pages import TiffPages
from careamist.errors import UnreadableError

EXTENSIONS = (".tif", ".tiff")


class TiffStack(SlicedStack):
    """The first series of a TIFF file as an image stack; files may be larger than memory.

    Parameters
    ----------
    path : path
        The file.
    axes : str
        Axes of the stored array.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    UnreadableError
        If it is not a TIFF, is cut short or damaged; also later, when pixels are read.
    AxesError
        If the axes do not fit the shape.
    """

    def __init__(self, path: str | Path, axes: str) -> None:
        info, pages = _open(path)
        super().__init__(info, axes)
        self._pages: TiffPages | None = pages

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        with reading(self.source, "a TIFF"):
            if self._pages is None:
                self._pages = _open(self.source)[1]
            return self._pages.read(slices)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pages": None}  # a worker opens the file anew


def inspect(source: Any) -> list[ImageInfo]:
    """Return what a TIFF file says about its first series, without its pixels.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    UnreadableError
        If it is not a TIFF, or is cut short.
    """
    return [_open(source)[0]]


def load(source: Any, axes: str) -> list[TiffStack]:
    """Return the stack of one TIFF file."""
    return [TiffStack(source, axes)]


def _open(source: Any) -> tuple[ImageInfo, TiffPages]:
    path = existing_file(source)
    with reading(path, "a TIFF"), tifffile.TiffFile(path) as tif:
        check_ome_size(tif)
        series = tif.series[0]
        shape = tuple(int(n) for n in series.shape)
        if series.keyframe.dtype is None or not is_plausible(shape):
            bits = series.keyframe.bitspersample
            raise UnreadableError(
                f"{path} holds no pixels that can be read (shape {shape}, {bits} bits each).",
                "Open it in the program that made it and save it again.",
            )
        _refuse_missing_images(path, tif)
        pages = TiffPages(str(tif.filehandle.path), series)
        pages.check_end()
        if _next_page(tif) > (size := path.stat().st_size):
            raise cut_short(path, f"it should go on after its {size} bytes")
        if pages.missing and (absent := missing_files(tif)):
            raise UnreadableError(
                f"{path} is one of a set of files, of which {', '.join(absent[:3])}"
                f"{' and others are' if len(absent) > 3 else ' is'} missing.",
                "Put the files of the set into one folder, under their own names.",
            )
        axes = known_axes(tif)
        ome = ome_pixels(tif)
        sizes, units = pixel_sizes(tif, ome, axes)
        n_channels = shape[axes.index("C")] if axes and "C" in axes else 1
        info = ImageInfo(
            source=str(source),
            shape=shape,
            dtype=np.dtype(series.dtype).newbyteorder("="),
            axes=axes,
            pixel_size=sizes,
            units=units,
            channel_names=channel_names(ome, n_channels),
            n_levels=len(series.levels),
            stored_as=pages.stored_as,
            chunk_shape=pages.chunk_shape,
            warnings=warnings_of(tif, pages.missing, pages.empty),
        )
        return info, pages


def _refuse_missing_images(path: Path, tif: tifffile.TiffFile) -> None:
    """Raise if ImageJ counts more images than there are; tifffile would return what is left."""
    if not tif.is_imagej:
        return
    frame = tif.series[0].keyframe
    declared = int((tif.imagej_metadata or {}).get("images", 1))
    pixels = frame.imagelength * frame.imagewidth
    pixels *= frame.samplesperpixel if frame.planarconfig == 1 else 1
    stored = math.prod(tif.series[0].shape) // max(pixels, 1)
    if stored < declared:
        raise cut_short(path, f"it declares {declared} images but holds {stored}")


def _next_page(tif: tifffile.TiffFile) -> int:
    """Return where the page after the last one that can be read would be, 0 if there is none."""
    kind, file, start = tif.tiff, tif.filehandle, tif.pages[-1].offset
    file.seek(start)
    (n_tags,) = struct.unpack(kind.tagnoformat, file.read(kind.tagnosize))
    file.seek(start + kind.tagnosize + n_tags * kind.tagsize)
    return int(struct.unpack(kind.offsetformat, file.read(kind.offsetsize))[0])
