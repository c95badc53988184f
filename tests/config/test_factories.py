"""Shortcuts: names, defaults and what they order."""

from __future__ import annotations

import inspect

import pytest
from pydantic import ValidationError

from careamist import config as public
from careamist.config import (
    CARE,
    N2N,
    N2V,
    UNet,
    XYFlip,
    XYRandomRotate90,
    create_advanced_care_config,
    create_advanced_n2n_config,
    create_advanced_n2v_config,
    create_care_config,
    create_care_configuration,
    create_n2n_config,
    create_n2n_configuration,
    create_n2v_config,
    create_n2v_configuration,
    create_structn2v_config,
    load_configuration,
    save_configuration,
)
from careamist.config.factories import create_n2v_config as from_factories
from careamist.config.factories import fitting_patch
from careamist.errors import SettingsError

FIVE = {
    "experiment_name": "cells",
    "data_type": "array",
    "axes": "YX",
    "patch_size": [32, 32],
    "batch_size": 4,
}


def test_factory_puts_everything_in_its_place():
    made = create_n2v_config(
        experiment_name="cells",
        data_type="tiff",
        axes="CZYX",
        patch_size=[8, 32, 16],
        batch_size=4,
        num_epochs=9,
        num_steps=11,
        augmentations=[],
        n_val_patches=2,
        n_channels=3,
    )
    data, training = made.data_config, made.training_config
    assert made.experiment_name == "cells"
    assert (data.data_type, data.axes, data.n_channels) == ("tiff", "CZYX", 3)
    assert (data.patch_size, data.batch_size, data.n_val_patches) == ((8, 32, 16), 4, 2)
    assert data.augmentations == ()
    assert (training.num_epochs, training.steps_per_epoch) == (9, 11)
    assert made.algorithm_config == N2V(model=UNet(independent_channels=True))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, (XYFlip(), XYRandomRotate90())),
        ([], ()),
        (["x_flip"], (XYFlip(flip_y=False),)),
        (["y_flip"], (XYFlip(flip_x=False),)),
        (["rotate_90"], (XYRandomRotate90(),)),
        (["y_flip", "x_flip"], (XYFlip(),)),
        (["rotate_90", "y_flip"], (XYFlip(flip_x=False), XYRandomRotate90())),
    ],
)
def test_augmentations_by_name(names, expected):
    assert create_n2v_config(**FIVE, augmentations=names).data_config.augmentations == expected


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(SettingsError, match=r"unknown names \['z_flip'\]: expected x_flip, "):
        create_n2v_config(**FIVE, augmentations=["x_flip", "z_flip"])


def test_factory_refuses_what_the_form_refuses():
    with pytest.raises(ValidationError, match="62 is not a multiple of 4"):
        create_n2v_config(**FIVE | {"patch_size": [62, 62]})


def test_old_and_new_name_are_one_function_with_other_defaults():
    assert from_factories is create_n2v_config
    assert create_n2v_config(**FIVE).training_config.num_epochs == 30
    assert create_n2v_configuration(**FIVE).training_config.num_epochs == 100
    new, old = (
        create_n2v_config(**FIVE, num_epochs=5),
        create_n2v_configuration(**FIVE, num_epochs=5),
    )
    assert new == old
    by_position = create_n2v_configuration(*FIVE.values(), 5, n_val_patches=3)
    assert by_position == create_n2v_config(*FIVE.values(), 5, n_val_patches=3)


def test_both_factories_begin_with_the_same_arguments():
    old = list(inspect.signature(create_n2v_configuration).parameters)[:6]
    assert list(inspect.signature(create_n2v_config).parameters)[:6] == old


# -- names and defaults ----------------------------------------------------------------------------

REQUIRED = ["experiment_name", "data_type", "axes", "patch_size", "batch_size"]
COMMON = {"num_epochs": 30, "num_steps": None, "augmentations": None, "n_val_patches": 8}
N2V_OWN = {"use_n2v2": False, "n_channels": None}
PAIRS_OWN = {"n_channels_in": None, "n_channels_out": None, "target_axes": None}
SIGNATURES = {
    create_n2v_config: (REQUIRED, COMMON | N2V_OWN),
    create_structn2v_config: (
        [*REQUIRED, "struct_n2v_axes"],
        {"struct_n2v_span": 5} | COMMON | N2V_OWN,
    ),
    create_care_config: (REQUIRED, COMMON | PAIRS_OWN),
    create_n2n_config: (REQUIRED, COMMON | PAIRS_OWN),
    create_advanced_n2v_config: (
        REQUIRED,
        COMMON | N2V_OWN | {"independent_channels": True, "struct_n2v_axes": "none"},
    ),
    create_advanced_care_config: (REQUIRED, COMMON | PAIRS_OWN | {"independent_channels": False}),
    create_advanced_n2n_config: (REQUIRED, COMMON | PAIRS_OWN | {"independent_channels": True}),
    create_n2v_configuration: (REQUIRED, {"num_epochs": 100}),
    create_care_configuration: (REQUIRED, {"num_epochs": 100}),
    create_n2n_configuration: (REQUIRED, {"num_epochs": 100}),
}
# what the field's users pass to the advanced ones, with the defaults they know
KNOWN_DEFAULTS = {
    "in_memory": None,
    "channels": None,
    "normalization": "mean_std",
    "normalization_params": None,
    "patch_filter_config": None,
    "num_workers": -1,
    "trainer_params": None,
    "model_params": None,
    "optimizer": "Adam",
    "optimizer_params": None,
    "lr_scheduler": "ReduceLROnPlateau",
    "lr_scheduler_params": None,
    "monitor_metric": "val_loss",
    "train_dataloader_params": None,
    "val_dataloader_params": None,
    "checkpoint_params": None,
    "logger": "none",
    "seed": None,
}
ADVANCED = {
    create_advanced_n2v_config: N2V,
    create_advanced_care_config: CARE,
    create_advanced_n2n_config: N2N,
}
every_factory = pytest.mark.parametrize("factory", SIGNATURES, ids=lambda f: f.__name__)
every_advanced = pytest.mark.parametrize("factory", ADVANCED, ids=lambda f: f.__name__)


def needed(factory):
    return FIVE | ({"struct_n2v_axes": "horizontal"} if "structn2v" in factory.__name__ else {})


def test_every_factory_is_tried_here():
    names = {name for name in public.__all__ if name.startswith("create_")}
    assert names == {factory.__name__ for factory in SIGNATURES}


@every_factory
def test_arguments_have_the_names_and_defaults_that_users_know(factory):
    required, optional = SIGNATURES[factory]
    parameters = inspect.signature(factory).parameters
    assert list(parameters)[: len(required)] == required
    for name in required:
        assert parameters[name].default is inspect.Parameter.empty
    for name, default in optional.items():
        assert parameters[name].default == default, name


@every_factory
def test_every_factory_makes_a_configuration_that_goes_to_yaml_and_back(factory, tmp_path):
    config = factory(**needed(factory))
    assert config.data_config.patch_size == (32, 32)
    expected = 100 if factory.__name__.endswith("configuration") else 30
    assert config.training_config.num_epochs == expected
    assert config.training_config.num_steps is None
    assert load_configuration(save_configuration(config, tmp_path)) == config


@every_factory
def test_unknown_names_are_refused(factory):
    with pytest.raises((TypeError, SettingsError), match="colour"):
        factory(**needed(factory), colour="red")


@every_advanced
def test_advanced_factories_know_the_names_of_the_field(factory):
    config = factory(**FIVE, **KNOWN_DEFAULTS)
    assert type(config.algorithm_config) is ADVANCED[factory]
    assert config.training_config.optimizer.name == "Adam"
    assert config.training_config.lr_schedule.name == "ReduceLROnPlateau"
    assert config.data_config.num_workers == 0
    assert config.data_config == factory(**FIVE).data_config


@every_advanced
def test_advanced_settings_are_put_in_their_places(factory):
    config = factory(
        **FIVE | {"axes": "CYX"},
        in_memory=False,
        channels=[1, 0],
        normalization="quantile",
        normalization_params={"lower_quantiles": [0.1], "upper_quantiles": [0.8]},
        num_workers=3,
        seed=7,
        optimizer="SGD",
        optimizer_params={"lr": 0.01, "momentum": 0.5},
        lr_scheduler="StepLR",
        lr_scheduler_params={"step_size": 4, "gamma": 0.2},
        logger="tensorboard",
        early_stopping_params={"monitor": "val_loss", "mode": "min", "patience": 4},
        trainer_params={
            "max_epochs": 9,
            "precision": "bf16-mixed",
            "gradient_clip_val": 2.0,
            "accelerator": "cpu",
        },
        checkpoint_params={"every_n_train_steps": 77},
        model_params={"depth": 1, "num_channels_init": 8},
    )
    data, training = config.data_config, config.training_config
    assert (data.in_memory, data.channels, data.num_workers, data.seed) == (False, (1, 0), 3, 7)
    assert (data.normalization.name, data.normalization.lower_quantiles) == ("quantile", (0.1,))
    assert (training.optimizer.name, training.learning_rate) == ("SGD", 0.01)
    assert training.optimizer.parameters == {"momentum": 0.5}
    assert (training.lr_schedule.step_size, training.lr_schedule.gamma) == (4, 0.2)
    assert (training.logger, training.early_stopping.patience) == ("tensorboard", 4)
    assert (training.num_epochs, training.precision) == (9, "bfloat16")
    assert (training.gradient_clip, training.device) == (2.0, "cpu")
    assert training.checkpoint_every == 77
    model = config.algorithm_config.model
    assert (model.depth, model.num_channels_init) == (1, 8)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trainer_params": {"devices": 2}}, "trainer_params has devices, which cannot be set"),
        ({"checkpoint_params": {"save_top_k": 3}}, "checkpoint_params has save_top_k"),
        ({"train_dataloader_params": {"shuffle": True}}, "train_dataloader_params has shuffle"),
        ({"monitor_metric": "train_loss"}, "only 'val_loss' can be watched"),
    ],
)
@every_advanced
def test_what_cannot_be_set_is_named(factory, given, words):
    with pytest.raises(SettingsError, match=words):
        factory(**FIVE, **given)


@pytest.mark.parametrize(
    "given",
    [
        {"model_params": {"width": 3}},
        {"normalization": "z_score"},
        {"normalization_params": {"means": [1]}, "normalization": "mean_std"},
        {"optimizer": "LBFGS"},
        {"optimizer_params": {"speed": 3}},
        {"lr_scheduler": "OneCycle"},
        {"lr_scheduler": "StepLR"},  # needs its step_size
        {"logger": "mlflow"},
        {"early_stopping_params": {"monitor": "train_loss"}},
        {"trainer_params": {"precision": "64"}},
    ],
    ids=str,
)
@every_advanced
def test_values_that_cannot_be_are_refused(factory, given):
    with pytest.raises((ValidationError, SettingsError)):
        factory(**FIVE, **given)


# -- algorithms ------------------------------------------------------------------------------------


def test_n2v2_is_a_strategy_and_a_network():
    algorithm = create_n2v_config(**FIVE, use_n2v2=True).algorithm_config
    assert (algorithm.variant, algorithm.strategy, algorithm.model.n2v2) == ("N2V2", "median", True)
    assert create_advanced_n2v_config(**FIVE, use_n2v2=True).algorithm_config == algorithm


@pytest.mark.parametrize("axes", ["horizontal", "vertical", "cross", "square"])
def test_struct_axes_have_two_names(axes):
    new = create_structn2v_config(**FIVE, struct_n2v_axes=axes, struct_n2v_span=7, num_epochs=100)
    old = create_n2v_configuration(**FIVE, struct_n2v_axis=axes, struct_n2v_span=7)
    also = create_n2v_configuration(**FIVE, struct_n2v_axes=axes, struct_n2v_span=7)
    assert new == old == also
    assert (new.algorithm_config.struct_axes, new.algorithm_config.struct_span) == (axes, 7)
    assert new.algorithm_config.variant == "structN2V"
    with pytest.raises(SettingsError, match="struct_n2v_axis and struct_n2v_axes mean the same"):
        create_n2v_configuration(**FIVE, struct_n2v_axis=axes, struct_n2v_axes="none")


def test_masking_is_set():
    config = create_advanced_n2v_config(**FIVE, roi_size=9, masked_pixel_percentage=1.5)
    assert config.algorithm_config.roi_size == 9
    assert config.algorithm_config.masked_pixel_percentage == 1.5
    assert create_advanced_n2v_config(**FIVE).algorithm_config == N2V()


@pytest.mark.parametrize(
    ("simple", "advanced", "old", "apart"),
    [
        (create_care_config, create_advanced_care_config, create_care_configuration, False),
        (create_n2n_config, create_advanced_n2n_config, create_n2n_configuration, True),
    ],
)
def test_pairs_have_channels_of_their_own(simple, advanced, old, apart):
    given = FIVE | {"axes": "CYX", "n_channels_in": 3, "n_channels_out": 3}
    config = simple(**given)
    assert (config.data_config.n_channels, config.data_config.n_channels_out) == (3, 3)
    assert config.algorithm_config.model.independent_channels is apart
    assert advanced(**given) == config == old(**given, num_epochs=30)
    more = given | {"n_channels_out": 1, "target_axes": "YX"}
    assert simple(**more).algorithm_config.model.independent_channels is False
    assert simple(**more).data_config.target_axes == "YX"
    assert advanced(**more, loss="mae").algorithm_config.loss_function == "mae"
    with pytest.raises(ValidationError, match="n_channels_out=2 needs a C in target_axes='YX'"):
        simple(**FIVE, n_channels_out=2)


def test_channels_need_their_axis():
    with pytest.raises(ValidationError, match="n_channels=3 needs a C in axes='YX'"):
        create_n2v_config(**FIVE, n_channels=3)
    assert create_n2v_config(**FIVE, n_channels=1).data_config.n_channels == 1
    apart = create_n2v_config(**FIVE | {"axes": "CYX"}, n_channels=2).algorithm_config.model
    assert apart.independent_channels


@pytest.mark.parametrize(
    ("sizes", "grid", "expected"),
    [
        ((500, 400), (4, 4), (64, 64)),
        ((50, 400), (4, 4), (48, 48)),
        ((5, 5), (4, 4), (8, 8)),
        ((100, 500, 400), (4, 4, 4), (16, 64, 64)),
        ((9, 30, 400), (4, 4, 4), (8, 28, 28)),
        ((5, 30, 30), (1, 4, 4), (5, 28, 28)),
    ],
)
def test_a_patch_that_fits(sizes, grid, expected):
    assert fitting_patch(sizes, grid) == expected


def test_the_network_of_a_simple_factory_is_the_default():
    assert create_n2v_config(**FIVE).algorithm_config.model == UNet()
