"""Numbers behind a curve: kept in growing arrays, smoothed, thinned out to be drawn."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Curve", "decimate", "log_ticks", "smooth"]


class Curve:
    """Points that come one by one; one that does not lie further right replaces those that do."""

    def __init__(self) -> None:
        self._data = np.empty((2, 1024))
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, x: float, y: float) -> None:
        while self._length and self._data[0, self._length - 1] >= x:
            self._length -= 1
        if self._length == self._data.shape[1]:
            self._data = np.concatenate([self._data, np.empty_like(self._data)], axis=1)
        self._data[:, self._length] = x, y
        self._length += 1

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies, which later points do not change."""
        x, y = self._data[:, : self._length].copy()
        return x, y


def smooth(y: np.ndarray) -> np.ndarray:
    """Return a running mean over the last 5 % of the points, at least 10; it never looks ahead."""
    if len(y) == 0:
        return y
    good = np.isfinite(y)
    width = min(max(10, len(y) // 20), 500)
    sums = np.cumsum(np.concatenate([[0.0], np.where(good, y, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], good]))
    end = np.arange(1, len(y) + 1)
    start = np.maximum(0, end - width)
    total = counts[end] - counts[start]
    mean = (sums[end] - sums[start]) / np.maximum(total, 1)
    return np.where(total > 0, mean, np.nan)


def decimate(x: np.ndarray, y: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the lowest and the highest point of each column, in their order."""
    if len(x) <= 4 * columns:
        return x, y
    width = math.ceil(len(x) / columns)
    whole = len(x) // width * width
    table = y[:whole].reshape(-1, width)
    low = np.where(np.isfinite(table), table, np.inf).argmin(axis=1)
    high = np.where(np.isfinite(table), table, -np.inf).argmax(axis=1)
    first = np.arange(len(table)) * width
    kept = np.sort(np.stack([first + low, first + high], axis=1), axis=1).ravel()
    kept = np.unique(np.concatenate([kept, np.arange(whole, len(x)), [0, len(x) - 1]]))
    return x[kept], y[kept]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two powers of ten, not too many."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return []
    decades = range(math.floor(low), math.ceil(high) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * 10.0**power for power in decades for step in steps]
        ticks = [tick for tick in ticks if 10**low <= tick <= 10**high]
        if len(ticks) <= 8:
            break
    if len(ticks) > 8:
        ticks = ticks[:: math.ceil(len(ticks) / 8)]
    if len(ticks) < 2 and high > low:
        return [float(f"{10 ** (low + (high - low) * part):.2g}") for part in (0.15, 0.5, 0.85)]
    return ticks
