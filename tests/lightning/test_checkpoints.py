"""What is in a checkpoint, when one is written, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from careamist import __version__
from careamist.config import MinMax, NoNormalization, Quantile
from careamist.errors import CheckpointError, SourceNotFoundError
from careamist.events import CheckpointSaved, EpochDone, RunStarted
from careamist.lightning import TrainDataModule, checkpoints
from tiny import (
    assert_same_state,
    loaded,
    module_of,
    new,
    noise,
    small,
    small_care,
    stopping_after,
    waves,
)

PAIRS = {"train_data": noise(64, 64), "train_data_target": waves(64, 64)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training of 7 steps with a checkpoint every 3, and its events."""
    events = []
    work_dir = tmp_path_factory.mktemp("run")
    config = small(7, training={"steps_per_epoch": 2})
    careamist = new(config, work_dir, [events.append])
    careamist.train(train_data=noise(64, 64))
    return careamist, events


def read(path):
    return torch.load(path, weights_only=True)


def saved(events):
    return [Path(event.path).name for event in events if isinstance(event, CheckpointSaved)]


def kinds_in(value):
    """Return the types of all that is in nested containers, the keys included."""
    if isinstance(value, dict):
        return {type(value)}.union(*(kinds_in(v) | kinds_in(k) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return {type(value)}.union(*map(kinds_in, value))
    return {type(value)}


def test_the_last_the_best_and_every_nth_are_written(run):
    careamist, events = run
    names = saved(events)
    assert names[-1] == "last.ckpt"
    assert [name for name in names if name.startswith("step")] == [
        "step_000003.ckpt",
        "step_000006.ckpt",
    ]
    for name in set(names):
        assert checkpoints.load(careamist.run_dir / name).steps_done > 0
    assert read(careamist.run_dir / "step_000003.ckpt")["careamist"]["steps_done"] == 3
    assert read(careamist.run_dir / "last.ckpt")["careamist"]["steps_done"] == 7
    on_disk = {path.name for path in careamist.run_dir.iterdir()}
    assert on_disk == {*names, "losses.csv"}
    listed = [path.name for path in careamist.get_checkpoints()]
    assert listed == ["step_000003.ckpt", "step_000006.ckpt", "best.ckpt", "last.ckpt"]


def test_only_tensors_and_json_types_are_inside(run):
    careamist, _ = run
    state = read(careamist.run_dir / "last.ckpt")
    optimizer = state.pop("optimizer_state")
    tensors = {torch.Tensor, str, int, float, bool, type(None), dict, list, tuple}
    assert kinds_in(optimizer) <= tensors
    for name in ("state_dict", "raw_state_dict"):
        weights = state.pop(name)
        assert {type(value) for value in weights.values()} == {torch.Tensor}
        assert {value.device.type for value in weights.values()} == {"cpu"}
    assert kinds_in(state) <= {str, int, float, bool, type(None), dict, list}
    assert json.loads(json.dumps(state)) == state
    assert state["careamist"]["version"] == __version__


def test_the_weights_that_come_first_are_the_averaged_ones(run):
    careamist, _ = run
    state = read(careamist.run_dir / "last.ckpt")
    module = module_of(careamist)
    for name, value in module.averaged.state_dict().items():
        assert torch.equal(state["state_dict"][name], value)
    for name, value in module.model.state_dict().items():
        assert torch.equal(state["raw_state_dict"][name], value)
    assert not torch.equal(
        state["state_dict"]["head.weight"], state["raw_state_dict"]["head.weight"]
    )


def test_best_is_that_of_the_lowest_validation_loss(tmp_path):
    events = []
    careamist = new(small_care(24, training={"steps_per_epoch": 1}), tmp_path, [events.append])
    careamist.train(**PAIRS)
    losses = careamist.get_losses()["val_loss"]
    step, lowest = min(losses, key=lambda entry: entry[1])
    best = checkpoints.load(careamist.run_dir / "best.ckpt")
    assert best.steps_done == step
    assert best.history["val_loss"][-1] == [step, lowest]
    # it holds the weights that were measured: the averaged ones
    images = TrainDataModule(careamist.config.data_config, **PAIRS)
    images.setup()
    assert best.evaluate(images.val_batches()) == pytest.approx(lowest, rel=1e-6)
    told = [event for event in events if isinstance(event, CheckpointSaved) and event.is_best]
    falls = [
        loss
        for i, (_, loss) in enumerate(losses)
        if loss < min([np.inf, *(b for _, b in losses[:i])])
    ]
    assert len(told) == len(falls)


@pytest.mark.parametrize(
    "config",
    [
        small(4, normalization=Quantile()),
        small_care(4, normalization=MinMax()),
        small_care(4, normalization=NoNormalization(), training={"learning_rate": 1e-5}),
        small_care(4, n_val_patches=0),
        small(4, training={"optimizer": {"name": "SGD"}}),
    ],
    ids=["quantile", "targets", "none", "no validation", "SGD"],
)
def test_a_checkpoint_alone_restores_everything(tmp_path, config):
    data = PAIRS if config.algorithm_config.needs_target else {"train_data": noise(64, 64)}
    careamist = new(config, tmp_path)
    careamist.train(**data)
    alone = tmp_path / "elsewhere" / "model.ckpt"
    alone.parent.mkdir()
    (careamist.run_dir / "last.ckpt").rename(alone)
    restored = loaded(alone, tmp_path)
    assert restored.config == careamist.config
    normalization = restored.config.data_config.normalization
    if normalization.name != "none":
        assert normalization.is_fitted
    assert restored.get_losses() == careamist.get_losses()
    assert_same_state(restored, careamist)
    (expected,), _ = careamist.predict(noise(64, 64), checkpoint="last")
    (got,), _ = restored.predict(noise(64, 64))
    np.testing.assert_array_equal(got, expected)


def test_it_is_written_when_a_run_is_stopped(tmp_path):
    events = []
    careamist = stopping_after(new(small(9), tmp_path, [events.append]), 2)
    careamist.train(train_data=noise(64, 64))
    assert saved(events) == ["last.ckpt"]
    state = read(careamist.run_dir / "last.ckpt")["careamist"]
    assert (state["steps_done"], state["segment"]) == (2, [0, 9])


def test_nothing_is_written_before_the_first_step(tmp_path):
    careamist = new(small(9), tmp_path)

    def fail(*_):
        raise RuntimeError("at once")

    def listen(event):
        if isinstance(event, RunStarted):
            module_of(careamist).model.register_forward_hook(fail)

    careamist.listeners.append(listen)
    with pytest.raises(RuntimeError, match="at once"):
        careamist.train(train_data=noise(64, 64))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_file_appears_only_when_it_is_complete(tmp_path, monkeypatch, run):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = checkpoints.save(module_of(run[0]), tmp_path / "a.ckpt")
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(module_of(run[0]), path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.ckpt"]


def changed(state, **info):
    return {**state, "careamist": {**state["careamist"], **info}}


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: changed(s, format=2, version="9.9"), r"careamist 9\.9, which is newer.*Update"),
        (lambda s: changed(s, format="x"), "not a careamist checkpoint"),
        (lambda s: changed(s, format=2, steps_done=None, config=3), "is newer"),
        (lambda s: changed(s, config={"version": 99}), "newer careamist"),
        (lambda s: changed(s, config={"data_config": {"axes": "Q"}}), "data_config.axes"),
        (lambda s: changed(s, segment=None), "damaged"),
        (lambda s: {"careamist": 3}, "damaged"),
        (lambda s: [1, 2], "damaged"),
        (lambda s: without(s, "careamist"), r"damaged \(KeyError\)"),
        (lambda s: without(s, "optimizer_state"), r"damaged \(KeyError\)"),
        (lambda s: {**s, "state_dict": {}}, r"damaged \(RuntimeError\)"),
    ],
)
def test_what_cannot_be_restored_is_refused(tmp_path, run, change, words):
    path = tmp_path / "a.ckpt"
    torch.save(change(read(run[0].run_dir / "last.ckpt")), path)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(path)


def test_pickled_code_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"careamist": Evil()}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load(tmp_path / "a.ckpt")
    assert not (tmp_path / "touched").exists()


def test_a_cut_file_is_refused(tmp_path, run):
    whole = (run[0].run_dir / "last.ckpt").read_bytes()
    for part in (0, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.ckpt").write_bytes(whole[:part])
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoints.load(tmp_path / "a.ckpt")


def test_the_newest_checkpoint_of_a_folder_is_found(tmp_path):
    for age, name in enumerate(("a/last.ckpt", "b/step_000003.ckpt", "c/best.ckpt")):
        path = tmp_path / name
        path.parent.mkdir()
        path.touch()
        os.utime(path, (1000 + age, 1000 + age))
    assert checkpoints.find(tmp_path) == tmp_path / "b" / "step_000003.ckpt"
    assert checkpoints.find(tmp_path / "c") == tmp_path / "c" / "best.ckpt"
    assert checkpoints.find(tmp_path / "c" / "best.ckpt") == tmp_path / "c" / "best.ckpt"
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotFoundError, match="no model in"):
        checkpoints.find(tmp_path / "empty")
    with pytest.raises(SourceNotFoundError, match="no checkpoint"):
        checkpoints.load(tmp_path / "empty")


def test_losses_of_the_epoch_in_progress_are_kept(tmp_path):
    config = small(8, training={"steps_per_epoch": 4})
    whole, events = new(config, tmp_path / "whole"), []
    whole.train(train_data=noise(64, 64))
    first = stopping_after(new(config, tmp_path / "parts"), 6)
    first.train(train_data=noise(64, 64))
    second = loaded(first.run_dir / "last.ckpt", tmp_path, [events.append])
    second.train(train_data=noise(64, 64))
    (epoch,) = [event for event in events if isinstance(event, EpochDone)]
    assert (epoch.epoch, epoch.step) == (2, 8)
    assert whole.get_losses() == second.get_losses()
