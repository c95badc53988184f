"""Presets: settings with a name."""

from __future__ import annotations

import pytest

from careamist.config import (
    CARE,
    N2N,
    N2V,
    PRESETS,
    Configuration,
    DataConfig,
    TrainingConfig,
    UNet,
    apply_preset,
    load_configuration,
    save_configuration,
)
from careamist.errors import SettingsError

ALGORITHMS = [N2V(), N2V(strategy="median"), N2V(struct_axes="cross"), CARE(), N2N()]
EFFORTS = ("quick", "standard", "thorough")


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.variant)
@pytest.mark.parametrize("axes", ["YX", "CZYX"])
def test_every_preset_fits_every_algorithm(name, algorithm, axes, tmp_path):
    patch = (16, 32, 32) if "Z" in axes else (64, 64)
    data = DataConfig(axes=axes, patch_size=patch, seed=5, n_val_patches=3)
    config = Configuration(experiment_name="mine", algorithm_config=algorithm, data_config=data)
    made = apply_preset(config, name)
    assert type(made.algorithm_config) is type(algorithm)
    preset = PRESETS[name]
    for part, wanted in (
        (made.training_config, preset.training),
        (made.data_config, preset.data),
        (made.algorithm_config.model, preset.model),
        (made.algorithm_config, preset.algorithm.get(algorithm.algorithm, {})),
    ):
        for field, value in wanted.items():
            found = getattr(part, field)
            dumped = found.model_dump(by_alias=False) if hasattr(found, "model_dump") else found
            expected = {**dumped, **value} if isinstance(value, dict) else value
            assert dumped == expected, field
    assert (made.experiment_name, made.data_config.seed) == ("mine", 5)
    assert (made.data_config.axes, made.data_config.patch_size) == (axes, patch)
    assert made.data_config.n_val_patches == 3
    assert load_configuration(save_configuration(made, tmp_path)) == made


def test_the_standard_is_what_is_given_without_any_preset():
    assert apply_preset(Configuration(), "standard") == Configuration()


@pytest.mark.parametrize("first", EFFORTS)
@pytest.mark.parametrize("second", EFFORTS)
def test_one_effort_replaces_another(first, second):
    config = Configuration()
    assert apply_preset(apply_preset(config, first), second) == apply_preset(config, second)


@pytest.mark.parametrize(
    "training", [{"max_minutes": 3}, {"num_epochs": 5}, {"num_epochs": 5, "steps_per_epoch": 999}]
)
@pytest.mark.parametrize("name", PRESETS)
def test_the_length_is_that_of_the_preset(training, name):
    config = Configuration(training_config=TrainingConfig(**training))
    made = apply_preset(config, name).training_config
    assert made.max_minutes is None
    assert made.num_steps == PRESETS[name].training["num_steps"]


def test_efforts_rise():
    steps = [apply_preset(Configuration(), name).training_config.num_steps for name in EFFORTS]
    assert steps == sorted(steps)
    assert len(set(steps)) == 3


def test_other_settings_are_kept():
    config = Configuration(
        algorithm_config=N2V(roi_size=9, model=UNet(depth=3)),
        training_config=TrainingConfig(device="cpu", num_threads=2),
    )
    made = apply_preset(config, "quick")
    assert (made.algorithm_config.roi_size, made.algorithm_config.model.depth) == (9, 3)
    assert (made.training_config.device, made.training_config.num_threads) == ("cpu", 2)


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(SettingsError, match="no preset 'fast': expected one of quick, standard"):
        apply_preset(Configuration(), "fast")


def test_every_preset_is_described():
    for preset in PRESETS.values():
        assert preset.title
        assert preset.description.endswith(".")


@pytest.mark.parametrize("algorithm", [CARE(), N2N()], ids=["care", "n2n"])
def test_the_preset_of_careamics_learns_from_pairs_by_its_loss(algorithm):
    config = Configuration(algorithm_config=algorithm)
    assert config.algorithm_config.loss_function == "mse"
    assert apply_preset(config, "careamics").algorithm_config.loss_function == "mae"
