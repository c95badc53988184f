"""A detail of an image before and after, at 1:1: noise vanishes in a picture that was shrunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from careamist.errors import ShapeError

SIZE = 96  # pixels of a detail
_LOOKED_AT = 24  # places along each axis
_SHOWN = (0.5, 99.5)  # percentiles that are black and white


def detail_pair(before: Any, after: Any, size: int = SIZE) -> NDArray[np.uint8]:
    """Return the detail with the most structure, before in the left half and after in the right.

    Parameters
    ----------
    before, after : array-like of shape (..., Y, X)
        The same part of an image, in the same units; of leading axes the middle is taken.
        What is NaN is shown black.
    size : int
        Edge of the detail, or what the image has of it.

    Returns
    -------
    numpy.ndarray
        uint8 (h, 2 w), h and w at most `size`; grey levels mean the same in both halves.

    Raises
    ------
    ShapeError
        If the shapes differ, or there are fewer than two axes or no pixels.
    """
    noisy, restored = np.asarray(before), np.asarray(after)
    if noisy.shape != restored.shape or noisy.ndim < 2 or not noisy.size:
        raise ShapeError(
            f"before has shape {noisy.shape}, after {restored.shape}:",
            "expected the same part of an image in both, with axes (..., Y, X).",
        )
    middle = tuple(n // 2 for n in noisy.shape[:-2])
    noisy, restored = (image[middle].astype(np.float64) for image in (noisy, restored))
    place = _richest(restored, size)
    pair = np.concatenate([noisy[place], restored[place]], axis=1)
    finite = pair[np.isfinite(pair)]
    low, high = np.percentile(finite, _SHOWN) if finite.size else (0.0, 1.0)
    scaled = (np.nan_to_num(pair, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12)
    grey: NDArray[np.uint8] = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return grey


def write_gray_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an 8-bit grey picture."""
    path.write_bytes(imagecodecs.png_encode(image))


def _richest(image: NDArray[np.float64], size: int) -> tuple[slice, slice]:
    """Return the window of an image whose pixels differ most, of some."""
    tops, lefts = (_starts(length, size) for length in image.shape)
    windows = [(slice(top, top + size), slice(left, left + size)) for top in tops for left in lefts]

    def spread(window: tuple[slice, slice]) -> float:
        with np.errstate(invalid="ignore"):
            found = float(np.std(image[window]))
        return found if np.isfinite(found) else -1.0

    return max(windows, key=spread)


def _starts(length: int, size: int) -> list[int]:
    last = max(0, length - size)
    return [*range(0, last, max(size // 2, -(-last // _LOOKED_AT), 1)), last]
