"""Results in memory: every region in its place."""

from __future__ import annotations

import numpy as np
import pytest

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.region import ImageRegionData
from careamist.dataset.tiling import Tiling
from careamist.prediction.output import SPREAD, Output
from careamist.prediction.sinks import ArraySink
from careamist.utils.reshape_array import AxesTransform

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 6, "Y": 21, "X": 18}
ORDERS = ["YX", "XY", "TYX", "STYX", "CYX", "YXC", "ZYX", "XZY", "TZCYX", "STCZYX", "XCTYZS"]


def image_of(axes, dtype=np.float32):
    numbers = np.arange(np.prod([SIZES[axis] for axis in axes]))
    return numbers.reshape([SIZES[axis] for axis in axes]).astype(dtype)


def output_of(image, axes, index=0, n_channels=None, **more):
    stack = ArrayStack(image, axes)
    dims = len(stack.data_shape) - 2
    tiles = Tiling((4,) * dims, (0,) * dims, (8,) * dims).specs(index, stack.data_shape)
    return Output(index, stack, tiles, n_channels or stack.data_shape[1], **more)


def fill(sink, output, metadata=None):
    """Write the image into the sink, tile by tile, in mixed order; add up channels or copy them."""
    stack, numbers = output.stack, sink.start(output)
    for number in np.random.default_rng(1).permutation(numbers):
        specs = output.tiles[int(number)]
        data = stack.extract_patch(
            specs["sample_idx"], None, specs["stitch_coords"], specs["crop_size"]
        )
        if output.n_channels > len(data):
            data = np.repeat(data[:1], output.n_channels, axis=0)
        sink.write(
            ImageRegionData(
                data=data,
                source=stack.source,
                data_shape=stack.data_shape,
                dtype=str(data.dtype),
                axes=stack.original_axes,
                original_data_shape=stack.original_data_shape,
                region_spec=specs,
                additional_metadata={} if metadata is None else {SPREAD: metadata(data)},
            )
        )
    return numbers


@pytest.mark.parametrize("axes", ORDERS)
def test_every_region_gets_in_its_place(axes):
    image, sink = image_of(axes), ArraySink()
    output = output_of(image, axes, index=3)
    sink.check([output])
    assert len(fill(sink, output)) == len(output.tiles)
    np.testing.assert_array_equal(sink.view(3), image)
    assert sink.arrays[3].dtype == np.float32
    assert sink.finish(3) is None
    assert set(sink.arrays) == {3}


def test_several_channels_get_an_axis_where_the_image_had_none():
    image, sink = image_of("TYX"), ArraySink()
    fill(sink, output_of(image, "TYX", n_channels=3))
    assert sink.arrays[0].shape == (3, 3, 21, 18)
    for channel in range(3):
        np.testing.assert_array_equal(sink.arrays[0][:, channel], image)


@pytest.mark.parametrize(("result_type", "missing"), [("float32", np.nan), ("input", 0)])
def test_what_is_still_missing_is_seen_as_such(result_type, missing):
    image, sink = image_of("YX", np.uint16) + 1, ArraySink()
    sink.start(output_of(image, "YX", result_type=result_type))
    np.testing.assert_array_equal(sink.view(0), np.full(image.shape, missing))
    assert sink.view(0).dtype == ("float32" if result_type == "float32" else "uint16")


def test_what_is_there_stays_when_an_image_fails():
    image, sink = image_of("YX"), ArraySink()
    output = output_of(image, "YX")
    fill(sink, output)
    sink.leave(0, RuntimeError())
    np.testing.assert_array_equal(sink.view(0), image)


def test_images_are_kept_apart():
    images, sink = [image_of("YX"), image_of("TYX")], ArraySink()
    for index, (image, axes) in enumerate(zip(images, ["YX", "TYX"], strict=True)):
        fill(sink, output_of(image, axes, index))
    for index, image in enumerate(images):
        np.testing.assert_array_equal(sink.arrays[index], image)


def test_the_spread_is_kept_beside_the_result():
    image, sink = image_of("TYX", np.uint16), ArraySink()
    output = output_of(image, "TYX", result_type="input", spread=True)
    fill(sink, output, metadata=lambda data: data / np.float32(2))
    np.testing.assert_array_equal(sink.arrays[0], image)
    np.testing.assert_array_equal(sink.spreads[0], image / 2)
    assert sink.spreads[0].dtype == np.float32


def test_layout_of_the_result_is_that_of_the_axes_algebra():
    image = image_of("XCTYZS")
    layout = AxesTransform("XCTYZS", image.shape)
    output = output_of(image, "XCTYZS", n_channels=2)
    assert output.shape == layout.restored_shape(2)
    assert output.axes == layout.restored_axes(2)
