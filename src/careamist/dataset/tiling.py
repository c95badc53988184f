"""Which tiles an image is predicted in: exact, because cores lie on the grid of the network.

An image is thought of as padded at its end to a multiple of the grid (``2**depth`` per axis). A
tile is a core plus a halo on every side that is not the border of the padded image; with the halo
that the network states, the core comes out as in one pass over the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.region import TileSpecs
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack


LARGE_CORE = 512
"""Cores beyond this edge are a multiple of half of it, so that storage chunks fill them."""


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

    def specs(self, data_idx: int, data_shape: Sequence[int]) -> Tiles:
        """Return the tiles of one image stack of shape SC(Z)YX, sample by sample."""
        cuts = tuple(tuple(self._axis_tiles(axis, n)) for axis, n in enumerate(data_shape[2:]))
        return Tiles(data_idx, int(data_shape[0]), cuts)

    def _axis_tiles(self, axis: int, n: int) -> list[Cut]:
        step, halo, padded = self.grid[axis], self.halo[axis], _round_up(n, self.grid[axis])
        if self.tile_size is None or padded <= self.tile_size[axis]:
            return [Cut(0, padded, 0, n)]
        count = -(-padded // (self.tile_size[axis] - 2 * halo))
        core = _round_up(-(-padded // count), step)  # cores of equal size waste least
        if core > LARGE_CORE:  # a whole number of storage chunks
            unit = math.lcm(step, LARGE_CORE // 2)
            core = max(core // unit, 1) * unit
        tiles = []
        for start in range(0, padded, core):
            first, last = max(start - halo, 0), min(start + core + halo, padded)
            tiles.append(Cut(first, last - first, start, min(core, n - start)))
        return tiles


class Cut(NamedTuple):
    """A tile on one axis: its window and its core, by first pixel and size."""

    start: int
    size: int
    core_start: int
    core_size: int


@dataclass(frozen=True)
class Tiles(Sequence[TileSpecs]):
    """The tiles of one image, numbered sample by sample; made when they are asked for.

    Parameters
    ----------
    data_idx : int
        Number of the image.
    n_samples : int
        Length of its sample axis.
    cuts : tuple of tuple of Cut
        Per axis in (Z)YX.
    """

    data_idx: int
    n_samples: int
    cuts: tuple[tuple[Cut, ...], ...]

    def __len__(self) -> int:
        return self.n_samples * math.prod(map(len, self.cuts))

    @property
    def core_size(self) -> tuple[int, ...]:
        """Size of the cores in (Z)YX; the last ones of an axis may be smaller."""
        return tuple(cuts[0].core_size for cuts in self.cuts)

    @overload
    def __getitem__(self, number: int) -> TileSpecs: ...
    @overload
    def __getitem__(self, number: slice) -> list[TileSpecs]: ...
    def __getitem__(self, number: int | slice) -> TileSpecs | list[TileSpecs]:
        if isinstance(number, slice):
            return [self[place] for place in range(len(self))[number]]
        number = range(len(self))[number]
        sample, *places = np.unravel_index(number, (self.n_samples, *map(len, self.cuts)))
        cuts = [axis[place] for axis, place in zip(self.cuts, places, strict=True)]
        return TileSpecs(
            data_idx=self.data_idx,
            sample_idx=int(sample),
            coords=tuple(cut.start for cut in cuts),
            patch_size=tuple(cut.size for cut in cuts),
            crop_coords=tuple(cut.core_start - cut.start for cut in cuts),
            crop_size=tuple(cut.core_size for cut in cuts),
            stitch_coords=tuple(cut.core_start for cut in cuts),
            total_tiles=len(self),
        )

    def number_of(self, specs: TileSpecs) -> int:
        """Return the number of a tile."""
        places = [
            first // cuts[0].core_size
            for first, cuts in zip(specs["stitch_coords"], self.cuts, strict=True)
        ]
        shape = (self.n_samples, *map(len, self.cuts))
        return int(np.ravel_multi_index((specs["sample_idx"], *places), shape))

    def nearest_to(self, place: Sequence[float], numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return `numbers` with the tiles nearest a place first.

        Parameters
        ----------
        place : sequence of float
            Sample, then (Z)YX, in pixels. The nearer sample always comes first, then the nearer
            plane, then what is nearer in the plane.
        numbers : numpy.ndarray of int
            Tiles to be sorted; those equally near keep their order.
        """
        samples, *indices = np.unravel_index(numbers, (self.n_samples, *map(len, self.cuts)))
        away = []
        for found, cuts, point in zip(indices, self.cuts, place[1:], strict=True):
            first = np.array([cut.core_start for cut in cuts])
            last = first + [cut.core_size - 1 for cut in cuts]
            distance = np.maximum(np.maximum(first - point, point - last), 0)
            centre = np.abs((first + last) / 2 - point) * 1e-6  # among those in view
            away.append((distance + centre)[found])
        in_plane = np.hypot(away[-2], away[-1])
        keys = (in_plane, *away[:-2], np.abs(samples - place[0]))
        return numbers[np.lexsort(keys)]


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
