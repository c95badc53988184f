"""Previews during a training: what they show, what they cost, and that the training is the same."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from careamist import CAREamist
from careamist.config import CARE, UNet
from careamist.dataset.image_stack.array import ArrayStack
from careamist.events import CheckpointSaved, Noticed, StepDone
from careamist.lightning import TrainDataModule, checkpoints
from careamist.lightning import preview as preview_module
from careamist.lightning.fit import fit
from careamist.lightning.module import RestorationModule
from careamist.lightning.preview import (
    MOST_KEPT,
    SHARE,
    PreviewCallback,
    PreviewRequest,
    PreviewResult,
)
from careamist.runner import Runner
from tiny import NETWORK, noise, small


class View:
    """Looks at one box, and remembers what it was shown."""

    def __init__(self, image, axes="YX", start=None, size=None, sample=0):
        self.stack = ArrayStack(image, axes)
        shape = self.stack.data_shape[2:]
        self.asked = PreviewRequest(
            self.stack, sample, tuple(start or (0,) * len(shape)), tuple(size or shape)
        )
        self.results: list[PreviewResult] = []
        self.threads: set[int] = set()

    def request(self):
        self.threads.add(threading.get_ident())
        return self.asked

    def take(self, result):
        self.results.append(result)


class Trained:
    """A training by `fit`, with a preview or without."""

    def __init__(self, config, folder, image, preview=None, act=None, target=None):
        self.events = []
        data = TrainDataModule(config.data_config, train_data=image, train_data_target=target)
        data.setup("fit")
        resolved = config.model_copy(update={"data_config": data.resolved()})
        self.module = RestorationModule(resolved)
        self.module.prepare(data.train_dataset)
        runner = Runner([self.events.append], progress_bar=False)
        callbacks = [act(runner)] if act else []
        with runner.frame("train", None) as run:
            fit(self.module, data, folder, run, callbacks, preview=preview)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def at_once(monkeypatch):
    """Previews come after the third step and cost nothing."""
    monkeypatch.setattr(preview_module, "_FIRST_STEPS", 3)
    monkeypatch.setattr(preview_module, "_EVERY", 0.0)
    monkeypatch.setattr(preview_module, "SHARE", 1000.0)
    monkeypatch.setattr(preview_module, "_MOST", 1000.0)
    monkeypatch.setattr(preview_module, "_ADVANCE", 1000.0)
    monkeypatch.setattr(preview_module, "_PAUSE", 1000.0)


class Clock:
    """Time passes only when it is said to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Steps:
    """Calls the callback as a trainer does, for a network and steps of known speed."""

    def __init__(self, view, tmp_path, step=0.1, pace=0.0, config=None, total=100_000):
        self.clock, self.step, self.pace = Clock(), step, pace
        self.events = []
        config = config or small(total)
        spatial = view.stack.data_shape[2:]
        data = config.data_config.model_copy(update={"n_channels": 1, "n_channels_out": 1})
        assert len(spatial) == data.dims
        normal = data.normalization.model_copy(
            update={"input_means": (100.0,), "input_stds": (10.0,)}
        )
        data = data.model_copy(update={"normalization": normal})
        self.module = RestorationModule(config.model_copy(update={"data_config": data}))
        self.module.segment = (0, total)
        self.windows = []

        def work(_module, inputs):
            self.clock.now += self.pace * inputs[0].numel()
            self.windows.append(inputs[0].shape[2:])

        self.module.averaged.encoder[0].register_forward_pre_hook(work)
        self.runner = Runner([self.events.append], progress_bar=False)
        with self.runner.frame("train", None) as run:
            self.callback = PreviewCallback(view, run, tmp_path, self.clock)
        self.trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        self.pauses = []
        self.callback.on_train_start(self.trainer, self.module)

    def run(self, steps):
        for _ in range(steps):
            self.clock.now += self.step
            self.module.steps_done += 1
            before = self.clock.now
            self.callback.on_train_batch_end(self.trainer, self.module, {}, None, 0)
            self.pauses.append(self.clock.now - before)
            if self.trainer.should_stop:
                return self
        return self


# -- the training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("augmented", [True, False])
def test_a_training_with_previews_is_the_same_bit_for_bit(tmp_path, at_once, augmented):
    image = noise(64, 64)
    data = {} if augmented else {"augmentations": ()}
    torch.manual_seed(7)
    without = Trained(small(12, **data), tmp_path / "a", image)
    drawn = torch.rand(3), np.random.default_rng(0).random()
    torch.manual_seed(7)
    view = View(image)
    watched = Trained(small(12, **data), tmp_path / "b", image, view)
    assert len(view.results) >= 5
    assert torch.equal(torch.rand(3), drawn[0])  # not even the global state has moved
    ours, theirs = without.module, watched.module
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name
    assert ours.history == theirs.history
    losses = [[event.loss for event in run.of(StepDone)] for run in (without, watched)]
    assert losses[0] == losses[1]
    states = [run.module.optimizer_state["state"] for run in (without, watched)]
    for key, value in states[0].items():
        for name in value:
            assert torch.equal(torch.as_tensor(value[name]), torch.as_tensor(states[1][key][name]))
    assert ours.averaged.training == theirs.averaged.training
    assert view.threads == {threading.get_ident()}


def test_a_preview_is_what_the_weights_of_its_step_predict(tmp_path, at_once):
    image = noise(50, 70)
    view = View(image, start=(5, 11), size=(40, 50))
    trained = Trained(small(8), tmp_path, image, view)
    last = view.results[-1]
    assert (last.request, last.start, last.step) == (view.asked, (5, 11), 8)
    assert last.data.dtype == np.float32
    checkpoints.save(trained.module, tmp_path / "all.ckpt")
    model = CAREamist(checkpoint_path=tmp_path / "all.ckpt", enable_progress_bar=False)
    (whole,), _ = model.predict(image)
    np.testing.assert_allclose(last.data[0], whole[5:45, 11:61], atol=1e-3)


def test_several_tiles_make_one_picture(tmp_path, at_once, monkeypatch):
    image = noise(96, 80)
    monkeypatch.setattr(preview_module, "_PAUSE", 0.0)  # the smallest tiles there are
    view = View(image, start=(3, 2), size=(90, 75))
    per_step = []

    class Count(pl.Callback):
        def __init__(self, _runner):
            super().__init__()

        def on_train_start(self, trainer, pl_module):
            pl_module.averaged.encoder[0].register_forward_pre_hook(
                lambda *_: per_step.append(pl_module.steps_done)
            )

    trained = Trained(small(60, training={"ema_decay": 0.0}), tmp_path, image, view, Count)
    assert len(view.results) >= 1
    seen = [step for step in per_step if step % trained.module.epoch_steps]  # not validating
    assert len(seen) == len(set(seen))  # never two tiles between the same steps
    last = view.results[-1].data[0]
    assert last.shape == (90, 75)
    assert np.isfinite(last).all()


def test_channels_and_volumes_are_shown_too(tmp_path, at_once):
    channels = noise(3, 64, 64)
    config = small(5, axes="CYX", channels=(0, 2))
    view = View(channels, "CYX", size=(30, 40))
    Trained(config, tmp_path / "c", channels, view)
    assert view.results[-1].data.shape == (2, 30, 40)
    assert view.results[-1].channels == (0, 2)

    volume = noise(10, 32, 32)
    config = small(5, axes="ZYX", patch_size=(8, 16, 16))
    view = View(volume, "ZYX", start=(7, 0, 4), size=(1, 32, 20))
    Trained(config, tmp_path / "z", volume, view)
    assert view.results[-1].data.shape == (1, 1, 32, 20)


def test_a_sample_of_a_movie_is_shown(tmp_path, at_once):
    movie = noise(4, 40, 40)
    movie[2] += 500
    view = View(movie, "TYX", sample=2)
    Trained(small(6, axes="TYX"), tmp_path, movie, view)
    assert abs(float(view.results[-1].data.mean()) - float(movie[2].mean())) < 100


def test_targets_set_the_units(tmp_path, at_once):
    image = noise(64, 64)
    view = View(image)
    config = small(8, algorithm=CARE(model=NETWORK))
    Trained(config, tmp_path, image, view, target=3000 + image)
    assert abs(float(view.results[-1].data.mean()) - 3100) < 100


# -- the time --------------------------------------------------------------------------------------


def test_the_first_comes_after_twenty_steps_or_three_seconds(tmp_path):
    for step, expected in ((0.01, 20), (1.0, 3)):
        view = View(noise(32, 32))
        steps = Steps(view, tmp_path / str(expected), step)
        steps.run(expected - 1)
        assert not view.results
        steps.run(1)
        assert [result.step for result in view.results] == [expected]


@pytest.mark.parametrize("pace", [1e-6, 1e-5, 1e-4])
def test_previews_take_a_tenth_of_the_time_at_most(tmp_path, pace):
    view = View(noise(256, 256))
    steps = Steps(view, tmp_path, step=0.2, pace=pace).run(800)
    assert steps.callback.trained == pytest.approx(160)
    assert steps.callback.spent == pytest.approx(sum(steps.pauses))
    assert steps.callback.spent / steps.callback.trained <= SHARE + 0.01
    assert len(view.results) >= 15  # it is used as well
    if pace < 1e-4:  # where the smallest tile is short enough
        assert max(steps.pauses) <= 0.25


def test_a_slow_network_gets_a_smaller_box_about_the_centre(tmp_path):
    view = View(noise(400, 400), start=(40, 80), size=(320, 200))
    Steps(view, tmp_path, step=0.2, pace=2e-5).run(400)
    last = view.results[-1]
    height, width = last.data.shape[1:]
    assert 24 <= height < 320
    assert 24 <= width < 200
    assert abs(last.start[0] + height / 2 - 200) <= 1
    assert abs(last.start[1] + width / 2 - 180) <= 1
    distances = np.diff([result.step for result in view.results])
    assert max(distances[2:]) < 8 / 0.2  # every few seconds


def test_a_fast_network_shows_the_whole_box_every_two_seconds(tmp_path):
    view = View(noise(256, 256))
    Steps(view, tmp_path, step=0.1, pace=1e-7).run(200)
    assert all(result.data.shape == (1, 256, 256) for result in view.results)
    steps = [result.step for result in view.results]
    assert steps[0] == 20
    assert set(np.diff(steps)) <= {20, 21}


def test_another_place_is_shown_sooner(tmp_path):
    view = View(noise(128, 128), size=(64, 64))
    steps = Steps(view, tmp_path, step=0.1, pace=1e-7).run(25)
    before = len(view.results)
    view.asked = PreviewRequest(view.stack, 0, (64, 64), (64, 64))
    steps.run(5)
    assert len(view.results) == before + 1
    assert view.results[-1].start == (64, 64)


def test_a_preview_of_where_nobody_looks_any_more_is_given_up(tmp_path):
    view = View(noise(400, 400))
    steps = Steps(view, tmp_path, step=0.2, pace=3e-6)
    while len(steps.windows) < 3:  # two that measure the speed, and the first tile
        steps.run(1)
    assert not view.results
    view.asked = PreviewRequest(view.stack, 0, (0, 0), (50, 50))
    steps.run(60)
    assert {result.data.shape for result in view.results} == {(1, 50, 50)}


def test_nothing_is_computed_while_nobody_looks(tmp_path):
    view = View(noise(64, 64))
    view.asked = None
    steps = Steps(view, tmp_path, step=1.0).run(50)
    assert steps.windows == []
    assert steps.callback.spent == 0


def test_time_in_which_nobody_looked_is_not_made_up_for(tmp_path):
    view = View(noise(256, 256))
    view.asked, asked = None, view.asked
    steps = Steps(view, tmp_path, step=0.2, pace=1e-5).run(1000)
    view.asked = asked
    steps.run(100)  # 20 s
    assert steps.callback.spent <= 20 * SHARE + 0.8


# -- weights that are kept -------------------------------------------------------------------------


def test_weights_are_kept_at_growing_distances(tmp_path):
    view = View(noise(32, 32))
    steps = Steps(view, tmp_path, step=0.3, pace=1e-7, total=1500).run(1500)
    kept = [result for result in view.results if result.checkpoint is not None]
    assert 7 <= len(kept) <= MOST_KEPT
    assert kept[0] is view.results[0]
    numbers = [result.step for result in kept]
    distances = np.diff(numbers)
    assert (distances[1:] >= distances[:-1] * 0.8).all()
    assert numbers[-1] > 700
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"preview_{number:06d}.ckpt" for number in numbers
    ]
    assert checkpoints.load(kept[2].checkpoint).steps_done == numbers[2]
    assert not [event for event in steps.events if isinstance(event, CheckpointSaved)]


def test_a_kept_model_predicts_and_trains_on(tmp_path, at_once):
    image = noise(64, 64)
    view = View(image)
    trained = Trained(small(6), tmp_path, image, view)
    first = view.results[0]
    assert trained.module.optimizer_state is not None
    model = CAREamist(checkpoint_path=first.checkpoint, enable_progress_bar=False)
    (whole,), _ = model.predict(image)
    np.testing.assert_allclose(first.data[0], whole, atol=1e-3)
    model.work_dir = tmp_path
    model.train(train_data=image)
    assert model.steps_done == 6


# -- stops and failures ----------------------------------------------------------------------------


def test_a_stop_ends_a_preview_at_once(tmp_path, at_once):
    image = noise(64, 64)
    view = View(image)

    class Slow(pl.Callback):
        def __init__(self, runner):
            super().__init__()
            self.runner, self.asked_at = runner, None

        def on_train_start(self, trainer, pl_module):
            for layer in pl_module.averaged.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.register_forward_hook(self.wait)

        def wait(self, *_):
            time.sleep(0.2)
            if self.asked_at is None:
                self.asked_at = time.monotonic()
                self.runner.stop()

    slow = []
    began = time.monotonic()
    trained = Trained(
        small(2000, training={"steps_per_epoch": 2000}),
        tmp_path,
        image,
        view,
        lambda runner: slow.append(Slow(runner)) or slow[0],
    )
    assert time.monotonic() - slow[0].asked_at < 1
    assert time.monotonic() - began < 20
    assert not view.results
    assert trained.module.steps_done == 1  # the first probe noticed it
    assert (tmp_path / "last.ckpt").is_file()


def test_a_pause_is_not_waited_for_in_a_tile(tmp_path):
    view = View(noise(64, 64))
    steps = Steps(view, tmp_path, step=0.1)
    steps.callback.run.stop.pause()
    steps.run(25)  # would wait for ever
    assert view.results


@pytest.mark.parametrize("where", ["request", "take", "network"])
def test_a_preview_that_fails_ends_no_training(tmp_path, at_once, monkeypatch, where, caplog):
    image = noise(64, 64)
    view = View(image)

    def fail(*_):
        raise ValueError("the disk is on fire")

    if where == "network":
        monkeypatch.setattr(View, "request", lambda self: PreviewRequest(None, 0, (0, 0), (9, 9)))
    else:
        monkeypatch.setattr(view, where, fail)
    trained = Trained(small(6), tmp_path, image, view)
    assert trained.module.steps_done == 6
    notices = [event.message for event in trained.of(Noticed)]
    assert sum("no more previews" in notice for notice in notices) == 1
    assert "The preview failed." in caplog.text


def test_boxes_smaller_than_the_network_sees_are_exact(tmp_path, at_once):
    image = noise(33, 41)  # not a multiple of the grid
    config = small(4, algorithm=CARE(model=UNet(depth=2, num_channels_init=4)))
    view = View(image, start=(30, 38), size=(3, 3))
    trained = Trained(config, tmp_path, image, view, target=image)
    checkpoints.save(trained.module, tmp_path / "all.ckpt")
    model = CAREamist(checkpoint_path=tmp_path / "all.ckpt", enable_progress_bar=False)
    (whole,), _ = model.predict(image)
    np.testing.assert_allclose(view.results[-1].data[0], whole[30:, 38:], atol=1e-3)
