"""The data part of the order form: what fits together, and what is asked of images."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from careamist.config import DataConfig, explain
from careamist.dataset.image_stack import FORMATS
from careamist.dataset.image_stack.array import ArrayStack
from careamist.errors import SettingsError


@pytest.mark.parametrize("name", [*FORMATS, "custom"])
def test_every_format_is_a_data_type(name):
    axes = "SCYX" if name == "czi" else "YX"
    assert DataConfig(data_type=name, axes=axes).data_type == name


def test_other_data_types_are_refused_with_those_that_exist():
    with pytest.raises(ValidationError, match=r"'array', 'tiff', .* or 'custom'"):
        DataConfig(data_type="bmp")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"axes": "YX", "channels": [1]}, "channels=(1,) needs a C in axes='YX'"),
        ({"axes": "CYX", "channels": []}, "channels: Tuple should have at least 1 item"),
        ({"axes": "CYX", "channels": [1, 1]}, "channels=(1, 1) names a channel twice"),
        ({"axes": "CYX", "channels": [-1]}, "channels.0: Input should be greater than or equal"),
        ({"axes": "CYX", "channels": [1], "n_channels": 2}, "n_channels=2 does not fit channels"),
        ({"target_axes": "YXQ"}, "target_axes: axes='YXQ' has unknown letters Q"),
        ({"target_axes": "ZYX"}, "target_axes='ZYX' and axes='YX' differ in Z"),
        (
            {"axes": "ZYX", "patch_size": [8, 64, 64], "target_axes": "TYX"},
            "target_axes='TYX' and axes='ZYX' differ in Z",
        ),
        ({"n_channels_out": 0}, "n_channels_out: Input should be greater"),
        ({"n_channels_out": 2}, "n_channels_out=2 needs a C in target_axes='YX'"),
        ({"in_memory": "perhaps"}, "in_memory"),
        (
            {"data_type": "czi", "axes": "CYX"},
            "axes='CYX' do not fit a CZI file: expected one of SCYX, SCTYX, SCZYX",
        ),
        (
            {"data_type": "czi", "axes": "SCYX", "target_axes": "YX"},
            "axes='YX' do not fit a CZI file",
        ),
        (
            {"data_type": "czi", "axes": "SCTYX", "target_axes": "SCYX", "patch_size": [8, 64, 64]},
            "target_axes='SCYX' and axes='SCTYX' differ in Z",
        ),
        (
            {"data_type": "czi", "axes": "SCTYX"},
            "patch_size=(64, 64) does not fit axes 'SCTYX': expected 3 numbers in the order ZYX",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(given, told):
    with pytest.raises(ValidationError) as caught:
        DataConfig(**given)
    assert told in explain(caught.value)


@pytest.mark.parametrize("value", ["auto", True, False])
def test_in_memory_is_yes_no_or_automatic(value):
    assert DataConfig(in_memory=value).in_memory is value or value == "auto"
    assert DataConfig().in_memory == "auto"


def test_time_is_depth_in_czi_only():
    size = (8, 64, 64)
    config = DataConfig(data_type="czi", axes="sctyx", target_axes="SCZYX", patch_size=size)
    assert (config.axes, config.spatial_axes, config.dims) == ("SCTYX", "ZYX", 3)
    assert DataConfig(data_type="czi", axes="SCYX").dims == 2
    tiff = DataConfig(data_type="tiff", axes="SCTYX")
    assert (tiff.spatial_axes, tiff.dims) == ("YX", 2)


# -- images to predict --------------------------------------------------------------------------


def stack(*shape, axes="CYX"):
    return ArrayStack(np.zeros(shape), axes)


def test_images_that_fit_are_welcome():
    DataConfig(axes="CYX", n_channels=2).check_fits([stack(2, 8, 9), stack(2, 5, 5)], None)
    DataConfig(axes="CYX", n_channels=2).check_fits([stack(4, 8, 9)], [3, 0])
    DataConfig().check_fits([stack(7, 8, 9, axes="TYX")], None)


@pytest.mark.parametrize(
    ("image", "channels", "told"),
    [
        (stack(3, 8, 9), None, "has 3 channels; the model was trained on 2"),
        (stack(3, 8, 9), [1], "has 3 channels, of which 1 were chosen; the model was trained on 2"),
        (stack(3, 8, 9), [1, 3], r"channels=\[1, 3\] were chosen, but array has 3"),
        (stack(3, 8, 9, axes="ZYX"), None, "axes 'ZYX', that is 3 spatial axes"),
    ],
)
def test_images_that_do_not_fit_are_refused(image, channels, told):
    config = DataConfig(axes="CYX", n_channels=2)
    with pytest.raises(SettingsError, match=told):
        config.check_fits([stack(2, 8, 9), image] if channels is None else [image], channels)
