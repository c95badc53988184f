"""Stacks made of other stacks: some of their channels, or their pixels held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.image_utils import pad_patch

if TYPE_CHECKING:
    from careamist.dataset.image_stack.protocol import ImageStack


class View:
    """A stack that stands for another one; a subclass says how pixels are taken from it."""

    def __init__(self, stack: ImageStack) -> None:
        self._stack = stack
        self.source = str(stack.source)
        self.data_shape = tuple(stack.data_shape)
        self.data_dtype = np.dtype(stack.data_dtype)
        self.original_axes = stack.original_axes
        self.original_data_shape = tuple(stack.original_data_shape)
        self.info = getattr(stack, "info", None)
        self.chunk_shape: tuple[int, ...] | None = getattr(stack, "chunk_shape", None)


def _block(
    stack: Any,
    samples: range,
    coords: Sequence[int],
    size: Sequence[int],
    channels: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Return several samples at one place inside a stack, read at once if it can do that."""
    if hasattr(stack, "extract_block"):
        block: NDArray[Any] = stack.extract_block(samples, coords, size, channels)
        return block
    return np.stack([stack.extract_patch(i, channels, coords, size) for i in samples])


class ChannelsView(View):
    """Some channels of a stack, in the order given.

    Parameters
    ----------
    stack : ImageStack
        The whole image.
    channels : sequence of int
        Which of its channels.
    """

    def __init__(self, stack: ImageStack, channels: Sequence[int]) -> None:
        super().__init__(stack)
        self._channels = list(channels)
        n_samples, _, *spatial = self.data_shape
        self.data_shape = (n_samples, len(self._channels), *spatial)

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[Any]:
        """Return one patch in C(Z)YX, zero outside the image."""
        wanted = self._channels if channels is None else [self._channels[c] for c in channels]
        return self._stack.extract_patch(sample_idx, wanted, coords, patch_size)

    def extract_block(
        self,
        samples: range,
        coords: Sequence[int],
        size: Sequence[int],
        channels: Sequence[int] | None = None,
    ) -> NDArray[Any]:
        """Return several samples at one place inside the image, as (n, C, (Z), Y, X)."""
        wanted = self._channels if channels is None else [self._channels[c] for c in channels]
        return _block(self._stack, samples, coords, size, wanted)


class HeldStack(View):
    """A stack whose pixels are read once, at the first use, and kept in their own type."""

    def __init__(self, stack: ImageStack) -> None:
        super().__init__(stack)
        self._at_once = max((self.chunk_shape or (1,))[0], 1)  # samples that are decoded together
        self.chunk_shape = None
        self._pixels: NDArray[Any] | None = None

    @property
    def pixels(self) -> NDArray[Any]:
        """The whole image in SC(Z)YX."""
        if self._pixels is None:
            start, size = (0,) * len(self.data_shape[2:]), self.data_shape[2:]
            pixels = np.empty(self.data_shape, self.data_dtype)
            for first in range(0, len(pixels), self._at_once):
                samples = range(first, min(first + self._at_once, len(pixels)))
                pixels[first : samples.stop] = _block(self._stack, samples, start, size)
            self._pixels = pixels
        return self._pixels

    def release(self) -> None:
        """Forget the pixels; they are read again when they are needed."""
        self._pixels = None

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[Any]:
        """Return one patch in C(Z)YX, zero outside the image."""
        place = [
            slice(max(start, 0), max(start + n, 0))
            for start, n in zip(coords, patch_size, strict=True)
        ]
        which = slice(None) if channels is None else list(channels)
        patch = self.pixels[sample_idx][(which, *place)]
        return pad_patch(coords, patch_size, self.data_shape, patch)

    def extract_block(
        self,
        samples: range,
        coords: Sequence[int],
        size: Sequence[int],
        channels: Sequence[int] | None = None,
    ) -> NDArray[Any]:
        """Return several samples at one place inside the image, as (n, C, (Z), Y, X)."""
        place = [slice(start, start + n) for start, n in zip(coords, size, strict=True)]
        block = self.pixels[(slice(samples.start, samples.stop), slice(None), *place)]
        return block if channels is None else block[:, list(channels)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # a worker reads its own copy
