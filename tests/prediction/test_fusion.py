"""Giving back a part of the noisy pixel."""

from __future__ import annotations

import numpy as np
import pytest

from careamist import CAREamist
from careamist.config import CARE, N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.errors import SettingsError
from careamist.prediction.fusion import Fusion


def psnr(clean, image):
    return 10 * np.log10(1 / np.mean((image - clean) ** 2))


@pytest.fixture
def clean():
    y, x = np.mgrid[:192, :192]
    fine = 0.2 * (np.sin(x / 2.2) * np.cos(y / 2.7) > 0.3)
    return 0.2 + 0.4 * (x > 96) + fine * (x > 96)


def noisy(clean, seed=0):
    return clean + np.random.default_rng(seed).normal(0, 0.1, clean.shape)


def smoothed(image):
    for axis in (0, 1):
        image = sum(np.roll(image, shift, axis) for shift in (-2, -1, 0, 1, 2)) / 5
    return image


def test_signal_that_the_prediction_missed_comes_back(clean):
    x, p = noisy(clean), smoothed(clean)
    fused = Fusion.fit([(x[None], p[None])]).apply(x[None], p[None])[0]
    assert psnr(clean, fused) > psnr(clean, p) + 0.4
    flat = np.s_[:, 10:80]  # nothing was missed here
    assert np.abs(fused[flat] - p[flat]).mean() < 0.2 * np.abs(x[flat] - p[flat]).mean()


def test_a_perfect_prediction_stays(clean):
    x = noisy(clean)
    fused = Fusion.fit([(x[None], clean[None])]).apply(x[None], clean[None])[0]
    np.testing.assert_allclose(fused, clean, atol=0.03)


def test_the_weight_is_at_most_a_half_and_never_negative(clean):
    x = noisy(clean)
    fusion = Fusion.fit([(x[None], np.roll(clean, 40, 1)[None])])
    assert np.min(fusion.weights) >= 0
    assert np.max(fusion.weights) == 0.5


def test_channels_and_volumes_are_fused_apart(clean):
    x = np.stack([noisy(clean), noisy(clean, 1)])
    p = np.stack([smoothed(clean), clean])
    both = Fusion.fit([(x, p)])
    for channel in (0, 1):
        alone = Fusion.fit([(x[[channel]], p[[channel]])])
        np.testing.assert_array_equal(
            both.apply(x, p)[channel], alone.apply(x[[channel]], p[[channel]])[0]
        )
    volume = both.apply(x[:, None], p[:, None])
    np.testing.assert_array_equal(volume[:, 0], both.apply(x, p))


def test_a_flat_prediction_gives_nothing_back():
    x = np.random.default_rng(0).random((1, 16, 16))
    p = np.full((1, 16, 16), 0.5)
    np.testing.assert_array_equal(Fusion.fit([(x, p)]).apply(x, p), p)


def test_fusing_is_an_option_of_a_prediction(clean, tmp_path):
    x = noisy(clean).astype(np.float32)
    config = Configuration(
        algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
        data_config=DataConfig(patch_size=(32, 32)),
        training_config=TrainingConfig(num_steps=3),
    )
    careamist = CAREamist(config, work_dir=tmp_path, enable_progress_bar=False)
    careamist.train(train_data=x)
    (plain,), _ = careamist.predict(x, tile_size=(96, 96))
    (fused,), _ = careamist.predict(x, tile_size=(96, 96), fuse_noisy=True)
    share = (fused - plain) / (x - plain)
    assert share.min() >= -1e-3
    assert 0.1 < share.max() <= 0.501


def test_fusing_is_refused_where_the_network_sees_the_pixel(clean, tmp_path):
    config = Configuration(
        algorithm_config=CARE(model=UNet(depth=1, num_channels_init=4)),
        data_config=DataConfig(patch_size=(32, 32)),
        training_config=TrainingConfig(num_steps=1),
    )
    careamist = CAREamist(config, work_dir=tmp_path, enable_progress_bar=False)
    careamist.train(train_data=noisy(clean), train_data_target=clean)
    with pytest.raises(SettingsError, match="do not look at the pixel itself"):
        careamist.predict(noisy(clean), fuse_noisy=True)
