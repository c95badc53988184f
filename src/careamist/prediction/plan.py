"""What a prediction will do before it does anything: which tiles of which images, in which order.

Tiles are the unit of work and of storage: what is written of one belongs to no other, so that any
of them can be computed by anyone, in any order, and a job can be split or taken up again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from careamist.compute import free_memory
from careamist.dataset.tiling import Tiling
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from careamist.models.unet import UNetModel
    from careamist.prediction.output import Output

# Larger activations are mapped and zeroed anew by each operation (glibc). In a volume the halo
# weighs more: there fewer, larger tiles win.
_ACTIVATION_BYTES = {2: 32 * 2**20, 3: 512 * 2**20}
_ACTIVATIONS_AT_ONCE = 12  # as large as the largest: skips, and what the convolution needs


@dataclass(frozen=True)
class Share:
    """What one worker does of a job.

    Parameters
    ----------
    tiles : dict of int to numpy.ndarray of int
        For each image, by its index, the numbers of its tiles.
    """

    tiles: dict[int, NDArray[np.intp]]

    def __len__(self) -> int:
        return sum(map(len, self.tiles.values()))


def split(outputs: Sequence[Output], n: int, *, by_tiles: bool) -> list[Share]:
    """Split a job in `n` shares that together hold each tile once and need nothing of each other.

    Parameters
    ----------
    outputs : sequence of Output
        The results of the job.
    n : int
        Number of shares; some are empty where there is less to do.
    by_tiles : bool
        Whether a result may be written by several workers at a time, as Zarr; else a share holds
        whole images.

    Returns
    -------
    list of Share
        Of about equal numbers of tiles; with `by_tiles` those of a share follow each other.
    """
    if n < 1:
        raise SettingsError(f"A job cannot be split in {n} shares:", "give 1 or more.")
    if not by_tiles:
        shares: list[dict[int, NDArray[np.intp]]] = [{} for _ in range(n)]
        for output in sorted(outputs, key=lambda one: -len(one.tiles)):  # largest first
            least = min(shares, key=lambda share: sum(map(len, share.values())))
            least[output.index] = np.arange(len(output.tiles))
        return [Share(dict(sorted(share.items()))) for share in shares]
    total = sum(len(output.tiles) for output in outputs)
    bounds = [total * k // n for k in range(n + 1)]
    shares = [{} for _ in range(n)]
    first = 0
    for output in outputs:
        last = first + len(output.tiles)
        for share, low, high in zip(shares, bounds, bounds[1:], strict=False):
            if (start := max(low, first)) < (end := min(high, last)):
                share[output.index] = np.arange(start - first, end - first)
        first = last
    return [Share(share) for share in shares]


def plan_tiling(
    model: UNetModel,
    tile_size: Sequence[int] | str | None,
    tile_overlap: Sequence[int] | str = "auto",
    data_shapes: Sequence[Sequence[int]] = (),
    *,
    value_bytes: int = 4,
    at_once: int = 1,
) -> Tiling:
    """Return the tiling for a network.

    Parameters
    ----------
    model : UNetModel
        States its grid and halo.
    tile_size : sequence of int, "auto" or None
        Window in (Z)YX, halo included; None for whole images, "auto" for windows whose largest
        activation stays below 32 MiB, less where memory is short.
    tile_overlap : sequence of int or "auto"
        Overlap of neighbouring windows in (Z)YX; "auto" is twice the halo, which is exact.
    data_shapes : sequence of sequence of int
        SC(Z)YX shapes of the images: "auto" gives what a thin axis does not need to the others.
    value_bytes : int
        Bytes of a number in the network: two where it computes in few digits.
    at_once : int
        Tiles that are computed at a time.
    """
    grid, halo = model.grid, model.halo
    if tile_size == "auto":
        values_per_pixel = 3 * model.head.in_channels  # the concatenation at full resolution
        free = free_memory() // (_ACTIVATIONS_AT_ONCE * at_once)
        pixels = min(_ACTIVATION_BYTES[len(grid)], free) / (value_bytes * values_per_pixel)
        return Tiling(grid, halo, _auto_tile(pixels, grid, halo, data_shapes))
    if isinstance(tile_size, str) or (isinstance(tile_overlap, str) and tile_overlap != "auto"):
        raise SettingsError(
            f"tile_size={tile_size!r}, tile_overlap={tile_overlap!r} is not understood:",
            "expected numbers of pixels, 'auto' or (for tile_size) None.",
        )
    if not isinstance(tile_overlap, str):
        if len(tile_overlap) != len(grid):
            raise SettingsError(
                f"tile_overlap={tuple(tile_overlap)} does not fit {len(grid)} spatial axes:",
                f"give {len(grid)} numbers, or 'auto'.",
            )
        halo = tuple(
            -(-int(overlap) // (2 * step)) * step
            for overlap, step in zip(tile_overlap, grid, strict=True)
        )
    return Tiling(grid, halo, None if tile_size is None else tuple(map(int, tile_size)))


def _auto_tile(
    pixels: float,
    grid: Sequence[int],
    halo: Sequence[int],
    data_shapes: Sequence[Sequence[int]],
) -> tuple[int, ...]:
    """Return windows of about `pixels` that are no longer than the longest image on any axis."""
    dims = len(grid)
    longest = [max((shape[2 + i] for shape in data_shapes), default=2**31) for i in range(dims)]
    tile = [0] * dims
    for place, axis in enumerate(sorted(range(dims), key=longest.__getitem__)):
        edge = int(pixels ** (1 / (dims - place)))
        least = 3 * halo[axis]  # a core as large as the halo: less would mostly compute context
        wanted = min(max(edge, least), -(-longest[axis] // grid[axis]) * grid[axis])
        tile[axis] = wanted // grid[axis] * grid[axis]
        pixels /= max(tile[axis], 1)
    return tuple(tile)
