"""The linear path: a fixed filter beside the network, fitted by least squares before training.

The network then only learns what a linear filter cannot do, and starts from the filter's result
instead of from noise.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch.nn.functional import conv2d, conv3d, pad

_RADIUS, _RADIUS_Z = 3, 1  # pixels; the linear path of a volume sees few planes
_RIDGE = 1e-3
_MAX_WINDOWS = 30_000
_MAX_VALUES = 2**24  # windows of many channels: 128 MB in float64


def filter_shape(dims: int) -> tuple[int, ...]:
    """Return the size of the filter in pixels: 7×7, or 3×7×7."""
    edge = 2 * _RADIUS + 1
    return (edge, edge) if dims == 2 else (2 * _RADIUS_Z + 1, edge, edge)


def apply_filter(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Filter images, zeros around them.

    Parameters
    ----------
    images : torch.Tensor
        (N, C, (Z), Y, X).
    weights : torch.Tensor
        (C_out, C / groups, (k), k, k), odd sizes: with C groups, each channel has a filter of its
        own.
    """
    conv = conv2d if images.ndim == 4 else conv3d
    padding = tuple(n // 2 for n in weights.shape[2:])
    return conv(images, weights, padding=padding, groups=images.shape[1] // weights.shape[1])


def fit_filter(
    images: torch.Tensor,
    free: torch.Tensor,
    targets: torch.Tensor | None = None,
    *,
    per_channel: bool = False,
) -> torch.Tensor:
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
    targets : torch.Tensor, optional
        (N, C_out, (Z), Y, X), normalised: what is predicted; the images themselves if None.
    per_channel : bool
        Whether each channel is predicted from itself alone; C_out is C then.

    Returns
    -------
    torch.Tensor
        float32 (C_out, 1 or C, (k), k, k), on the CPU.
    """
    wanted = images if targets is None else targets
    groups = images.shape[1] if per_channel else 1
    # on the CPU: not every device can compute in float64
    known, aims = (tensor.detach().cpu().chunk(groups, dim=1) for tensor in (images, wanted))
    filters = [_fit(part, free, aim) for part, aim in zip(known, aims, strict=True)]
    return torch.cat(filters).float()


def _fit(images: torch.Tensor, free: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return float64 (C_out, C, (k), k, k) for images that all of `wanted` is predicted from."""
    n_in, n_out = images.shape[1], wanted.shape[1]
    # windows end at the border, but where a patch is too small for one they reach beyond it
    margins = [
        size // 2 if length < size else 0
        for size, length in zip(free.shape, images.shape[2:], strict=True)
    ]
    windows = pad(images.double(), [m for margin in reversed(margins) for m in (margin, margin)])
    inner = [
        slice(size // 2 - margin, length - size // 2 + margin)
        for size, length, margin in zip(free.shape, images.shape[2:], margins, strict=True)
    ]
    centres = wanted.double()[(slice(None), slice(None), *inner)]
    for axis, size in enumerate(free.shape):
        windows = windows.unfold(2 + axis, size, 1)
    most = min(_MAX_WINDOWS, _MAX_VALUES // (n_in * free.numel()))
    count = centres[:, 0].numel()
    step = max(math.ceil((count / most) ** (1 / free.ndim)), 1)
    thinned = (slice(None), slice(None), *(slice(None, None, step),) * free.ndim)
    aims = centres[thinned].movedim(1, -1).reshape(-1, n_out)
    known = windows[thinned].movedim(1, -1 - free.ndim).reshape(len(aims), n_in, -1)
    known = known[..., free.flatten()].flatten(1)
    gram = known.T @ known / len(known)
    ridge = _RIDGE * gram.diagonal().mean() + torch.finfo(gram.dtype).eps
    gram += ridge * torch.eye(len(gram), dtype=gram.dtype)
    solved = torch.linalg.solve(gram, known.T @ aims / len(known))
    weights = torch.zeros((n_out, n_in, *free.shape), dtype=torch.float64)
    weights[..., free] = solved.T.reshape(n_out, n_in, -1)
    return _symmetric(weights, free)


def _symmetric(weights: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    versions = []
    axes_of_filter = range(-free.ndim, 0)
    flips = [
        [axis for axis, on in zip(axes_of_filter, chosen, strict=True) if on]
        for chosen in product((False, True), repeat=free.ndim)
    ]
    for axes, turned in product(flips, (False, True)):
        moved = [tensor.flip(axes) if axes else tensor for tensor in (weights, free)]
        if turned:
            moved = [tensor.transpose(-1, -2) for tensor in moved]
        if torch.equal(moved[1], free):
            versions.append(moved[0])
    return torch.stack(versions).mean(dim=0)
