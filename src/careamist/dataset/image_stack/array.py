"""Images in memory, or anything that is sliced like a numpy array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, reshape_patch


class ArrayStack:
    """An array-like as an image stack; it is neither copied nor converted.

    Parameters
    ----------
    array : array-like
        Has `shape`, `dtype` and numpy slicing: numpy, memmap, zarr, dask.
    axes : str
        Axes of the array.
    source : str
        What the image is called.
    """

    def __init__(self, array: Any, axes: str, source: str = "array") -> None:
        transform = AxesTransform(axes, array.shape)
        self._array = array
        self.source = source
        self.original_axes = transform.original_axes
        self.original_data_shape = tuple(transform.original_shape)
        self.data_shape = transform.transformed_shape

    @property
    def data_dtype(self) -> np.dtype[Any]:
        """Data type of the array."""
        dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        return dtype

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[Any]:
        """Return one patch in C(Z)YX, zero outside the image."""
        slices = get_patch_slices(
            self.original_axes, self.original_data_shape, sample_idx, channels, coords, patch_size
        )
        patch = reshape_patch(np.asarray(self._array[slices]), self.original_axes)
        return pad_patch(coords, patch_size, self.data_shape, patch)


def load(source: Any, axes: str) -> list[ArrayStack]:
    """Return the stack of one array."""
    return [ArrayStack(source, axes)]
