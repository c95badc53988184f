"""Each method has its own settings; presets, images and memory fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from careamist.algorithms import ALGORITHMS
from careamist.config import N2V, PRESETS, TrainingConfig, UNet
from careamist.config.methods import METHODS
from careamist.gui.data.data_source import DataChoice
from careamist.gui.forms.remembered import Remembered
from careamist.gui.training.method_settings import MethodSettings


@pytest.fixture
def memory(tmp_path: Path) -> Remembered:
    return Remembered(tmp_path / "docks.json")


def image(axes: str, *shape: int) -> DataChoice:
    return DataChoice(None, "x.npy", axes, shape)


def test_every_algorithm_is_a_method() -> None:
    used = {method.algorithm.algorithm for method in METHODS.values()}
    assert used == set(ALGORITHMS)
    assert METHODS["n2v2"].algorithm.variant == "N2V2"
    assert METHODS["structn2v"].algorithm.variant == "structN2V"
    for method in METHODS.values():
        assert method.title
        assert method.about
        assert method.needs.endswith(".")


@pytest.mark.parametrize("key", METHODS)
@pytest.mark.parametrize("effort", ["quick", "standard", "thorough"])
def test_every_method_has_every_effort(memory: Remembered, key: str, effort: str) -> None:
    settings = MethodSettings(memory)
    settings.setEffort(key, effort)
    config = settings.defaults(key, image("TYX", 5, 100, 90))
    steps = PRESETS[effort].training["num_steps"]
    assert config.training_config.num_steps == steps
    assert config.data_config.patch_size == (64, 64)
    assert config.algorithm_config.algorithm == METHODS[key].algorithm.algorithm


def test_the_patch_fits_image_and_network(memory: Remembered) -> None:
    settings = MethodSettings(memory)
    assert settings.defaults("n2v", image("ZYX", 9, 48, 48)).data_config.patch_size == (8, 48, 48)
    base = settings.defaults("n2v", image("YX", 40, 40))
    settings.take("n2v", "algorithm_config", N2V(model=UNet(depth=4)), base)
    assert settings.defaults("n2v", image("YX", 40, 40)).data_config.patch_size == (32, 32)


def test_channels_stay_apart_where_nothing_else_is_known(memory: Remembered) -> None:
    settings = MethodSettings(memory)
    for key, apart in (("n2v", True), ("n2v2", True), ("care", False)):
        config = settings.defaults(key, image("CYX", 2, 64, 64))
        assert config.algorithm_config.model.independent_channels is apart


def test_changes_belong_to_their_method_and_survive(memory: Remembered) -> None:
    settings = MethodSettings(memory)
    base = settings.defaults("n2v", None)
    training = base.training_config.model_copy(update={"learning_rate": 0.01, "num_steps": 77})
    settings.take("n2v", "training_config", training, base)
    settings.setEffort("care", "quick")
    settings.save()

    again = MethodSettings(memory)
    found = again.changed("n2v", again.defaults("n2v", None), None).training_config
    assert (found.num_steps, found.learning_rate) == (77, 0.01)
    other = again.changed("n2v2", again.defaults("n2v2", None), None).training_config
    assert other.num_steps == TrainingConfig().num_steps
    assert again.effort("care") == "quick"
    again.setEffort("n2v", "quick")  # what it sets is not changed by hand any more
    assert again.changed("n2v", again.defaults("n2v", None), None).training_config.num_steps == 300
    again.reset("n2v")
    assert again.changed("n2v", again.defaults("n2v", None), None) == again.defaults("n2v", None)


def test_what_is_not_valid_any_more_is_forgotten(memory: Remembered) -> None:
    kept = {"effort": "heroic", "training_config": {"learning_rate": "fast"}, "data_config": 3}
    memory.set("methods", {"n2v": kept, "n2v2": "?", "unknown": {}})
    settings = MethodSettings(memory)
    base = settings.defaults("n2v", None)
    assert settings.effort("n2v") == "standard"
    assert settings.changed("n2v", base, None) == base


def test_a_patch_of_ones_own_stays_while_it_fits_the_image(memory: Remembered) -> None:
    settings = MethodSettings(memory)
    small = image("YX", 64, 64)
    base = settings.defaults("n2v", small)
    data = base.data_config.model_copy(update={"patch_size": (16, 16)})
    settings.take("n2v", "data_config", data, base)
    assert settings.changed("n2v", base, small).data_config.patch_size == (16, 16)
    settings.save()
    fresh = MethodSettings(memory)  # it is of the image, not of the method
    assert fresh.changed("n2v", base, small).data_config.patch_size == (64, 64)
    volume = image("ZYX", 16, 64, 64)
    base = settings.defaults("n2v", volume)
    assert settings.changed("n2v", base, volume).data_config.patch_size == (16, 64, 64)
