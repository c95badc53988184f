"""Which tiles an image is predicted in: exact, because cores lie on the grid of the network.

An image is thought of as padded at its end to a multiple of the grid (``2**depth`` per axis). A
tile is a core plus a halo on every side that is not the border of the padded image; with the halo
that the network states, the core comes out as in one pass over the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.region import TileSpecs
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack


@dataclass(frozen=True)
class Tiling:
    """Tiles of one axis layout.

    Parameters
    ----------
    grid : tuple of int
        Per axis in (Z)YX, the pixels between two places that the network treats alike.
    halo : tuple of int
        Context on each side of a core, a multiple of the grid.
    tile_size : tuple of int or None
        Size of a window, halo included; None for whole images.
    """

    grid: tuple[int, ...]
    halo: tuple[int, ...]
    tile_size: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.tile_size is None:
            return
        if not len(self.tile_size) == len(self.grid) == len(self.halo):
            raise SettingsError(
                f"tile_size={self.tile_size} does not fit {len(self.grid)} spatial axes:",
                f"give {len(self.grid)} numbers.",
            )
        fitting = (
            max(_round_up(tile, step), 2 * halo + step)
            for tile, step, halo in zip(self.tile_size, self.grid, self.halo, strict=True)
        )
        object.__setattr__(self, "tile_size", tuple(fitting))

    def padded_shape(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the size of an image once it is padded to the grid."""
        return tuple(_round_up(n, step) for n, step in zip(spatial, self.grid, strict=True))

    def specs(self, data_idx: int, data_shape: Sequence[int]) -> list[TileSpecs]:
        """Return the tiles of one image stack of shape SC(Z)YX, sample by sample."""
        spatial = tuple(data_shape[2:])
        per_axis = [self._axis_tiles(axis, n) for axis, n in enumerate(spatial)]
        total = data_shape[0] * int(np.prod([len(tiles) for tiles in per_axis]))
        specs = []
        for sample in range(data_shape[0]):
            for tiles in product(*per_axis):
                starts, sizes, cores, core_sizes = zip(*tiles, strict=True)
                specs.append(
                    TileSpecs(
                        data_idx=data_idx,
                        sample_idx=sample,
                        coords=starts,
                        patch_size=sizes,
                        crop_coords=tuple(c - s for c, s in zip(cores, starts, strict=True)),
                        crop_size=core_sizes,
                        stitch_coords=cores,
                        total_tiles=total,
                    )
                )
        return specs

    def _axis_tiles(self, axis: int, n: int) -> list[tuple[int, int, int, int]]:
        """Return (window start, window size, core start, core size) of each tile of an axis."""
        step, halo, padded = self.grid[axis], self.halo[axis], _round_up(n, self.grid[axis])
        if self.tile_size is None or padded <= self.tile_size[axis]:
            return [(0, padded, 0, n)]
        count = -(-padded // (self.tile_size[axis] - 2 * halo))
        core = _round_up(-(-padded // count), step)  # cores of equal size waste least
        tiles = []
        for start in range(0, padded, core):
            first, last = max(start - halo, 0), min(start + core + halo, padded)
            tiles.append((first, last - first, start, min(core, n - start)))
        return tiles


def read_window(
    stack: ImageStack, specs: TileSpecs, channels: Sequence[int] | None = None
) -> NDArray[Any]:
    """Read the window of a tile in C(Z)YX; beyond the end of the image it is reflected.

    The stack is never asked for pixels outside its bounds.
    """
    spatial = stack.data_shape[2:]
    inside = [
        min(length, n - start)
        for start, length, n in zip(specs["coords"], specs["patch_size"], spatial, strict=True)
    ]
    window = stack.extract_patch(specs["sample_idx"], channels, specs["coords"], inside)
    missing = [length - n for length, n in zip(specs["patch_size"], inside, strict=True)]
    if not any(missing):
        return window
    return np.pad(window, [(0, 0), *((0, n) for n in missing)], mode="reflect")


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step
