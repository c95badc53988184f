"""All pixels of some images once, for measuring them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.blocks import (
    BlockGrid,
    chunks_of,
    even_grid,
    pixel_bytes_of,
    read_block,
)
from careamist.stream import integers, sample_keys

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack

PASS_BYTES = 2**33
_BLOCK_BYTES = 2**23
_LEAST_BLOCKS = 64  # that a budget is spent on, where chunks are small enough
_STATISTICS = 2  # the stream of a run that the choice of blocks is drawn from


class PixelPass:
    """One pass over the pixels of stacks that reads each chunk once, as a sequence of blocks.

    If the stacks hold more than a budget, blocks are read that are spread evenly over them.

    Parameters
    ----------
    stacks : sequence of ImageStack
        The images.
    budget : int
        Bytes, as stored, that are read at most (but at least one block).
    seed : int
        Chooses the blocks if not all are read.

    Attributes
    ----------
    share : float
        Share of the pixels that is read, 1 for all of them.
    """

    def __init__(
        self, stacks: Sequence[ImageStack], budget: int = PASS_BYTES, seed: int = 0
    ) -> None:
        self._stacks = list(stacks)
        total = sum(_nbytes(stack) for stack in self._stacks)
        part = _BLOCK_BYTES if total <= budget else min(_BLOCK_BYTES, budget // _LEAST_BLOCKS)
        self._grids = [_pass_grid(stack, part) for stack in self._stacks]
        self._ends = np.cumsum([grid.count for grid in self._grids])
        self._seed = seed
        n_blocks = int(self._ends[-1])
        self._n_read = n_blocks if total <= budget else max(n_blocks * budget // total, 1)
        self.share = self._n_read / n_blocks

    def __len__(self) -> int:
        return self._n_read

    def __iter__(self) -> Iterator[tuple[ImageStack, NDArray[Any]]]:
        """Yield stacks and blocks of them as (C, pixels), in the type they are stored in."""
        n_blocks = int(self._ends[-1])
        key = sample_keys(self._seed, np.zeros(1, np.int64), _STATISTICS)
        for number in range(self._n_read):  # one block of each equal share of all blocks
            first = number * n_blocks // self._n_read
            width = (number + 1) * n_blocks // self._n_read - first
            place = first + int(integers(key, number)[0]) % width
            data_idx = int(np.searchsorted(self._ends, place, side="right"))
            place -= int(self._ends[data_idx - 1]) if data_idx else 0
            stack, grid = self._stacks[data_idx], self._grids[data_idx]
            index = np.unravel_index(place, [cut.count for cut in grid.cuts])
            block = read_block(stack, grid.box([int(i) for i in index]))
            yield stack, block.swapaxes(0, 1).reshape(block.shape[1], -1)


def _nbytes(stack: ImageStack) -> int:
    return pixel_bytes_of(stack) * math.prod((stack.data_shape[0], *stack.data_shape[2:]))


def _pass_grid(stack: ImageStack, block_bytes: int) -> BlockGrid:
    """Cut a stack into blocks of some megabytes: whole rows and planes where they fit."""
    sizes = (int(stack.data_shape[0]), *(int(n) for n in stack.data_shape[2:]))
    ones = (1,) * len(sizes)
    periods, chunk = chunks_of(stack) or (sizes, ones)
    steps, pixel_bytes = list(chunk), pixel_bytes_of(stack)
    for axis in reversed(range(len(sizes))):
        room = block_bytes // (math.prod(steps) * pixel_bytes)
        steps[axis] = min(steps[axis] * max(room, 1), periods[axis])
    return even_grid(sizes, periods, chunk, steps, ones, pixel_bytes)
