"""Pictures and arrays in files: NumPy (mapped), PNG and JPEG (decoded when first used)."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from careamist.dataset.image_stack.base import SlicedStack
from careamist.dataset.image_stack.file_utils import (
    PartCache,
    check_decoded_size,
    existing_file,
    in_words,
    is_plausible,
    reading,
)
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.errors import UnreadableError

EXTENSIONS = (".npy", ".png", ".jpg", ".jpeg")

# A picture is decoded as a whole, so many are kept for the next patch.
CACHE = PartCache(psutil.virtual_memory().total // 4)
_MOST_PER_BYTE = 1100  # of pixels, that deflate can pack into one
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers that tell the size


class Header(NamedTuple):
    """What the first bytes of a picture tell."""

    shape: tuple[int, ...]
    bits: int
    warnings: tuple[str, ...]


class ImageFileStack(SlicedStack):
    """A NumPy file or a picture as an image stack.

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
        If it is not what its name says, or is damaged; also later, when pixels are read.
    AxesError
        If the axes do not fit the shape.
    """

    def __init__(self, path: str | Path, axes: str) -> None:
        super().__init__(inspect(path)[0], axes)
        self._changed = Path(path).stat().st_mtime_ns

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        path = Path(self.source)
        with reading(path, _kind(path)):
            if path.suffix.lower() == ".npy":
                box = np.array(_kept(path, self._changed)[slices])
            else:
                key = (self.source, self._changed)
                box = CACHE.get(key, lambda: _decoded(path, self.info))[slices]
            return box.astype(self.info.dtype, copy=False)


def inspect(source: Any) -> list[ImageInfo]:
    """Return what a file says about its image, without its pixels.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    UnreadableError
        If it is not what its name says.
    """
    path = existing_file(source)
    with reading(path, _kind(path)):
        return [_numpy_info(path) if path.suffix.lower() == ".npy" else _picture_info(path)]


def load(source: Any, axes: str) -> list[ImageFileStack]:
    """Return the stack of one file."""
    return [ImageFileStack(source, axes)]


def _kind(path: Path) -> str:
    return f"a {path.suffix[1:].upper().replace('NPY', 'NumPy').replace('JPG', 'JPEG')} file"


def _numpy_info(path: Path) -> ImageInfo:
    array = _mapped(path)
    if array.dtype.kind not in "biufc" or not is_plausible(array.shape):
        raise UnreadableError(
            f"{path} holds {array.dtype} in the shape {array.shape}: that is no image.",
            "Save an array of numbers with two or more dimensions.",
        )
    return ImageInfo(
        source=str(path),
        shape=array.shape,
        dtype=array.dtype.newbyteorder("="),
        axes="YX" if array.ndim == 2 else None,
        stored_as="memory-mapped",
    )


def _mapped(path: Path) -> NDArray[Any]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise ValueError("it is an archive of several arrays")
    return array


@lru_cache(maxsize=64)  # each holds a file descriptor
def _kept(path: Path, _changed: int) -> NDArray[Any]:
    return _mapped(path)


def _picture_info(path: Path) -> ImageInfo:
    with open(path, "rb") as file:
        header = _png(file) if path.suffix.lower() == ".png" else _jpeg(file)
    if not is_plausible(header.shape):
        raise ValueError(f"it has the shape {header.shape}")
    dtype = np.dtype(np.uint8 if header.bits <= 8 else np.uint16)
    nbytes = math.prod(header.shape) * dtype.itemsize
    check_decoded_size(path, nbytes, path.stat().st_size, _MOST_PER_BYTE)
    return ImageInfo(
        source=str(path),
        shape=header.shape,
        dtype=dtype,
        axes="YX" if len(header.shape) == 2 else "YXC",
        chunk_shape=header.shape,
        stored_as="decoded as a whole",
        warnings=header.warnings,
    )


def _png(file: BinaryIO) -> Header:
    """Read the header chunks of a PNG; palettes and transparent colours become channels."""
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        raise ValueError("it does not begin like one")
    transparent = False
    width, height, bits, colour = struct.unpack(">8xIIBB3x4x", file.read(25))
    while (chunk := file.read(8))[4:] not in (b"IDAT", b"IEND"):
        (length,) = struct.unpack(">I4x", chunk)
        transparent |= chunk[4:] == b"tRNS"
        file.seek(length + 4, 1)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[colour]
    warnings = []
    if colour == 3:
        warnings.append("Its pixels are colours of a palette; they are read as red, green, blue.")
    if transparent and colour in (0, 2, 3):
        channels += 1
    if channels in (2, 4):
        warnings.append("Its last channel is opacity.")
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Header(shape, bits, tuple(warnings))


def _jpeg(file: BinaryIO) -> Header:
    """Read the markers of a JPEG up to the one that tells the size."""
    if file.read(2) != b"\xff\xd8":
        raise ValueError("it does not begin like one")
    while True:
        mark, marker = struct.unpack("BB", file.read(2))
        while marker == 0xFF:  # filling
            marker = file.read(1)[0]
        if mark != 0xFF:
            raise ValueError("a marker is missing")
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _FRAMES:
            break
        file.seek(length - 2, 1)
    bits, height, width, channels = struct.unpack(">BHHB", file.read(6))
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Header(shape, bits, ("JPEG leaves out what the eye does not see: noise is altered.",))


def _decoded(path: Path, info: ImageInfo) -> NDArray[Any]:
    import imagecodecs

    is_png = path.suffix.lower() == ".png"
    decode = imagecodecs.png_decode if is_png else imagecodecs.jpeg_decode
    pixels = np.asarray(decode(path.read_bytes()))
    if pixels.shape != info.shape:
        raise ValueError(
            f"{in_words(pixels.shape)} pixels were decoded, not {in_words(info.shape)}"
        )
    return pixels
