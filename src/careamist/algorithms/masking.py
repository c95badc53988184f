"""Masking for blind-spot training: which pixels are predicted, and what the network sees there.

All draws are functions of a sample's key and integer arithmetic, so that a mask does not depend
on the batch, the device or the precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from careamist.stream import integers, uniforms

if TYPE_CHECKING:
    import torch

StructAxes = Literal["none", "horizontal", "vertical", "cross", "square"]
Offsets = Sequence[Sequence[int]]

_MASK = 2**20  # first counter of the mask; below it lie those of the augmentations
_NOISE = 2**40  # first counter of the values that a struct pattern is overwritten with
_BITS = 16  # of the fraction in box edges
_MAX_VALUES = 2**24  # that medians are taken of at a time: 128 MB of indices


class Masked(NamedTuple):
    """A batch with some pixels replaced.

    `inputs` has the shape of the batch; `places` int64 (N, C, n) are flat pixel indices of the
    pixels that are predicted, `weights` (N, C, n) is 0 for places that count for nothing.
    """

    inputs: torch.Tensor
    places: torch.Tensor
    weights: torch.Tensor


class Centres(NamedTuple):
    """The chosen pixels of a batch, one per box.

    `points` are int64 (N, C, n) coordinates, one tensor per spatial axis; `valid` bool (N, C, n)
    tells which of them lie inside the patch (the others are moved into it); `draws` int64
    (N, C, n) are random numbers of which nothing was used yet.
    """

    points: list[torch.Tensor]
    valid: torch.Tensor
    draws: torch.Tensor


def struct_pattern(axes: StructAxes, span: int) -> NDArray[np.bool_]:
    """Return the pixels around a centre that are overwritten too, bool (span, span) in YX."""
    at_centre = np.arange(span) == span // 2
    row, column = np.broadcast_arrays(at_centre[:, None], at_centre[None, :])
    patterns: dict[str, NDArray[np.bool_]] = {
        "none": np.zeros((span, span), bool),
        "horizontal": row,
        "vertical": column,
        "cross": row | column,
        "square": np.ones((span, span), bool),
    }
    pattern: NDArray[np.bool_] = patterns[axes] & ~(row & column)
    return pattern


def pattern_offsets(pattern: NDArray[np.bool_] | None, dims: int) -> list[tuple[int, ...]]:
    """Return a pattern as offsets from its centre in (Z)YX; a 2D one lies in the YX plane."""
    if pattern is None:
        return []
    places = np.argwhere(pattern) - np.array(pattern.shape) // 2
    above = (0,) * (dims - pattern.ndim)
    return [(*above, *map(int, place)) for place in places]


def choose(shape: Sequence[int], percentage: float, keys: torch.Tensor) -> Centres:
    """Choose one pixel per box, in each channel apart.

    The boxes tile the patch from a random start on, with whole pixels at their edges: no pixel
    is chosen twice, and each is chosen with the same probability, exactly `percentage`.

    Parameters
    ----------
    shape : sequence of int
        Of the batch, (N, C, (Z), Y, X).
    percentage : float
        Of the pixels.
    keys : torch.Tensor
        int64 (N,), on the device of the result.
    """
    import torch

    _, channels, *spatial = shape
    dims, device = len(spatial), keys.device
    box = round((100 / percentage) ** (1 / dims) * 2**_BITS)
    counts = [-(-(size << _BITS) // box) + 1 for size in spatial]
    n_starts, n_boxes = channels * dims, channels * math.prod(counts)
    counters = torch.arange(n_starts + n_boxes, device=device) + _MASK
    drawn, of_boxes = integers(keys.view(-1, 1), counters).split((n_starts, n_boxes), dim=1)
    starts = drawn.unflatten(1, (channels, dims)) % box
    draws = of_boxes.unflatten(1, (channels, *counts))
    points, valid = [], torch.ones_like(draws, dtype=torch.bool)
    for axis, (size, count) in enumerate(zip(spatial, counts, strict=True)):
        edges = torch.arange(-1, count, device=device) * box + starts[..., axis : axis + 1]
        edges >>= _BITS
        along = [count if other == axis else 1 for other in range(dims)]
        first = edges[..., :-1].unflatten(2, along)
        extent = edges.diff(dim=2).unflatten(2, along)
        rest = draws // extent
        point = first + (draws - rest * extent)
        draws = rest
        valid &= (point >= 0) & (point < size)
        points.append(point.clamp_(0, size - 1).flatten(2))
    return Centres(points, valid.flatten(2), draws.flatten(2))


def replace(
    images: torch.Tensor,
    keys: torch.Tensor,
    centres: Centres,
    values: torch.Tensor,
    struct: Offsets,
) -> Masked:
    """Write a value to each centre, and random ones to the struct pattern around it.

    The values of the pattern are uniform between the least and the greatest of the patch, in
    each sample and channel. Centres are written last: one that lies in the pattern of another
    keeps its replacement, and counts.

    Parameters
    ----------
    images : torch.Tensor
        (N, C, (Z), Y, X).
    keys : torch.Tensor
        int64 (N,).
    centres : Centres
        The chosen pixels.
    values : torch.Tensor
        (N, C, n), what is written to them.
    struct : sequence of sequence of int
        Offsets from a centre in (Z)YX.
    """
    import torch

    flat = images.flatten(2)
    n_pixels = flat.shape[2]
    sizes = images.shape[2:]
    places = flat_index(centres.points, sizes)
    # what does not count is written to a pixel beyond the end, which is cut off again
    padded = torch.nn.functional.pad(flat, (0, 1))
    if struct:
        around = [
            (point.unsqueeze(-1) + torch.tensor(shifts, device=point.device)).flatten(2)
            for point, shifts in zip(centres.points, zip(*struct, strict=True), strict=True)
        ]
        inside = centres.valid.repeat_interleave(len(struct), dim=2)
        for point, size in zip(around, sizes, strict=True):
            inside &= (point >= 0) & (point < size)
        hit = torch.zeros_like(padded, dtype=torch.bool)
        hit.scatter_(2, torch.where(inside, flat_index(around, sizes), n_pixels), True)
        low, high = flat.aminmax(dim=2, keepdim=True)
        counters = torch.arange(flat.shape[1] * (n_pixels + 1), device=flat.device) + _NOISE
        noise = uniforms(keys.view(-1, 1, 1), counters.view(flat.shape[1], -1))
        padded = torch.where(hit, low + (high - low) * noise.to(flat.dtype), padded)
    padded = padded.scatter(2, torch.where(centres.valid, places, n_pixels), values)
    inputs = padded[..., :-1].reshape(images.shape)
    return Masked(inputs, places, centres.valid.to(images.dtype))


def uniform_values(
    images: torch.Tensor, centres: Centres, roi_size: int, include_centre: bool
) -> torch.Tensor:
    """Return for each centre a pixel of the window around it, as far as that lies in the patch.

    All pixels of this window are equally likely; without the centre, only a patch of one pixel
    gives the centre itself.
    """
    import torch

    radius = roi_size // 2
    firsts = [(point - radius).clamp(min=0) for point in centres.points]
    extents = [
        (point + radius).clamp(max=size - 1) - first + 1
        for point, first, size in zip(centres.points, firsts, images.shape[2:], strict=True)
    ]
    count = reduce(torch.mul, extents)
    if include_centre:
        choice = centres.draws % count
    else:
        choice = centres.draws % (count - 1).clamp(min=1)
        own = [point - first for point, first in zip(centres.points, firsts, strict=True)]
        choice = choice + (choice >= flat_index(own, extents))
    sources: list[torch.Tensor] = []
    for first, extent in zip(reversed(firsts), reversed(extents), strict=True):
        rest = choice // extent
        sources.insert(0, first + (choice - rest * extent))
        choice = rest
    return images.flatten(2).gather(2, flat_index(sources, images.shape[2:]))


def median_values(images: torch.Tensor, centres: Centres, window: Offsets) -> torch.Tensor:
    """Return for each centre the median of the pixels at these offsets from it.

    Coordinates are clamped to the patch; of an even number of values, the lower of the middle
    two is the median.
    """
    import torch

    shape = centres.draws.shape
    flat = images.flatten(2)
    rows = max(_MAX_VALUES // (len(window) * shape[0] * shape[1]), 1)
    medians = []
    for first in range(0, shape[2], rows):  # once for all but very large windows
        around = []
        for point, shifts, size in zip(
            centres.points, zip(*window, strict=True), images.shape[2:], strict=True
        ):
            moved = point[..., first : first + rows, None] + torch.tensor(
                shifts, device=point.device
            )
            around.append(moved.clamp_(0, size - 1))
        values = flat.gather(2, flat_index(around, images.shape[2:]).flatten(2))
        medians.append(values.unflatten(2, (-1, len(window))).median(dim=-1).values)
    return torch.cat(medians, dim=2)


def window_offsets(roi_size: int, dims: int, without: Offsets) -> list[tuple[int, ...]]:
    """Return the offsets of all pixels of a window but some."""
    radius, missing = roi_size // 2, {tuple(offset) for offset in without}
    everywhere = np.ndindex(*(roi_size,) * dims)
    offsets = (tuple(int(n) - radius for n in place) for place in everywhere)
    return [offset for offset in offsets if offset not in missing]


def flat_index(points: Sequence[torch.Tensor], sizes: Sequence[int | torch.Tensor]) -> torch.Tensor:
    """Return the C-order indices of points, given by axis, in boxes of these sizes."""
    index = points[0]
    for point, size in zip(points[1:], sizes[1:], strict=True):
        index = index * size + point
    return index
