"""A part of an image through the network: boxes, their tiles, and how much work these are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from careamist.dataset.region import TileSpecs

if TYPE_CHECKING:
    from careamist.dataset.tiling import Tiling


def shrunk(
    start: Sequence[int], size: Sequence[int], wanted: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return start and size of a box, no larger than `wanted`, about the centre of another one."""
    sizes = tuple(min(n, most) for n, most in zip(size, wanted, strict=True))
    starts = (at + (n - m) // 2 for at, n, m in zip(start, size, sizes, strict=True))
    return tuple(starts), sizes


def core_size(
    tiling: Tiling,
    shape: Sequence[int],
    size: Sequence[int],
    least: Sequence[int],
    pixels: float,
) -> tuple[int, ...]:
    """Return how large the cores of a box may be for windows of at most so many pixels.

    Parameters
    ----------
    tiling : Tiling
        States grid and halo.
    shape : sequence of int
        Size of the image in (Z)YX.
    size : sequence of int
        Size of the box.
    least : sequence of int
        Cores are no smaller, whatever the pixels.
    pixels : float
        Of a window.
    """
    core = list(size)
    while True:
        windows = (
            min(edge + 2 * halo, n) for edge, halo, n in zip(core, tiling.halo, shape, strict=True)
        )
        longest = max(range(len(core)), key=lambda axis: core[axis] - least[axis])
        if math.prod(windows) <= pixels or core[longest] <= least[longest]:
            return tuple(core)
        core[longest] = max(-(-core[longest] // 2), least[longest])


def box_tiles(
    tiling: Tiling,
    shape: Sequence[int],
    sample: int,
    start: Sequence[int],
    size: Sequence[int],
    core: Sequence[int],
) -> list[TileSpecs]:
    """Return the tiles of a box; their cores lie on the grid and are cut to the box.

    Parameters
    ----------
    tiling : Tiling
        States grid and halo.
    shape : sequence of int
        Size of the image in (Z)YX.
    sample : int
        Sample of the image.
    start, size : sequence of int
        The box, inside the image.
    core : sequence of int
        About how large the cores are; they are cut alike.
    """
    per_axis = []
    for axis, n in enumerate(shape):
        step, halo = tiling.grid[axis], tiling.halo[axis]
        low, stop = start[axis] // step * step, start[axis] + size[axis]
        count = -(-size[axis] // core[axis])
        edge = _round_up(-(-(stop - low) // count), step)
        cuts = []
        for at in range(low, stop, edge):
            first, last = max(at, start[axis]), min(at + edge, stop)
            begin, until = max(at - halo, 0), min(_round_up(last, step) + halo, _round_up(n, step))
            cuts.append((begin, until - begin, first, last - first))
        per_axis.append(cuts)
    total = math.prod(map(len, per_axis))
    return [_specs(sample, total, cuts) for cuts in product(*per_axis)]


def n_pixels(tiles: Sequence[TileSpecs]) -> int:
    """Return the pixels of all windows: what a prediction takes grows with them."""
    return sum(math.prod(specs["patch_size"]) for specs in tiles)


def _specs(sample: int, total: int, cuts: Sequence[tuple[int, int, int, int]]) -> TileSpecs:
    windows, sizes, cores, core_sizes = zip(*cuts, strict=True)
    return TileSpecs(
        data_idx=0,
        sample_idx=sample,
        coords=windows,
        patch_size=sizes,
        crop_coords=tuple(c - w for c, w in zip(cores, windows, strict=True)),
        crop_size=core_sizes,
        stitch_coords=cores,
        total_tiles=total,
    )


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step
