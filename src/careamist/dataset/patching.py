"""Which patches are trained on: stratified over the data, computed for any sample number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.region import PatchSpecs
from careamist.errors import ShapeError
from careamist.stream import hashed, integers, sample_keys

_TRAINING, _VALIDATION = 0, 1
_VALIDATION_SHARE = 8  # at most every eighth patch is kept out of training


@dataclass(frozen=True)
class _Axis:
    """Patches along one axis: a grid that starts up to `slack` pixels before the image.

    Patches that stick out are moved inside, so the grid covers every pixel at least once; with
    slack of half a patch or more, where the grid lies differs from epoch to epoch.
    """

    size: int
    patch: int

    @property
    def count(self) -> int:
        full = -(-self.size // self.patch)
        if self.size == self.patch:
            return 1
        return full if 2 * (full * self.patch - self.size) >= self.patch else full + 1

    @property
    def slack(self) -> int:
        return min(self.count * self.patch - self.size, self.patch)

    def start(self, index: int, offset: int) -> int:
        return int(min(max(index * self.patch - offset, 0), self.size - self.patch))


class StratifiedPatching:
    """Patches whose epoch covers every pixel about once, in O(1) per patch.

    In each epoch every image is covered by a grid of patches at a random offset, and the patches
    of all images come in random order. Sample `k` is a pure function of `(seed, k)`: its epoch is
    ``k // n_patches``, its place in the epoch's order ``k % n_patches``.

    Parameters
    ----------
    data_shapes : sequence of sequence of int
        SC(Z)YX shape of each image stack.
    patch_size : sequence of int
        Size of the patches in (Z)YX, in pixels.
    seed : int
        Seed of the run.
    excluded : sequence of PatchSpecs
        Patches (of validation) that no training patch may touch.

    Raises
    ------
    ShapeError
        If an image is smaller than a patch.
    """

    def __init__(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sequence[int],
        seed: int,
        excluded: Sequence[PatchSpecs] = (),
    ) -> None:
        check_patch_size(data_shapes, patch_size)
        self.patch_size = tuple(int(n) for n in patch_size)
        self.seed = seed
        self._axes = [
            [_Axis(size, patch) for size, patch in zip(shape[2:], self.patch_size, strict=True)]
            for shape in data_shapes
        ]
        per_sample = [math.prod(axis.count for axis in axes) for axes in self._axes]
        self._per_sample = per_sample
        counts = [shape[0] * n for shape, n in zip(data_shapes, per_sample, strict=True)]
        self._ends = np.cumsum(counts)
        self.n_patches = int(self._ends[-1])
        self._excluded: dict[tuple[int, int], list[tuple[int, ...]]] = {}
        for spec in excluded:
            place = (spec["data_idx"], spec["sample_idx"])
            self._excluded.setdefault(place, []).append(tuple(spec["coords"]))
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def specs(self, k: int) -> PatchSpecs:
        """Return where sample `k` of the run lies."""
        epoch, place = divmod(k, self.n_patches)
        place = int(self._epoch_order(epoch)[place])
        data_idx = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[data_idx - 1]) if data_idx else 0
        sample_idx, place = divmod(place, self._per_sample[data_idx])
        axes = self._axes[data_idx]
        grid = np.unravel_index(place, [axis.count for axis in axes])
        key = sample_keys(self.seed, np.asarray([epoch], np.int64), _TRAINING)
        key = hashed(hashed(key ^ np.int64(data_idx)) ^ np.int64(sample_idx))
        draws = integers(key, np.arange(len(axes), dtype=np.int64))
        coords = tuple(
            axis.start(int(index), int(draw % (axis.slack + 1)))
            for axis, index, draw in zip(axes, grid, draws, strict=True)
        )
        return PatchSpecs(
            data_idx=data_idx,
            sample_idx=sample_idx,
            coords=self._avoid(coords, data_idx, sample_idx),
            patch_size=self.patch_size,
        )

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            generator = np.random.default_rng([self.seed & 0xFFFFFFFF, epoch])
            self._order = (epoch, generator.permutation(self.n_patches))
        return self._order[1]

    def _avoid(self, coords: tuple[int, ...], data_idx: int, sample_idx: int) -> tuple[int, ...]:
        """Move a patch that touches an excluded one to the nearest free place."""
        excluded = self._excluded.get((data_idx, sample_idx), [])
        touched = [other for other in excluded if self._overlap(coords, other)]
        if not touched:
            return coords
        axes = self._axes[data_idx]
        choices = [range(axis.size - axis.patch + 1) for axis in axes]
        moves = [
            (*coords[:i], edge, *coords[i + 1 :])
            for other in touched
            for i, patch in enumerate(self.patch_size)
            for edge in (other[i] - patch, other[i] + patch)
            if edge in choices[i]
        ]
        moves.sort(key=lambda move: sum(abs(a - b) for a, b in zip(move, coords, strict=True)))
        grid = product(*([axis.start(i, 0) for i in range(axis.count)] for axis in axes))
        for move in (*moves, *grid):
            if not any(self._overlap(move, other) for other in excluded):
                return move
        raise ShapeError(
            f"The validation patches {excluded} leave no room for training patches of "
            f"{self.patch_size} pixels.",
            "Use smaller patches or fewer validation patches.",
        )

    def _overlap(self, a: Sequence[int], b: Sequence[int]) -> bool:
        return all(abs(x - y) < n for x, y, n in zip(a, b, self.patch_size, strict=True))


def check_patch_size(data_shapes: Sequence[Sequence[int]], patch_size: Sequence[int]) -> None:
    """Raise `ShapeError` if the patches do not fit into each image."""
    for shape in data_shapes:
        spatial = tuple(shape[2:])
        if len(spatial) != len(patch_size):
            raise ShapeError(
                f"patch_size={tuple(patch_size)} does not fit an image of {len(spatial)} spatial "
                f"axes {spatial}:",
                f"give {len(spatial)} numbers.",
            )
        if any(n < patch for n, patch in zip(spatial, patch_size, strict=True)):
            raise ShapeError(
                f"An image of {spatial} pixels is smaller than the patch {tuple(patch_size)}.",
                "Use smaller patches or larger images.",
            )


def validation_patches(
    data_shapes: Sequence[Sequence[int]], patch_size: Sequence[int], wanted: int, seed: int
) -> list[PatchSpecs]:
    """Choose patches for validation: on the grid, spread over the data, no two side by side.

    At most every eighth patch is taken, so that a small image keeps its pixels for training;
    fewer than `wanted`, or none, may come back.
    """
    cells = [
        [n // patch for n, patch in zip(shape[2:], patch_size, strict=True)]
        for shape in data_shapes
    ]
    counts = [shape[0] * math.prod(cell) for shape, cell in zip(data_shapes, cells, strict=True)]
    ends = np.cumsum(counts)
    wanted = min(wanted, int(ends[-1]) // _VALIDATION_SHARE)
    chosen: list[tuple[int, int, tuple[int, ...]]] = []
    key = sample_keys(seed, np.zeros(1, np.int64), _VALIDATION)
    for draw in integers(key, np.arange(50 * wanted, dtype=np.int64)):
        place = int(draw % ends[-1])
        data_idx = int(np.searchsorted(ends, place, side="right"))
        place -= int(ends[data_idx - 1]) if data_idx else 0
        sample_idx, place = divmod(place, math.prod(cells[data_idx]))
        cell = tuple(int(i) for i in np.unravel_index(place, cells[data_idx]))
        side_by_side = any(
            (data_idx, sample_idx) == (d, s)
            and all(abs(a - b) <= 1 for a, b in zip(cell, c, strict=True))
            for d, s, c in chosen
        )
        if len(chosen) < wanted and not side_by_side:
            chosen.append((data_idx, sample_idx, cell))
    return [
        PatchSpecs(
            data_idx=data_idx,
            sample_idx=sample_idx,
            coords=tuple(i * patch for i, patch in zip(cell, patch_size, strict=True)),
            patch_size=tuple(patch_size),
        )
        for data_idx, sample_idx, cell in chosen
    ]


def grid_patches(
    data_shapes: Sequence[Sequence[int]], patch_size: Sequence[int]
) -> list[PatchSpecs]:
    """Cover separate validation data with a grid of patches; the last ones are moved inside."""
    check_patch_size(data_shapes, patch_size)
    return [
        PatchSpecs(
            data_idx=data_idx, sample_idx=sample, coords=coords, patch_size=tuple(patch_size)
        )
        for data_idx, shape in enumerate(data_shapes)
        for sample in range(shape[0])
        for coords in product(
            *(
                [min(i * patch, n - patch) for i in range(-(-n // patch))]
                for n, patch in zip(shape[2:], patch_size, strict=True)
            )
        )
    ]
