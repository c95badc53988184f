"""Listeners that write down the course of a training: a table always, other places on request."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from careamist.errors import SettingsError
from careamist.events import TERMINAL, EpochDone, Event, Listener


class CsvLog:
    """Appends the losses of each epoch to ``losses.csv``: step, epoch, train_loss, val_loss, rate.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """

    COLUMNS = ("step", "epoch", "train_loss", "val_loss", "learning_rate")

    def __init__(self, folder: Path) -> None:
        self.path = folder / "losses.csv"

    def __call__(self, event: Event) -> None:
        """Append an epoch."""
        if not isinstance(event, EpochDone):
            return
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self.COLUMNS)
            if is_new:
                table.writeheader()
            table.writerow({"step": event.step, "epoch": event.epoch, **event.metrics})


class TensorBoardLog:
    """Sends the losses of each epoch to TensorBoard files in ``tb_logs``."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SettingsError(
                "logger='tensorboard' needs a package that is not installed.",
                "Run: pip install tensorboard",
            ) from error
        self._writer: Any = SummaryWriter(folder / "tb_logs")

    def __call__(self, event: Event) -> None:
        """Write an epoch; close at the end."""
        if isinstance(event, EpochDone):
            for name, value in event.metrics.items():
                self._writer.add_scalar(name, value, event.step)
        elif isinstance(event, TERMINAL):
            self._writer.close()


class WandbLog:
    """Sends the losses of each epoch to Weights & Biases."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise SettingsError(
                "logger='wandb' needs a package that is not installed.", "Run: pip install wandb"
            ) from error
        self._run: Any = wandb.init(project="careamist", dir=folder, config=dict(config))

    def __call__(self, event: Event) -> None:
        """Send an epoch; close at the end."""
        if isinstance(event, EpochDone):
            self._run.log(dict(event.metrics), step=event.step)
        elif isinstance(event, TERMINAL):
            self._run.finish()


def loggers(name: str, folder: Path, config: Mapping[str, Any]) -> list[Listener]:
    """Return the listeners that a configuration asks for.

    Raises
    ------
    SettingsError
        If the package of a logger is not installed.
    """
    extra: list[Listener] = []
    if name == "tensorboard":
        extra.append(TensorBoardLog(folder))
    elif name == "wandb":
        extra.append(WandbLog(folder, config))
    return [CsvLog(folder), *extra]
