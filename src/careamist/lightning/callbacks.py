"""Lightning's hooks become events, checkpoints and stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from careamist.errors import DivergedError
from careamist.events import CheckpointSaved, EpochDone, Event, StepDone
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
    epoch_steps : int
        Steps between two validations.
    folder : Path
        Where checkpoints go.
    """

    def __init__(
        self,
        run_id: str,
        emit: Callable[[Event], None],
        stop: StopSignal,
        epoch_steps: int,
        folder: Path,
    ) -> None:
        self.run_id, self.emit, self.stop = run_id, emit, stop
        self.epoch_steps, self.folder = epoch_steps, folder

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
                "Lower the learning rate, or look for extreme pixel values.",
            )
        self.emit(StepDone(self.run_id, done, total, value))
        if done % self.epoch_steps == 0 or done == total:
            self._end_epoch(trainer, pl_module)
        if done % pl_module.config.training_config.checkpoint_every == 0 and done < total:
            self.save(pl_module, f"step_{done:06d}.ckpt")
        if self.stop.is_set():
            trainer.should_stop = True

    def save(self, module: RestorationModule, name: str) -> Path:
        """Write a checkpoint into the folder of the run and tell it."""
        path = checkpoints.save(module, self.folder / name)
        self.emit(CheckpointSaved(self.run_id, str(path), is_best=False))
        return path

    def _end_epoch(self, trainer: pl.Trainer, module: RestorationModule) -> None:
        step = module.steps_done
        metrics = {"train_loss": module.take_mean_loss()}
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, TrainDataModule):
            val_loss = module.evaluate(data.val_batches())
            if val_loss is not None:
                metrics["val_loss"] = val_loss
        for name, value in metrics.items():
            module.history[name].append([step, value])
        self.emit(EpochDone(self.run_id, -(-step // self.epoch_steps), step, metrics))
