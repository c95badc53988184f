"""Pairs of Noise2Noise that change places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from careamist import CAREamist
from careamist.algorithms import N2N
from careamist.algorithms.exchange import exchanged, find_exchange
from careamist.config import Configuration, DataConfig, TrainingConfig
from careamist.errors import SettingsError
from careamist.lightning import checkpoints
from careamist.models.network import UNet
from careamist.stream import sample_keys


def signal(*shape: int) -> torch.Tensor:
    """Waves of standard deviation one."""
    place = torch.linspace(0, 12, shape[-1], dtype=torch.float64)
    waves = torch.sin(place)[:, None] + torch.cos(1.7 * place)
    return (waves / waves.std()).expand(shape).clone()


def draws(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two draws of white noise."""
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    return first, second


def smooth(noise: torch.Tensor) -> torch.Tensor:
    """Noise that goes on in the next pixel of its row."""
    return (noise + noise.roll(1, -1)) / 2**0.5


def standardised(pixels: torch.Tensor) -> torch.Tensor:
    """What the normalisation of images or targets makes of them."""
    return (pixels - pixels.mean()) / pixels.std()


SHAPE = (16, 1, 64, 64)


@pytest.mark.parametrize("level", [0.2, 0.5, 2.0])
def test_white_noise_of_one_level_lets_pixels_change_places(level: float) -> None:
    first, second = draws(*SHAPE)
    clean = signal(*SHAPE)
    assert find_exchange(clean + level * first, clean + level * second) == "pixels"


def test_a_gain_that_the_normalisation_undoes_does_not_matter() -> None:
    first, second = draws(*SHAPE)
    clean = signal(*SHAPE)
    pair = clean + 0.5 * first, 40 * (clean + 0.5 * second) + 300
    assert find_exchange(*map(standardised, pair)) == "pixels"
    assert find_exchange(*pair) == "none"


def test_noise_of_several_pixels_lets_patches_change_places() -> None:
    first, second = draws(*SHAPE)
    clean = signal(*SHAPE)
    assert find_exchange(clean + smooth(first), clean + smooth(second)) == "patches"


def test_a_shift_between_the_images_is_no_white_noise() -> None:
    first, second = draws(*SHAPE)
    clean = 3 * signal(16, 1, 65, 65)[..., 1:, :]
    pair = clean[..., 1:] + 0.3 * first, clean[..., :-1] + 0.3 * second
    assert find_exchange(*pair) == "patches"


@pytest.mark.parametrize("other", [0.25, 0.7, 1.0])
def test_noise_of_two_levels_keeps_its_place(other: float) -> None:
    first, second = draws(*SHAPE)
    clean = signal(*SHAPE)
    pair = clean + 0.5 * first, clean + other * second
    assert find_exchange(*pair) == "none"
    assert find_exchange(*map(standardised, pair)) == "none"  # then equally large as a whole


def test_one_channel_that_differs_keeps_all_of_them_in_place() -> None:
    first, second = draws(16, 2, 64, 64)
    clean = signal(16, 2, 64, 64)
    pair = clean + first, clean + second
    assert find_exchange(*pair) == "pixels"
    pair[1][:, 1] += 0.5 * draws(16, 64, 64, seed=1)[0]
    assert find_exchange(*pair) == "none"


def test_images_without_noise_and_other_channels_keep_their_place() -> None:
    clean = signal(*SHAPE)
    assert find_exchange(clean, clean) == "none"
    assert find_exchange(clean, clean.repeat(1, 2, 1, 1)) == "none"


def test_stacks_are_looked_at_along_z_too() -> None:
    first, second = draws(8, 1, 8, 32, 32)
    assert find_exchange(first, second) == "pixels"
    along_z = [(noise + noise.roll(1, 2)) / 2**0.5 for noise in (first, second)]
    assert find_exchange(*along_z) == "patches"


def test_pixels_change_places_half_of_them_and_channels_together() -> None:
    keys = torch.from_numpy(sample_keys(0, np.arange(40)))
    images = torch.zeros(40, 3, 5, 17, 9)
    inputs, targets = exchanged(images, images + 1, keys, "pixels")
    assert torch.equal(inputs + targets, images + 1)
    assert torch.equal(inputs[:, :1].expand_as(inputs), inputs)
    share = inputs.mean().item()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / (40 * 5 * 17 * 9) ** 0.5)
    by_place = inputs[:, 0].mean(0)  # no pixel changes more often than others
    assert by_place.std().item() == pytest.approx(0.5 / 40**0.5, rel=0.15)
    flat = inputs[:, 0].flatten(1)
    for step in (1, 9, 32, 64):  # nor with others
        pairs = ((flat[:, step:] - 0.5) * (flat[:, :-step] - 0.5)).mean().item() * 4
        assert abs(pairs) < 0.04


def test_patches_change_places_as_a_whole() -> None:
    keys = torch.from_numpy(sample_keys(0, np.arange(400)))
    images = torch.zeros(400, 2, 4, 4)
    inputs, targets = exchanged(images, images + 1, keys, "patches")
    swapped = inputs[:, 0, 0, 0]
    assert torch.equal(inputs, swapped[:, None, None, None].expand_as(inputs))
    assert torch.equal(inputs + targets, images + 1)
    assert 0.4 < swapped.mean().item() < 0.6


def test_a_sample_always_draws_the_same() -> None:
    keys = torch.from_numpy(sample_keys(0, np.arange(6)))
    images = torch.zeros(6, 1, 20, 20)
    together, _ = exchanged(images, images + 1, keys, "pixels")
    alone, _ = exchanged(images[4:], images[4:] + 1, keys[4:], "pixels")
    assert torch.equal(together[4:], alone)
    assert len({image.numpy().tobytes() for image in together}) == 6


def noisy_pair(edge: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a clean image and two noisy ones of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:edge, :edge]
    clean = 60 * np.sin(x / 5) * np.cos(y / 7) + 40 * ((x // 12 + y // 12) % 2) + 100
    noisy = clean + rng.normal(0, 40, (2, edge, edge))
    return clean, *noisy.astype(np.float32)


def trained(folder: Path, exchange: str, steps: int = 200) -> CAREamist:
    _, first, second = noisy_pair(64, 0)
    config = Configuration(
        algorithm_config=N2N(model=UNet(depth=1, num_channels_init=16), exchange=exchange),
        data_config=DataConfig(patch_size=(32, 32), batch_size=8, n_val_patches=0),
        training_config=TrainingConfig(num_steps=steps, learning_rate=4e-3, precision="float32"),
    )
    model = CAREamist(config, work_dir=folder, enable_progress_bar=False)
    model.train(train_data=first, train_data_target=second)
    return model


def test_a_small_image_is_not_learnt_by_heart(tmp_path: Path) -> None:
    clean, noisy, _ = noisy_pair(64, 1)

    def error(exchange: str) -> float:
        restored = trained(tmp_path / exchange, exchange).predict(noisy)[0][0]
        return float(((restored - clean) ** 2).mean())

    assert error("pixels") < 0.9 * error("none")


def test_what_was_found_is_kept_with_the_model(tmp_path: Path) -> None:
    model = trained(tmp_path, "auto", steps=2)
    assert model.config.algorithm_config.exchange == "pixels"
    last = model.get_checkpoints()[-1]
    assert checkpoints.load(last).config.algorithm_config.exchange == "pixels"


def test_only_alike_channels_can_be_ordered_to_change_places(tmp_path: Path) -> None:
    _, first, second = noisy_pair(64, 0)
    config = Configuration(
        algorithm_config=N2N(
            model=UNet(depth=1, num_channels_init=4, independent_channels=False), exchange="pixels"
        ),
        data_config=DataConfig(axes="CYX", patch_size=(32, 32), batch_size=2),
        training_config=TrainingConfig(num_steps=2),
    )
    model = CAREamist(config, work_dir=tmp_path, enable_progress_bar=False)
    with pytest.raises(SettingsError, match="channels"):
        model.train(train_data=np.stack([first, second]), train_data_target=second[None])
