"""One training run of a module, from its place in the stream to the planned end."""

from __future__ import annotations

import copy
import gc
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision

from careamist import __version__
from careamist.compute import (
    cpu_threads,
    describe_device,
    is_out_of_memory,
    resolve_device,
    tuned_convolutions,
)
from careamist.errors import SettingsError
from careamist.events import Noticed, RunStarted
from careamist.lightning import checkpoints
from careamist.lightning.callbacks import RunCallback
from careamist.lightning.loggers import loggers
from careamist.lightning.preview import PreviewCallback
from careamist.lightning.timing import DTYPES, settle
from careamist.models.interrupt import interruptible
from careamist.stop import StopRequested

if TYPE_CHECKING:
    from careamist.lightning.data_modules import TrainDataModule
    from careamist.lightning.module import RestorationModule
    from careamist.lightning.preview import PreviewView
    from careamist.runner import Frame

_STEP_GRACE = 0.5  # seconds that a step is given to end before it is dropped
_TIMED_STEPS = 6
_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def fit(
    module: RestorationModule,
    data: TrainDataModule,
    folder: Path,
    run: Frame,
    callbacks: Sequence[pl.Callback] = (),
    preview: PreviewView | None = None,
) -> None:
    """Train a module, and write ``last.ckpt`` however the run ends.

    A module that has not reached the end of its segment goes on to it; another one gets a new
    segment of the configured length. A batch that does not fit into memory is halved.
    Precision and threads that are left to the machine are found by timing, once for a module.

    Parameters
    ----------
    module : RestorationModule
        Is trained in place, and is on the CPU afterwards.
    data : TrainDataModule
        Set up.
    folder : Path
        Where checkpoints go.
    run : Frame
        Takes the events; its signal ends the run, and drops a step that takes longer than half
        a second.
    callbacks : sequence of pytorch_lightning.Callback
        More callbacks, of the user.
    preview : PreviewView, optional
        Is shown what the network makes of an image, while it learns.
    """
    device = resolve_device(module.config.training_config.device)
    data.notices += settle(module, device, run.stop.check)
    with cpu_threads(module.config.training_config.num_threads), tuned_convolutions():
        _fit(module, data, device, folder, run, callbacks, preview)


def _fit(
    module: RestorationModule,
    data: TrainDataModule,
    device: torch.device,
    folder: Path,
    run: Frame,
    callbacks: Sequence[pl.Callback],
    preview: PreviewView | None,
) -> None:
    training = module.config.training_config
    for listener in loggers(training.logger, folder, module.config.model_dump(mode="json")):
        run.listen(listener)
    notices = _plan(module, data, device, run)
    run.emit(_started(module, data, device, run.run_id))
    for notice in (*data.notices, *notices):
        run.emit(Noticed(run.run_id, notice))
    callback = RunCallback(run.run_id, run.emit, run.stop, folder)
    own = [callback] if preview is None else [callback, PreviewCallback(preview, run, folder)]

    def train() -> None:
        with interruptible(module.model, run.stop, _STEP_GRACE), _quiet_lightning():
            _trainer(module, device, [*own, *callbacks]).fit(module, datamodule=data)

    try:
        while (to_do := module.segment[1] - module.steps_done) > 0:
            data.plan(module.samples_done, to_do, module.config.data_config.batch_size)
            if _fits_into_memory(module, train):
                break
            run.emit(Noticed(run.run_id, _halve_batch(module)))
    except StopRequested:
        module.drop_partial_step()
    finally:
        module.cpu()
        module.trainer = None  # it holds the data, and their pool
        if module.steps_done and module.is_finite:  # a model that diverged replaces none
            callback.save(module, checkpoints.LAST)


def _plan(
    module: RestorationModule, data: TrainDataModule, device: torch.device, run: Frame
) -> list[str]:
    """Give a module that has reached its end a new segment; return what is worth knowing."""
    if module.steps_done < module.segment[1]:
        return []
    training, n_patches = module.config.training_config, len(data.train_dataset)
    notices: list[str] = []
    seconds: list[float] = []

    def time_steps() -> None:
        seconds.append(_seconds_per_step(module, data, device, run))

    if training.max_minutes is not None:
        while not _fits_into_memory(module, time_steps):
            notices.append(_halve_batch(module))
    batch_size = module.config.data_config.batch_size
    module.epoch_steps = training.epoch_steps(n_patches, batch_size)
    more = training.total_steps(n_patches, batch_size)
    if training.max_minutes is not None:
        more = max(1, round(60 * training.max_minutes / seconds[0]))
    module.segment = (module.steps_done, module.steps_done + more)
    return notices


def _seconds_per_step(
    module: RestorationModule, data: TrainDataModule, device: torch.device, run: Frame
) -> float:
    """Time some steps and a validation, on a copy of the module."""
    trial = copy.deepcopy(module).to(device).train()
    training, batch_size = module.config.training_config, module.config.data_config.batch_size
    optimizer = training.optimizer.build(trial.model.parameters(), training.learning_rate)
    dtype = DTYPES.get(training.precision)
    times = []
    for step in range(_TIMED_STEPS):
        run.stop.check()
        start = time.perf_counter()
        numbers = range(step * batch_size, (step + 1) * batch_size)
        batch = data.train_dataset.__getitems__(numbers).to(device)
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss = trial.training_step(batch, step)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.average()
        float(loss.detach())  # waits for the device
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    data.plan(0, 0, batch_size)
    trial.evaluate(data.val_batches())
    validation = time.perf_counter() - start
    epoch = training.epoch_steps(len(data.train_dataset), batch_size)
    # the first one warms up
    return statistics.median(times[1:]) + validation / training.validation_steps(epoch)


def _fits_into_memory(module: RestorationModule, act: Callable[[], None]) -> bool:
    """Do something; return False if a smaller batch may help it."""
    try:
        act()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        data = module.config.data_config
        if data.batch_size == 1:
            raise SettingsError(
                f"Not even a single patch of {' × '.join(map(str, data.patch_size))} pixels fits "
                "into memory.",
                "Use smaller patches, fewer filters or another device.",
            ) from error
        return False
    return True


def _started(
    module: RestorationModule, data: TrainDataModule, device: torch.device, run_id: str
) -> RunStarted:
    config, training = module.config.data_config, module.config.training_config
    resolved = {
        "device": describe_device(device),
        "num_threads": torch.get_num_threads(),
        "precision": training.precision,
        "num_steps": module.segment[1] - module.steps_done,
        "steps_per_epoch": module.epoch_steps,
        "batch_size": config.batch_size,
        "n_patches": len(data.train_dataset),
        "n_val_patches": len(data.val_dataset),
        "n_channels": config.n_channels,
        "normalization": config.normalization.model_dump(mode="json"),
        "versions": {"careamist": __version__, "torch": str(torch.__version__)},
    }
    return RunStarted(run_id, "train", module.segment[1], module.steps_done, resolved)


def _halve_batch(module: RestorationModule) -> str:
    """Go on with half the batch, from the step that did not fit into memory."""
    module.drop_partial_step()
    module.cpu()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    size = module.config.data_config.batch_size
    smaller = module.config.data_config.model_copy(update={"batch_size": size // 2})
    module.config = module.config.model_copy(update={"data_config": smaller})
    return f"A batch of {size} patches does not fit into memory: going on with {size // 2}."


def _trainer(
    module: RestorationModule, device: torch.device, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Return a trainer stripped of what the run does itself, or the screen shows better."""
    on_gpu, training = device.type == "cuda", module.config.training_config
    return pl.Trainer(
        accelerator="gpu" if on_gpu else device.type,
        devices=[device.index or 0] if on_gpu else 1,
        **_precision(module, device),
        gradient_clip_val=training.gradient_clip,
        max_epochs=1,  # the loader holds all steps of the run
        limit_val_batches=0,  # validation is at steps of the run, not of the loader
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _precision(module: RestorationModule, device: torch.device) -> dict[str, Any]:
    """Return what tells a trainer the precision; float16 goes on scaling the loss as before."""
    precision = module.config.training_config.precision
    if precision != "float16":
        return {"precision": _PRECISION[precision]}
    scaler = torch.amp.GradScaler(device.type)
    if module.scaler_state:
        scaler.load_state_dict(module.scaler_state)
    return {"plugins": MixedPrecision("16-mixed", device.type, scaler)}


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice to developers away from users."""
    names = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch")
    found = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in found]
    for logger in found:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)
