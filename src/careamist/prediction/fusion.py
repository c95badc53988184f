"""Give back a part of the noisy pixel itself, which a network trained blind does not look at.

The result is p + w (x - p) for a pixel x and its prediction p. The weight is
w = max(0, 1 - s²(p) / v(p)), at most a half: v is the mean of (x - p)² where the prediction is near
p, s² the variance of the noise there. What exceeds the noise is signal that the network missed. The
variance of the noise is told by the image: from the median of its diagonal Haar coefficients at
each intensity (Donoho and Johnstone, Biometrika 1994), to which a straight line is fitted, as noise
of photons and of a camera has it. Noise that is alike in neighbours breaks the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BINS = 16
_MOST = 0.5
_MEDIAN_OF_NORMAL = 0.6745  # of |x| for x ~ N(0, 1)

Pixels = NDArray[np.floating]


@dataclass(frozen=True)
class Fusion:
    """The weight of the noisy pixel for each intensity of the prediction.

    Parameters
    ----------
    levels, weights : tuple of tuple of float
        For each channel, intensities and the weights at them; between, weights are interpolated.
    """

    levels: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, pairs: Iterable[tuple[Pixels, Pixels]]) -> Fusion:
        """Return the fusion of some noisy pixels and their predictions, both (C, (Z), Y, X)."""
        found = list(pairs)
        fitted = [
            _fit_channel([(x[channel], p[channel]) for x, p in found])
            for channel in range(len(found[0][0]))
        ]
        return cls(tuple(levels for levels, _ in fitted), tuple(weights for _, weights in fitted))

    def apply(self, noisy: Pixels, predicted: Pixels) -> Pixels:
        """Return the fused pixels of (C, (Z), Y, X)."""
        fused = np.empty_like(predicted)
        for channel, (levels, weights) in enumerate(zip(self.levels, self.weights, strict=True)):
            p = predicted[channel]
            fused[channel] = p + np.interp(p, levels, weights) * (noisy[channel] - p)
        return fused


def _fit_channel(
    pairs: Sequence[tuple[Pixels, Pixels]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    noisy = np.concatenate([x.ravel() for x, _ in pairs]).astype(np.float64)
    predicted = np.concatenate([p.ravel() for _, p in pairs]).astype(np.float64)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _BINS + 1)))
    if len(edges) < 2:  # a flat prediction
        return (float(edges[0]),), (0.0,)
    levels = (edges[:-1] + edges[1:]) / 2
    residual = _by_bin(predicted, (noisy - predicted) ** 2, edges, np.mean)
    haar = np.concatenate([_diagonal(x).ravel() for x, _ in pairs])
    at = np.concatenate([_quad_means(p).ravel() for _, p in pairs])
    spread = _by_bin(at, np.abs(haar), edges, np.median) / _MEDIAN_OF_NORMAL
    known = np.isfinite(spread) & np.isfinite(residual)
    if known.sum() < 2:
        return tuple(levels.tolist()), (0.0,) * len(levels)
    slope, offset = np.polyfit(levels[known], spread[known] ** 2, 1)
    noise = np.maximum(offset + slope * levels, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(known & (residual > 0), 1 - noise / residual, 0)
    return tuple(levels.tolist()), tuple(np.clip(weights, 0, _MOST).tolist())


def _diagonal(image: Pixels) -> Pixels:
    """Return the diagonal Haar coefficients of the last two axes; noise keeps its variance."""
    a, b, c, d = _quads(image)
    coefficients: Pixels = (a - b - c + d) / 2
    return coefficients


def _quad_means(image: Pixels) -> Pixels:
    a, b, c, d = _quads(image)
    means: Pixels = (a + b + c + d) / 4
    return means


def _quads(image: Pixels) -> list[Pixels]:
    image = image[..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2].astype(np.float64)
    return [image[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]


def _by_bin(
    at: Pixels, values: Pixels, edges: Pixels, statistic: Callable[[Pixels], np.floating]
) -> Pixels:
    """Return a statistic of the values in each bin, NaN where there are none."""
    places = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    order = np.argsort(places, kind="stable")
    parts = np.split(values[order], np.searchsorted(places[order], np.arange(1, len(edges) - 1)))
    return np.array([statistic(part) if len(part) else np.nan for part in parts])
