"""Images in memory, or anything that is sliced like a numpy array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.base import SlicedStack, read_box
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.errors import SettingsError
from careamist.utils.reshape_array import AXES

EXTENSIONS: tuple[str, ...] = ()


class ArrayStack(SlicedStack):
    """An array-like as an image stack; it is neither copied nor converted.

    Parameters
    ----------
    array : array-like
        Has `shape`, `dtype` and slicing: numpy, memmap, zarr, dask, xarray, h5py, or the
        pyramid of a napari layer, of which the finest level is taken.
    axes : str
        Axes of the array.
    source : str
        What the image is called.
    """

    def __init__(self, array: Any, axes: str, source: str = "array") -> None:
        super().__init__(describe(array, source), axes)
        self._array = _finest(array)

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        return read_box(self._array, slices)


def describe(array: Any, source: str = "array") -> ImageInfo:
    """Return what is known of an array-like; xarray also names its axes."""
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise SettingsError(
            f"An image of type {type(array).__name__} was given;",
            "expected an array, or a path with the data_type of its format.",
        )
    array = _finest(array)
    try:
        dtype = np.dtype(array.dtype)
    except TypeError as error:  # of torch, for one
        raise SettingsError(
            f"The pixels of a {type(array).__name__} are of type {array.dtype};",
            "expected a type that numpy knows: give a numpy array.",
        ) from error
    names = "".join(str(name)[:1].upper() for name in getattr(array, "dims", ()))
    known = len(names) == len(array.shape) and len(set(names)) == len(names)
    return ImageInfo(
        source=source,
        shape=tuple(int(n) for n in array.shape),
        dtype=dtype,
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


def _finest(array: Any) -> Any:
    """Return the first level of a pyramid, which in napari is a sequence with a shape."""
    return array[0] if hasattr(array, "shapes") else array


def _chunks(array: Any) -> tuple[int, ...] | None:
    """Return what zarr, h5py or dask read whole; the shard of a sharded zarr is not."""
    chunks = getattr(array, "chunks", None)
    if not chunks or len(chunks) != len(array.shape):
        return None
    return tuple(int(n[0] if isinstance(n, tuple) else n) for n in chunks)
