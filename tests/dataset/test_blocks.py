"""Blocks end where chunks end, cover each stack once, and fit into the pool in groups."""

from __future__ import annotations

import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from chunked import chunked_stack

from careamist.dataset.blocks import (
    POOL_BYTES,
    BlockGrid,
    BlockLayout,
    BlockPool,
    Cuts,
    lay_out,
    read_block,
    whole_samples,
)


def shape_only(data_shape, chunk_shape, axes="YX", original_shape=None, dtype=np.uint16):
    """A stack without pixels."""
    return SimpleNamespace(
        data_shape=data_shape,
        chunk_shape=chunk_shape,
        data_dtype=dtype,
        original_axes=axes,
        original_data_shape=original_shape or data_shape,
    )


def every_box(grid):
    return [grid.box(index) for index in product(*(range(cut.count) for cut in grid.cuts))]


@pytest.mark.parametrize("size", [1, 5, 12, 13, 24])
@pytest.mark.parametrize("step", [1, 4, 5, 30])
@pytest.mark.parametrize("least", [1, 3])
def test_parts_cover_an_axis_once_and_are_found_again(size, step, least):
    for period in (size, *([size // 2] if size % 2 == 0 else [])):
        cut = Cuts(size, max(step, least), period, least)
        seen = []
        for index in range(cut.count):
            start, length = cut.part(index)
            assert length >= min(least, period)
            assert length <= cut.longest
            assert {cut.index(at) for at in range(start, start + length)} == {index}
            seen += range(start, start + length)
        assert seen == list(range(size))


CHUNKED = {
    "2D": ((1, 1, 5000, 3000), (1, 1, 256, 256), (64, 64), "YX"),
    "large chunks": ((1, 2, 9000, 9000), (1, 1, 4096, 4096), (64, 64), "CYX"),
    "chunks that fit nothing": ((1, 1, 5003, 3001), (1, 1, 100, 77), (64, 48), "YX"),
    "3D": ((1, 1, 300, 1024, 1000), (1, 1, 64, 64, 64), (16, 64, 64), "ZYX"),
    "planes": ((1, 1, 200, 2048, 2048), (1, 1, 1, 2048, 2048), (8, 64, 64), "ZYX"),
    "frames together": ((505, 1, 512, 512), (10, 1, 512, 512), (64, 64), "TYX"),
    "small frames": ((5000, 1, 64, 64), (1, 1, 64, 64), (32, 32), "TYX"),
}
every_chunking = pytest.mark.parametrize(
    ("shape", "chunks", "patch", "axes"), CHUNKED.values(), ids=CHUNKED
)


@every_chunking
def test_blocks_are_whole_chunks_that_hold_patches(shape, chunks, patch, axes):
    (grid,) = lay_out([shape_only(shape, chunks, axes)], patch).grids
    sizes, chunk = (shape[0], *shape[2:]), (chunks[0], *chunks[2:])
    volume = np.zeros([cut.count for cut in grid.cuts], np.int64)
    for index in np.ndindex(volume.shape):
        box = grid.box(index)
        starts = (box.samples.start, *box.coords)
        lengths = (len(box.samples), *box.size)
        for start, length, size, c in zip(starts, lengths, sizes, chunk, strict=True):
            assert start % c == 0
            assert (start + length) % c == 0 or start + length == size
        assert all(n >= p for n, p in zip(box.size, patch, strict=True))
        volume[index] = math.prod(lengths)
    assert volume.sum() == math.prod(sizes)


@every_chunking
def test_blocks_are_many_enough_for_a_pool_and_not_tiny(shape, chunks, patch, axes):
    layout = lay_out([shape_only(shape, chunks, axes)], patch)
    (grid,) = layout.grids
    least = [-(-p // c) * c for p, c in zip((1, *patch), (chunks[0], *chunks[2:]), strict=True)]
    assert grid.largest <= max(POOL_BYTES // 8, 2 * shape[1] * math.prod(least))
    assert layout.capacity >= min(8 * grid.largest, grid.nbytes)
    assert grid.nbytes / grid.count > min(2**20, grid.nbytes / 2)


def test_blocks_hold_two_patches_where_chunks_are_small():
    (grid,) = lay_out([shape_only((1, 1, 999, 512, 512), (1, 1, 1, 64, 64))], (32, 64, 64)).grids
    sizes = zip(grid.box((0, 0, 0, 0)).size, (32, 64, 64), strict=True)
    assert all(n >= 2 * p - 1 for n, p in sizes)  # cut evenly: a pixel less in 999 planes


def test_stacks_without_chunks_have_one_block_per_sample_that_is_not_pooled():
    layout = lay_out([shape_only((3, 2, 100, 90), None)], (32, 32))
    assert layout.n_groups == 1
    (grid,) = layout.grids
    assert grid == whole_samples((3, 2, 100, 90))
    assert grid.nbytes == 0
    assert every_box(grid) == [(range(s, s + 1), (0, 0), (100, 90)) for s in range(3)]


def test_a_target_is_read_in_the_blocks_of_its_input():
    stack = shape_only((1, 1, 4096, 4096), (1, 1, 128, 512))
    target = shape_only((1, 3, 4096, 4096), (1, 1, 256, 256), dtype=np.float32)
    (grid,) = lay_out([stack], (64, 64), [target], pool_bytes=2**25).grids
    assert grid.pixel_bytes == 2 + 3 * 4
    assert [cut.step % c for cut, c in zip(grid.cuts[1:], (256, 512), strict=True)] == [0, 0]
    plain = shape_only((1, 1, 4096, 4096), None)
    (grid,) = lay_out([plain], (64, 64), [target], pool_bytes=2**25).grids
    assert grid.pixel_bytes == 2 + 3 * 4
    assert grid.count > 1


def test_several_samples_with_s_and_t_keep_to_the_chunks_of_each_s():
    stack, array = chunked_stack((3, 25, 64, 64), (1, 10, 32, 32), "STYX")
    (grid,) = lay_out([stack], (16, 16), pool_bytes=2**14).grids
    for box in every_box(grid):
        read_block(stack, box)
    assert array.reads_per_chunk() == (1, 1)


def test_blocks_hold_the_pixels_of_their_place_with_and_without_extract_block():
    stack, array = chunked_stack((2, 7, 60, 50), (1, 3, 16, 16), "CTYX")
    alone = SimpleNamespace(extract_patch=stack.extract_patch)
    (grid,) = lay_out([stack], (16, 16), pool_bytes=2**12).grids
    assert grid.count > 4
    for box in every_box(grid):
        y, x = (slice(at, at + n) for at, n in zip(box.coords, box.size, strict=True))
        expected = array.pixels.swapaxes(0, 1)[box.samples.start : box.samples.stop, :, y, x]
        for reader in (stack, alone):
            np.testing.assert_array_equal(read_block(reader, box), expected)


def test_a_patch_is_found_in_its_block_unless_it_straddles_two():
    grid = BlockGrid((Cuts(4, 2, 4), Cuts(100, 50, 100, 20), Cuts(100, 100, 100, 20)), 2)
    index, box = grid.box_around(3, (50, 7), (20, 20))
    assert index == (1, 1, 0)
    assert box == (range(2, 4), (50, 0), (50, 100))
    assert grid.box_around(0, (31, 0), (20, 20)) is None


@pytest.mark.parametrize("seed", range(20))
def test_every_group_of_a_sequence_of_falling_sizes_fits_the_capacity(seed):
    rng = np.random.default_rng(seed)
    grids = [
        BlockGrid(tuple(Cuts(int(n), max(int(n) // 3, 1), int(n)) for n in sizes), 2)
        for sizes in rng.integers(1, rng.integers(2, 400), (rng.integers(1, 30), 3))
    ]
    layout = BlockLayout.of(grids, pool_bytes=int(rng.integers(1, 10**6)))
    sizes = [
        2 * len(box.samples) * math.prod(box.size) for grid in grids for box in every_box(grid)
    ]
    sizes.sort(reverse=True)
    groups = [sum(sizes[first :: layout.n_groups]) for first in range(layout.n_groups)]
    assert max(groups) <= layout.capacity
    assert len(groups) <= len(sizes)


def test_data_that_fit_the_pool_are_one_group():
    layout = lay_out([shape_only((1, 1, 4096, 4096), (1, 1, 64, 64))] * 4, (64, 64))
    assert (layout.n_groups, layout.capacity) == (1, POOL_BYTES)


def test_a_pool_reads_once_and_never_holds_more_than_its_capacity():
    pool, reads, held = BlockPool(100), [], set()

    def get(key, nbytes=40):
        def read():
            reads.append(key)
            return np.zeros(nbytes, np.uint8)

        assert len(pool.get(key, nbytes, read)) == nbytes
        held.add(key)

    for key in "abab":
        get(key)
    assert reads == ["a", "b"]
    get("a")
    get("c")  # b, unused for longest, goes
    get("a")
    get("b")  # c goes
    assert reads == ["a", "b", "c", "b"]
    get("huge", 1000)
    get("a")
    assert reads[-2:] == ["huge", "a"]
