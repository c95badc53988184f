"""Precision and threads: found by timing, once, and then as good as ordered."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from careamist.config import TrainingConfig
from careamist.errors import SettingsError
from careamist.events import Noticed, RunStarted, RunStopped
from careamist.lightning import checkpoints, timing
from careamist.lightning.module import RestorationModule
from tiny import assert_same_weights, loaded, module_of, new, noise, small, stopping_after

CPU = torch.device("cpu")
AUTO = {"precision": "auto", "num_threads": None}


@pytest.fixture(autouse=True)
def _short_trainings_are_timed_too(monkeypatch):
    monkeypatch.setattr(timing, "_WORTH_IT", 0)


def test_a_training_that_is_over_soon_is_not_timed(monkeypatch):
    monkeypatch.setattr(timing, "_WORTH_IT", 2**22)
    measuring_is_an_error(monkeypatch)
    module = RestorationModule(small(9, training=AUTO))
    timing.settle(module, CPU, lambda: None)
    training = module.config.training_config
    assert (training.precision, training.num_threads) == ("float32", torch.get_num_threads())


def started(events):
    return next(event for event in events if isinstance(event, RunStarted))


def measuring_is_an_error(monkeypatch):
    monkeypatch.setattr(timing, "_Trial", pytest.fail)


# -- what a run does with it -----------------------------------------------------------------------


def test_what_was_found_is_told_stored_and_gives_the_same_model_when_ordered(tmp_path):
    assert TrainingConfig().precision == "auto"
    events = []
    careamist = new(small(3, training=AUTO), tmp_path, [events.append])
    careamist.train(train_data=noise(64, 64))
    found = careamist.config.training_config
    assert found.precision in ("float32", "bfloat16")
    assert found.num_threads == torch.get_num_threads() == 1  # as for all tests
    assert started(events).resolved["precision"] == found.precision
    assert started(events).resolved["num_threads"] == found.num_threads
    assert checkpoints.load(careamist.run_dir / "last.ckpt").config == careamist.config
    ordered = new(small(3, training={"precision": found.precision}), tmp_path)
    ordered.train(train_data=noise(64, 64))
    assert_same_weights(careamist, ordered)


def test_a_training_that_goes_on_measures_nothing(tmp_path, monkeypatch):
    first = stopping_after(new(small(4, training=AUTO), tmp_path), 2)
    first.train(train_data=noise(64, 64))
    measuring_is_an_error(monkeypatch)
    second = loaded(first.run_dir / "last.ckpt", tmp_path)
    second.train(train_data=noise(64, 64))
    assert second.steps_done == 4
    first.train(train_data=noise(64, 64))
    assert_same_weights(first, second)


def test_what_is_ordered_is_not_measured(monkeypatch):
    measuring_is_an_error(monkeypatch)
    module = RestorationModule(small(training={"precision": "bfloat16", "num_threads": 2}))
    config = module.config
    assert timing.settle(module, CPU, lambda: None) == []
    assert module.config == config


def test_measuring_leaves_no_trace():
    module = RestorationModule(small(training=AUTO, n_channels=1))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    timing.settle(module, CPU, lambda: None)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weights.grad is None for weights in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


def test_measuring_can_be_stopped(tmp_path):
    events = []
    careamist = new(small(3, training=AUTO), tmp_path, [events.append])
    prepared = careamist._model.prepared_for

    def then_stop(*given):
        module = prepared(*given)
        careamist.stop()
        return module

    careamist._model.prepared_for = then_stop
    careamist.train(train_data=noise(64, 64))
    assert [type(event) for event in events] == [RunStopped]
    assert careamist.config.training_config.precision == "auto"


@pytest.mark.parametrize(
    ("axes", "patch"), [("YX", (16, 16)), ("CZYX", (4, 16, 16)), ("ZYX", (8, 16, 16))]
)
def test_every_kind_of_network_can_be_timed(axes, patch):
    config = small(training=AUTO, axes=axes, patch_size=patch, n_channels=2 if "C" in axes else 1)
    module = RestorationModule(config)
    timing.settle(module, CPU, lambda: None)
    assert module.config.training_config.precision != "auto"


def test_the_gpu_of_a_mac_computes_in_float32(monkeypatch):
    measuring_is_an_error(monkeypatch)
    module = RestorationModule(small(training=AUTO))
    timing.settle(module, torch.device("mps"), lambda: None)
    training = module.config.training_config
    assert (training.precision, training.num_threads) == ("float32", None)


def test_threads_are_some_of_those_there_are():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        module = RestorationModule(small(training={"num_threads": None}))
        timing.settle(module, CPU, lambda: None)
        assert module.config.training_config.num_threads in (1, 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# -- float16, which only GPUs train in -------------------------------------------------------------


def test_a_model_from_a_gpu_goes_on_in_float32_on_the_cpu(tmp_path):
    first = stopping_after(new(small(4), tmp_path), 2)
    first.train(train_data=noise(64, 64))
    path = first.run_dir / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["careamist"]["config"]["training_config"]["precision"] = "float16"
    torch.save(state, path)
    events = []
    second = loaded(path, tmp_path, [events.append])
    second.train(train_data=noise(64, 64))
    assert second.steps_done == 4
    assert "The CPU does not train in float16: going on in float32." in [
        event.message for event in events if isinstance(event, Noticed)
    ]
    first.train(train_data=noise(64, 64))
    assert_same_weights(first, second)


def test_a_new_one_is_refused():
    module = RestorationModule(small(training={"precision": "float16"}))
    with pytest.raises(SettingsError, match="'float16' does not train on the CPU"):
        timing.settle(module, CPU, lambda: None)


def test_the_scaler_of_float16_goes_on_where_it_was(tmp_path, monkeypatch):
    """The CPU can do it, though nobody wants it."""
    monkeypatch.setattr("careamist.lightning.fit.settle", lambda *_: [])
    config = small(6, training={"precision": "float16", "gradient_clip": 0.5})
    whole = new(config, tmp_path)
    whole.train(train_data=noise(64, 64))
    first = stopping_after(new(config, tmp_path), 3)
    first.train(train_data=noise(64, 64))
    scaled = module_of(first).scaler_state
    assert scaled["_growth_tracker"] == 3
    second = loaded(first.run_dir / "last.ckpt", tmp_path)
    assert module_of(second).scaler_state == scaled
    second.train(train_data=noise(64, 64))
    assert module_of(second).scaler_state["_growth_tracker"] == 6
    assert module_of(second).scaler_state == module_of(whole).scaler_state
    assert_same_weights(whole, second)


# -- the choice ------------------------------------------------------------------------------------


@pytest.fixture
def fastest(monkeypatch):
    """Choose between things that take given times, by a clock of their own; tell what was tried."""

    def choose(seconds):
        now, tried = [0.0], []

        def act(choice):
            tried.append(choice)
            now[0] += seconds[choice]

        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))
        return timing.fastest(list(seconds), act, lambda: None), "".join(tried)

    return choose


@pytest.mark.parametrize(
    ("seconds", "chosen", "tried"),
    [
        ({"a": 0.01, "b": 0.004}, "b", "abababab"),
        ({"a": 0.01, "b": 0.0097}, "a", "abababab"),  # not worth it
        ({"a": 0.01, "b": 0.015}, "a", "abababab"),
        ({"a": 0.02, "b": 0.01, "c": 0.005}, "c", "abcabcabcabc"),
        ({"a": 0.02, "b": 0.005, "c": 0.01}, "b", "abcabcabcabc"),
        ({"a": 0.01, "b": 0.5}, "a", "ab"),  # hopeless: not tried twice
        ({"a": 0.01, "b": 0.005, "c": 0.5}, "b", "abcab"),
        ({"a": 9, "b": 4}, "b", "abab"),  # each is tried once after warming up, however slow
        ({"a": 1}, "a", "a"),
    ],
)
def test_the_first_one_is_taken_if_others_are_not_clearly_faster(fastest, seconds, chosen, tried):
    assert fastest(seconds) == (chosen, tried)


@pytest.mark.parametrize(
    ("batch", "patch", "grid", "shape"),
    [
        (16, (64, 64), (4, 4), (2, 64, 64)),
        (1, (64, 64), (4, 4), (1, 64, 64)),
        (4, (16, 64, 64), (4, 4, 4), (1, 16, 16, 32)),
        (4, (16, 64, 64), (1, 4, 4), (1, 8, 32, 32)),
        (8, (4096, 64), (64, 64), (1, 128, 64)),
        (8, (512, 512), (64, 64), (1, 128, 128)),
        (300, (8, 8), (2, 2), (128, 8, 8)),
    ],
)
def test_a_trial_is_small_and_fits_the_network(batch, patch, grid, shape):
    found = timing._trial_shape(batch, patch, grid, 2**13)
    assert found == shape
    smallest = math.prod(2 * step for step in grid)
    assert math.prod(found) <= max(2**13, smallest)
