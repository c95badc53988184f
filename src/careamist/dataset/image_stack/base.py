"""What the image stacks of this package share: anything that is sliced like a numpy array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, reshape_patch


class SlicedStack:
    """An image stack over something that is read in boxes; a subclass says how, in `_read`.

    Parameters
    ----------
    info : ImageInfo
        What the image says about itself.
    axes : str
        What its axes are; the user has the last word.

    Raises
    ------
    AxesError
        If the axes do not fit the shape.
    """

    def __init__(self, info: ImageInfo, axes: str) -> None:
        self._layout = AxesTransform(axes, info.shape)
        self.info = info
        self.source = info.source
        self.original_axes = self._layout.original_axes
        self.original_data_shape = tuple(self._layout.original_shape)
        self.data_shape = self._layout.transformed_shape
        self.data_dtype = info.dtype

    @property
    def chunk_shape(self) -> tuple[int, ...] | None:
        """The part that is read whole in SC(Z)YX, None if any pixel is equally cheap."""
        if self.info.chunk_shape is None:
            return None
        return AxesTransform(self.original_axes, self.info.chunk_shape).transformed_shape

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
        patch = reshape_patch(self._read(slices), self.original_axes)
        return pad_patch(coords, patch_size, self.data_shape, patch)

    def extract_block(
        self, samples: range, coords: Sequence[int], size: Sequence[int]
    ) -> NDArray[Any]:
        """Return several samples at one place inside the image, as (n, C, (Z), Y, X).

        Samples that lie side by side in the file are read at once.
        """
        parts = []
        for box in self._layout.boxes(samples, coords, size):
            pixels = self._read(box)
            parts.append(AxesTransform(self.original_axes, pixels.shape).transform(pixels))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        """Return a box; each entry is a slice of step 1, or for C perhaps a list."""
        raise NotImplementedError
