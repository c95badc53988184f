"""The runs of a viewer: they belong to it, not to a dock, and are stopped when it closes."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal
from weakref import WeakKeyDictionary

from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from careamist.background import Job, Run
from careamist.events import (
    TERMINAL,
    Event,
    RegionPredicted,
    RunFailed,
    RunFinished,
    RunKind,
    RunStarted,
    StepDone,
)

State = Literal["ready", "starting", "running", "stopping", "finished", "stopped", "failed"]

BUSY: tuple[State, ...] = ("starting", "running", "stopping")
_WAIT = 0.2  # seconds between two looks for news
_registry: WeakKeyDictionary[Any, Jobs] = WeakKeyDictionary()


def jobs_of(viewer: Any) -> Jobs:
    """Return the jobs of a viewer, the same for all docks in it."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins may get a proxy
    if viewer not in _registry:
        _registry[viewer] = Jobs()
    return _registry[viewer]


class RunRecord:
    """A run and what it has told so far."""

    def __init__(self, run: Run, label: str) -> None:
        self.run, self.label = run, label
        self.events: list[Event] = []

    @property
    def state(self) -> State:
        """Where the run stands, a function of its last event."""
        last = self.events[-1] if self.events else None
        if isinstance(last, RunFailed):
            return "failed"
        if isinstance(last, TERMINAL):
            return "finished" if isinstance(last, RunFinished) else "stopped"
        if self.run.is_stopping:
            return "stopping"
        return "running" if self.events else "starting"


class Jobs(QObject):  # type: ignore[misc, unused-ignore]
    """One run at a time, and the last one of each kind.

    Attributes
    ----------
    told : Signal(object)
        Every event of the run, on the GUI thread.
    stateChanged : Signal()
        The state of a run is another one, or the model is.
    model : CAREamist or None
        What was trained or loaded last.
    """

    told = Signal(object)
    stateChanged = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.model: Any = None
        self.current: RunRecord | None = None
        self._records: dict[RunKind, RunRecord] = {}
        self._unheard: deque[Event] = deque()
        self._is_telling = False
        self._progress: Any = None
        self._reached = 0
        self._worker: Any = None

    def record(self, kind: RunKind) -> RunRecord | None:
        """Return the present or last run of a kind."""
        return self._records.get(kind)

    def state(self, kind: RunKind) -> State:
        """Return where the present or last run of a kind stands."""
        record = self.record(kind)
        return "ready" if record is None else record.state

    @property
    def is_busy(self) -> bool:
        """Whether a run is in progress; a new one can only start when not."""
        return self.current is not None and self.current.state in BUSY

    @property
    def label(self) -> str:
        """What the present run is called."""
        return self.current.label if self.current is not None and self.is_busy else ""

    def start(self, kind: RunKind, label: str, job: Job) -> RunRecord:
        """Start a job in the background; `label` names it for the user."""
        if self.is_busy:
            raise RuntimeError(f"“{self.label}” is still running. Wait for it, or cancel it.")
        run = Run(kind, job)
        self.current = self._records[kind] = RunRecord(run, label)
        worker = create_worker(_news, run, _start_thread=False)
        worker.yielded.connect(self._on_news)
        worker.aborted.connect(run.stop)  # the viewer is closing
        _application().aboutToQuit.connect(run.stop)
        self._worker = worker
        run.start()
        worker.start()
        self.stateChanged.emit()
        return self.current

    def stop(self) -> None:
        """Ask the run in progress to stop."""
        if self.current is not None and self.is_busy:
            self.current.run.stop()
            self.stateChanged.emit()

    def forget(self, kind: RunKind) -> None:
        """Put away what is left of the last run of a kind, so that its dock is as new."""
        if self.state(kind) not in BUSY and self._records.pop(kind, None) is not None:
            self.stateChanged.emit()

    def setModel(self, model: Any) -> None:
        """Offer a model to the docks."""
        self.model = model
        self.stateChanged.emit()

    def _on_news(self, news: list[Event] | None) -> None:
        self._unheard.extend(news or ())
        if self._is_telling:
            return  # adding a layer or a progress bar lets Qt deliver the next news: keep the order
        self._is_telling = True
        try:
            while self._unheard:
                while self._unheard:
                    self._tell(self._unheard.popleft())
                self._move_progress()  # lets Qt deliver more
        finally:
            self._is_telling = False

    def _tell(self, event: Event) -> None:
        current = self.current
        if current is None or event.run_id != current.run.run_id:
            return  # of a run that is over
        before = current.state
        current.events.append(event)
        self._show_progress(current, event)
        if isinstance(event, TERMINAL):
            self._close(current.run)
        self.told.emit(event)
        if current.state != before:
            self.stateChanged.emit()

    def _close(self, run: Run) -> None:
        run.join()  # it told its end last: nothing is left to wait for
        _application().aboutToQuit.disconnect(run.stop)
        if run.kind == "train" and run.result is not None and run.result.is_trained:
            self.model = run.result

    def _show_progress(self, record: RunRecord, event: Event) -> None:
        """Keep napari's activity dock up to date."""
        if isinstance(event, RunStarted):
            self._progress = progress(total=event.total, desc=record.label)
            self._reached = event.done
        elif isinstance(event, (StepDone, RegionPredicted)):
            self._reached = event.done
        elif isinstance(event, TERMINAL) and self._progress is not None:
            self._move_progress()
            self._progress.close()
            self._progress = None

    def _move_progress(self) -> None:
        # once for a batch of news: each move lets Qt draw the whole window
        if self._progress is not None and self._progress.n != self._reached:
            self._progress.update(self._reached - self._progress.n)


def _application() -> Any:
    return QApplication.instance()


def _news(run: Run) -> Iterator[list[Event] | None]:
    """Yield what a run tells, in batches; None when there is nothing, so that quitting works."""
    while True:
        try:
            news = [run.events.get(timeout=_WAIT)]
        except queue.Empty:
            yield None
            continue
        if not isinstance(news[0], TERMINAL):
            time.sleep(_WAIT)  # a few updates a second: each one takes time from the computation
        while not run.events.empty():
            news.append(run.events.get())
        yield news
        if isinstance(news[-1], TERMINAL):
            return
