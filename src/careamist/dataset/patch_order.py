"""In which order patches come: blocks in groups, and the patches of a group shuffled.

Everything is computed from (seed, sample number). Memory and time do not grow with the data, only
with the number of stacks: blocks of equal sizes are counted, not listed, and random orders are
permutations that are computed place by place.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.blocks import BlockGrid, BlockLayout, Box, Cuts
from careamist.stream import hashed, integers, sample_keys, shuffled

_ORDER = 3  # the stream of a run that the order is drawn from
WINDOW = 256  # so many samples are laid out together, which is cheaper than one by one
_NO_Z = Cuts(1, 1, 1)
_AXES = np.arange(4, dtype=np.int64)

Ints = NDArray[np.int64]


class Window(NamedTuple):
    """Where consecutive samples lie: stack, sample and first pixel in (Z)YX of each."""

    first: int
    data_idx: list[int]
    sample_idx: list[int]
    coords: list[list[int]]


class Units(NamedTuple):
    """Some patches: kind of block, block of that kind, cell of the block's grid."""

    kind: Ints
    block: Ints
    cell: Ints


class Region(NamedTuple):
    """A block, and where its patches lie when its grid is at half of its offset."""

    data_idx: int
    box: Box
    is_pooled: bool
    first: int  # number of its first patch; they follow sample by sample, the last axis fastest
    starts: tuple[Ints, ...]  # first pixels in the block along (Z)YX


class PatchOrder:
    """Patches of all blocks, each block covered by a grid at a random offset, in random order.

    Parameters
    ----------
    layout : BlockLayout
        The blocks.
    patch_size : sequence of int
        Size of the patches in (Z)YX, in pixels.
    seed : int
        Seed of the run.
    anywhere : bool
        Instead of on a grid, patches lie anywhere in their block, as many as a grid has that
        starts where the block does.

    Attributes
    ----------
    n_patches : int
        Patches per epoch, the same in each.
    """

    def __init__(
        self, layout: BlockLayout, patch_size: Sequence[int], seed: int, anywhere: bool = False
    ) -> None:
        self._seed, self._n_groups, self._n_axes = seed, layout.n_groups, len(patch_size)
        self._patch = np.asarray((1, *(1,) * (3 - len(patch_size)), *patch_size))
        self._anywhere = anywhere
        self._kinds = _kinds(layout.grids, self._patch, anywhere)
        ends = np.cumsum(self._kinds.units * self._kinds.unit)
        self._firsts = np.concatenate([[0], ends[:-1]])
        self.n_patches = int(ends[-1])
        self._epoch = _Epoch(-1, *np.zeros((3, 0), np.int64))
        self._group = _Group(-1, -1, 0, 0, *np.zeros((2, 0), np.int64))

    def window(self, k: int) -> Window:
        """Return where sample `k` of the run lies, and some of its neighbours.

        A window is a part of a group; which one follows from `k` alone.
        """
        epoch, place = divmod(k, self.n_patches)
        places = self.part(epoch, place)
        return self.laid_out(
            epoch, self.units(epoch, places), epoch * self.n_patches + places.start
        )

    def part(self, epoch: int, place: int, length: int = WINDOW) -> range:
        """Return the part of a group, of at most some length, that holds a place of an epoch."""
        group = self._group_of(epoch, place)
        first = place - (place - group.start) % length
        return range(first, min(first + length, group.start + group.size))

    def units(self, epoch: int, places: range) -> Units:
        """Return which patches are at some places of an epoch, all in one group."""
        group, kinds = self._group_of(epoch, places.start), self._kinds
        order, key = self._epoch_order(epoch).order, self._key(epoch)
        at = np.arange(places.start, places.stop) - group.start
        at = shuffled(at, group.size, hashed(key ^ np.int64(group.number)))
        row = np.searchsorted(group.ends, at, side="right")
        kind = order[row]
        at = at - np.where(row > 0, group.ends[row - 1], 0)
        block, cell = np.divmod(at, kinds.unit[kind])
        block = group.first[row] + block * self._n_groups
        if self._n_groups > 1:
            block = shuffled(block, kinds.units[kind], hashed(hashed(key) ^ kind))
        return Units(kind, *np.divmod(block * kinds.unit[kind] + cell, kinds.patches[kind]))

    def numbers(self, units: Units) -> Ints:
        """Return a number below `n_patches` for each patch, the same in each epoch."""
        kind, block, cell = units
        numbers: Ints = self._firsts[kind] + block * self._kinds.patches[kind] + cell
        return numbers

    def laid_out(self, epoch: int, units: Units, first: int) -> Window:
        """Return where patches lie in an epoch; `first` is the sample number of the first."""
        kinds, (kind, block, cell) = self._kinds, units
        origin = self._origin(kind, block)
        cells = _unravel(cell, kinds.counts[kind])
        sample = origin[:, 0] + cells[:, 0]
        key = hashed(hashed(hashed(hashed(self._key(epoch)) ^ kind) ^ block) ^ sample)
        most = kinds.length[kind] - self._patch
        if self._anywhere:
            inside = integers(hashed(key ^ cell)[:, None], _AXES) % (most + 1)
        else:
            offsets = integers(key[:, None], _AXES) % (kinds.slack[kind] + 1)
            inside = np.clip(cells * self._patch - offsets, 0, most)
        return Window(
            first,
            kinds.stack[kind].tolist(),
            sample.tolist(),
            (origin + inside)[:, -self._n_axes :].tolist(),
        )

    def regions(self) -> Iterator[Region]:
        """Yield each block once."""
        kinds, spatial = self._kinds, slice(-self._n_axes, None)
        for kind, first in enumerate(self._firsts):
            n_patches, length = int(kinds.patches[kind]), kinds.length[kind]
            middle = kinds.slack[kind] // 2
            starts = tuple(
                np.clip(np.arange(count) * patch - half, 0, most)
                for count, patch, half, most in zip(
                    kinds.counts[kind], self._patch, middle, length - self._patch, strict=True
                )
            )
            for block in range(int(kinds.dims[kind].prod())):
                origin = self._origin(np.asarray([kind]), np.asarray([block]))[0].tolist()
                yield Region(
                    int(kinds.stack[kind]),
                    Box(
                        range(origin[0], origin[0] + int(length[0])),
                        tuple(origin[spatial]),
                        tuple(length[spatial].tolist()),
                    ),
                    bool(kinds.nbytes[kind]),
                    int(first) + block * n_patches,
                    starts[spatial],
                )

    def _key(self, epoch: int) -> Ints:
        return sample_keys(self._seed, np.asarray([epoch], np.int64), _ORDER)

    def _origin(self, kind: Ints, block: Ints) -> Ints:
        """Return first sample and pixel of blocks."""
        kinds = self._kinds
        period, part = np.divmod(_unravel(block, kinds.dims[kind]), kinds.inner[kind])
        return period * kinds.period[kind] + (kinds.first[kind] + part) * kinds.step[kind]

    def _epoch_order(self, epoch: int) -> _Epoch:
        """Return the order of the kinds of blocks: by size, equal ones at random."""
        if self._epoch.number != epoch:
            kinds = self._kinds
            chance = hashed(hashed(hashed(self._key(epoch))) ^ np.arange(len(kinds.stack)))
            order = np.lexsort((chance, -kinds.nbytes))
            ends = np.cumsum(kinds.units[order])
            self._epoch = _Epoch(epoch, order, ends - kinds.units[order], ends)
        return self._epoch

    def _group_of(self, epoch: int, place: int) -> _Group:
        """Return the group that holds a place of an epoch."""
        group = self._group
        if group.epoch == epoch and 0 <= place - group.start < group.size:
            return group
        order = self._epoch_order(epoch)
        n_groups, unit = self._n_groups, self._kinds.unit[order.order]

        def start_of(number: int) -> int:  # unit i of the order belongs to group i % n_groups
            def before(i: Ints) -> Ints:
                return i // n_groups * number + np.minimum(i % n_groups, number)

            return int((unit * (before(order.ends) - before(order.starts))).sum())

        number = bisect_right(range(n_groups), place, key=start_of) - 1
        first = (number - order.starts) % n_groups
        n_units = np.maximum(-(-(order.ends - order.starts - first) // n_groups), 0)
        ends = np.cumsum(unit * n_units)
        self._group = _Group(epoch, number, start_of(number), int(ends[-1]), ends, first)
        return self._group


class _Kinds(NamedTuple):
    """Kinds of blocks, those of a stack that have equal sizes; columns, if any, are S, Z, Y, X."""

    stack: Ints
    units: Ints  # how many parts of these blocks are dealt out to groups
    unit: Ints  # patches in each: all of a block that is pooled, otherwise one
    nbytes: Ints  # of a block
    patches: Ints  # in a block
    dims: Ints  # how many along each axis
    inner: Ints  # how many in each period
    first: Ints  # number of the first in its period
    step: Ints
    period: Ints
    length: Ints
    counts: Ints  # patches along each axis
    slack: Ints  # pixels by which the grid of patches may start before the block


class _Epoch(NamedTuple):
    number: int
    order: Ints  # of the kinds
    starts: Ints  # where the units of each lie in the sequence of all units
    ends: Ints


class _Group(NamedTuple):
    epoch: int
    number: int
    start: int  # its first place in the epoch
    size: int
    ends: Ints  # of the patches of each kind, in the order of the epoch
    first: Ints  # its first unit among those of each kind


def _kinds(grids: Sequence[BlockGrid], patch: Ints, anywhere: bool) -> _Kinds:
    rows, columns = [], []
    for stack, grid in enumerate(grids):
        cuts = (grid.cuts[0], *(_NO_Z,) * (4 - len(grid.cuts)), *grid.cuts[1:])
        for parts in product(*map(_kinds_of_parts, cuts)):
            dims, inner, first, length = np.asarray(parts).T
            counts = [int(length[0])]
            sizes = zip(length[1:].tolist(), patch[1:].tolist(), strict=True)
            counts += [-(-n // p) if anywhere else _count(n, p) for n, p in sizes]
            slack = np.minimum(np.asarray(counts) * patch - length, patch)
            nbytes = math.prod(length.tolist()) * grid.pixel_bytes
            patches, n_blocks = math.prod(counts), math.prod(dims.tolist())
            units = (n_blocks, patches) if nbytes else (n_blocks * patches, 1)
            rows.append((stack, *units, nbytes, patches))
            step, period = [cut.step for cut in cuts], [cut.period for cut in cuts]
            columns.append((dims, inner, first, step, period, length, counts, slack))
    return _Kinds(*np.asarray(rows, np.int64).T, *np.asarray(columns, np.int64).swapaxes(0, 1))


def _kinds_of_parts(cut: Cuts) -> list[tuple[int, int, int, int]]:
    """Return number, number per period, first in a period, and length of parts of equal length."""
    periods, n = cut.size // cut.period, cut.per_period
    if n == 1 or cut.last == cut.step:
        return [(periods * n, n, 0, cut.last)]
    return [(periods * (n - 1), n - 1, 0, cut.step), (periods, 1, n - 1, cut.last)]


def _count(size: int, patch: int) -> int:
    """Return how many patches cover a length, wherever their grid starts before it.

    Patches that stick out are moved inside, so the grid covers every pixel at least once; with
    a slack of half a patch or more, where the grid lies differs from epoch to epoch.
    """
    full = -(-size // patch)
    return full if size == patch or 2 * (full * patch - size) >= patch else full + 1


def _unravel(places: Ints, dims: Ints) -> Ints:
    """Return the indices of places in boxes of different dimensions, last axis fastest."""
    indices = np.empty_like(dims)
    for axis in reversed(range(dims.shape[1])):
        places, indices[:, axis] = np.divmod(places, dims[:, axis])
    return indices
