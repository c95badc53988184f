"""What the run tells of each step, and callbacks of the user."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl

from careamist import CAREamist
from careamist.errors import SettingsError
from careamist.events import EpochDone, StepDone
from tiny import module_of, new, noise, small


def with_callbacks(tmp_path, *callbacks, num_steps=4):
    return CAREamist(
        small(num_steps), work_dir=tmp_path, callbacks=callbacks, enable_progress_bar=False
    )


def test_callbacks_of_the_user_are_called_in_every_training(tmp_path):
    class Count(pl.Callback):
        started, steps = 0, 0

        def on_train_start(self, trainer, pl_module):
            self.started += 1

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.steps += 1
            assert pl_module.steps_done > 0

    count = Count()
    careamist = with_callbacks(tmp_path, count)
    careamist.train(train_data=noise(64, 64))
    careamist.train(train_data=noise(64, 64))
    assert (count.started, count.steps) == (2, 8)


@pytest.mark.parametrize(
    "callback",
    [
        pl.callbacks.ModelCheckpoint(),
        pl.callbacks.EarlyStopping("val_loss"),
        pl.callbacks.TQDMProgressBar(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_that_a_run_has_itself_are_refused(tmp_path, callback):
    with pytest.raises(SettingsError, match=type(callback).__name__) as caught:
        with_callbacks(tmp_path, callback)
    for name in ("checkpoint_every", "early_stopping", "enable_progress_bar"):
        assert name in caught.value.hint


def test_a_callback_may_end_a_training(tmp_path):
    class End(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.should_stop = pl_module.steps_done == 2

    careamist = with_callbacks(tmp_path, End())
    careamist.train(train_data=noise(64, 64))
    assert careamist.steps_done == 2


def test_an_error_of_a_callback_ends_the_training_and_keeps_the_model(tmp_path):
    class Fail(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if pl_module.steps_done == 2:
                raise ZeroDivisionError("mine")

    careamist = with_callbacks(tmp_path, Fail())
    with pytest.raises(ZeroDivisionError, match="mine"):
        careamist.train(train_data=noise(64, 64))
    assert (careamist.run_dir / "last.ckpt").is_file()
    assert careamist.steps_done == 2


def test_every_step_tells_its_loss_and_an_epoch_their_mean(tmp_path):
    events = []
    careamist = new(small(5, training={"steps_per_epoch": 3}), tmp_path, [events.append])
    careamist.train(train_data=noise(64, 64))
    losses = [event.loss for event in events if isinstance(event, StepDone)]
    first, second = [event.metrics for event in events if isinstance(event, EpochDone)]
    assert first["train_loss"] == pytest.approx(sum(losses[:3]) / 3)
    assert second["train_loss"] == pytest.approx(sum(losses[3:]) / 2)
    history = module_of(careamist).history
    assert history["train_loss"] == [[3, first["train_loss"]], [5, second["train_loss"]]]
    assert history["val_loss"] == [[3, first["val_loss"]], [5, second["val_loss"]]]
    assert careamist.get_losses() is history
    training = careamist.config.training_config
    assert first["learning_rate"] == training.rate(3, 0, 5)
