"""The pages of a TIFF file: where their pixels lie, and how a box of them is read."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.file_utils import (
    PartCache,
    check_decoded_size,
    cut_short,
    in_words,
    map_bytes,
)

if TYPE_CHECKING:
    import tifffile

CACHE = PartCache(64 * 2**20)
_numbers = itertools.count()
_JPEG = (6, 7, 34892, 33007)
# How many bytes of pixels a byte can stand for; more is a damaged or a malicious header.
_RATIO = {1: 64, 5: 4000, 8: 1100, 32946: 1100, 32773: 130}
_RATIO_OF_OTHERS = 50_000


class Page(NamedTuple):
    """Where the strips or tiles of a page lie, and in which file of a set."""

    path: str
    offsets: Sequence[int]
    counts: Sequence[int]
    tables: bytes | None  # of JPEG


class TiffPages:
    """The pixels of a series, read box by box; no file is kept open.

    What is stored as it is in memory is mapped; else the strips or tiles that a box touches are
    decoded, and the last ones kept.

    Parameters
    ----------
    path : str
        The file.
    series : tifffile.TiffPageSeries
        Of an open file.

    Attributes
    ----------
    missing : int
        Pages that are not in the file (of a set of files, not in any); they read as zeros.
    empty : int
        Strips or tiles that are left out; they read as zeros too.

    Raises
    ------
    UnreadableError
        If pages do not add up to the series, or a part could never be decoded.
    """

    def __init__(self, path: str, series: tifffile.TiffPageSeries) -> None:
        frame = series.keyframe
        self._frame, self._is_jpeg = frame, frame.compression in _JPEG
        self.shape, self.missing, self.empty = _whole(series.shape), 0, 0
        self._changed = os.stat(path).st_mtime_ns
        self._number = next(_numbers)  # whose parts are in the cache
        self._transform, self._dtype = series.transform, np.dtype(frame.dtype)
        self._stored_dtype = self._dtype.newbyteorder(frame.parent.byteorder)
        # all pixels in one piece: as if it were a single page
        self._is_run = bool(series.dataoffset and frame.is_final and not self._transform)
        if self._is_run:
            run = Page(path, [int(series.dataoffset or 0)], [series.nbytes], None)
            self._pages: list[Page | None] = [run]
            self.mapped, self._page_shape = True, self.shape
            return
        self._pages = [_page(page, self._is_jpeg) for page in series]
        self.missing = self._pages.count(None)
        self._page_shape = _whole(frame.shaped)  # planes of samples, depth, Y, X, samples
        self._n_outer = self._split(len(self._pages))
        self._inner = self.shape[self._n_outer :]
        self.mapped = all(page is None or page.is_final for page in series)
        depth = frame.tiledepth if frame.is_tiled else 1
        rows = frame.tilelength if frame.is_tiled else frame.rowsperstrip
        width = frame.tilewidth if frame.is_tiled else frame.imagewidth
        self._part = (1, depth, rows, width, self._page_shape[4])
        if min(self._part) < 1:
            raise ValueError(f"strips or tiles of {in_words(self._part)}")
        self._grid = [-(-n // part) for n, part in zip(self._page_shape, self._part, strict=True)]
        self._decode: Callable[..., Any] = frame.decode
        if not self.mapped:
            self._check_parts()

    @property
    def chunk_shape(self) -> tuple[int, ...] | None:
        """The part that is decoded whole, in the axes of the series; None if it is mapped."""
        if self.mapped:
            return None
        part = map(min, self._part, self._page_shape)
        sizes = iter([n for n, size in zip(part, self._page_shape, strict=True) if size > 1])
        inner = [next(sizes) if size > 1 else 1 for size in self._inner]
        return (1,) * self._n_outer + tuple(inner)

    @property
    def stored_as(self) -> str:
        """How it is read, for a person."""
        if self.mapped:
            return "memory-mapped"
        frame = self._frame
        if frame.is_tiled:
            parts = f"tiles of {frame.tilelength} × {frame.tilewidth}"
        elif frame.rowsperstrip < frame.imagelength:
            parts = f"strips of {in_words((frame.rowsperstrip, frame.imagewidth))}"
        else:
            parts = "whole pages"
        packing = getattr(frame.compression, "name", str(frame.compression)).lower()
        bits = f"{frame.bitspersample}-bit"
        return f"{parts}, {packing}" if frame.compression != 1 else f"{parts}, {bits}"

    def check_end(self) -> None:
        """Raise `UnreadableError` if pixels lie behind the end of their file."""
        pages = [page for page in self._pages if page is not None]
        sizes = {path: os.stat(path).st_size for path in {page.path for page in pages}}
        for page in pages:
            if self.mapped:
                end = page.offsets[0] + math.prod(self._page_shape) * self._dtype.itemsize
            else:
                end = max(map(sum, zip(page.offsets, page.counts, strict=False)), default=0)
            if end > sizes[page.path]:
                raise cut_short(page.path, f"it should go on after its {sizes[page.path]} bytes")

    def read(self, slices: Sequence[slice | list[int]]) -> NDArray[Any]:
        """Return a box; a list may stand for a slice."""
        if self._is_run and self._pages[0] is not None:
            return np.array(self._mapped(self._pages[0])[tuple(slices)], self._dtype)
        ranges = [
            entry if isinstance(entry, list) else range(*entry.indices(size))
            for entry, size in zip(slices, self.shape, strict=True)
        ]
        outer, inner = ranges[: self._n_outer], ranges[self._n_outer :]
        if not all(map(len, ranges)):
            return np.empty([len(entry) for entry in ranges], self._dtype)
        # a list inside the page: read its span, pick in memory
        spans = [slice(min(entry), max(entry) + 1) for entry in inner]
        box = self._of_page(spans)
        lengths = [len(entry) for entry in outer] + [side.stop - side.start for side in box]
        pixels = np.empty(lengths, self._dtype)
        with ExitStack() as files:
            opened: dict[str, BinaryIO] = {}

            def file_of(path: str) -> BinaryIO:
                if path not in opened:
                    opened[path] = files.enter_context(open(path, "rb"))
                return opened[path]

            for place in itertools.product(*(range(len(entry)) for entry in outer)):
                number = 0
                for entry, index, size in zip(outer, place, self.shape, strict=False):
                    number = number * size + entry[index]
                self._fill(pixels[place], number, box, file_of)
        pixels = pixels.reshape([len(entry) for entry in outer] + [s.stop - s.start for s in spans])
        for axis, entry in enumerate(inner, self._n_outer):
            if isinstance(entry, list):
                pixels = pixels.take([index - min(entry) for index in entry], axis=axis)
        return pixels if self._transform is None else np.asarray(self._transform(pixels))

    def _fill(
        self,
        out: NDArray[Any],
        number: int,
        box: Sequence[slice],
        file_of: Callable[[str], BinaryIO],
    ) -> None:
        """Fill `out` with a box of one page."""
        page = self._pages[number]
        if page is None:
            out[...] = 0
            return
        if self.mapped:
            out[...] = self._mapped(page)[tuple(box)]
            return
        rows = [
            range(side.start // part, -(-side.stop // part))
            for side, part in zip(box, self._part, strict=True)
        ]
        for place in itertools.product(*rows):
            index = int(np.ravel_multi_index(place, self._grid))
            key = (self._number, number, index)
            part = CACHE.get(key, partial(self._decoded, page, index, file_of))
            source, target = [], []
            for at, side, size in zip(place, box, self._part, strict=True):
                first, last = max(side.start, at * size), min(side.stop, (at + 1) * size)
                source.append(slice(first - at * size, last - at * size))
                target.append(slice(first - side.start, last - side.start))
            out[tuple(target)] = part[tuple(source[1:])] if part.ndim else part

    def _mapped(self, page: Page) -> NDArray[Any]:
        """Return a page as it lies in the file."""
        buffer = map_bytes(page.path, self._changed)
        return np.ndarray(self._page_shape, self._stored_dtype, buffer, page.offsets[0])

    def _decoded(self, page: Page, index: int, file_of: Callable[[str], BinaryIO]) -> NDArray[Any]:
        """Return one strip or tile as (depth, Y, X, samples), or its only value."""
        offset, count = page.offsets[index], page.counts[index]
        data = None
        if offset and count:
            file = file_of(page.path)
            file.seek(offset)
            data = file.read(count)
            if len(data) < count:
                raise cut_short(page.path, f"it should go on after byte {offset + len(data)}")
        options = {"jpegtables": page.tables} if self._is_jpeg else {}
        if self._is_jpeg and self._frame.jpegheader is not None:
            options["jpegheader"] = self._frame.jpegheader
        pixels = self._decode(data, index, **options)[0]
        return np.asarray(self._frame.nodata if pixels is None else pixels)

    def _of_page(self, spans: Sequence[slice]) -> list[slice]:
        """Return a box of the series' inner axes in those of a page."""
        longer = iter([span for span, n in zip(spans, self._inner, strict=True) if n > 1])
        return [next(longer) if n > 1 else slice(0, 1) for n in self._page_shape]

    def _split(self, n_pages: int) -> int:
        """Return how many axes of the series count its pages."""
        longer = [n for n in self._page_shape if n > 1]
        for n_outer in range(len(self.shape) + 1):
            inner = [n for n in self.shape[n_outer:] if n > 1]
            if math.prod(self.shape[:n_outer]) == n_pages and inner == longer:
                return n_outer
        raise ValueError(
            f"{n_pages} pages of {in_words(self._page_shape)} are no image of "
            f"{in_words(self.shape)}"
        )

    def _check_parts(self) -> None:
        n_parts, size = math.prod(self._grid), math.prod(self._part) * self._dtype.itemsize
        most = _RATIO.get(self._frame.compression, _RATIO_OF_OTHERS)
        for page in self._pages:
            if page is None:
                continue
            if min(len(page.offsets), len(page.counts)) < n_parts:
                raise cut_short(
                    page.path, f"it should have {n_parts} strips or tiles, not {len(page.offsets)}"
                )
            places = zip(page.offsets[:n_parts], page.counts[:n_parts], strict=True)
            stored = [count for offset, count in places if offset and count]
            self.empty += n_parts - len(stored)
            if stored:
                check_decoded_size(page.path, size, min(stored), most)
        if self.empty == n_parts * (len(self._pages) - self.missing):
            raise ValueError("none of its strips or tiles has any bytes")


def _page(page: tifffile.TiffPage | tifffile.TiffFrame | None, is_jpeg: bool) -> Page | None:
    if page is None:
        return None
    tables = page.jpegtables if is_jpeg else None
    path = str(page.parent.filehandle.path)
    return Page(path, page.dataoffsets, page.databytecounts, tables)


def _whole(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)
