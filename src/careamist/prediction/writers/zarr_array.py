"""The array in a Zarr store that a result is written into, tile by tile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.errors import SettingsError, UnreadableError
from careamist.prediction.writers.overview import Overview, is_large

if TYPE_CHECKING:
    import zarr

    from careamist.prediction.output import Output
    from careamist.prediction.writers.protocol import WriteOptions

_NAMES = ("default", "none", "zstd", "zlib")


class ZarrArray:
    """A result as one Zarr array, whose axes may lie in another order than those of the result.

    What is written owns whole chunks, or whole shards where a tile is larger than a chunk: nothing
    that is stored is ever read to be written again, and several processes cannot undo each other.

    Parameters
    ----------
    array : zarr.Array
        As `create` or `reopen` returns it.
    folder : Path
        Of the array.
    output : Output
        The result.
    axes : str
        Those of the result, in the order of the array.
    """

    def __init__(self, array: zarr.Array[Any], folder: Path, output: Output, axes: str) -> None:
        self.array, self.folder, self.output, self.axes = array, folder, output, axes
        self._overview: Overview | None = None
        self._closed = False

    def write(self, box: tuple[slice, ...], pixels: NDArray[Any]) -> None:
        """Write a box, both in the axes of the result."""
        order = [self.output.axes.index(axis) for axis in self.axes]
        box, pixels = tuple(box[place] for place in order), pixels.transpose(order)
        self.array[box] = pixels
        if (overview := self._overview) is not None:
            overview.update(box, pixels)

    def view(self) -> Any:
        """Return the array, of large planes also an overview in memory that `write` updates.

        No lock is needed although a screen asks in a thread of its own: the overview is there for
        `write` before it is filled with what is stored. A tile that is written meanwhile is found
        in the store, or passed on by `write`, or both; its pixels are the same.
        """
        order = [self.axes.index(axis) for axis in self.output.axes]
        array = self.array if self.axes == self.output.axes else Transposed(self.array, order)
        if not is_large(self.array.shape, self.axes):
            return array
        if self._overview is None:
            self._overview = Overview(self.array.shape, self.axes, self.output.dtype)
            if (self.folder / "c").exists():
                # a day's work may be there: whoever asked is not kept waiting for it
                threading.Thread(target=self._fill, args=(self._overview,), daemon=True).start()
        return [array, self._overview.pixels.transpose(order)]

    def complete(self, check: Callable[[], None]) -> None:
        """Tidy up: all tiles are all there is to it."""
        self.close()
        for left in self.folder.rglob("*.partial"):  # by a process that was killed as it wrote
            left.unlink()

    def close(self) -> None:
        """Nothing is held open; an overview that is being filled is left as it is."""
        self._closed = True

    def _fill(self, overview: Overview) -> None:
        for unit in self._stored():
            for box in boxes(unit, self.array.chunks):
                try:
                    pixels = np.asarray(self.array[box])
                except Exception:  # whatever a broken chunk can raise: it is not shown
                    continue
                if self._closed:  # what was read may be of a file that has got its name
                    return
                overview.update(box, pixels)

    def _stored(self) -> Iterator[tuple[slice, ...]]:
        """Yield the boxes of the chunks or shards that are in the store."""
        size, root = self.array.shards or self.array.chunks, self.folder / "c"
        for folder, _, names in os.walk(root):
            parts = Path(folder).relative_to(root).parts
            for name in names:
                if name.isdigit():  # else it is not complete
                    places = map(int, (*parts, name))
                    yield tuple(
                        slice(place * n, min((place + 1) * n, end))
                        for place, n, end in zip(places, size, self.array.shape, strict=True)
                    )


class Transposed:
    """An array that is stored in another order of its axes, for those who show it.

    Parameters
    ----------
    array : zarr.Array
        The array.
    order : sequence of int
        For each axis as shown, which one of the array it is.
    """

    def __init__(self, array: zarr.Array[Any], order: Sequence[int]) -> None:
        self._array, self._order = array, tuple(order)
        self.shape = tuple(array.shape[place] for place in order)
        self.ndim, self.size, self.dtype = array.ndim, array.size, array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        entries = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in entries:
            place = entries.index(Ellipsis)
            entries[place : place + 1] = [slice(None)] * (self.ndim - len(entries) + 1)
        entries += [slice(None)] * (self.ndim - len(entries))
        stored = dict(zip(self._order, entries, strict=True))
        pixels = np.asarray(self._array[tuple(stored[place] for place in range(self.ndim))])
        left = [place for place in self._order if isinstance(stored[place], slice)]
        return pixels.transpose([sorted(left).index(place) for place in left])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)


def create(
    folder: Path,
    output: Output,
    options: WriteOptions | None,
    axes: str,
    attributes: Mapping[str, Any] | None = None,
) -> ZarrArray:
    """Begin the array of a result in a folder where nothing is.

    Raises
    ------
    SettingsError
        If the compression is not known, or Zarr has no such type of pixels.
    """
    import zarr

    if output.dtype.itemsize > 8:
        raise SettingsError(
            f"Zarr has no type for pixels of {output.dtype}.", "Choose dtype='float32'."
        )
    array = zarr.create_array(
        zarr.storage.LocalStore(folder),
        **_layout(output, axes),
        compressors=_compressors(options),
        fill_value=np.nan if output.dtype.kind == "f" else 0,
        attributes=dict(attributes or {}),
        dimension_names=[*axes.lower()],
        config={"write_empty_chunks": True},  # a tile of zeros is there, one that is missing is not
        zarr_format=3,
    )
    return ZarrArray(array, folder, output, axes)


def reopen(folder: Path, output: Output, axes: str) -> ZarrArray:
    """Open what `create` began.

    Raises
    ------
    UnreadableError
        If it cannot be opened, or is not what would be begun.
    """
    import zarr

    try:
        with zarr.config.set({"array.write_empty_chunks": True}):
            store = zarr.storage.LocalStore(folder)
            array = zarr.open_array(store, mode="r+", zarr_format=3)
        found = {name: getattr(array, name) for name in ("shape", "dtype", "chunks", "shards")}
    except Exception as error:  # whatever a broken file can raise
        raise UnreadableError(
            f"{folder} cannot be gone on with ({' '.join(str(error).split())[:300]}).",
            "Remove it: the result is then made anew.",
        ) from error
    expected = _layout(output, axes)
    if found != expected:
        said = [
            f"{name} {found[name]} instead of {expected[name]}"
            for name in expected
            if found[name] != expected[name]
        ]
        raise UnreadableError(
            f"{folder} has {', '.join(said)}.", "Remove it: the result is then made anew."
        )
    return ZarrArray(array, folder, output, axes)


def boxes(box: Sequence[slice], size: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of a box, at most of a size, in the order in which they are stored."""
    if not box:
        yield ()
        return
    for start in range(box[0].start, box[0].stop, size[0]):
        entry = slice(start, min(start + size[0], box[0].stop))
        for rest in boxes(box[1:], size[1:]):
            yield (entry, *rest)


def _layout(output: Output, axes: str) -> dict[str, Any]:
    """Return what makes an array fit its result."""
    order = [output.axes.index(axis) for axis in axes]
    shape, chunks, shards = (
        tuple(sizes[place] for place in order)
        for sizes in (output.shape, output.chunk_shape, output.shard_shape)
    )
    return {
        "shape": shape,
        "dtype": np.dtype(output.dtype.str).newbyteorder("="),  # one of several of C's names for it
        "chunks": chunks,
        "shards": shards if shards != chunks else None,
    }


def _compressors(options: WriteOptions | None) -> Any:
    from zarr.codecs import GzipCodec, ZstdCodec

    name = options.compression if options is not None else "default"
    level = options.compression_level if options is not None else None
    try:
        if name == "none":
            return None
        if name in ("default", "zstd"):
            return ZstdCodec(level=3 if level is None else level)
        if name == "zlib":
            return GzipCodec(level=6 if level is None else level)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"compression_level={level} does not suit compression='{name}':", f"{error}"
        ) from error
    raise SettingsError(
        f"compression='{name}' is not known for Zarr:", f"expected one of {', '.join(_NAMES)}."
    )
