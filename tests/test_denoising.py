"""One call for one image."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import careamist
from careamist import denoise
from careamist.config import PRESETS
from careamist.config.presets import Preset
from careamist.errors import (
    AxesError,
    CareamistError,
    DataError,
    NotTrainedError,
    SettingsError,
    ShapeError,
    SourceNotFoundError,
)
from tiny import new, noise, small, waves


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """An effort of three steps."""
    model = {"depth": 1, "num_channels_init": 4}
    training = {"num_steps": 3, "device": "cpu"}
    monkeypatch.setitem(PRESETS, "tiny", Preset("Tiny", "", training, {"batch_size": 4}, model))


def noisy(*shape):
    return waves(*shape) + np.random.default_rng(0).normal(0, 15, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((70, 65), None),
        ((9, 40, 33), None),  # a volume
        ((5, 40, 33), None),  # a volume of few planes
        ((3, 40, 33), "TYX"),
        ((40, 33, 2), "YXC"),
        ((2, 2, 33, 40), "CTYX"),
    ],
)
def test_an_image_restores_itself(shape, axes):
    image = noise(*shape)
    restored = denoise(image, axes=axes, preset="tiny")
    assert (restored.shape, restored.dtype) == (shape, np.float32)
    assert 50 < restored.mean() < 150
    assert restored.std() < image.std()


def test_it_removes_noise():
    image, clean = noisy(64, 64), waves(64, 64)
    restored = denoise(image, preset="tiny")
    assert np.mean((restored - clean) ** 2) < np.mean((image - clean) ** 2) / 3


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64", "bool"])
def test_integers_and_lists_are_welcome(dtype):
    image = (noise(32, 32) > 100).astype(dtype) if dtype == "bool" else noise(32, 32).astype(dtype)
    restored = denoise(image, preset="tiny")
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(denoise(image.tolist(), preset="tiny"), restored)


def test_a_trained_model_restores_other_images(tmp_path):
    model = new(small(3), tmp_path)
    model.train(train_data=noise(64, 64))
    image = noise(50, 41, seed=1)
    (expected,), _ = model.predict(image)
    for given in (model, model.run_dir, model.run_dir / "last.ckpt", str(model.run_dir)):
        np.testing.assert_allclose(denoise(image, given), expected, rtol=1e-4)
    stack = np.stack([image, image[::-1]])
    restored = denoise(stack, model.run_dir, axes="TYX")
    np.testing.assert_allclose(restored[0], expected, rtol=1e-4)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    denoise(noise(32, 32), preset="tiny")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image", "options", "error", "words"),
    [
        (noise(2, 2, 32, 32), {}, AxesError, r"4 dimensions was given without axes.*'TCYX'"),
        (noise(32), {}, AxesError, "1 dimensions was given without axes"),
        (noise(32, 32), {"axes": "ZYX"}, CareamistError, "ZYX"),
        (noise(32, 32), {"axes": "YQ"}, AxesError, "unknown letters Q"),
        (noise(5, 5), {}, ShapeError, "smaller than the patch"),
        (np.ones((32, 32)), {}, DataError, "constant"),
        (np.full((32, 32), np.nan), {}, DataError, "NaN"),
        (noise(32, 32) * 1j, {}, DataError, "complex"),
        ("image.tif", {}, DataError, r"A path was given.*Read the image first"),
        (noise(32, 32), {"preset": "fast"}, SettingsError, "no preset 'fast'"),
        (noise(32, 32), {"model": "nowhere"}, SourceNotFoundError, "nowhere"),
        (noise(32, 32), {"model": ""}, SettingsError, "empty path"),
    ],
)
def test_what_cannot_be_is_explained(image, options, error, words):
    with pytest.raises(error, match=words):
        denoise(image, **{"preset": "tiny", **options})


def test_a_model_that_was_never_trained_is_refused(tmp_path):
    with pytest.raises(NotTrainedError):
        denoise(noise(32, 32), new(small(3), tmp_path))


def test_images_that_do_not_fit_the_model_are_explained(tmp_path):
    model = new(small(1), tmp_path)
    model.train(train_data=noise(64, 64))
    with pytest.raises(SettingsError, match="3 spatial axes"):
        denoise(noise(8, 32, 32), model, axes="ZYX")


def test_it_is_a_name_of_the_package():
    assert careamist.denoise is denoise
    assert inspect.signature(denoise).parameters["preset"].default == "quick"
