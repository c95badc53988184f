"""A run of the trainer: how long, from where, with what memory, and how it goes on."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from careamist.config import N2V, DataConfig, MeanStd, MinMax, Quantile, UNet
from careamist.errors import DivergedError, SettingsError
from careamist.events import (
    EpochDone,
    Noticed,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepDone,
)
from careamist.lightning import TrainDataModule
from careamist.lightning import fit as fit_module
from tiny import (
    assert_same_state,
    assert_same_weights,
    loaded,
    module_of,
    new,
    noise,
    small,
    small_care,
    stopping_after,
    waves,
    weights,
    without_memory_above,
)


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def trained(config, work_dir, image=None, listeners=(), **data):
    careamist = new(config, work_dir, listeners)
    careamist.train(train_data=noise(64, 64) if image is None else image, **data)
    return careamist


# -- lengths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "total", "validated_at"),
    [
        ({"num_steps": 1}, 1, [1]),
        ({"num_steps": 7, "steps_per_epoch": 3}, 7, [3, 6, 7]),
        ({"num_epochs": 9}, 54, [24, 48, 54]),  # 25 patches an epoch, 4 a batch
        ({"num_epochs": 2, "early_stopping": {"patience": 9}}, 12, [6, 12]),
        ({"num_epochs": 3, "steps_per_epoch": 2}, 6, [2, 4, 6]),
    ],
)
def test_as_many_steps_as_ordered(tmp_path, training, total, validated_at):
    events = []
    careamist = trained(small(None, training=training), tmp_path, listeners=[events.append])
    assert [event.done for event in of(StepDone, events)] == list(range(1, total + 1))
    assert {event.total for event in of(StepDone, events)} == {total}
    assert [event.step for event in of(EpochDone, events)] == validated_at
    length = module_of(careamist).epoch_steps
    assert [event.epoch for event in of(EpochDone, events)] == [
        math.ceil(step / length) for step in validated_at
    ]
    (started,) = of(RunStarted, events)
    assert (started.done, started.total) == (0, total)
    assert started.resolved["num_steps"] == total
    assert module_of(careamist).samples_done == 4 * total


def test_minutes_are_turned_into_steps_that_give_the_same_model(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "_seconds_per_step", lambda *_: 60 * 0.5 / 5)
    events = []
    timed = trained(small(None, training={"max_minutes": 0.5}), tmp_path, listeners=[events.append])
    (started,) = of(RunStarted, events)
    assert started.resolved["num_steps"] == 5
    assert timed.steps_done == 5
    ordered = trained(small(5), tmp_path)
    assert_same_weights(timed, ordered)
    assert timed.get_losses() == ordered.get_losses()


def test_timing_steps_leaves_no_trace(tmp_path):
    events = []
    timed = trained(
        small(None, training={"max_minutes": 0.003}), tmp_path, listeners=[events.append]
    )
    steps = of(RunStarted, events)[0].resolved["num_steps"]
    assert timed.steps_done == steps >= 1
    ordered = trained(small(steps), tmp_path)
    assert_same_weights(timed, ordered)
    assert timed.get_losses() == ordered.get_losses()


def test_a_timed_run_that_was_stopped_is_not_timed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "_seconds_per_step", lambda *_: 1.0)
    config = small(None, training={"max_minutes": 0.1})
    first = stopping_after(new(config, tmp_path / "parts"), 2)
    first.train(train_data=noise(64, 64))
    monkeypatch.undo()
    second = loaded(first.run_dir / "last.ckpt", tmp_path)
    second.train(train_data=noise(64, 64))
    assert second.steps_done == 6
    assert_same_weights(second, trained(small(6), tmp_path))


def test_timing_can_be_stopped(tmp_path, monkeypatch):
    events = []
    careamist = new(small(None, training={"max_minutes": 60}), tmp_path, [events.append])
    real = fit_module._seconds_per_step

    def asked_to_stop(*given):
        careamist.stop()
        return real(*given)

    monkeypatch.setattr(fit_module, "_seconds_per_step", asked_to_stop)
    careamist.train(train_data=noise(64, 64))
    assert [type(event) for event in events] == [RunStopped]
    assert careamist.steps_done == 0


# -- memory ----------------------------------------------------------------------------------------


def short_of_memory(careamist, batch_size, from_step=0):
    """Let the network of a training have no memory for larger batches, from a step on."""

    def listen(event):
        if isinstance(event, (RunStarted, StepDone)) and event.done == from_step:
            module_of(careamist).model.register_forward_hook(without_memory_above(batch_size))

    careamist.listeners.append(listen)
    return careamist


def test_a_batch_that_does_not_fit_is_halved_until_it_does(tmp_path):
    events = []
    careamist = short_of_memory(new(small(6, batch_size=16), tmp_path, [events.append]), 5)
    careamist.train(train_data=noise(96, 96))
    told = [event.message for event in of(Noticed, events) if "memory" in event.message]
    assert told == [
        "A batch of 16 patches does not fit into memory: going on with 8.",
        "A batch of 8 patches does not fit into memory: going on with 4.",
    ]
    assert careamist.steps_done == 6
    assert module_of(careamist).samples_done == 24
    assert careamist.config.data_config.batch_size == 4
    assert isinstance(events[-1], RunFinished)
    # nothing of the attempts is left: the same as batches of 4 from the start
    alike = trained(small(6, batch_size=4), tmp_path, noise(96, 96))
    assert_same_weights(alike, careamist)
    assert alike.get_losses() == careamist.get_losses()


def test_memory_that_ends_in_the_middle_loses_no_step_and_no_sample(tmp_path):
    events = []
    careamist = short_of_memory(new(small(6), tmp_path, [events.append]), 2, from_step=3)
    careamist.train(train_data=noise(64, 64))
    assert [event.done for event in of(StepDone, events)] == [1, 2, 3, 4, 5, 6]
    assert module_of(careamist).samples_done == 3 * 4 + 3 * 2


def test_a_resumed_run_keeps_the_smaller_batch(tmp_path):
    whole = short_of_memory(new(small(8), tmp_path / "whole"), 2, from_step=2)
    whole.train(train_data=noise(64, 64))
    first = short_of_memory(stopping_after(new(small(8), tmp_path / "parts"), 5), 2, from_step=2)
    first.train(train_data=noise(64, 64))
    assert first.steps_done == 5
    second = loaded(first.run_dir / "last.ckpt", tmp_path)
    assert second.config.data_config.batch_size == 2
    events = []
    second.listeners.append(events.append)
    second.train(train_data=noise(64, 64))
    assert of(RunStarted, events)[0].resolved["batch_size"] == 2
    assert not [event for event in of(Noticed, events) if "memory" in event.message]
    assert_same_state(whole, second)


def test_a_single_patch_that_does_not_fit_ends_in_our_words(tmp_path):
    events = []
    careamist = short_of_memory(new(small(6), tmp_path, [events.append]), 0, from_step=2)
    with pytest.raises(SettingsError, match="single patch of 16 × 16 pixels fits") as caught:
        careamist.train(train_data=noise(64, 64))
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert "smaller patches" in events[-1].hint
    assert isinstance(events[-1], RunFailed)
    assert careamist.steps_done == 2
    assert (careamist.run_dir / "last.ckpt").is_file()  # what was done is kept


def test_timing_halves_a_batch_too(tmp_path, monkeypatch):
    config = small(None, training={"max_minutes": 0.002})
    events = []
    careamist = new(config, tmp_path, [events.append])
    prepare = type(careamist._model).prepared_for

    def prepared(self, *given):
        module = prepare(self, *given)
        module.model.register_forward_hook(without_memory_above(2))
        return module

    monkeypatch.setattr(type(careamist._model), "prepared_for", prepared)
    careamist.train(train_data=noise(64, 64))
    assert isinstance(events[0], RunStarted)
    assert events[0].resolved["batch_size"] == 2
    assert "A batch of 4 patches does not fit into memory: going on with 2." in [
        event.message for event in of(Noticed, events)
    ]


def test_other_errors_of_a_step_are_raised(tmp_path):
    careamist = new(small(), tmp_path)

    def fail(*_):
        raise RuntimeError("shapes do not match")

    def listen(event):
        if isinstance(event, RunStarted):
            module_of(careamist).model.register_forward_hook(fail)

    careamist.listeners.append(listen)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        careamist.train(train_data=noise(64, 64))


# -- going on --------------------------------------------------------------------------------------

CONFIGURATIONS = {
    "n2v": small(12),
    "quantile": small(12, normalization=Quantile()),
    "care": small_care(12, normalization=MinMax(), axes="TYX"),
    "plateau": small(
        12,
        training={
            "steps_per_epoch": 2,
            "learning_rate": 0.05,
            "lr_schedule": {"name": "ReduceLROnPlateau", "factor": 0.5, "patience": 0},
        },
    ),
    "sgd": small(
        12, training={"optimizer": {"name": "SGD", "parameters": {"momentum": 0.9}}, "ema_decay": 0}
    ),
    "bfloat16": small(12, training={"precision": "bfloat16", "gradient_clip": 0.5}),
}


def data_of(config):
    if config.algorithm_config.needs_target:
        return {
            "train_data": np.stack([noise(64, 64), noise(64, 64, seed=1)]),
            "train_data_target": waves(2, 64, 64),
        }
    return {"train_data": noise(64, 64)}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_run_that_was_stopped_ends_like_an_undisturbed_one(tmp_path, name):
    config, data = CONFIGURATIONS[name], data_of(CONFIGURATIONS[name])
    whole = new(config, tmp_path / "whole")
    whole.train(**data)
    first = stopping_after(new(config, tmp_path / "parts"), 7)  # not at the end of an epoch
    first.train(**data)
    second = loaded(first.run_dir / "last.ckpt", tmp_path)
    second.train(**data)
    assert second.steps_done == 12
    assert_same_state(whole, second)
    (expected,), _ = whole.predict(noise(64, 64), axes="YX")
    (got,), _ = second.predict(noise(64, 64), axes="YX")
    np.testing.assert_array_equal(got, expected)


def test_the_plateau_of_these_tests_does_reduce_the_rate(tmp_path):
    events = []
    trained(CONFIGURATIONS["plateau"], tmp_path, listeners=[events.append])
    rates = [event.metrics["learning_rate"] for event in of(EpochDone, events)]
    assert rates[-1] < rates[0] == 0.05


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from careamist.events import StepDone
from tiny import new, noise, small

def die(event):
    if isinstance(event, StepDone) and event.done == 8:
        os.kill(os.getpid(), signal.SIGKILL)

training = {"steps_per_epoch": 4, "checkpoint_every": 5}
new(small(12, training=training), Path(sys.argv[2]), [die]).train(train_data=noise(64, 64))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_that_was_killed_in_an_epoch_ends_like_an_undisturbed_one(tmp_path):
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", KILLED, tests, str(tmp_path / "killed")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = loaded(tmp_path / "killed", tmp_path)
    assert again.steps_done == 5  # in the middle of the second epoch
    again.train(train_data=noise(64, 64))
    training = {"steps_per_epoch": 4, "checkpoint_every": 5}
    assert_same_state(trained(small(12, training=training), tmp_path / "whole"), again)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_ten_steps_then_ten_more_never_exceed_the_rate(tmp_path, schedule):
    events = []
    training = {"steps_per_epoch": 2, "lr_schedule": {"name": schedule}, "learning_rate": 0.004}
    careamist = trained(small(10, training=training), tmp_path, listeners=[events.append])
    rates = []
    careamist.listeners.append(
        lambda event: rates.append(module_of(careamist).rate) if isinstance(event, StepDone) else 0
    )
    careamist.train(train_data=noise(64, 64))
    assert careamist.steps_done == 20
    assert module_of(careamist).samples_done == 80
    assert module_of(careamist).segment == (10, 20)
    assert max(rates) <= 0.004
    assert [step for step, _ in careamist.get_losses()["val_loss"]] == list(range(2, 21, 2))
    assert [event.epoch for event in of(EpochDone, events)] == list(range(1, 11))
    second = of(RunStarted, events)[1]
    assert (second.done, second.total) == (10, 20)


def test_ten_epochs_then_ten_more_make_no_model_worse(tmp_path):
    image = waves(96, 96) + np.random.default_rng(0).normal(0, 15, (96, 96)).astype(np.float32)
    config = small(
        None,
        algorithm=N2V(model=UNet(depth=1, num_channels_init=8)),
        training={"num_epochs": 10},
        batch_size=4,
    )
    careamist = trained(config, tmp_path, image)
    first = careamist.get_losses()["val_loss"][-1][1]
    careamist.train(train_data=image)
    losses = [loss for _, loss in careamist.get_losses()["val_loss"]]
    assert len(losses) == 10  # of 9 steps each: every third one, and the ends
    assert losses[-1] <= first


def test_a_resumed_run_with_another_datamodule_keeps_its_batches(tmp_path):
    whole = trained(small(6), tmp_path)
    first = stopping_after(new(small(6), tmp_path), 3)
    first.train(train_data=noise(64, 64))
    second = loaded(first.run_dir / "last.ckpt", tmp_path)
    other = second.config.data_config.model_copy(update={"batch_size": 2})
    second.train(datamodule=TrainDataModule(other, noise(64, 64)))
    assert_same_weights(whole, second)


@pytest.mark.parametrize(
    ("axes", "image", "words"),
    [
        ("CYX", noise(3, 64, 64), "trained on 1 channels, these images have 3"),
        ("ZYX", noise(16, 64, 64), "trained on 2 spatial axes, these images have 3"),
    ],
)
def test_a_model_goes_on_with_the_kind_of_images_it_knows(tmp_path, axes, image, words):
    careamist = trained(small(1), tmp_path)
    patch = (8, 16, 16) if "Z" in axes else (16, 16)
    with pytest.raises(SettingsError, match=words):
        careamist.train(datamodule=TrainDataModule(DataConfig(axes=axes, patch_size=patch), image))


# -- what else is ordered --------------------------------------------------------------------------


def test_half_precision_trains_on_the_cpu_and_is_told(tmp_path):
    events = []
    careamist = trained(
        small(2, training={"precision": "bfloat16"}), tmp_path, listeners=[events.append]
    )
    assert of(RunStarted, events)[0].resolved["precision"] == "bfloat16"
    assert {value.dtype for value in module_of(careamist).model.parameters()} == {torch.float32}
    whole = trained(small(2), tmp_path)
    assert not torch.equal(weights(careamist)["head.weight"], weights(whole)["head.weight"])


def test_float16_is_refused_on_the_cpu(tmp_path):
    careamist = new(small(2, training={"precision": "float16"}), tmp_path)
    with pytest.raises(SettingsError, match=r"'float16' does not train on the CPU.*'bfloat16'"):
        careamist.train(train_data=noise(64, 64))
    assert careamist.steps_done == 0


def test_gradients_are_clipped(tmp_path):
    # plain steps of the optimizer: a step is as long as the gradient
    optimizer = {"name": "SGD", "parameters": {}}
    how = {"learning_rate": 1.0, "optimizer": optimizer, "lr_schedule": {"name": "constant"}}
    moved = {}
    for clip in (None, 1e-3):
        careamist = new(small(1, training={**how, "gradient_clip": clip}), tmp_path)
        before = {}

        def remember(event, kept=before, model=careamist):
            if isinstance(event, RunStarted):
                parameters = module_of(model).model.named_parameters()
                kept.update({name: value.detach().clone() for name, value in parameters})

        careamist.listeners.append(remember)
        careamist.train(train_data=noise(64, 64))
        steps = [
            (p.detach() - before[n]).square().sum()
            for n, p in module_of(careamist).model.named_parameters()
        ]
        moved[clip] = float(torch.stack(steps).sum().sqrt())
    assert moved[1e-3] == pytest.approx(1e-3, rel=0.01)
    assert moved[None] > 0.01


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "SGD"])
def test_every_optimizer_trains(tmp_path, name):
    careamist = trained(small(2, training={"optimizer": {"name": name}}), tmp_path)
    state = torch.load(careamist.run_dir / "last.ckpt", weights_only=True)
    assert state["optimizer_state"] == {} or "param_groups" in state["optimizer_state"]
    assert careamist.steps_done == 2


def test_training_ends_early_if_ordered_and_goes_on_when_asked(tmp_path):
    # a rate that moves nothing: no progress, ever
    training = {
        "steps_per_epoch": 1,
        "learning_rate": 1e-30,
        "early_stopping": {"patience": 3, "smoothing": 2},
    }
    events = []
    careamist = trained(
        small(20, training=training, n_val_patches=2), tmp_path, listeners=[events.append]
    )
    assert careamist.steps_done < 20
    assert isinstance(events[-1], RunFinished)
    (told,) = [event.message for event in of(Noticed, events) if "fell no more" in event.message]
    assert str(careamist.steps_done) in told
    ended = careamist.steps_done
    careamist.train(train_data=noise(64, 64))
    assert careamist.steps_done > ended + 1
    assert module_of(careamist).segment[0] == ended


def test_nothing_ends_early_by_default(tmp_path):
    config = small_care(20, training={"steps_per_epoch": 1, "learning_rate": 1e-30})
    careamist = new(config, tmp_path)
    careamist.train(train_data=noise(64, 64), train_data_target=waves(64, 64))
    assert careamist.steps_done == 20


def test_randomness_of_the_process_is_neither_used_nor_touched(tmp_path):
    torch.manual_seed(1)
    np.random.seed(1)
    one = trained(small(2), tmp_path)
    torch.manual_seed(2)
    np.random.seed(2)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    other = trained(small(2), tmp_path)
    assert_same_weights(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


# -- little data -----------------------------------------------------------------------------------


def test_fewer_patches_than_a_batch_are_enough(tmp_path):
    events = []
    careamist = trained(small(3, batch_size=16), tmp_path, noise(20, 20), [events.append])
    assert of(RunStarted, events)[0].resolved["n_patches"] < 16
    assert module_of(careamist).samples_done == 48
    assert [event.step for event in of(EpochDone, events)] == [3]


def test_one_small_image_keeps_its_pixels_for_training(tmp_path):
    events = []
    config = small(2, patch_size=(64, 64))
    trained(config, tmp_path, noise(64, 64), [events.append])
    resolved = of(RunStarted, events)[0].resolved
    assert (resolved["n_patches"], resolved["n_val_patches"]) == (1, 0)
    (told,) = [event.message for event in of(Noticed, events)]
    assert told.startswith("0 instead of 8 patches are kept for validation")
    assert "val_loss" not in of(EpochDone, events)[-1].metrics


@pytest.mark.parametrize(
    ("size", "wanted", "kept"), [(96, 8, 3), (96, 2, 2), (160, 8, 8), (32, 8, 0)]
)
def test_at_most_every_tenth_patch_is_kept_for_validation(tmp_path, size, wanted, kept):
    events = []
    config = small(1, n_val_patches=wanted)
    trained(config, tmp_path, noise(size, size), [events.append])
    assert of(RunStarted, events)[0].resolved["n_val_patches"] == kept
    told = [event.message for event in of(Noticed, events) if "validation" in event.message]
    expected = [f"{kept} instead of {wanted} patches are kept for validation: at most every tenth."]
    assert told == (expected if kept < wanted else [])


# -- divergence ------------------------------------------------------------------------------------


def test_a_diverged_model_replaces_none_on_disk(tmp_path):
    careamist = trained(small(3), tmp_path)
    kept = torch.load(careamist.run_dir / "last.ckpt", weights_only=True)

    def poison(event):
        if isinstance(event, StepDone) and event.done == 4:
            torch.nn.init.constant_(module_of(careamist).model.head.weight, float("nan"))

    careamist.listeners.append(poison)
    with pytest.raises(DivergedError, match=r"the loss is nan at step 5.*Lower the learning rate"):
        careamist.train(train_data=noise(64, 64))
    now = torch.load(careamist.run_dir / "last.ckpt", weights_only=True)
    assert now["careamist"] == kept["careamist"]


def test_validation_images_with_nan_are_told(tmp_path):
    broken = noise(32, 32)
    broken[3, 3] = np.nan
    careamist = new(small(3), tmp_path)
    with pytest.raises(DivergedError, match=r"validation loss is nan.*validation images"):
        careamist.train(train_data=noise(64, 64), val_data=broken)


def test_nan_that_statistics_did_not_see_stops_the_training(tmp_path):
    image = noise(64, 64)
    image[::5, ::5] = np.nan
    careamist = new(
        small(3, normalization=MeanStd(input_means=(100.0,), input_stds=(10.0,)), n_val_patches=0),
        tmp_path,
    )
    with pytest.raises(DivergedError, match="look for NaN"):
        careamist.train(train_data=image)
    assert not (careamist.run_dir / "last.ckpt").exists()
