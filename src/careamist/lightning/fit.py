"""One training run of a module, from its place in the stream to the planned end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch

from careamist import __version__
from careamist.compute import describe_device, resolve_device
from careamist.events import Event, RunStarted
from careamist.lightning.callbacks import RunCallback
from careamist.models.interrupt import interruptible
from careamist.stop import StopRequested, StopSignal

if TYPE_CHECKING:
    from careamist.lightning.data_modules import TrainDataModule
    from careamist.lightning.module import RestorationModule

_STEP_GRACE = 0.5  # seconds that a step is given to end before it is dropped


def fit(
    module: RestorationModule,
    data: TrainDataModule,
    folder: Path,
    run_id: str,
    emit: Callable[[Event], None],
    stop: StopSignal,
) -> None:
    """Train a module, and write ``last.ckpt`` however the run ends.

    A module that has not reached the end of its segment goes on to it; another one gets a new
    segment of the configured length.

    Parameters
    ----------
    module : RestorationModule
        Is trained in place, and is on the CPU afterwards.
    data : TrainDataModule
        Set up.
    folder : Path
        Where checkpoints go.
    run_id : str
        The run that events belong to.
    emit : callable
        Takes the events.
    stop : StopSignal
        Ends the run; a step that takes longer than half a second is dropped.
    """
    config, training = module.config.data_config, module.config.training_config
    n_patches = len(data.train_dataset)
    if module.steps_done >= module.segment[1]:
        more = training.total_steps(n_patches, config.batch_size)
        module.segment = (module.steps_done, module.steps_done + more)
    epoch_steps = training.epoch_steps(n_patches, config.batch_size)
    remaining = module.segment[1] - module.steps_done
    data.plan(module.samples_done, remaining)
    device = resolve_device(training.device)
    resolved = {
        "device": describe_device(device),
        "num_threads": torch.get_num_threads(),
        "precision": "float32",
        "num_steps": remaining,
        "steps_per_epoch": epoch_steps,
        "n_patches": n_patches,
        "n_val_patches": len(data.val_dataset),
        "n_channels": config.n_channels,
        "normalization": config.normalization.model_dump(mode="json"),
        "versions": {"careamist": __version__, "torch": str(torch.__version__)},
    }
    emit(RunStarted(run_id, "train", module.segment[1], module.steps_done, resolved))
    callback = RunCallback(run_id, emit, stop, epoch_steps, folder)
    try:
        with interruptible(module.model, stop, _STEP_GRACE), _quiet_lightning():
            _trainer(device, callback).fit(module, datamodule=data)
    except StopRequested:
        module.drop_partial_step()
    finally:
        module.cpu()
        if module.steps_done:
            callback.save(module, "last.ckpt")


def _trainer(device: torch.device, callback: pl.Callback) -> pl.Trainer:
    """Return a trainer stripped of what the run does itself, or the screen shows better."""
    on_gpu = device.type == "cuda"
    return pl.Trainer(
        accelerator="gpu" if on_gpu else device.type,
        devices=[device.index or 0] if on_gpu else 1,
        max_epochs=1,  # the loader holds all steps of the run
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice to developers away from users."""
    names = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
