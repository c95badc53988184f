"""structN2V takes away noise that is alike along lines; Noise2Void learns it as if it were signal.

What the two removed is compared with the noise by its own correlation from pixel to pixel: that of
the result is no measure, since any blur correlates neighbours.
"""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from careamist import CAREamist
from careamist.analysis.metrics import scale_invariant_psnr
from careamist.config import N2V, Configuration, TrainingConfig

STEPS = 80


def line_noise(shape, axis):
    white = np.random.default_rng(0).normal(size=shape)
    smeared = sum(
        weight * np.roll(white, shift, axis)
        for shift, weight in zip(range(-2, 3), (0.25, 0.5, 1, 0.5, 0.25), strict=True)
    )
    return 25 * smeared / smeared.std()


def lag_1(image, axis):
    """Correlation of neighbours along an axis."""
    image = image - image.mean()
    return (image * np.roll(image, -1, axis)).mean() / (image**2).mean()


@pytest.mark.slow
@pytest.mark.parametrize(("direction", "axis"), [("horizontal", 1), ("vertical", 0)])
def test_noise_along_lines_is_removed_whole(direction, axis, tmp_path):
    clean = data.camera()[100:260, 100:260].astype(np.float32)
    noise = line_noise(clean.shape, axis)
    noisy = (clean + noise).astype(np.float32)
    removed, score = {}, {}
    for name, algorithm in {
        "N2V": N2V(),
        "structN2V": N2V(struct_axes=direction, struct_span=9),
    }.items():
        config = Configuration(
            algorithm_config=algorithm, training_config=TrainingConfig(num_steps=STEPS)
        )
        careamist = CAREamist(config, work_dir=tmp_path, enable_progress_bar=False)
        careamist.train(train_data=noisy)
        (restored,), _ = careamist.predict(noisy)
        removed[name] = lag_1(noisy - restored, axis)
        score[name] = scale_invariant_psnr(clean, restored)
    expected = lag_1(noise, axis)
    assert abs(removed["structN2V"] - expected) < 0.1
    assert abs(removed["N2V"] - expected) > 0.1
    assert score["structN2V"] > score["N2V"] + 1
    assert score["structN2V"] > scale_invariant_psnr(clean, noisy) + 1
