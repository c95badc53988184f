"""A coarse copy of a large result in memory, so that all of it can be shown while it is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGE_EDGE = 4096
"""Planes with a longer edge are shown through an overview."""
MAX_EDGE = 2048
MAX_BYTES = 128 * 2**20


def is_large(shape: Sequence[int], axes: str) -> bool:
    """Return whether a plane is too large to be shown whole."""
    return max(shape[axes.index("Y")], shape[axes.index("X")]) > LARGE_EDGE


class Overview:
    """Every n-th pixel of a result along Y and X.

    Parameters
    ----------
    shape : sequence of int
        Of the result.
    axes : str
        Its axes.
    dtype : numpy.dtype
        Of its pixels.

    Attributes
    ----------
    pixels : numpy.ndarray
        In `axes`, at most 2048 pixels along Y and X and, unless there are more planes than that,
        128 MiB; NaN or 0 where still missing.
    """

    def __init__(self, shape: Sequence[int], axes: str, dtype: np.dtype[Any]) -> None:
        longest = max(shape[axes.index("Y")], shape[axes.index("X")])
        step = -(-longest // MAX_EDGE)
        while step < longest and (
            math.prod(self._lay_out(shape, axes, step)) * dtype.itemsize > MAX_BYTES
        ):
            step += 1 + step // 8
        fill = np.nan if dtype.kind == "f" else 0
        self.pixels = np.full(self._lay_out(shape, axes, step), fill, dtype=dtype)

    def _lay_out(self, shape: Sequence[int], axes: str, step: int) -> tuple[int, ...]:
        """Set which pixels are kept, those in the middle of each step; return how many."""
        self._shape = tuple(shape)
        self._steps = [
            min(step, n) if axis in "YX" else 1 for axis, n in zip(axes, shape, strict=True)
        ]
        return tuple(
            -(-(n - step // 2) // step) for n, step in zip(shape, self._steps, strict=True)
        )

    def update(self, box: Sequence[slice], pixels: NDArray[Any]) -> None:
        """Take over a box of the result."""
        to, of = [], []
        for entry, n, step in zip(box, self._shape, self._steps, strict=True):
            start, stop, _ = entry.indices(n)
            first = max(-(-(start - step // 2) // step), 0)
            last = max(-(-(stop - step // 2) // step), first)
            to.append(slice(first, last))
            of.append(slice(first * step + step // 2 - start, None, step))
        self.pixels[tuple(to)] = pixels[tuple(of)]
