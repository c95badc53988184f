"""What the image stacks of this package share: anything that is sliced like a numpy array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, reshape_patch

if TYPE_CHECKING:
    from careamist.dataset.image_stack.protocol import ImageInfo


def read_box(array: Any, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
    """Return a box of an array that is sliced like one of numpy, but need not know lists.

    Where an entry is a list, the span from its first to its last number is read, and these are
    picked from it in their order.
    """
    for axis, entry in enumerate(slices):
        if isinstance(entry, list):
            first, last = min(entry), max(entry)
            box = np.asarray(array[(*slices[:axis], slice(first, last + 1), *slices[axis + 1 :])])
            return box.take([number - first for number in entry], axis=axis)
    return np.asarray(array[slices])


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
        clipped = map(min, zip(self.info.chunk_shape, self.info.shape, strict=True))
        return AxesTransform(self.original_axes, tuple(clipped)).transformed_shape

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
        self,
        samples: range,
        coords: Sequence[int],
        size: Sequence[int],
        channels: Sequence[int] | None = None,
    ) -> NDArray[Any]:
        """Return several samples at one place inside the image, as (n, C, (Z), Y, X).

        Samples that lie side by side in the file are read at once.
        """
        wanted = slice(None) if channels is None else list(channels)
        parts = []
        for box in self._layout.boxes(samples, coords, size):
            pixels = self._read(
                tuple(
                    wanted if axis == "C" else entry
                    for axis, entry in zip(self.original_axes, box, strict=True)
                )
            )
            parts.append(AxesTransform(self.original_axes, pixels.shape).transform(pixels))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        """Return a box; each entry is a slice of step 1, or for C perhaps a list."""
        raise NotImplementedError
