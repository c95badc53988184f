"""The linear path: a fixed filter beside the network, fitted by least squares before training.

The network then only learns what a linear filter cannot do, and starts from the filter's result
instead of from noise.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch.nn.functional import conv2d, conv3d

_RADIUS, _RADIUS_Z = 3, 1  # pixels; the linear path of a volume sees few planes
_RIDGE = 1e-3
_MAX_WINDOWS = 30_000


def filter_shape(dims: int) -> tuple[int, ...]:
    """Return the size of the filter in pixels: 7×7, or 3×7×7."""
    edge = 2 * _RADIUS + 1
    return (edge, edge) if dims == 2 else (2 * _RADIUS_Z + 1, edge, edge)


def apply_filter(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Filter each channel with its own weights, zeros around the image.

    Parameters
    ----------
    images : torch.Tensor
        (N, C, (Z), Y, X).
    weights : torch.Tensor
        (C, 1, (k), k, k), odd sizes.
    """
    conv = conv2d if images.ndim == 4 else conv3d
    padding = tuple(n // 2 for n in weights.shape[2:])
    return conv(images, weights, padding=padding, groups=images.shape[1])


def fit_filter(images: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    """Return the filter that predicts a pixel best from those around it.

    Ridge regression over up to 30 000 windows, averaged over the flips and turns of the filter
    that keep the set of free coefficients as it is.

    Parameters
    ----------
    images : torch.Tensor
        (N, C, (Z), Y, X), normalised.
    free : torch.Tensor
        bool ((k), k, k): the coefficients that may differ from zero. A blind filter, which must
        not see the pixel it predicts, has False in the centre.

    Returns
    -------
    torch.Tensor
        float32 (C, 1, (k), k, k).
    """
    dims = free.ndim
    filters = []
    for channel in range(images.shape[1]):
        windows = images[:, channel].double()
        for axis, size in enumerate(free.shape):
            windows = windows.unfold(1 + axis, size, 1)
        count = math.prod(windows.shape[: 1 + dims])
        step = math.ceil((count / _MAX_WINDOWS) ** (1 / dims))
        windows = windows[(slice(None), *(slice(None, None, max(step, 1)),) * dims)]
        windows = windows.reshape(-1, free.numel())
        known, wanted = windows[:, free.flatten()], windows[:, free.numel() // 2]
        gram = known.T @ known / len(known)
        ridge = _RIDGE * gram.diagonal().mean() + torch.finfo(gram.dtype).eps
        gram += ridge * torch.eye(len(gram), dtype=gram.dtype)
        weights = torch.zeros(free.shape, dtype=torch.float64)
        weights[free] = torch.linalg.solve(gram, known.T @ wanted / len(known))
        filters.append(_symmetric(weights, free))
    return torch.stack(filters).unsqueeze(1).float()


def _symmetric(weights: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    versions = []
    flips = [
        [axis for axis, on in enumerate(chosen) if on]
        for chosen in product((False, True), repeat=weights.ndim)
    ]
    for axes, turned in product(flips, (False, True)):
        moved = [tensor.flip(axes) if axes else tensor for tensor in (weights, free)]
        if turned:
            moved = [tensor.transpose(-1, -2) for tensor in moved]
        if torch.equal(moved[1], free):
            versions.append(moved[0])
    return torch.stack(versions).mean(dim=0)
