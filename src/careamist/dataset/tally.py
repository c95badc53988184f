"""What is counted in the pixels of an image, block by block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

OFFSET = 2**15  # where signed numbers begin that were saved as unsigned
_FEW = 8  # pixels at the end of the range are no sign of saturation, and may be hot
_FAR = 4.0  # hot pixels lie so many times farther above the others than these above the mean
_PACKED = (10, 12, 14)  # bits of cameras that save 16


class Tally:
    """Range, mean, and what is unusual; of the finite pixels if not said otherwise.

    Attributes
    ----------
    count, n_finite, n_nan, n_inf : int
        Pixels: all, and those that are finite, not a number, infinite.
    low, high : float
        Least and greatest value, as Python numbers of the kind of the pixels.
    n_low, n_high : int
        Pixels that have it.
    top : numpy.ndarray
        The greatest values, in falling order.
    """

    def __init__(self) -> None:
        self.count = self.n_finite = self.n_nan = self.n_inf = self.n_low = self.n_high = 0
        self.low: float = math.inf
        self.high: float = -math.inf
        self.total = 0.0
        self.top: NDArray[np.float64] = np.empty(0)  # the greatest values, in falling order

    def add(self, pixels: NDArray[Any]) -> None:
        """Count some more pixels, given in one dimension."""
        self.count += pixels.size
        if pixels.dtype.kind == "f":
            finite = np.isfinite(pixels)
            if not finite.all():
                n_nan = int(np.isnan(pixels).sum())
                self.n_nan += n_nan
                self.n_inf += int(pixels.size - finite.sum()) - n_nan
                pixels = pixels[finite]
        if not pixels.size:
            return
        self.n_finite += pixels.size
        low, high = pixels.min().item(), pixels.max().item()
        if low <= self.low:
            self.n_low = (self.n_low if low == self.low else 0) + int((pixels == low).sum())
            self.low = low
        if high >= self.high:
            self.n_high = (self.n_high if high == self.high else 0) + int((pixels == high).sum())
            self.high = high
        with np.errstate(over="ignore"):
            self.total += float(pixels.sum(dtype=np.float64))
        if self.top.size <= _FEW or high > self.top[-1]:
            best = np.partition(pixels, max(pixels.size - _FEW - 1, 0))[-_FEW - 1 :]
            both = np.concatenate([self.top, best.astype(np.float64)])
            self.top = np.sort(both)[::-1][: _FEW + 1]

    @property
    def mean(self) -> float:
        """Mean of the finite pixels, of which there must be one."""
        return self.total / self.n_finite

    def n_hot(self) -> int:
        """Return how many pixels lie far above all others; 0 where there are more than a few."""
        if self.n_finite < 10 * _FEW or not math.isfinite(self.mean):
            return 0
        for n in range(1, len(self.top)):
            rest = float(self.top[n])
            if self.top[n - 1] - rest > _FAR * max(rest - self.mean, 0) and rest > self.low:
                return n
        return 0

    @property
    def is_mask(self) -> bool:
        """Whether there are exactly two values."""
        return self.low < self.high and self.n_low + self.n_high == self.n_finite

    def n_saturated(self, dtype: np.dtype[Any]) -> int:
        """Return how many pixels are at the end of the range of their type, or of a camera's."""
        if dtype.kind not in "iu" or self.is_mask or self.low == self.high:
            return 0
        packed = {2**bits - 1 for bits in _PACKED} if dtype.itemsize > 1 else set()
        shifted = {end + OFFSET for end in packed} if dtype == np.uint16 else set()
        at_end = self.high in {int(np.iinfo(dtype).max), *packed, *shifted}
        return self.n_high if at_end and self.n_high > _FEW else 0
