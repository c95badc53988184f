"""In which order patches come: blocks in groups, and the patches of a group shuffled.

Everything is computed from (seed, sample number). Memory and time do not grow with the data, only
with the number of stacks: blocks of equal sizes are counted, not listed, and random orders are
permutations that are computed place by place.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.blocks import BlockGrid, BlockLayout, Cuts
from careamist.stream import hashed, integers, sample_keys

_ORDER = 3  # the stream of a run that the order is drawn from
_WINDOW = 256  # so many samples are laid out together, which is cheaper than one by one
_ROUNDS = 3
_NO_Z = Cuts(1, 1, 1)

Ints = NDArray[np.int64]


class Window(NamedTuple):
    """Where consecutive samples lie: stack, sample and first pixel in (Z)YX of each."""

    first: int
    data_idx: list[int]
    sample_idx: list[int]
    coords: list[list[int]]


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

    Attributes
    ----------
    n_patches : int
        Patches per epoch, the same in each.
    """

    def __init__(self, layout: BlockLayout, patch_size: Sequence[int], seed: int) -> None:
        self._seed, self._n_groups, self._n_axes = seed, layout.n_groups, len(patch_size)
        self._patch = np.asarray((1, *(1,) * (3 - len(patch_size)), *patch_size))
        self._kinds = _kinds(layout.grids, self._patch)
        self.n_patches = int((self._kinds.units * self._kinds.unit).sum())
        self._epoch = _Epoch(-1, *np.zeros((3, 0), np.int64))
        self._group = _Group(-1, -1, 0, 0, *np.zeros((2, 0), np.int64))

    def window(self, k: int) -> Window:
        """Return where sample `k` of the run lies, and some of its neighbours.

        A window is a part of a group; which one follows from `k` alone.
        """
        epoch, place = divmod(k, self.n_patches)
        group = self._group_of(epoch, place)
        start = (place - group.start) // _WINDOW * _WINDOW
        order, kinds = self._epoch_order(epoch).order, self._kinds
        key = sample_keys(self._seed, np.asarray([epoch], np.int64), _ORDER)
        # which patch is at each place of the group: kind of block, block, cell of its grid
        places = np.arange(start, min(start + _WINDOW, group.size))
        places = shuffled(places, group.size, hashed(key ^ np.int64(group.number)))
        row = np.searchsorted(group.ends, places, side="right")
        kind = order[row]
        places = places - np.where(row > 0, group.ends[row - 1], 0)
        block, cell = np.divmod(places, kinds.unit[kind])
        block = group.first[row] + block * self._n_groups
        block_key = hashed(hashed(key) ^ kind)
        if self._n_groups > 1:
            block = shuffled(block, kinds.units[kind], block_key)
        # where they lie
        block, cell = np.divmod(block * kinds.unit[kind] + cell, kinds.patches[kind])
        along = _unravel(block, kinds.dims[kind])
        period, part = np.divmod(along, kinds.inner[kind])
        origin = period * kinds.period[kind] + (kinds.first[kind] + part) * kinds.step[kind]
        cells = _unravel(cell, kinds.counts[kind])
        sample = origin[:, 0] + cells[:, 0]
        offset_key = hashed(hashed(block_key ^ block) ^ sample)[:, None]
        offsets = integers(offset_key, np.arange(4, dtype=np.int64)) % (kinds.slack[kind] + 1)
        inside = np.clip(cells * self._patch - offsets, 0, kinds.length[kind] - self._patch)
        return Window(
            epoch * self.n_patches + group.start + start,
            kinds.stack[kind].tolist(),
            sample.tolist(),
            (origin + inside)[:, -self._n_axes :].tolist(),
        )

    def _epoch_order(self, epoch: int) -> _Epoch:
        """Return the order of the kinds of blocks: by size, equal ones at random."""
        if self._epoch.number != epoch:
            kinds = self._kinds
            key = sample_keys(self._seed, np.asarray([epoch], np.int64), _ORDER)
            chance = hashed(hashed(hashed(key)) ^ np.arange(len(kinds.stack)))
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

        # each kind is spread over the groups to within one unit
        off = int(unit.sum())
        low = max((place - off) * n_groups // self.n_patches, 0)
        high = min((place + off) * n_groups // self.n_patches + 2, n_groups)
        number = bisect_right(range(n_groups), place, low, high, key=start_of) - 1
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


def _kinds(grids: Sequence[BlockGrid], patch: Ints) -> _Kinds:
    rows, columns = [], []
    for stack, grid in enumerate(grids):
        cuts = (grid.cuts[0], *(_NO_Z,) * (4 - len(grid.cuts)), *grid.cuts[1:])
        for parts in product(*map(_kinds_of_parts, cuts)):
            dims, inner, first, length = np.asarray(parts).T
            counts = [int(length[0])]
            counts += [_count(int(n), int(p)) for n, p in zip(length[1:], patch[1:], strict=True)]
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


def shuffled(places: Ints, n: Ints | int, keys: Ints) -> Ints:
    """Return which of 0, ..., n - 1 stands at some places of a random order of them.

    The order is never held in memory: a Feistel network permutes the pairs (high, low) of which
    there are hardly more than n; whatever falls outside is permuted again.

    Parameters
    ----------
    places : numpy.ndarray of int64
        Between 0 and n - 1.
    n : int or numpy.ndarray of int64
        How many numbers are permuted, at each place.
    keys : numpy.ndarray of int64
        Key of the permutation, one or at each place.

    Returns
    -------
    numpy.ndarray of int64
        Of the shape of `places`.
    """
    n = np.broadcast_to(n, places.shape)
    n_high = np.maximum(np.ceil(np.sqrt(n)), 1).astype(np.int64)
    n_low = -(-n // n_high)
    turns = hashed(np.arange(1, 2 * _ROUNDS + 1)[:, None] ^ keys)
    outside = np.ones(places.shape, bool)
    while outside.any():
        high, low = np.divmod(places, n_low)
        for turn in range(0, 2 * _ROUNDS, 2):
            high = (high + hashed(turns[turn] ^ low)) % n_high
            low = (low + hashed(turns[turn + 1] ^ high)) % n_low
        places = np.where(outside, high * n_low + low, places)
        outside &= places >= n
    return places
