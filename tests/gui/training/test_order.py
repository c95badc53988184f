"""Which pixels are trained on: regions, and where an image and its target overlap."""

from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image

from careamist.config import CARE, Configuration, DataConfig
from careamist.errors import DataError
from careamist.gui.data.data_source import DataChoice
from careamist.gui.data.region import (
    Box,
    at_least,
    crop,
    in_words,
    shape_boxes,
    shapes_of,
    view_box,
)
from careamist.gui.training.order import TrainingOrder, overlap_of, target_axes


def choice(array: Any, axes: str, **looks: Any) -> DataChoice:
    layer = Image(array, **looks)
    return DataChoice(layer, None, axes, tuple(array.shape))


def ramp(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_crop_is_no_copy() -> None:
    array = ramp(3, 20, 30)
    part = crop(array, "TYX", Box((5, 10), (15, 30)))
    assert part.base is not None
    assert np.shares_memory(part, array)
    np.testing.assert_array_equal(part, array[:, 5:15, 10:30])


@pytest.mark.parametrize("kind", ["dask", "zarr"])
def test_a_crop_reads_nothing(kind: str, tmp_path: Any) -> None:
    array = ramp(20, 30)
    lazy = da.from_array(array, chunks=(5, 5))
    if kind == "zarr":
        lazy = zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(5, 5))
    part = crop(lazy, "YX", Box((5, 10), (15, 30)))
    assert isinstance(part, da.Array)
    np.testing.assert_array_equal(np.asarray(part), array[5:15, 10:30])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box((10, 10), (12, 50)), Box((3, 10), (19, 50))),  # too low: grows about its centre
        (Box((0, 0), (4, 4)), Box((0, 0), (16, 16))),  # at a corner: inwards
        (Box((60, 60), (64, 64)), Box((48, 48), (64, 64))),
        (Box((5, 5), (40, 40)), Box((5, 5), (40, 40))),
    ],
)
def test_a_region_holds_a_patch(box: Box, expected: Box) -> None:
    assert at_least(box, (16, 16), (64, 64)) == expected


def test_a_region_is_no_larger_than_the_image() -> None:
    assert at_least(Box((0, 0), (4, 4)), (16, 16), (10, 12)) == Box((0, 0), (10, 12))


def test_shapes_become_boxes_in_pixels_of_the_image() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(ramp(5, 60, 80), scale=(1, 0.5, 0.5), translate=(0, 10, 0))
    with pytest.raises(DataError, match="Nothing is drawn"):
        shape_boxes(viewer, layer, "TYX")
    drawn = viewer.add_shapes(
        [[[15, 5], [15, 15], [20, 15], [20, 5]], [[0, 0], [0, 1], [1, 1], [1, 0]]],
        shape_type="rectangle",
    )
    assert shapes_of(viewer) is drawn
    assert shape_boxes(viewer, layer, "TYX") == [Box((10, 10), (21, 31))]  # the other is outside
    drawn.data = [[[0, 0], [0, 1], [1, 1], [1, 0]]]
    with pytest.raises(DataError, match="lies on the image"):
        shape_boxes(viewer, layer, "TYX")


def test_the_view_of_a_volume_in_3d_is_no_region() -> None:
    viewer = ViewerModel(ndisplay=3)
    layer = viewer.add_image(ramp(5, 20, 20))
    with pytest.raises(DataError, match="Switch to 2D"):
        view_box(viewer, layer, "ZYX")


def test_regions_in_words_are_part_of_a_name() -> None:
    assert in_words([Box((1, 2), (30, 40))]) == "y1-30 x2-40"
    assert in_words([Box((1, 2), (30, 40))] * 3) == "3 regions"
    Configuration(experiment_name=f"cells {in_words([Box((1, 2), (30, 40))])}")


@pytest.mark.parametrize(
    ("axes", "shape", "rgb", "theirs", "expected"),
    [
        ("YX", (8, 9), False, (8, 9), "YX"),
        ("CYX", (2, 8, 9), False, (8, 9), "YX"),
        ("YX", (8, 9), False, (3, 8, 9), None),
        ("YX", (8, 9), True, (8, 9, 3), "YXC"),
    ],
)
def test_axes_of_a_target(
    axes: str, shape: Any, rgb: bool, theirs: Any, expected: str | None
) -> None:
    target = choice(np.zeros(theirs, np.uint8), "", rgb=rgb)
    assert target_axes(choice(ramp(*shape), axes), target) == expected


def test_equal_sizes_need_no_overlap() -> None:
    assert overlap_of(choice(ramp(4, 5), "YX"), choice(ramp(4, 5), "YX"), "YX") is None


def test_a_smaller_target_is_cut_out_where_it_lies() -> None:
    whole = ramp(20, 30)
    image = choice(whole, "YX", scale=(0.5, 0.5))
    target = choice(whole[4:14, 6:26].copy(), "YX", scale=(0.5, 0.5), translate=(2, 3))
    overlap = overlap_of(image, target, "YX")
    assert overlap is not None
    assert overlap.is_placed
    assert overlap.words == "10 × 20"
    config = Configuration(algorithm_config=CARE(), data_config=DataConfig(patch_size=(8, 8)))
    data = TrainingOrder(config, image, target, overlap=overlap).data()
    np.testing.assert_array_equal(data["train_data"][0], whole[4:14, 6:26])
    np.testing.assert_array_equal(data["train_data_target"][0], whole[4:14, 6:26])


def test_without_a_place_both_begin_together() -> None:
    image, target = choice(ramp(3, 20, 30), "TYX"), choice(ramp(3, 16, 40), "TYX")
    overlap = overlap_of(image, target, "TYX")
    assert overlap is not None
    assert overlap.words == "3 × 16 × 30"
    config = Configuration(
        algorithm_config=CARE(), data_config=DataConfig(axes="TYX", patch_size=(8, 8))
    )
    box = Box((2, 4), (20, 24))
    order = TrainingOrder(config, image, target, boxes=(box,), overlap=overlap)
    data = order.data()
    assert data["train_data"][0].shape == data["train_data_target"][0].shape == (3, 14, 20)
    np.testing.assert_array_equal(data["train_data_target"][0], ramp(3, 16, 40)[:, 2:16, 4:24])
    assert order.region == "y2-20 x4-24"


def test_without_region_the_layer_itself_is_trained_on() -> None:
    image = choice(ramp(20, 30), "YX")
    assert TrainingOrder(Configuration(), image).data()["train_data"] is image.layer.data


def test_a_part_is_told_and_taken_up_again() -> None:
    image = choice(ramp(5, 3, 20, 30), "TCYX")
    data = DataConfig(axes="TCYX", patch_size=(8, 8), n_channels=3)
    whole = TrainingOrder(Configuration(data_config=data), image)
    some = data.model_copy(update={"channels": (0, 2), "n_channels": 2})
    order = TrainingOrder(
        Configuration(data_config=some), image, boxes=(Box((1, 2), (9, 12)),), ranges={"T": (1, 4)}
    )
    again = whole.with_part(json.loads(json.dumps(order.part())))
    assert again == order
    assert again.region == "y1-9 x2-12 t1-3 c0_2"
    np.testing.assert_array_equal(
        again.data()["train_data"][0], image.layer.data[1:4, :, 1:9, 2:12]
    )
    assert whole.with_part(json.loads(json.dumps(whole.part()))) == whole
