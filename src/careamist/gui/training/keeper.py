"""Keeps what is to be known of a training another day: its speed, and that it was cut short."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from qtpy.QtCore import QObject

from careamist.background import THREAD
from careamist.events import (
    TERMINAL,
    CheckpointSaved,
    Event,
    RunStarted,
    RunStopped,
    StepDone,
)
from careamist.gui import tasks
from careamist.gui.parts import speed

if TYPE_CHECKING:
    from careamist.gui.forms.remembered import Remembered
    from careamist.gui.jobs import Jobs, RunRecord
    from careamist.gui.training.order import TrainingOrder

_NAME = "unfinished"
_PAUSE = 5.0  # seconds between two notes
_TIMED = 10  # steps that a time is taken of, at least


class Unfinished(NamedTuple):
    """A training that was not brought to its end, because napari was closed or died."""

    folder: Path
    label: str
    done: int  # steps when the last checkpoint was noted; 0 if none was
    total: int
    image: str  # name of the layer, or of the file
    path: str | None  # of the file
    axes: str
    part: dict[str, Any] | None  # of the image, see `TrainingOrder.part`

    @property
    def words(self) -> str:
        """How far it came."""
        return f"Step {self.done} of {self.total} is kept." if self.done else "A part is kept."


class Keeper(QObject):  # type: ignore[misc, unused-ignore]
    """Follows one training to its end.

    Parameters
    ----------
    jobs : Jobs
        Tell what happens.
    record : RunRecord
        The training; its order says on what.
    memory : Remembered
        Where it is noted.
    timed : bool
        Whether the order describes what is trained, so that its speed is worth knowing.
    """

    def __init__(
        self, jobs: Jobs, record: RunRecord, memory: Remembered, *, timed: bool = True
    ) -> None:
        super().__init__(jobs)
        self._timed = timed
        self._jobs, self._record, self._memory = jobs, record, memory
        self._device = ""
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None
        self._noted = 0.0
        self._entry: dict[str, Any] = {}
        jobs.told.connect(self._on_event)

    def _on_event(self, event: Event) -> None:
        record = self._record
        if event.run_id != record.run.run_id:
            return
        if isinstance(event, RunStarted):
            self._device = str(event.resolved.get("device", ""))
            self._entry = _entry(record, event.total)
            self._memory.set(_NAME, self._entry)
        elif isinstance(event, StepDone):
            self._last = event.done, record.seconds
            self._first = self._first or self._last
        elif isinstance(event, CheckpointSaved):
            self._note()
        elif isinstance(event, TERMINAL):
            self._jobs.told.disconnect(self._on_event)
            # a viewer that closes stops its run without having been asked to cancel it
            if not isinstance(event, RunStopped) or record.is_cancelled:
                self._memory.set(_NAME, None)
            self._keep_speed()
            self.deleteLater()  # and with it what holds on to the model

    def _note(self) -> None:
        now = time.monotonic()
        if self._last is not None and self._entry and now - self._noted >= _PAUSE:
            self._noted = now
            self._entry = self._entry | {"done": self._last[0]}
            self._memory.set(_NAME, self._entry)

    def _keep_speed(self) -> None:
        if not self._timed or self._first is None or self._last is None:
            return
        steps, seconds = (b - a for a, b in zip(self._first, self._last, strict=True))
        if steps >= _TIMED and seconds > 0:
            order: TrainingOrder = self._record.order
            speed.remember(order.config, self._device, seconds / steps, self._memory)


def unfinished(memory: Remembered) -> Unfinished | None:
    """Return the training that was cut short, if there is one and something of it is left."""
    entry = memory.table(_NAME)
    try:
        if _is_alive(entry["pid"], entry["born"]):
            return None  # it is running, in another window
        folders = (tasks.models_folder() / "checkpoints").glob(f"{entry['folder']}_*")
        written = [
            (file.stat().st_mtime, file.parent)
            for folder in folders
            for file in folder.glob("*.ckpt")
        ]
        newest, folder = max(written, default=(0.0, Path()))
        if newest < entry["since"]:
            return None
        numbers = int(entry["done"]), int(entry["total"])
        image = (entry["image"], entry["path"], entry["axes"], entry.get("part"))
        return Unfinished(folder, entry["label"], *numbers, *image)
    except (KeyError, TypeError, ValueError, OSError):
        return None  # a file of another time


def forget(memory: Remembered) -> None:
    """Do not offer it again."""
    memory.set(_NAME, None)


def _entry(record: RunRecord, total: int) -> dict[str, Any]:
    order: TrainingOrder = record.order
    return {
        "label": record.label,
        "folder": order.config.file_name,
        "image": order.image.name,
        "path": order.image.path,
        "axes": order.image.axes,
        "part": order.part(),
        "done": 0,
        "total": total,
        "since": time.time() - 1,  # clocks of file systems are coarse
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
    }


def _is_alive(pid: int, born: float) -> bool:
    if pid == os.getpid():
        return any(thread.name == f"{THREAD}-train" for thread in threading.enumerate())
    try:
        return abs(psutil.Process(pid).create_time() - born) < 1
    except psutil.Error:
        return False
