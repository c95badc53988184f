"""What is measured on all pixels of some images: mean, spread, range, histogram."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.errors import DataError

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.pixel_pass import PixelPass

_PART_PIXELS = 2**16  # in float64, these stay in the cache of the processor
_BINS = 2**16


class Survey:
    """The pixels of some images, as often as they are needed; refuses those without meaning."""

    def __init__(
        self,
        stacks: Sequence[ImageStack],
        blocks: PixelPass,
        check: Callable[[], None],
        per_channel: bool,
    ) -> None:
        self._stacks, self._blocks, self._check = stacks, blocks, check
        self._per_channel = per_channel

    def __iter__(self) -> Iterator[tuple[ImageStack, NDArray[Any]]]:
        """Yield blocks of (C, pixels), of (1, pixels) where channels are not kept apart."""
        self._check()
        for stack, pixels in self._blocks:
            yield stack, pixels if self._per_channel else pixels.reshape(1, -1)
            self._check()

    def moments(self) -> Moments:
        """Return mean, spread and range of each channel; raise where nothing can be learnt."""
        moments: Moments | None = None
        for stack, pixels in self:
            moments = moments or Moments(len(pixels))
            low, high = pixels.min(axis=1), pixels.max(axis=1)
            if not (np.isfinite(low).all() and np.isfinite(high).all()):  # NaN is its own minimum
                raise DataError(
                    f"{stack.source} contains NaN or Inf pixels; nothing can be learnt from them.",
                    "Replace them or crop them away before training.",
                )
            moments.add(pixels, low, high)
        assert moments is not None  # a pass has at least one block
        # a mean of equal numbers may be off by a rounding error: stds need not be exactly zero
        if (constant := moments.low >= moments.high).any():
            names = ", ".join(stack.source for stack in self._stacks[:3])
            raise DataError(
                f"The image is constant ({names}): every pixel is {moments.low[constant][0]:g}.",
                "Check that the right image or channel was chosen.",
            )
        return moments

    def histogram(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many pixels of each channel lie nearest to each of 65 536 values.

        Those below `low` and above `high` count for the first and the last one.
        """
        counts = np.zeros((len(low), _BINS), np.int64)
        for _, pixels in self:
            for channel, row in enumerate(pixels):
                width = (high[channel] - low[channel]) / (_BINS - 1)
                for start in range(0, len(row), _PART_PIXELS):
                    part = row[start : start + _PART_PIXELS].astype(np.float64)
                    places = np.rint((part - low[channel]) / width).clip(0, _BINS - 1)
                    counts[channel] += np.bincount(places.astype(np.int64), minlength=_BINS)
        return counts


class Moments:
    """Mean, spread and range of each channel, of all pixels that were added."""

    def __init__(self, n_channels: int) -> None:
        self.count, self.mean, self.m2 = 0, np.zeros(n_channels), np.zeros(n_channels)
        self.low, self.high = np.full(n_channels, np.inf), np.full(n_channels, -np.inf)

    def add(self, pixels: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> None:
        """Add pixels in (C, n), whose least and greatest of each channel are known."""
        step = max(_PART_PIXELS // len(pixels), 1)
        for start in range(0, pixels.shape[1], step):
            part = pixels[:, start : start + step].astype(np.float64)
            n, mean = part.shape[1], part.mean(axis=1)
            part -= mean[:, None]
            delta, total = mean - self.mean, self.count + n
            self.m2 += np.einsum("cn,cn->c", part, part) + delta**2 * (self.count * n / total)
            self.mean += delta * (n / total)
            self.count = total
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)

    @property
    def stds(self) -> NDArray[np.float64]:
        """Standard deviation of each channel."""
        return np.sqrt(self.m2 / max(self.count, 1))
