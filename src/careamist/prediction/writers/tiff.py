"""TIFF files that are filled tile by tile: memory does not grow with the image."""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from careamist.errors import SettingsError, ShapeError, UnreadableError
from careamist.prediction.writers.protocol import WriteOptions
from careamist.prediction.writers.tiff_layout import (
    RANGE_WIDTH,
    layout,
    page_shape,
    range_text,
)

if TYPE_CHECKING:
    from careamist.prediction.output import Output

EXTENSION = ".tiff"
BY_TILES = False

_HIGHEST_LEVEL = {"zlib": 9, "zstd": 22, "lzw": 0}
_RANGE = re.compile(rb"min=[^\n]{%d}\nmax=[^\n]{%d}" % (RANGE_WIDTH, RANGE_WIDTH))
_AT_ONCE = 2**24  # bytes: larger pages are compressed in tiles, and read back in such parts
_TILE = 512
_NEAR = 4096  # bytes from one run to the next: less is read and written faster than it is skipped
_CANNOT_RESERVE = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


def create(path: Path, output: Output, options: WriteOptions | None = None) -> TiffResult:
    """Make a file that lacks nothing but pixels, and keep its place on the disk.

    Parameters
    ----------
    path : Path
        Where nothing is; in a folder that is there.
    output : Output
        The result.
    options : WriteOptions, optional
        The compression: ``"none"`` (the default), ``"zlib"``, ``"zstd"`` or ``"lzw"``.

    Raises
    ------
    SettingsError
        If the compression is not known.
    OSError
        If the disk is full; then nothing is left.
    """
    packing = _packing(output, options)
    try:
        tifffile.imwrite(path, dtype=_raw_dtype(output), **layout(output))
        result = TiffResult(path, output, packing)
        result.reserve()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return result


def reopen(path: Path, output: Output, options: WriteOptions | None = None) -> TiffResult:
    """Open what `create` began, to write what is missing.

    Raises
    ------
    UnreadableError
        If it is not what `create` makes for this result.
    """
    return TiffResult(path, output, _packing(output, options), is_new=False)


class TiffResult:
    """A TIFF file that is being filled: its pixels lie in one run, in the order of the axes.

    Where it is to be compressed, that is done when all pixels are there.

    Parameters
    ----------
    path : Path
        The file.
    output : Output
        The result.
    packing : mapping
        How tifffile compresses it; nothing if it stays as it is.
    is_new : bool
        Whether nothing was written yet.
    """

    def __init__(
        self, path: Path, output: Output, packing: dict[str, Any], *, is_new: bool = True
    ) -> None:
        self._path, self._output, self._packing = path, output, packing
        self._sees_all, self._low, self._high = is_new, math.inf, -math.inf
        self._offset, self._range_at = _places(path, output)
        # opened without a buffer: what was written is there when the journal says so
        self._file = path.open("r+b", buffering=0) if self._offset else None

    def reserve(self) -> None:
        """Take the place on the disk, so that a full one is told before the first tile."""
        if self._file is None or not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self._file.fileno(), self._offset, self._n_bytes)
        except OSError as error:
            self.close()
            if error.errno not in _CANNOT_RESERVE:
                raise
            self._file = self._path.open("r+b", buffering=0)

    def write(self, box: tuple[slice, ...], pixels: NDArray[Any]) -> None:
        """Write a box of the result."""
        shape, dtype = self._output.shape, _raw_dtype(self._output)
        sides = [side.indices(n) for side, n in zip(box, shape, strict=True)]
        extent = tuple(stop - start for start, stop, _ in sides)
        if pixels.shape != extent:
            raise ShapeError(f"Pixels of shape {pixels.shape} were given for a box of {extent}.")
        pixels = np.ascontiguousarray(pixels, dtype)
        if self._range_at:
            self._note(pixels)
        strides = [math.prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape))]
        first = self._offset
        first += sum(side[0] * step for side, step in zip(sides, strides, strict=True))
        run = len(shape) - 1  # from this axis on, the box is one run of bytes
        while run > 0 and extent[run] == shape[run]:
            run -= 1
        block = run
        while block > 0 and strides[block - 1] <= _NEAR:
            block -= 1
        starts = np.zeros(extent[:block], np.int64)
        for axis, index in enumerate(np.indices(starts.shape, np.int64, sparse=True)):
            starts = starts + index * strides[axis]
        steps = strides[block:]
        length = sum((n - 1) * step for n, step in zip(extent[block:], steps, strict=True))
        blocks = pixels.reshape(-1, *extent[block:])
        for start, part in zip(starts.ravel().tolist(), blocks, strict=True):
            if block < run:  # runs close to each other are put between what is there
                there = self._read_at(first + start, length + dtype.itemsize)
                np.ndarray(part.shape, dtype, there, strides=steps)[...] = part
                self._write_at(first + start, memoryview(there))
            else:
                self._write_at(first + start, part.reshape(-1).view(np.uint8).data)

    def view(self) -> NDArray[Any]:
        """Return the pixels as they are in the file; zeros where they are missing."""
        if not self._offset:
            return np.asarray(tifffile.imread(self._path)).reshape(self._output.shape)
        shape, dtype = self._output.shape, _raw_dtype(self._output)
        pixels = np.memmap(self._path, dtype, "r", self._offset, shape)
        return pixels.view(self._output.dtype)

    def complete(self, check: Callable[[], None]) -> None:
        """Compress the file, or tell ImageJ the range of its pixels."""
        if not self._offset:  # it was compressed, and then not published
            return
        if self._range_at and not self._sees_all:
            self._look(check)
        if self._packing:
            self._pack(check)
        elif self._range_at:
            self._write_at(self._range_at, memoryview(range_text(self._low, self._high)))
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _n_bytes(self) -> int:
        return math.prod(self._output.shape) * _raw_dtype(self._output).itemsize

    def _write_at(self, place: int, content: memoryview) -> None:
        if self._file is None:
            raise ValueError(f"{self._path} is closed.")
        self._file.seek(place)
        while content:
            content = content[self._file.write(content) :]

    def _read_at(self, place: int, length: int) -> bytearray:
        if self._file is None:
            raise ValueError(f"{self._path} is closed.")
        self._file.seek(place)
        content = bytearray(length)
        done = 0
        while got := self._file.readinto(memoryview(content)[done:]):
            done += got
        return content

    def _note(self, pixels: NDArray[Any]) -> None:
        """Widen the range by some pixels."""
        finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
        if finite.size:
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))

    def _look(self, check: Callable[[], None]) -> None:
        """Widen the range by all pixels: some were written before the file was opened again."""
        pixels = self.view().reshape(-1)
        count = _AT_ONCE // pixels.itemsize
        for start in range(0, pixels.size, count):
            check()
            self._note(pixels[start : start + count])
        self._sees_all = True

    def _pack(self, check: Callable[[], None]) -> None:
        """Put the compressed file in the place of this one."""
        packed = self._path.with_name(f"{self._path.name}.packed")
        output, pages = self._output, self.view().reshape(-1, *page_shape(self._output))
        options = layout(output, (self._low, self._high)) | self._packing
        options.pop("truncate", None)
        if pages[0].nbytes > _AT_ONCE:
            options["tile"] = (_TILE, _TILE)
        parts = _parts(pages, "tile" in options, check)
        try:
            tifffile.imwrite(packed, parts, dtype=pages.dtype, **options)
            del pages, parts  # a mapped file cannot be replaced everywhere
            self.close()
            os.replace(packed, self._path)
        except BaseException:
            packed.unlink(missing_ok=True)
            raise
        self._offset = 0


def _packing(output: Output, options: WriteOptions | None) -> dict[str, Any]:
    """Return how tifffile compresses a result."""
    options = options or WriteOptions()
    name, level = options.compression, options.compression_level
    if name in ("default", "none"):
        return {"compression": "none"} if output.dtype.kind == "b" else {}  # eight in a byte
    if name not in _HIGHEST_LEVEL:
        raise SettingsError(
            f"compression='{name}' is not known for TIFF:",
            f"expected one of default, none, {', '.join(_HIGHEST_LEVEL)}.",
        )
    packing: dict[str, Any] = {"compression": name}
    if output.dtype.kind in "iu" and output.dtype.itemsize <= 4:
        packing["predictor"] = 2  # of floats, ImageJ could not read it
    if level is not None:
        if not 1 <= level <= _HIGHEST_LEVEL[name]:
            known = f"1 to {_HIGHEST_LEVEL[name]}" if _HIGHEST_LEVEL[name] else "none"
            raise SettingsError(
                f"compression_level={level} does not fit compression='{name}':",
                f"expected {known}.",
            )
        packing["compressionargs"] = {"level": level}
    return packing


def _raw_dtype(output: Output) -> np.dtype[Any]:
    """Return how pixels lie in the file while it is filled: a byte for each truth value."""
    dtype = output.dtype.newbyteorder("=")
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def _places(path: Path, output: Output) -> tuple[int, int]:
    """Return where the pixels and the range for ImageJ lie in a file.

    The first is 0 if the file is complete and compressed, the second if there is no range.
    """
    raw = _raw_dtype(output)
    n_bytes = math.prod(output.shape) * raw.itemsize
    try:
        with tifffile.TiffFile(path) as tif:
            page, series = tif.pages.first, tif.series[0]
            fits = _longer(series.shape) == _longer(output.shape)
            if fits and (page.compression != 1 or page.dtype != raw):
                if page.dtype == output.dtype:
                    return 0, 0
                raise ValueError(f"its pixels are of type {page.dtype}")
            start, size = int(page.dataoffsets[0]), path.stat().st_size
            if not fits or start + n_bytes > size:
                raise ValueError(f"it has the shape {series.shape} and {size} bytes")
            tag = page.tags.get("ImageDescription") if tif.is_imagej else None
            shown = _RANGE.search(str(tag.value).encode()) if tag is not None else None
            return start, tag.valueoffset + shown.start() if tag and shown else 0
    except (OSError, ValueError, KeyError, IndexError, TypeError, tifffile.TiffFileError) as error:
        raise UnreadableError(
            f"{path} is not the unfinished result of {output.source} ({error}).",
            "Remove it: the result is then made anew.",
        ) from error


def _longer(shape: tuple[int, ...]) -> list[int]:
    return [int(n) for n in shape if n > 1]


def _parts(
    pages: NDArray[Any], in_tiles: bool, check: Callable[[], None]
) -> Iterator[NDArray[Any]]:
    """Yield pages, or the tiles of each of them."""
    for page in pages:
        check()
        if not in_tiles:
            yield page
            continue
        for top in range(0, page.shape[0], _TILE):
            for left in range(0, page.shape[1], _TILE):
                check()
                yield np.ascontiguousarray(page[top : top + _TILE, left : left + _TILE])
