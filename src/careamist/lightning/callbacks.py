"""Lightning's hooks become events, checkpoints and stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from careamist.errors import DivergedError, SettingsError
from careamist.events import CheckpointSaved, EpochDone, Event, Noticed, StepDone
from careamist.lightning import checkpoints
from careamist.lightning.data_modules import TrainDataModule
from careamist.lightning.module import RestorationModule

if TYPE_CHECKING:
    from careamist.stop import StopSignal

_READ_EVERY = 20  # steps between two reads of the loss from a GPU, where each one waits


class RunCallback(pl.Callback):
    """Watches one training run.

    Parameters
    ----------
    run_id : str
        The run.
    emit : callable
        Takes the events.
    stop : StopSignal
        Ends the training after the step in progress.
    folder : Path
        Where checkpoints go.
    """

    def __init__(
        self,
        run_id: str,
        emit: Callable[[Event], None],
        stop: StopSignal,
        folder: Path,
    ) -> None:
        self.run_id, self.emit, self.stop, self.folder = run_id, emit, stop, folder
        self._best = math.inf  # of this folder: what was better elsewhere may be gone
        if (best := folder / checkpoints.BEST).is_file():
            self._best = checkpoints.load(best).history["val_loss"][-1][1]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell the step, and validate, save or stop where it is time."""
        assert isinstance(pl_module, RestorationModule)
        done, total = pl_module.steps_done, pl_module.segment[1]
        loss = outputs["loss"].detach()
        pl_module.add_loss(loss)
        read = loss.device.type == "cpu" or done % _READ_EVERY == 0 or done == total
        value = float(loss) if read else None
        if value is not None and not math.isfinite(value):
            raise DivergedError(
                f"The training diverged: the loss is {value} at step {done}.",
                "Lower the learning rate, or look for NaN and extreme values in the images.",
            )
        self.emit(StepDone(self.run_id, done, total, value))
        is_over = False
        training = pl_module.config.training_config
        if done % training.validation_steps(pl_module.epoch_steps) == 0 or done == total:
            self._end_epoch(trainer, pl_module)
            early = training.early_stopping
            first = pl_module.segment[0]  # a training that is continued gets its chance
            losses = [entry for entry in pl_module.history["val_loss"] if entry[0] > first]
            is_over = early is not None and done < total and early.is_over(losses)
        if done % training.checkpoint_every == 0 and done < total:
            self.save(pl_module, f"step_{done:06d}.ckpt")
        if is_over:
            pl_module.segment = (pl_module.segment[0], done)
            self.emit(Noticed(self.run_id, f"The validation loss fell no more: ended at {done}."))
        if is_over or self.stop.is_set():
            trainer.should_stop = True

    def save(self, module: RestorationModule, name: str, *, is_best: bool = False) -> Path:
        """Write a checkpoint into the folder of the run and tell it."""
        path = checkpoints.save(module, self.folder / name)
        self.emit(CheckpointSaved(self.run_id, str(path), is_best))
        return path

    def _end_epoch(self, trainer: pl.Trainer, module: RestorationModule) -> None:
        step = module.steps_done
        metrics = {"train_loss": module.take_mean_loss()}
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, TrainDataModule):
            val_loss = module.evaluate(data.val_batches())
            if val_loss is not None:
                metrics["val_loss"] = val_loss
        if not math.isfinite(metrics.get("val_loss", 0)):
            raise DivergedError(
                f"The validation loss is {metrics['val_loss']} at step {step}.",
                "Look for NaN and extreme values in the validation images.",
            )
        for name, value in metrics.items():
            module.history[name].append([step, value])
        if metrics.get("val_loss", math.inf) < self._best:
            self._best = metrics["val_loss"]
            self.save(module, checkpoints.BEST, is_best=True)
        metrics["learning_rate"] = module.rate
        self.emit(EpochDone(self.run_id, -(-step // module.epoch_steps), step, metrics))


def checked_callbacks(callbacks: Sequence[pl.Callback]) -> list[pl.Callback]:
    """Return callbacks of the user, or raise if one would do what a run does itself."""
    kinds = (pl.callbacks.ModelCheckpoint, pl.callbacks.EarlyStopping, pl.callbacks.ProgressBar)
    for callback in callbacks:
        if isinstance(callback, kinds):
            raise SettingsError(
                f"callbacks has a {type(callback).__name__}, which would come on top of our own.",
                "Set checkpoint_every and early_stopping in the training configuration, and "
                "enable_progress_bar.",
            )
    return list(callbacks)
