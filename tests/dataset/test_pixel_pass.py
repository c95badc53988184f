"""A pass reads each chunk once, or an even choice of blocks within its budget."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from chunked import chunked_stack

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.pixel_pass import PixelPass

CASES = {
    "2D": ((300, 257), (64, 50), "YX"),
    "large chunks": ((300, 257), (256, 256), "YX"),
    "several blocks": ((3000, 2570), (256, 100), "YX"),
    "3D": ((33, 130, 127), (8, 32, 32), "ZYX"),
    "10 frames in a chunk": ((45, 200, 300), (10, 96, 96), "TYX"),
    "S and T": ((3, 25, 64, 64), (1, 10, 32, 32), "STYX"),
    "several S in a chunk": ((4, 25, 64, 64), (2, 25, 32, 32), "STYX"),
    "channels": ((3, 100, 90), (1, 32, 32), "CYX"),
    "channels last, T inside": ((100, 90, 7, 2), (32, 32, 3, 2), "YXTC"),
}


@pytest.mark.parametrize(("shape", "chunks", "axes"), CASES.values(), ids=CASES)
def test_every_chunk_is_read_once_and_every_pixel_seen_once(shape, chunks, axes):
    stack, array = chunked_stack(shape, chunks, axes)
    sums, counts, blocks = 0, 0, 0
    for found, pixels in PixelPass([stack]):
        assert found is stack
        assert pixels.dtype == array.dtype
        assert len(pixels) == stack.data_shape[1]
        sums, counts, blocks = sums + pixels.sum(axis=1), counts + pixels.shape[1], blocks + 1
    assert array.reads_per_chunk() == (1, 1)
    others = tuple(place for place, axis in enumerate(axes) if axis != "C")
    np.testing.assert_array_equal(sums, np.ravel(array.pixels.sum(axis=others)))
    assert counts * stack.data_shape[1] == array.pixels.size
    assert blocks == len(PixelPass([stack]))


def test_blocks_are_small_unless_chunks_are_large():
    stack, _ = chunked_stack((3000, 4000), (128, 128))
    sizes = [pixels.nbytes for _, pixels in PixelPass([stack])]
    assert max(sizes) <= 2**23
    assert min(sizes) > 2**21
    plain = ArrayStack(np.zeros((5, 2, 3000, 1000), np.float64), "SCYX")
    assert max(pixels.nbytes for _, pixels in PixelPass([plain])) <= 2**23


def test_several_stacks_follow_each_other():
    stacks = [
        chunked_stack((100, 100), (32, 32))[0],
        chunked_stack((3, 50, 50), (1, 8, 8), "TYX")[0],
    ]
    order = [stack for stack, _ in PixelPass(stacks)]
    assert order == sorted(order, key=stacks.index)
    assert set(map(id, order)) == set(map(id, stacks))


def huge():
    """A stack of a petabyte, whose pixels tell where they lie."""

    def extract_patch(sample, channels, coords, size):
        return np.broadcast_to(np.uint8(coords[0] * 200 // 2**25), (1, *size))

    return SimpleNamespace(
        source="huge",
        data_shape=(1, 1, 2**25, 2**25),
        data_dtype=np.uint8,
        original_axes="YX",
        original_data_shape=(2**25, 2**25),
        chunk_shape=(1, 1, 512, 512),
        extract_patch=extract_patch,
    )


def test_a_budget_is_kept_and_spread_evenly():
    blocks = PixelPass([huge()], budget=2**29)
    values, read = [], 0
    for _, pixels in blocks:
        values.append(int(pixels[0, 0]))
        read += pixels.size
    assert 2**28 < read <= 2**29
    assert blocks.share == pytest.approx(read / 2**50, rel=0.3)
    assert values == sorted(values)
    assert np.histogram(values, 4, (0, 200))[0] == pytest.approx(len(values) / 4, abs=2)


def test_the_choice_follows_from_the_seed():
    stack, array = chunked_stack((2000, 1000), (16, 1000))
    one = SimpleNamespace(**{**vars(huge()), "data_shape": (1, 1, 2**20, 2**12)})

    def places(seed):
        seen = []

        def extract_patch(sample, channels, coords, size):
            seen.append(tuple(coords))
            return np.zeros((1, *size), np.uint8)

        one.extract_patch = extract_patch
        for _ in PixelPass([one], 2**26, seed):
            pass
        return seen

    assert places(1) == places(1)
    assert places(1) != places(2)
    list(PixelPass([stack], 10))  # at least one block is read
    assert array.reads


def test_within_the_budget_everything_is_read():
    stack, array = chunked_stack((100, 100), (32, 32))
    blocks = PixelPass([stack], budget=20_000)
    assert blocks.share == 1
    assert sum(pixels.size for _, pixels in blocks) == 10_000
    assert array.reads_per_chunk() == (1, 1)
