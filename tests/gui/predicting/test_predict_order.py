"""How a model goes over the axes of an image, and what is cut out of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from careamist.config import DataConfig
from careamist.config.prediction import PredictionConfig
from careamist.gui.data.data_source import DataChoice
from careamist.gui.predicting import predict_order
from careamist.gui.predicting.predict_looks import result_options
from careamist.gui.predicting.predict_order import PredictionOrder, use_of

pytestmark = pytest.mark.gui

SIZES = {"S": 4, "T": 5, "C": 3, "Z": 6, "Y": 32, "X": 40}


def chosen(axes: str, data_type: str = "array", **sizes: int) -> DataChoice:
    shape = tuple((SIZES | sizes)[axis] for axis in axes)
    return DataChoice(None, "image", axes, shape, data_type)


def trained(axes: str, **more: Any) -> DataConfig:
    return DataConfig(axes=axes, patch_size=(8,) * (3 if "Z" in axes else 2), **more)


@pytest.mark.parametrize(
    ("model", "image", "axes", "words"),
    [
        ("YX", "YX", "YX", ""),
        ("YX", "TYX", "TYX", "each of the 5 T slices is denoised on its own."),
        ("TYX", "YX", "YX", ""),
        ("YX", "SYX", "SYX", "each of the 4 samples is"),
        ("YX", "ZYX", "SYX", "each of the 6 Z slices is"),
        ("YX", "TZYX", "TSYX", "each of the 5 T × 6 Z slices is"),
        ("YX", "SZYX", "STYX", "each of the 4 S × 6 Z slices is"),
        ("YX", "CYX", "SYX", "each of the 3 channels is"),
        ("YX", "YXC", "YXS", "each of the 3 channels is"),
        ("YX", "TCYX", "TSYX", "each of the 5 T × 3 C slices is"),
        ("ZYX", "CZYX", "SZYX", "The model works on ZYX: each of the 3 channels is"),
        ("ZYX", "TZYX", "TZYX", "The model works on ZYX: each of the 5 T slices is"),
        ("ZYX", "XYZ", "XYZ", ""),
    ],
)
def test_a_model_of_one_channel_goes_over_all_other_axes(
    model: str, image: str, axes: str, words: str
) -> None:
    use = use_of(trained(model), chosen(image))
    assert (use.axes, use.problem) == (axes, "")
    assert words in use.words
    assert bool(words) == bool(use.words)


@pytest.mark.parametrize(
    ("model", "more", "image", "words"),
    [
        ("ZYX", {}, "YX", "works on 3D images, but axes YX are 2D"),
        ("ZYX", {}, "TYX", "Say which axis is depth"),
        ("YX", {}, "STZYX", "works on 2D images, but axes STZYX are 3D"),
        ("YX", {}, "STCYX", "works on 1 channel, the image has 3"),
        ("CYX", {"n_channels": 3}, "YX", "works on 3 channels, the image has 1"),
        ("CYX", {"n_channels": 2}, "CYX", "works on 2 channels, the image has 3"),
    ],
)
def test_what_does_not_fit_says_why(
    model: str, more: dict[str, Any], image: str, words: str
) -> None:
    assert words in use_of(trained(model, **more), chosen(image)).problem


def test_a_czi_keeps_the_axes_that_it_fixes() -> None:
    assert "works on 1 channel" in use_of(trained("YX"), chosen("SCYX", "czi")).problem
    assert "2D" in use_of(trained("YX"), chosen("SCZYX", "czi", C=1)).problem
    use = use_of(trained("YX"), chosen("SCYX", "czi", C=1, S=1))
    assert (use.axes, use.words, use.problem) == ("SCYX", "", "")


def test_the_channels_of_the_training_are_used_of_an_image_with_more() -> None:
    config = trained("CYX", channels=(0, 2), n_channels=2)
    assert use_of(config, chosen("CYX")) == ("CYX", "", "")
    assert "works on 2 channels" in use_of(config, chosen("CYX", C=1)).problem


def test_a_range_is_cut_without_copying() -> None:
    data = np.arange(5 * 4 * 4).reshape(5, 4, 4)
    layer = Image(data)
    choice = DataChoice(layer, None, "TYX", data.shape)
    order = PredictionOrder(choice, "TYX", ranges={"T": (1, 3)})
    assert order.shape == (2, 4, 4)
    assert order.offset == [1, 0, 0]
    assert np.shares_memory(order.data(), data)
    np.testing.assert_array_equal(order.data(), data[1:3])
    assert PredictionOrder(choice, "TYX").data() is layer.data
    assert order.settings().axes == "TYX"


def test_letters_go_back_to_those_of_the_image() -> None:
    choice = chosen("TCYX")
    order = PredictionOrder(choice, "TSYX")
    assert order.result_axes("TSYX") == "TCYX"
    assert PredictionOrder(chosen("ZYX"), "SYX").result_axes("SCYX") == "ZCYX"
    assert order.result_shape(1) == ("TCYX", choice.shape)
    assert PredictionOrder(chosen("YX"), "YX").result_shape(2) == ("CYX", (2, 32, 40))
    assert PredictionOrder(chosen("CYX"), "CYX").result_shape(2) == ("CYX", (2, 32, 40))


def test_what_is_too_large_for_memory_goes_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = DataChoice(Image(np.zeros((50, 32, 40), np.uint8)), None, "TYX", (50, 32, 40))
    order = PredictionOrder(choice, "TYX")
    n_bytes = 4 * math.prod(choice.shape)
    monkeypatch.setattr(predict_order, "free_memory", lambda: 4 * n_bytes)
    assert not order.is_too_large(1)
    assert PredictionOrder(chosen("CYX"), "CYX").is_too_large(10**6)
    monkeypatch.setattr(predict_order, "free_memory", lambda: 4 * n_bytes - 1)
    assert order.is_too_large(1)
    bytes_only = PredictionOrder(choice, "TYX", PredictionConfig(dtype="input"))
    assert not bytes_only.is_too_large(1)
    monkeypatch.setattr(predict_order, "free_memory", lambda: 10**15)
    assert PredictionOrder(chosen("YX", Y=4097), "YX").is_too_large(1)


def turned_in_the_plane(ndim: int) -> Any:
    matrix = np.eye(ndim)
    matrix[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]
    return matrix


@pytest.mark.parametrize(
    ("axes", "model", "result", "rgb"),
    [
        ("YX", "YX", "YX", False),
        ("TYX", "TYX", "TYX", False),
        ("CYX", "SYX", "CYX", False),  # per channel
        ("CYX", "CYX", "CYX", False),
        ("TZYX", "TSYX", "TZYX", False),
        ("TCZYX", "TCZYX", "TCZYX", False),
        ("YX", "YX", "CYX", False),  # the model makes channels
        ("TYX", "TYX", "TCYX", False),
        ("YX", "YX", "YX", True),
        ("TYX", "TYX", "TYX", True),
    ],
)
def test_geometry_units_labels_and_looks_are_taken_over(
    axes: str, model: str, result: str, rgb: bool
) -> None:
    n = len(axes)
    shape = tuple(SIZES[axis] for axis in axes)
    layer = Image(
        np.zeros((*shape, 3) if rgb else shape, np.uint8),
        rgb=rgb,
        scale=np.linspace(0.1, 0.4, n),
        translate=np.arange(n) + 3.0,
        rotate=turned_in_the_plane(n),
        affine=np.diag([*np.linspace(1, 2, n), 1.0]),
        units=["s" if axis == "T" else "um" for axis in axes],
        axis_labels=[f"my {axis}" for axis in axes],
        **({} if rgb else {"colormap": "magenta", "gamma": 0.5, "contrast_limits": (3, 90)}),
    )
    color = "C" if rgb else ""
    choice = DataChoice(layer, None, axes + color, layer.data.shape)
    order = PredictionOrder(choice, model + ("S" if rgb and "S" not in model else color))
    result += color
    sizes = SIZES | {"C": 3 if rgb else 2}
    made = tuple(sizes[axis] for axis in result)
    options = result_options(order, "", result, made, "uint8")
    copy = Image(np.zeros(made, np.uint8), **options)
    assert bool(copy.rgb) == rgb
    if len(result) == len(axes + color):
        for name in ("scale", "translate", "rotate", "shear"):
            np.testing.assert_allclose(getattr(copy, name), getattr(layer, name))
        assert copy.units == layer.units
        assert copy.axis_labels == layer.axis_labels
        np.testing.assert_allclose(copy.affine.affine_matrix, layer.affine.affine_matrix)
    else:
        at = result.index("C")
        assert copy.axis_labels[at] == "c"
        kept = [place for place in range(len(result)) if place != at]
        np.testing.assert_allclose(copy.scale[kept], layer.scale, atol=1e-6)
        np.testing.assert_allclose(copy.translate[kept], layer.translate)
        assert [copy.axis_labels[place] for place in kept] == list(layer.axis_labels)
    if not rgb:
        assert copy.colormap.name == "magenta"
        assert (copy.gamma, tuple(copy.contrast_limits)) == (0.5, (3, 90))


def test_a_slice_lies_where_it_was_cut() -> None:
    layer = Image(np.zeros((5, 8, 8)), scale=(2, 1, 1), translate=(10, 0, 0))
    choice = DataChoice(layer, None, "TYX", (5, 8, 8))
    order = PredictionOrder(choice, "TYX", ranges={"T": (3, 4)})
    options = result_options(order, "", "TYX", (1, 8, 8), "float32")
    np.testing.assert_allclose(options["translate"], (16, 0, 0))


@pytest.mark.parametrize("axes", ["YXC", "TYXC"])
def test_colours_keep_their_type(axes: str) -> None:
    shape = tuple(SIZES[axis] for axis in axes)
    layer = Image(np.zeros(shape, np.uint8), rgb=True)
    order = PredictionOrder(DataChoice(layer, None, axes, shape), axes)
    assert order.settings().dtype == "input"
    options = result_options(order, "", axes, shape, "uint8")
    assert options["rgb"] is True
