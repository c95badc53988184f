"""Images in memory, or anything that is sliced like a numpy array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.base import SlicedStack
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.errors import SettingsError
from careamist.utils.reshape_array import AXES

EXTENSIONS: tuple[str, ...] = ()


class ArrayStack(SlicedStack):
    """An array-like as an image stack; it is neither copied nor converted.

    Parameters
    ----------
    array : array-like
        Has `shape`, `dtype` and slicing: numpy, memmap, zarr, dask, xarray, h5py, or a list of
        the levels of a pyramid (the finest is taken).
    axes : str
        Axes of the array.
    source : str
        What the image is called.
    """

    def __init__(self, array: Any, axes: str, source: str = "array") -> None:
        super().__init__(describe(array, source), axes)
        self._array = array

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        lists = [place for place, entry in enumerate(slices) if isinstance(entry, list)]
        if not lists or isinstance(self._array, np.ndarray):
            return np.asarray(self._array[slices])
        # zarr and h5py take lists in their own ways, if at all: read the span, pick in memory
        (axis,), picked = lists, slices[lists[0]]
        span = slice(min(picked), max(picked) + 1)  # type: ignore[type-var]
        box = np.asarray(self._array[(*slices[:axis], span, *slices[axis + 1 :])])
        return box.take([channel - span.start for channel in picked], axis=axis)  # type: ignore[union-attr]


def describe(array: Any, source: str = "array") -> ImageInfo:
    """Return what is known of an array-like; xarray also names its axes."""
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise SettingsError(
            f"An image of type {type(array).__name__} was given;",
            "expected an array, or a path with the data_type of its format.",
        )
    names = "".join(str(name)[:1].upper() for name in getattr(array, "dims", ()))
    known = len(names) == len(array.shape) and len(set(names)) == len(names)
    return ImageInfo(
        source=source,
        shape=tuple(int(n) for n in array.shape),
        dtype=np.dtype(array.dtype),
        axes=names if known and set("YX") <= set(names) <= set(AXES) else None,
        chunk_shape=_chunks(array),
        stored_as=f"{type(array).__module__.partition('.')[0]} array",
    )


def inspect(source: Any) -> list[ImageInfo]:
    """Return what is known of one array."""
    return [describe(source)]


def load(source: Any, axes: str) -> list[ArrayStack]:
    """Return the stack of one array."""
    return [ArrayStack(source, axes)]


def _chunks(array: Any) -> tuple[int, ...] | None:
    """Return what zarr, h5py or dask read whole; the shard of a sharded zarr is not."""
    chunks = getattr(array, "chunks", None)
    if not chunks or len(chunks) != len(array.shape):
        return None
    return tuple(int(n[0] if isinstance(n, tuple) else n) for n in chunks)
