"""What becomes of an image: its axes, its type, and parts of it that belong to one tile."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.tiling import LARGE_CORE, Tiling
from careamist.prediction.output import Output, total_bytes
from careamist.utils.reshape_array import spatial_axes

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 11, "Y": 45, "X": 38}
ORDERS = ["YX", "XY", "TYX", "CYX", "YXC", "YXS", "ZYX", "XZY", "TZCYX", "STCZYX", "XCTYZS"]


def output_of(axes, *, tile=20, halo=4, grid=4, n_channels=None, dtype=np.uint16, **more):
    shape = [SIZES[axis] for axis in axes]
    stack = ArrayStack(np.zeros(shape, dtype), axes)
    dims = len(spatial_axes(axes))
    tiling = Tiling((grid,) * dims, (halo,) * dims, None if tile is None else (tile,) * dims)
    channels = stack.data_shape[1] if n_channels is None else n_channels
    return Output(0, stack, tiling.specs(0, stack.data_shape), channels, **more)


@pytest.mark.parametrize("axes", ORDERS)
def test_boxes_of_the_tiles_fill_the_result_once(axes):
    output = output_of(axes)
    filled = np.zeros(output.shape, int)
    for specs in output.tiles:
        box = output.box(specs)
        data = np.ones((output.n_channels, *specs["crop_size"]))
        filled[box] += output.pixels(data).astype(int)
        assert output.pixels(data).shape == filled[box].shape
    assert (filled == 1).all()
    assert (output.shape, output.axes) == (tuple(SIZES[axis] for axis in axes), axes)


@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("tile", [20, 32, None])
def test_a_core_is_a_whole_number_of_chunks_and_shares_none(axes, tile):
    output = output_of(axes, tile=tile)
    owners = {}
    for number, specs in enumerate(output.tiles):
        ranges = []
        for entry, chunk, shard in zip(
            output.box(specs), output.chunk_shape, output.shard_shape, strict=True
        ):
            assert entry.start % chunk == 0
            assert shard % chunk == 0
            assert entry.start % shard == 0
            ranges.append(range(entry.start // chunk, -(-entry.stop // chunk)))
        for place in itertools.product(*ranges):
            assert owners.setdefault(place, number) == number


def test_large_cores_are_cut_into_chunks_of_handy_size():
    stack = ArrayStack(np.broadcast_to(np.uint8(0), (5000, 5000)), "YX")
    tiling = Tiling((16, 16), (48, 48), (1800, 1800))
    output = Output(0, stack, tiling.specs(0, stack.data_shape))
    core = output.tiles.core_size
    assert core == (1536, 1536)
    assert output.chunk_shape == (LARGE_CORE // 2,) * 2
    assert output.shard_shape == core
    whole = Output(0, stack, Tiling((16, 16), (48, 48)).specs(0, stack.data_shape))
    assert whole.chunk_shape == (LARGE_CORE,) * 2


def test_several_channels_get_an_axis_where_the_image_had_none():
    output = output_of("TYX", n_channels=3)
    assert (output.shape, output.axes) == ((3, 3, 45, 38), "TCYX")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int64", "uint64"])
def test_pixels_become_the_nearest_value_of_the_type(dtype):
    output = output_of("YX", dtype=dtype, result_type="input")
    limits = np.iinfo(dtype)
    data = np.array([-1e30, limits.min, 0.4, 0.6, 1.5, 2.5, 100.0, 1e30, np.inf, np.nan])
    pixels, n_clipped = output.converted(data)
    expected = [limits.min, limits.min, 0, 1, 2, 2, 100, limits.max, limits.max, limits.min]
    assert pixels.dtype == output.dtype == np.dtype(dtype)
    assert pixels.tolist() == expected
    assert n_clipped == 4


def test_pixels_of_float_images_and_of_masks():
    assert output_of("YX", dtype=np.float64, result_type="input").dtype == np.float64
    assert output_of("YX", dtype=np.float64).dtype == np.float32
    mask = output_of("YX", dtype=bool, result_type="input")
    assert mask.converted(np.array([0.2, 0.7]))[0].tolist() == [False, True]


def test_bytes_are_those_of_all_results():
    plain, spread = output_of("YX"), output_of("ZYX", spread=True)
    assert total_bytes([plain, spread]) == 45 * 38 * 4 + 2 * 11 * 45 * 38 * 4
