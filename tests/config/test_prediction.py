"""The order form of a prediction: what is as in the training, and what is not."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile

from careamist import ImageStackLoading, ReadFuncLoading
from careamist.config import DataConfig
from careamist.config.prediction import PredictionConfig
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.views import HeldStack
from careamist.errors import AxesError, DataError, SettingsError, SourceNotFoundError

IMAGE = np.random.default_rng(0).random((3, 20, 24), dtype=np.float32)


def pixels(stack, channels=None):
    return stack.extract_patch(0, channels, (0, 0), stack.data_shape[2:])


@pytest.fixture
def path(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="minisblack", compression="zlib")
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tile_size": (0, 8)}, "tile_size"),
        ({"tile_size": "big"}, "tile_size"),
        ({"tile_overlap": (-1, 8)}, "tile_overlap"),
        ({"axes": "QX"}, "unknown letters Q"),
        ({"data_type": "bmp"}, "data_type"),
        ({"channels": [-1]}, "channels"),
        ({"channels": "some"}, "channels"),
        ({"in_memory": "auto"}, "in_memory"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_is_invalid_is_refused_in_our_words(given, told):
    with pytest.raises(SettingsError, match=told):
        PredictionConfig.of(**given)


def test_axes_are_those_of_the_training_unless_given():
    (stack,), channels = PredictionConfig().open(IMAGE[0], DataConfig())
    np.testing.assert_array_equal(pixels(stack)[0], IMAGE[0])
    assert channels is None
    (stack,), _ = PredictionConfig(axes="tyx").open(IMAGE, DataConfig())
    assert stack.data_shape == (3, 1, 20, 24)
    with pytest.raises(AxesError, match="names 2 axes but the image has 3"):
        PredictionConfig().open(IMAGE, DataConfig())


def test_the_format_is_told_by_the_data(path):
    three = DataConfig(axes="CYX", n_channels=3)
    for data in (path, str(path), [path], path.parent):
        (stack,), _ = PredictionConfig().open(data, three)
        assert stack.source == str(path)
    (stack,), _ = PredictionConfig(data_type="tiff").open(path, three)
    np.testing.assert_array_equal(pixels(stack), IMAGE)
    with pytest.raises(SettingsError, match="a path was given"):
        PredictionConfig(data_type="array").open(path, three)
    with pytest.raises(SourceNotFoundError, match="no file or folder"):
        PredictionConfig().open(path.parent / "gone.tif", three)


@pytest.mark.parametrize(
    ("trained", "given", "axes", "expected"),
    [
        ({"axes": "CYX", "channels": (2,), "n_channels": 1}, None, None, [2]),
        ({"axes": "CYX", "channels": (2,), "n_channels": 1}, [0], None, [0]),
        ({"axes": "YX"}, [1], "CYX", [1]),
        ({"axes": "CYX", "n_channels": 3}, None, None, [0, 1, 2]),
        ({"axes": "CYX", "channels": (2, 1, 0), "n_channels": 3}, "all", None, [0, 1, 2]),
        ({"axes": "CYX", "channels": (2, 1, 0), "n_channels": 3}, None, None, [2, 1, 0]),
    ],
)
def test_channels_are_those_of_the_training_unless_given(trained, given, axes, expected):
    options = PredictionConfig(channels=given, axes=axes)
    (stack,), channels = options.open(IMAGE, DataConfig(**trained))
    np.testing.assert_array_equal(pixels(stack, channels), IMAGE[expected])


def test_an_image_without_channels_needs_none_to_be_chosen():
    trained = DataConfig(axes="CYX", channels=(1,), n_channels=1)
    (stack,), channels = PredictionConfig(axes="YX").open(IMAGE[1], trained)
    assert channels is None
    np.testing.assert_array_equal(pixels(stack)[0], IMAGE[1])


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(SettingsError, match=r"channels=\[5\] were chosen|channels=\(5,\)"):
        PredictionConfig(channels=[5], axes="CYX").open(IMAGE, DataConfig())
    with pytest.raises(SettingsError, match="has 3 channels; the model was trained on 1"):
        PredictionConfig(axes="CYX").open(IMAGE, DataConfig())


def test_whole_images_are_read_first_if_asked_for(path):
    three = DataConfig(axes="CYX", n_channels=3)
    (stack,), _ = PredictionConfig().open(path, three)
    assert not isinstance(stack, HeldStack)
    (stack,), _ = PredictionConfig(in_memory=True).open(path, three)
    assert isinstance(stack, HeldStack)


def test_custom_data_need_no_data_type(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE[0])
    loading = ReadFuncLoading(np.load, extension_filter="*.npy")
    (stack,), _ = PredictionConfig().open(tmp_path, DataConfig(), loading)
    assert stack.source == str(tmp_path / "a.npy")
    with pytest.raises(SettingsError, match="was given, but data_type='tiff'"):
        PredictionConfig(data_type="tiff").open(tmp_path, DataConfig(), loading)
    with pytest.raises(SettingsError, match="needs a way to read"):
        PredictionConfig(data_type="custom").open(tmp_path, DataConfig())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = IMAGE[0]
        own = ImageStackLoading(lambda data, axes: [ArrayStack(data["image"], axes, "mine")])
        (stack,), _ = PredictionConfig().open(file, DataConfig(), own)
        assert stack.source == "mine"


def test_complex_pixels_are_refused():
    with pytest.raises(DataError, match="real numbers are needed"):
        PredictionConfig().open(IMAGE[0].astype(complex), DataConfig())
