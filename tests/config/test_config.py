"""The order form: what it refuses and how it says so, and the way to YAML and back."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from careamist import config as public
from careamist.config import (
    CARE,
    N2N,
    N2V,
    Configuration,
    DataConfig,
    MaxFilter,
    MeanStd,
    MinMax,
    NoNormalization,
    Quantile,
    TrainingConfig,
    UNet,
    XYFlip,
    XYRandomRotate90,
    explain,
    load_configuration,
    save_configuration,
)
from careamist.config import configuration as configuration_module
from careamist.config.optimization import (
    Constant,
    Cosine,
    EarlyStopping,
    Optimizer,
    ReduceLROnPlateau,
    StepLR,
)
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
            pool_z=False,
            independent_channels=True,
            n2v2=True,
            residual=True,
        ),
        roi_size=7,
        masked_pixel_percentage=0.2,
        strategy="median",
        include_centre=True,
        struct_axes="horizontal",
        struct_span=7,
    ),
    data_config=DataConfig(
        data_type="tiff",
        axes="TCZYX",
        target_axes="TZYXC",
        channels=(2, 0),
        n_channels=2,
        n_channels_out=3,
        in_memory=True,
        patch_size=(16, 32, 64),
        patch_filter=MaxFilter(
            threshold=1 / 3, coverage=0.3, ref_channel=1, filtered_patch_prob=0.2
        ),
        normalization=MeanStd(
            per_channel=False,
            skip_target=True,
            input_means=(1 / 3, 1e-5),
            input_stds=(2.5e8, 0.1 + 0.2),
            target_means=(5.0, 1e9, -1.0),
            target_stds=(1.0, 2.0, 1 / 7),
        ),
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
        lr_schedule=Cosine(warm_up=0.1),
        optimizer=Optimizer(name="SGD", parameters={"momentum": 0.9}),
        gradient_clip=1.5,
        precision="bfloat16",
        early_stopping=EarlyStopping(patience=3, smoothing=2, min_delta=0.1),
        ema_decay=0.999,
        checkpoint_every=100,
        logger="tensorboard",
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
    # the names of what was chosen are tags; minutes exclude steps, a mask the struct axes
    assert same == [
        "version",
        "algorithm_config.algorithm",
        "algorithm_config.struct_mask",
        "data_config.patching.name",
        "data_config.normalization.name",
        "training_config.max_minutes",
        "training_config.lr_schedule.name",
    ]


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
        ({"data_config": {"patch_size": [62, 62]}}, "62 is not a multiple of 4 of at"),
        ({"data_config": {"patch_size": [4, 4]}}, "4 is not a multiple of 4 of at least 8"),
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
        "structN2V2 “Mouse 3-b_2”, axes TCZYX, patches 16 × 32 × 64\n"
        "900 steps of 5 patches, U-Net depth 3, 8 filters, seed 2147483647"
    )
    by_epochs = Configuration(training_config=TrainingConfig(num_steps=None, num_epochs=30))
    assert "30 epochs of 16 patches" in by_epochs.describe()


@pytest.mark.parametrize("name", public.__all__)
def test_public_names_are_there(name):
    assert getattr(public, name) is not None


# -- every choice, to YAML and back ----------------------------------------------------------------

NETWORK = UNet(depth=1, num_channels_init=4)
CHOICES = {
    "algorithm_config": [
        N2V(model=NETWORK, strategy="median"),
        N2V(struct_axes="cross", struct_span=9),
        N2V(struct_mask=((0, 1, 0), (1, 0, 1), (0, 1, 0))),
        CARE(loss_function="mae"),
        N2N(),
    ],
    "data_config": [
        DataConfig(normalization=MinMax(input_mins=(0.1,), input_maxes=(1e30,))),
        DataConfig(normalization=Quantile(lower_quantiles=(0.0,), upper_quantiles=(0.5,))),
        DataConfig(normalization=NoNormalization(per_channel=False)),
        DataConfig(in_memory=True),
        DataConfig(in_memory="auto"),
        DataConfig(augmentations=()),
        DataConfig(augmentations=(XYRandomRotate90(p=0.1), XYFlip(flip_y=False))),
    ],
    "training_config": [
        TrainingConfig(lr_schedule=Constant()),
        TrainingConfig(lr_schedule=Cosine(warm_up=0)),
        TrainingConfig(lr_schedule=StepLR(step_size=3, gamma=0.3)),
        TrainingConfig(lr_schedule=ReduceLROnPlateau(reduction=0.2, patience=0, threshold=0)),
        TrainingConfig(optimizer=Optimizer(name="Adam", parameters={"betas": [0.8, 0.9]})),
        TrainingConfig(max_minutes=2.5),
        TrainingConfig(num_epochs=3),
        TrainingConfig(early_stopping=EarlyStopping(patience=1)),
        TrainingConfig(logger="wandb", precision="float16", gradient_clip=0.1),
    ],
}
every_choice = pytest.mark.parametrize(
    "example",
    [Configuration(**{part: value}) for part, values in CHOICES.items() for value in values],
)


@every_choice
def test_every_choice_goes_to_yaml_and_back(example, tmp_path):
    back = load_configuration(save_configuration(example, tmp_path))
    assert back == example
    for part in ("algorithm_config", "data_config", "training_config"):
        assert type(getattr(back, part)) is type(getattr(example, part))
    assert Configuration.model_validate_json(example.model_dump_json()) == example


@every_choice
def test_every_choice_is_described_in_two_lines(example):
    first, second = example.describe().splitlines()
    assert example.algorithm_config.variant in first
    training = example.training_config
    lengths = [f"{training.num_steps} steps", f"{training.num_epochs} epochs", "2.5 minutes"]
    assert any(second.startswith(length) for length in lengths)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({}, "1000 steps of"),
        ({"max_minutes": 1.5}, "1.5 minutes of"),
        ({"num_epochs": 4}, "4 epochs of"),
    ],
)
def test_the_length_is_described_as_it_was_ordered(training, words):
    described = Configuration(training_config=TrainingConfig(**training)).describe()
    assert described.splitlines()[1].startswith(words)


# -- errors without the words of pydantic ----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"training_config": {"lr_schedule": {"name": "StepLR", "step_size": 0}}},
            "training_config.lr_schedule.step_size: Input should be greater than or equal to 1",
        ),
        (
            {"training_config": {"lr_schedule": {"name": "ReduceLROnPlateau", "factor": 2}}},
            "training_config.lr_schedule.factor: Input should be less than 1",
        ),
        (
            {"data_config": {"normalization": {"name": "min_max", "input_mins": ["a"]}}},
            "data_config.normalization.input_mins.0: Input should be a valid number, unable to "
            "parse string as a number",
        ),
        (
            {"data_config": {"augmentations": [{"name": "XYFlip", "p": 3}]}},
            "data_config.augmentations.0.p: Input should be less than or equal to 1",
        ),
        (
            {"algorithm_config": {"algorithm": "care", "model": {"depth": 0}}},
            "algorithm_config.model.depth: Input should be greater than or equal to 1",
        ),
        (
            {"data_config": {"in_memory": "maybe"}},
            "data_config.in_memory: Input should be a valid boolean, unable to interpret input "
            "or Input should be 'auto'",
        ),
        (
            {"data_config": {"Colour": 1, "none": 2}},
            "data_config.Colour: Extra inputs are not permitted; data_config.none: Extra inputs "
            "are not permitted",
        ),
        (
            {"training_config": {"optimizer": {"name": "SGD", "parameters": {"beta": 1}}}},
            "training_config.optimizer.parameters: SGD does not take beta: expected some of "
            "dampening, differentiable, foreach, fused, maximize, momentum, nesterov, "
            "weight_decay.",
        ),
    ],
)
def test_errors_name_fields_and_not_the_members_of_unions(changes, told):
    with pytest.raises(ValidationError) as caught:
        Configuration.model_validate(changes)
    assert explain(caught.value) == told


def test_unknown_choices_are_answered_with_the_known_ones():
    for changes, known in (
        ({"algorithm_config": {"algorithm": "hdn"}}, ("n2v", "care", "n2n")),
        ({"data_config": {"normalization": {"name": "z"}}}, ("mean_std", "quantile", "none")),
        ({"training_config": {"lr_schedule": {"name": "z"}}}, ("cosine", "ReduceLROnPlateau")),
    ):
        with pytest.raises(ValidationError) as caught:
            Configuration.model_validate(changes)
        for name in known:
            assert f"'{name}'" in explain(caught.value)


# -- versions --------------------------------------------------------------------------------------


def test_older_versions_are_brought_up_to_date(monkeypatch, tmp_path):
    def to_2(values):
        training = values.pop("training")
        return values | {"training_config": training}

    def to_3(values):
        training = dict(values["training_config"])
        training["learning_rate"] = training.pop("rate")
        return values | {"training_config": training}

    monkeypatch.setattr(configuration_module, "VERSION", 3)
    monkeypatch.setattr(configuration_module, "MIGRATIONS", {1: to_2, 2: to_3})
    old = {"version": 1, "experiment_name": "old", "training": {"rate": 0.5}}
    path = tmp_path / "old.yml"
    path.write_text(yaml.safe_dump(old))
    config = load_configuration(path)
    assert (config.version, config.experiment_name) == (3, "old")
    assert config.training_config.learning_rate == 0.5
    middle = {"version": 2, "training_config": {"rate": 0.25}}
    assert Configuration.model_validate(middle).training_config.learning_rate == 0.25
    assert load_configuration(save_configuration(config, path)) == config


@pytest.mark.parametrize("version", [0, -3])
def test_versions_that_never_were_are_refused(version):
    with pytest.raises(ValidationError, match=f"version={version} is unknown"):
        Configuration.model_validate({"version": version})


def test_newer_versions_ask_for_an_update(tmp_path):
    path = tmp_path / "new.yml"
    path.write_text("version: 99\nnew_field: 1\n")
    with pytest.raises(SettingsError, match=r"version=99 was written by a newer.*update careamist"):
        load_configuration(path)
