"""Blocks: parts of a stack that are read at once, so that no chunk of a store is read twice.

A block is a range of samples times a box in (Z)YX and ends where chunks end. Where blocks lie is
computed for each axis on its own: nothing grows with their number.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack

POOL_BYTES = 2**27  # fixed, not by what is free: it decides on the order of the patches
_BLOCKS_PER_POOL = 16
_LEAST_BLOCKS_PER_POOL = 8  # where chunks are so large that 16 do not fit ...
_POOL_GROWTH = 4  # ... the pool may become so many times larger


class Box(NamedTuple):
    """Where a block lies: consecutive samples, first pixel and size in (Z)YX."""

    samples: range
    coords: tuple[int, ...]
    size: tuple[int, ...]


@dataclass(frozen=True)
class Cuts:
    """How one axis is cut: every `step` pixels, starting anew at each multiple of `period`.

    The last part of a period takes what remains of it: less than a step, or more if the rest
    would be shorter than `least`.
    """

    size: int
    step: int
    period: int
    least: int = 1

    @cached_property
    def per_period(self) -> int:
        """Parts in each period."""
        whole, rest = divmod(self.period, self.step)
        return max(whole + (rest >= self.least), 1)

    @cached_property
    def last(self) -> int:
        """Length of the last part of a period."""
        return self.period - (self.per_period - 1) * self.step

    @property
    def count(self) -> int:
        """Number of parts."""
        return self.size // self.period * self.per_period

    @property
    def longest(self) -> int:
        """Length of the longest part."""
        return max(self.last, self.step if self.per_period > 1 else 0)

    def index(self, position: int) -> int:
        """Return the number of the part that holds a pixel."""
        period, rest = divmod(position, self.period)
        n = self.per_period
        return period * n + min(rest // self.step, n - 1)

    def part(self, index: int) -> tuple[int, int]:
        """Return first pixel and length of a part."""
        n = self.per_period
        period, place = divmod(index, n)
        length = self.step if place < n - 1 else self.last
        return period * self.period + place * self.step, length


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of one stack.

    Parameters
    ----------
    cuts : tuple of Cuts
        Of the sample axis and of (Z)YX.
    pixel_bytes : int
        Bytes of all channels at one pixel as stored; 0 if blocks of this stack are not pooled.
    """

    cuts: tuple[Cuts, ...]
    pixel_bytes: int

    @property
    def count(self) -> int:
        """Number of blocks."""
        return math.prod(cut.count for cut in self.cuts)

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks together."""
        return math.prod(cut.size for cut in self.cuts) * self.pixel_bytes

    @property
    def largest(self) -> int:
        """Bytes of the largest block."""
        return math.prod(cut.longest for cut in self.cuts) * self.pixel_bytes

    def index(self, position: Sequence[int]) -> tuple[int, ...]:
        """Return which block holds a pixel, given as sample and (Z)YX."""
        return tuple(cut.index(at) for cut, at in zip(self.cuts, position, strict=True))

    def box(self, index: Sequence[int]) -> Box:
        """Return where a block lies."""
        parts = [cut.part(i) for cut, i in zip(self.cuts, index, strict=True)]
        first, n = parts[0]
        return Box(
            range(first, first + n),
            tuple(start for start, _ in parts[1:]),
            tuple(length for _, length in parts[1:]),
        )

    def box_around(
        self, sample_idx: int, coords: Sequence[int], size: Sequence[int]
    ) -> tuple[tuple[int, ...], Box] | None:
        """Return index and place of the block that holds a patch whole, None if none does."""
        index = self.index((sample_idx, *coords))
        box = self.box(index)
        for at, n, start, length in zip(coords, size, box.coords, box.size, strict=True):
            if at + n > start + length:
                return None
        return index, box


@dataclass(frozen=True)
class BlockLayout:
    """The blocks of all stacks, and how many are held in memory together.

    Blocks are visited in groups. `n_groups` is such that any group made of every `n_groups`-th
    block, in the order of their sizes, takes at most `capacity` bytes: what the groups of such a
    sequence differ by is at most its largest element.
    """

    grids: tuple[BlockGrid, ...]
    n_groups: int
    capacity: int

    @classmethod
    def of(cls, grids: Sequence[BlockGrid], pool_bytes: int = POOL_BYTES) -> BlockLayout:
        """Lay out groups of blocks for a pool of about `pool_bytes`."""
        total, largest = sum(grid.nbytes for grid in grids), max(grid.largest for grid in grids)
        room = max(pool_bytes, min(_LEAST_BLOCKS_PER_POOL * largest, _POOL_GROWTH * pool_bytes))
        if total <= room:
            return cls(tuple(grids), 1, room)
        n_blocks = sum(grid.count for grid in grids)
        n_groups = min(-(-total // max(room - largest, largest)), n_blocks)
        return cls(tuple(grids), n_groups, max(room, -(-total // n_groups) + largest))


def lay_out(
    stacks: Sequence[ImageStack],
    patch_size: Sequence[int],
    targets: Sequence[ImageStack] | None = None,
    pool_bytes: int = POOL_BYTES,
) -> BlockLayout:
    """Cut stacks into blocks for drawing patches.

    Stacks that are stored in chunks are cut into blocks of several whole chunks that hold two
    patches along each axis where chunks are small enough, and at least one. Other stacks have
    one block for each sample, which is never pooled: their pixels are equally cheap anywhere.

    Parameters
    ----------
    stacks : sequence of ImageStack
        The images.
    patch_size : sequence of int
        Size of the patches in (Z)YX, in pixels.
    targets : sequence of ImageStack, optional
        A target for each image; both are read in the same blocks.
    pool_bytes : int
        How much memory the blocks of a group may take. It is exceeded where chunks are so large
        that fewer than eight would fit.

    Returns
    -------
    BlockLayout
        For `StratifiedPatching` and `PatchDataset`.
    """
    partners = targets if targets is not None else [None] * len(stacks)
    grids = [
        _pooled_grid(stack, partner, patch_size, pool_bytes)
        for stack, partner in zip(stacks, partners, strict=True)
    ]
    return BlockLayout.of(grids, pool_bytes)


def whole_samples(data_shape: Sequence[int]) -> BlockGrid:
    """Return one block for each sample of an SC(Z)YX shape, none of them pooled."""
    n_samples, _, *spatial = (int(n) for n in data_shape)
    return BlockGrid((Cuts(n_samples, 1, n_samples), *(Cuts(n, n, n) for n in spatial)), 0)


def _pooled_grid(
    stack: ImageStack, partner: ImageStack | None, patch_size: Sequence[int], pool_bytes: int
) -> BlockGrid:
    both = [stack] if partner is None else [stack, partner]
    chunked = [chunks for chunks in map(chunks_of, both) if chunks is not None]
    if not chunked:
        return whole_samples(stack.data_shape)
    sizes = (stack.data_shape[0], *stack.data_shape[2:])
    periods = [min(at) for at in zip(*(periods for periods, _ in chunked), strict=True)]
    chunk = [max(at) for at in zip(*(chunk for _, chunk in chunked), strict=True)]
    least = (1, *patch_size)
    steps = [min(-(-n // c) * c, most) for n, c, most in zip(least, chunk, periods, strict=True)]
    pixel_bytes = sum(map(pixel_bytes_of, both))

    def grow(goal: Sequence[float], most: int) -> None:
        """Double the axis that holds the fewest patches until it holds `goal` of them."""
        while True:
            open_axes = [
                axis
                for axis in range(len(steps))
                if steps[axis] < min(periods[axis], goal[axis] * least[axis])
            ]
            if not open_axes or 2 * math.prod(steps) * pixel_bytes > most:
                return
            axis = min(open_axes, key=lambda i: (steps[i] / least[i], -i))
            steps[axis] = min(2 * steps[axis], periods[axis])

    n_axes = len(sizes)
    grow([1] + [2] * (n_axes - 1), pool_bytes // _LEAST_BLOCKS_PER_POOL)
    grow([1] + [math.inf] * (n_axes - 1), pool_bytes // _BLOCKS_PER_POOL)
    grow([math.inf] * n_axes, pool_bytes // _BLOCKS_PER_POOL)  # several samples come last
    return even_grid(sizes, periods, chunk, steps, least, pixel_bytes)


def even_grid(
    sizes: Sequence[int],
    periods: Sequence[int],
    chunk: Sequence[int],
    steps: Sequence[int],
    least: Sequence[int],
    pixel_bytes: int,
) -> BlockGrid:
    """Cut each axis into parts of at most `steps`, equally long as far as chunks allow."""
    cuts = []
    for size, period, c, step, n in zip(sizes, periods, chunk, steps, least, strict=True):
        n_parts = -(-period // step)
        n_chunks = -(-period // c)
        even = -(-n_chunks // n_parts) * c
        cuts.append(Cuts(size, min(max(even, -(-n // c) * c), period), period, n))
    return BlockGrid(tuple(cuts), pixel_bytes)


def chunks_of(stack: ImageStack) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return periods and chunk sizes of the axes S(Z)YX, None if any pixel is equally cheap."""
    shape = getattr(stack, "chunk_shape", None)
    if shape is None:
        return None
    sizes = (int(stack.data_shape[0]), *(int(n) for n in stack.data_shape[2:]))
    chunk = [max(min(int(c), n), 1) for c, n in zip((shape[0], *shape[2:]), sizes, strict=True)]
    periods = list(sizes)
    if {"S", "T"} <= set(stack.original_axes.upper()):
        # chunks start anew with each S: the merged axis is not cut evenly
        n_t = int(stack.original_data_shape[stack.original_axes.upper().index("T")])
        if chunk[0] < n_t:
            periods[0] = n_t
        else:
            chunk[0] = min(-(-chunk[0] // n_t) * n_t, sizes[0])
    return tuple(periods), tuple(chunk)


def pixel_bytes_of(stack: ImageStack) -> int:
    """Return the bytes of all channels at one pixel, as stored."""
    return int(stack.data_shape[1]) * np.dtype(stack.data_dtype).itemsize


def read_block(stack: ImageStack, box: Box) -> NDArray[Any]:
    """Return the pixels of a block as (n, C, (Z), Y, X), in the type they are stored in."""
    if hasattr(stack, "extract_block"):
        block: NDArray[Any] = stack.extract_block(box.samples, box.coords, box.size)
        return block
    return np.stack([stack.extract_patch(i, None, box.coords, box.size) for i in box.samples])


class BlockPool:
    """Blocks in memory; the one that was not used for longest makes room for a new one.

    Parameters
    ----------
    capacity : int
        Bytes that are never exceeded, but for a single block that is larger.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._blocks: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._nbytes = 0

    def get(self, key: Hashable, nbytes: int, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return a block, read if it is not there; `nbytes` is what it will take."""
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
            return block
        while self._blocks and self._nbytes + nbytes > self.capacity:
            self._nbytes -= self._blocks.popitem(last=False)[1].nbytes
        block = self._blocks[key] = read()
        self._nbytes += block.nbytes
        return block
