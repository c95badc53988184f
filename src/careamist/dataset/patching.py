"""Which patches are trained on: stratified over the data, computed for any sample number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import overload

import numpy as np

from careamist.dataset.blocks import BlockLayout, whole_samples
from careamist.dataset.patch_order import PatchOrder, Window
from careamist.dataset.region import PatchSpecs
from careamist.dataset.thinning import ThinnedOrder, Thinning
from careamist.errors import ShapeError


class StratifiedPatching:
    """Patches whose epoch covers every pixel about once, in O(1) per patch.

    In each epoch every block of every image is covered by a grid of patches at a random offset.
    Blocks that are pooled come in groups that fit into memory together, each a random choice
    from all images; the patches of a group come in random order. A single group, which is what
    small or unchunked data are, means a full shuffle. Sample `k` is a pure function of
    ``(seed, k)``: its epoch is ``k // n_patches``, its place in the epoch's order
    ``k % n_patches``. Memory and time do not grow with the data, only with the number of stacks.

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
    layout : BlockLayout, optional
        The blocks of the stacks, from `lay_out`; each sample is a block when not given.
    thinning : Thinning, optional
        Which patches of an epoch are left out, most of the time, from a filter of patches.

    Attributes
    ----------
    n_patches : int
        Patches per epoch, the same in each.

    Raises
    ------
    ShapeError
        If an image is smaller than a patch.
    """

    _anywhere = False

    def __init__(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sequence[int],
        seed: int,
        excluded: Sequence[PatchSpecs] = (),
        layout: BlockLayout | None = None,
        thinning: Thinning | None = None,
    ) -> None:
        check_patch_size(data_shapes, patch_size)
        self.patch_size = tuple(int(n) for n in patch_size)
        self.seed = seed
        self._layout = layout or BlockLayout.of([whole_samples(shape) for shape in data_shapes])
        order = PatchOrder(self._layout, self.patch_size, seed, self._anywhere)
        self._order = order if thinning is None else ThinnedOrder(order, thinning)
        self.n_patches = self._order.n_patches
        self._excluded = ExcludedPatches(excluded, self.patch_size)
        self._window = Window(0, [], [], [])

    def specs(self, k: int) -> PatchSpecs:
        """Return where sample `k` of the run lies."""
        window = self._window
        if not 0 <= k - window.first < len(window.data_idx):
            window = self._window = self._avoiding(self._order.window(k))
        at = k - window.first
        return PatchSpecs(
            data_idx=window.data_idx[at],
            sample_idx=window.sample_idx[at],
            coords=tuple(window.coords[at]),
            patch_size=self.patch_size,
        )

    def _avoiding(self, window: Window) -> Window:
        """Move patches that touch an excluded one to free places of their blocks.

        Where a block has no room, a patch beside it in the stream is taken again: its block is in
        memory.
        """
        if not self._excluded:
            return window
        places = list(zip(window.data_idx, window.sample_idx, window.coords, strict=True))
        free = [(*place[:2], self._moved(*place)) for place in places]
        others = [place for place in free if place[2]]
        if len(others) < len(free):
            others = others or [(*place[:2], self._moved(*place, whole=True)) for place in places]
            free = [p if p[2] else others[at % len(others)] for at, p in enumerate(free)]
        return Window(window.first, *map(list, zip(*free, strict=True)))

    def _moved(
        self, data_idx: int, sample_idx: int, coords: list[int], whole: bool = False
    ) -> list[int]:
        """Return the nearest free place in a block, or in the whole image; empty if none is."""
        touched = self._excluded.touched(data_idx, sample_idx, coords)
        if not touched:
            return coords
        grid = self._layout.grids[data_idx]
        _, origin, size = grid.box(grid.index((sample_idx, *coords)))
        if whole:
            origin, size = (0,) * len(origin), tuple(cut.size for cut in grid.cuts[1:])
        for move in self._moves(coords, touched, origin, size):
            if not self._excluded.touched(data_idx, sample_idx, move):
                return list(move)
        if not whole:
            return []
        raise ShapeError(
            f"The validation patches leave no room for training patches of {self.patch_size} "
            "pixels.",
            "Use smaller patches or fewer validation patches.",
        )

    def _moves(
        self,
        coords: Sequence[int],
        touched: Sequence[Sequence[int]],
        origin: Sequence[int],
        size: Sequence[int],
    ) -> Iterator[Sequence[int]]:
        """Yield places in a box for a patch: beside what it touches, nearest first; a grid."""
        choices = [
            range(start, start + n - patch + 1)
            for start, n, patch in zip(origin, size, self.patch_size, strict=True)
        ]
        moves = [
            (*coords[:i], edge, *coords[i + 1 :])
            for other in touched
            for i, patch in enumerate(self.patch_size)
            for edge in (other[i] - patch, other[i] + patch)
            if edge in choices[i]
        ]
        yield from sorted(
            moves, key=lambda move: sum(abs(a - b) for a, b in zip(move, coords, strict=True))
        )
        yield from product(
            *((*r[::patch], r[-1]) for r, patch in zip(choices, self.patch_size, strict=True))
        )


class RandomPatching(StratifiedPatching):
    """Patches anywhere: an epoch has ``ceil(size / patch)`` of them along each axis of a sample.

    Where stacks are stored in chunks, that many come from each block of whole chunks. Parameters
    are those of `StratifiedPatching`, but for `thinning`, which needs a grid.
    """

    _anywhere = True

    def __init__(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sequence[int],
        seed: int,
        excluded: Sequence[PatchSpecs] = (),
        layout: BlockLayout | None = None,
    ) -> None:
        super().__init__(data_shapes, patch_size, seed, excluded, layout)


class ExcludedPatches:
    """Patches of one size that others may not touch, found by where they lie."""

    def __init__(self, specs: Sequence[PatchSpecs], patch_size: Sequence[int]) -> None:
        self._patch = tuple(patch_size)
        self._cells: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for spec in specs:
            coords = tuple(spec["coords"])
            cell = (n // patch for n, patch in zip(coords, self._patch, strict=True))
            key = (spec["data_idx"], spec["sample_idx"], *cell)
            self._cells.setdefault(key, []).append(coords)
        self._samples = {key[:2] for key in self._cells}

    def __bool__(self) -> bool:
        return bool(self._cells)

    def touched(
        self, data_idx: int, sample_idx: int, coords: Sequence[int]
    ) -> list[tuple[int, ...]]:
        """Return those that a patch overlaps with."""
        if (data_idx, sample_idx) not in self._samples:
            return []
        cells = (
            range((n - patch + 1) // patch, (n + patch - 1) // patch + 1)
            for n, patch in zip(coords, self._patch, strict=True)
        )
        return [
            other
            for cell in product(*cells)
            for other in self._cells.get((data_idx, sample_idx, *cell), ())
            if all(abs(a - b) < n for a, b, n in zip(coords, other, self._patch, strict=True))
        ]


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


class GridPatches(Sequence[PatchSpecs]):
    """Patches on a grid, the last ones moved inside: ``ceil(size / patch)`` along each axis.

    They come image by image, sample by sample, the last axis fastest, and are computed when
    asked for.

    Parameters
    ----------
    data_shapes : sequence of sequence of int
        SC(Z)YX shape of each image stack.
    patch_size : sequence of int
        Size of the patches in (Z)YX, in pixels.

    Raises
    ------
    ShapeError
        If an image is smaller than a patch.
    """

    def __init__(self, data_shapes: Sequence[Sequence[int]], patch_size: Sequence[int]) -> None:
        check_patch_size(data_shapes, patch_size)
        self._spatial = [tuple(shape[2:]) for shape in data_shapes]
        self._patch_size = tuple(int(n) for n in patch_size)
        self._cells = [
            [-(-n // patch) for n, patch in zip(spatial, self._patch_size, strict=True)]
            for spatial in self._spatial
        ]
        counts = zip(data_shapes, self._cells, strict=True)
        self._ends = np.cumsum([shape[0] * math.prod(cells) for shape, cells in counts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, index: int) -> PatchSpecs: ...
    @overload
    def __getitem__(self, index: slice) -> list[PatchSpecs]: ...
    def __getitem__(self, index: int | slice) -> PatchSpecs | list[PatchSpecs]:
        """Return one patch, or a list of them for a slice."""
        place = range(len(self))[index]
        if isinstance(place, range):
            return [self[i] for i in place]
        data_idx = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[data_idx - 1]) if data_idx else 0
        sample_idx, place = divmod(place, math.prod(self._cells[data_idx]))
        cell = np.unravel_index(place, self._cells[data_idx])
        sizes = zip(cell, self._patch_size, self._spatial[data_idx], strict=True)
        return PatchSpecs(
            data_idx=data_idx,
            sample_idx=sample_idx,
            coords=tuple(min(int(i) * patch, n - patch) for i, patch, n in sizes),
            patch_size=self._patch_size,
        )

    def touching(self, spec: PatchSpecs) -> Iterator[int]:
        """Yield the places of the patches that overlap with one of their size."""
        data_idx = spec["data_idx"]
        cells, spatial = self._cells[data_idx], self._spatial[data_idx]
        along = [
            [
                i
                for i in sorted({at // patch - 1, at // patch, at // patch + 1, count - 1})
                if 0 <= i < count and abs(min(i * patch, n - patch) - at) < patch
            ]
            for at, patch, count, n in zip(
                spec["coords"], self._patch_size, cells, spatial, strict=True
            )
        ]
        first = int(self._ends[data_idx - 1]) if data_idx else 0
        first += spec["sample_idx"] * math.prod(cells)
        for cell in product(*along):
            yield first + int(np.ravel_multi_index(cell, cells))


def grid_patches(data_shapes: Sequence[Sequence[int]], patch_size: Sequence[int]) -> GridPatches:
    """Cover data with a grid of patches; the last ones are moved inside."""
    return GridPatches(data_shapes, patch_size)
