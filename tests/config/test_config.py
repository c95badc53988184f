"""The order form: what it refuses and how it says so, and the way to YAML and back."""

from __future__ import annotations

import inspect
import math

import pytest
import yaml
from pydantic import ValidationError

from careamist import config as public
from careamist.config import (
    N2V,
    Configuration,
    DataConfig,
    MeanStd,
    TrainingConfig,
    UNet,
    XYFlip,
    XYRandomRotate90,
    create_n2v_config,
    create_n2v_configuration,
    explain,
    load_configuration,
    save_configuration,
)
from careamist.config.factories import create_n2v_config as from_factories
from careamist.errors import SettingsError, SourceNotFoundError

FULL = Configuration(
    experiment_name="Mouse 3-b_2",
    algorithm_config=N2V(
        model=UNet(
            depth=3,
            num_channels_init=8,
            use_batch_norm=False,
            upsampling="linear",
            linear_path=False,
        ),
        roi_size=7,
        masked_pixel_percentage=0.2,
    ),
    data_config=DataConfig(
        data_type="tiff",
        axes="TCZYX",
        n_channels=2,
        patch_size=(16, 32, 64),
        normalization=MeanStd(input_means=(1 / 3, 1e-5), input_stds=(2.5e8, 0.1 + 0.2)),
        augmentations=(XYFlip(flip_x=False, p=0.25),),
        n_val_patches=3,
        batch_size=5,
        seed=2**31 - 1,
        num_workers=2,
    ),
    training_config=TrainingConfig(
        num_steps=900,
        num_epochs=7,
        steps_per_epoch=50,
        learning_rate=1e-5,
        ema_decay=0.999,
        checkpoint_every=100,
        device="cuda:1",
        num_threads=3,
    ),
)
THREE_D = Configuration(data_config=DataConfig(axes="ZYX", patch_size=(8, 16, 16)))
every_example = pytest.mark.parametrize(
    "example", [Configuration(), FULL, THREE_D], ids=["default", "full", "3D"]
)


def changed(default, given):
    """Return the fields, at any depth, that are the same in both."""
    same = []
    for name in type(default).model_fields:
        a, b = getattr(default, name), getattr(given, name)
        if hasattr(type(a), "model_fields"):
            same += [f"{name}.{inner}" for inner in changed(a, b)]
        elif a == b:
            same.append(name)
    return same


def test_the_full_example_differs_from_the_default_in_every_field():
    same = changed(Configuration(), FULL)
    assert same == ["version", "algorithm_config.algorithm", "data_config.normalization.name"]


@every_example
def test_yaml_and_back_is_the_same(example, tmp_path):
    path = save_configuration(example, tmp_path / "a.yml")
    assert load_configuration(path) == example
    assert save_configuration(load_configuration(path), tmp_path / "b.yml").read_text() == (
        path.read_text()
    )


@every_example
def test_json_and_back_is_the_same(example):
    assert Configuration.model_validate(example.model_dump(mode="json")) == example
    assert Configuration.model_validate_json(example.model_dump_json()) == example


def test_a_folder_gets_the_usual_name(tmp_path):
    assert save_configuration(FULL, tmp_path) == tmp_path / "careamist.yml"
    assert load_configuration(str(tmp_path / "careamist.yml")) == FULL


def test_yaml_is_plain_and_in_the_order_of_the_fields(tmp_path):
    written = yaml.safe_load(save_configuration(FULL, tmp_path).read_text())
    assert list(written) == list(Configuration.model_fields)
    assert written["data_config"]["patch_size"] == [16, 32, 64]


@pytest.mark.parametrize("name", Configuration.model_fields)
def test_it_is_frozen(name):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(FULL, name, getattr(FULL, name))


@pytest.mark.parametrize(
    "part",
    [
        FULL.algorithm_config,
        FULL.algorithm_config.model,
        FULL.data_config,
        FULL.data_config.normalization,
        FULL.data_config.augmentations[0],
        FULL.training_config,
    ],
    ids=lambda part: type(part).__name__,
)
def test_every_part_is_frozen_and_knows_its_fields(part):
    name = next(iter(type(part).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(part, name, getattr(part, name))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(part)(colour="red")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"experiment_name": "a/b"}, "experiment_name"),
        ({"version": 2}, "version"),
        ({"colour": 1}, "colour: Extra inputs"),
        ({"algorithm_config": {"roi_size": 4}}, "algorithm_config.roi_size: must be odd"),
        ({"algorithm_config": {"model": {"depth": 0}}}, "algorithm_config.model.depth"),
        ({"data_config": {"axes": "YXQ"}}, "data_config.axes: axes='YXQ' has unknown letters Q"),
        ({"data_config": {"patch_size": [64]}}, "data_config.patch_size: expected two or three"),
        ({"data_config": {"patch_size": [64, -8]}}, "data_config.patch_size: expected two or thr"),
        ({"data_config": {"axes": "ZYX"}}, "patch_size=(64, 64) does not fit axes 'ZYX'"),
        ({"data_config": {"patch_size": [8, 64, 64]}}, "patch_size=(8, 64, 64) does not fit axes"),
        ({"data_config": {"patch_size": [62, 62]}}, "62 is not a multiple of 4 (2^depth)"),
        ({"data_config": {"patch_size": [4, 4]}}, "4 is not a multiple of 4 (2^depth) of at least"),
        ({"data_config": {"patch_size": [64, 32]}}, "patch_size=(64, 32) is not square in YX"),
        ({"data_config": {"n_channels": 2}}, "n_channels=2 needs a C in axes='YX'"),
        ({"data_config": {"batch_size": 0}}, "data_config.batch_size"),
        ({"data_config": {"data_type": "bmp"}}, "data_config.data_type"),
        ({"data_config": {"augmentations": [{"name": "Blur"}]}}, "data_config.augmentations.0"),
        ({"training_config": {"device": "tpu"}}, "training_config.device"),
        (
            {"training_config": {"steps_per_epoch": 9, "num_steps": 5}},
            "steps_per_epoch=9 is more than num_steps=5",
        ),
        (
            {
                "algorithm_config": {"masked_pixel_percentage": 0.2},
                "data_config": {"patch_size": [16, 16]},
            },
            "masked_pixel_percentage=0.2 is less than one pixel of patch_size=(16, 16)",
        ),
    ],
)
def test_the_message_names_the_field(changes, told, tmp_path):
    with pytest.raises(ValidationError) as caught:
        Configuration.model_validate(changes)
    assert told in explain(caught.value)
    assert "\n" not in explain(caught.value)
    path = tmp_path / "order.yml"
    path.write_text(yaml.safe_dump(changes))
    with pytest.raises(SettingsError) as from_file:
        load_configuration(path)
    assert told in from_file.value.message
    assert str(path) in from_file.value.message


def test_two_mistakes_are_both_named():
    with pytest.raises(ValidationError) as caught:
        Configuration.model_validate({"data_config": {"seed": -1, "batch_size": 0}})
    assert "data_config.seed" in explain(caught.value)
    assert "data_config.batch_size" in explain(caught.value)


@pytest.mark.parametrize("content", ["a: [", "just text", "", "- 1\n- 2", "\x00"])
def test_what_is_no_configuration_is_refused(content, tmp_path):
    path = tmp_path / "order.yml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"order\.yml"):
        load_configuration(path)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "order.yml"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(SettingsError, match=r"order\.yml is not valid YAML"):
        load_configuration(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SourceNotFoundError, match="no configuration file"):
        load_configuration(tmp_path / "order.yml")


def test_a_patch_that_is_not_square_is_fine_without_rotation():
    data = DataConfig(patch_size=(64, 32), augmentations=(XYFlip(),))
    assert data.patch_size == (64, 32)
    with pytest.raises(ValidationError, match="leave out XYRandomRotate90"):
        DataConfig(patch_size=(64, 32), augmentations=(XYRandomRotate90(),))


def test_small_letters_are_axes_too():
    assert DataConfig(axes="tyx").axes == "TYX"


def test_a_name_becomes_part_of_a_file_name():
    assert FULL.file_name == "Mouse_3-b_2"


def test_description_is_for_a_person():
    assert FULL.describe() == (
        "N2V “Mouse 3-b_2”, axes TCZYX, patches 16 × 32 × 64\n"
        "900 steps of 5 patches, U-Net depth 3, 8 filters, seed 2147483647"
    )
    by_epochs = Configuration(training_config=TrainingConfig(num_steps=None, num_epochs=30))
    assert "30 epochs of 16 patches" in by_epochs.describe()


# -- factories -----------------------------------------------------------------------------------

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
    assert made.algorithm_config == N2V()


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
    with pytest.raises(ValidationError, match="62 is not a multiple"):
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


@pytest.mark.parametrize("name", public.__all__)
def test_public_names_are_there(name):
    assert getattr(public, name) is not None


# -- the schedule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "epoch_steps", "total"),
    [
        ({"num_steps": None, "num_epochs": 10}, 6, 60),
        ({"num_steps": None, "num_epochs": 10, "steps_per_epoch": 4}, 4, 40),
        ({"num_steps": 33}, 6, 33),
        ({"num_steps": 33, "steps_per_epoch": 4, "num_epochs": 99}, 4, 33),
    ],
)
def test_steps_follow_from_what_was_ordered(settings, epoch_steps, total):
    training = TrainingConfig(**settings)
    assert training.epoch_steps(100, 16) == epoch_steps
    assert training.total_steps(100, 16) == total
    assert TrainingConfig().epoch_steps(3, 16) == 1


@pytest.mark.parametrize(("first", "last"), [(0, 1000), (500, 1500), (7, 8), (0, 2)])
def test_the_rate_warms_up_falls_and_ends_low(first, last):
    training = TrainingConfig(learning_rate=0.01)
    rates = [training.rate(step, first, last) for step in range(first, last)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0
    if last - first == 1000:
        assert top == 29 or top == 30
        assert rates[0] == pytest.approx(0.01 / 30)
        assert rates[-1] < 1e-7
        halfway = 30 + (1000 - 30) // 2
        assert rates[halfway] == pytest.approx(0.005, rel=1e-9)


def test_the_rate_never_climbs_again_past_its_end():
    training = TrainingConfig()
    assert all(training.rate(step, 0, 100) == pytest.approx(0) for step in range(100, 300))
    assert math.isclose(training.rate(0, 0, 100), training.rate(300, 300, 400))
