"""The runs of a viewer: they belong to it, not to a dock, and are stopped when it closes."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal
from weakref import WeakKeyDictionary

from napari.qt.threading import create_worker
from napari.utils import progress
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QApplication, QMainWindow

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
from careamist.gui import log

State = Literal[
    "ready", "starting", "running", "paused", "stopping", "finished", "stopped", "failed"
]

BUSY: tuple[State, ...] = ("starting", "running", "paused", "stopping")
_WAIT = 0.2  # seconds between two looks for news
_registry: WeakKeyDictionary[Any, Jobs] = WeakKeyDictionary()


def jobs_of(viewer: Any) -> Jobs:
    """Return the jobs of a viewer, the same for all docks in it."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins may get a proxy
    if viewer not in _registry:
        _registry[viewer] = Jobs()
    return _registry[viewer]


class RunRecord:
    """A run and what it has told so far.

    Attributes
    ----------
    label : str
        What the run is called.
    events : list of Event
        What it has told.
    order : object
        What it was started with, for a dock that is opened later.
    before : RunRecord or None
        The run that this one goes on from: the training of a prediction, or of more steps.
    then : callable or None
        Called with this record when the run is finished, before the new state is told.
    is_shown : bool
        Whether somebody sees how it failed: a dock that is open says so.
    """

    def __init__(self, run: Run, label: str, order: Any, before: RunRecord | None) -> None:
        self.run, self.label, self.order, self.before = run, label, order, before
        self.events: list[Event] = []
        self.then: Callable[[RunRecord], object] | None = None
        self.then_if_stopped = False
        self.is_shown = False
        self.is_cancelled = False  # by the user, not by a viewer that closes
        self._began = self._ended = self._paused = 0.0
        self._waited = 0.0  # seconds of pauses that are over

    @property
    def seconds(self) -> float:
        """How long it has computed: without loading, without pauses."""
        if not self._began:
            return 0.0
        until = self._ended or self._paused or time.monotonic()
        return until - self._began - self._waited

    def clock(self, event: Event) -> None:
        """Take the time of an event."""
        if isinstance(event, RunStarted):
            self._began = time.monotonic()
        elif isinstance(event, TERMINAL):
            self.clock_pause(on=False)
            self._ended = time.monotonic()

    def clock_pause(self, *, on: bool) -> None:
        """Take the time of a pause."""
        if on and not self._paused:
            self._paused = time.monotonic()
        elif not on and self._paused:
            self._waited += time.monotonic() - max(self._paused, self._began)
            self._paused = 0.0

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
        if self.run.is_paused:
            return "paused"
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

    def start(
        self,
        kind: RunKind,
        label: str,
        job: Job,
        *,
        order: Any = None,
        before: RunRecord | None = None,
        then: Callable[[RunRecord], object] | None = None,
    ) -> RunRecord:
        """Start a job in the background.

        Parameters
        ----------
        kind : {"train", "predict"}
            What it does.
        label : str
            Names it for the user.
        job : callable
            See `Run`.
        order, before, then
            See `RunRecord`.
        """
        if self.is_busy:
            raise RuntimeError(f"“{self.label}” is still running. Wait for it, or cancel it.")
        run = Run(kind, job)
        self.current = self._records[kind] = RunRecord(run, label, order, before)
        self.current.then = then
        log.note_start(self.current)
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
            self.current.is_cancelled = True
            self.current.run.stop()
            self.stateChanged.emit()

    def finish(self) -> None:
        """Stop the run in progress, and then go on as if it had come to its end."""
        if self.current is not None and self.is_busy:
            self.current.then_if_stopped = True
            self.stop()

    def pause(self) -> None:
        """Let the run in progress wait."""
        if self.current is not None and self.current.state == "running":
            self.current.run.pause()
            self.current.clock_pause(on=True)
            self.stateChanged.emit()

    def resume(self) -> None:
        """Let the run in progress go on after a pause."""
        if self.current is not None and self.current.state == "paused":
            self.current.clock_pause(on=False)
            self.current.run.resume()
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
        current.clock(event)
        log.note_event(current, event)
        self._show_progress(current, event)
        if isinstance(event, TERMINAL):
            self._close(current.run)
        self.told.emit(event)
        if isinstance(event, TERMINAL):
            self._go_on(current)
        if current.state != before:
            self.stateChanged.emit()
        if isinstance(event, TERMINAL):
            self._tell_end(current, event)

    def _tell_end(self, record: RunRecord, event: Event) -> None:
        """Say that nothing is computed any more, to somebody who looks elsewhere."""
        if isinstance(event, RunFailed) and not record.is_shown:
            show_error(f"{record.label} failed: {event.message} {event.hint}".strip())
        if self.current is record and isinstance(event, (RunFinished, RunFailed)):
            call_to_window()

    def _go_on(self, record: RunRecord) -> None:
        """Do what was to be done after a run, where it has left something to do it with."""
        done = record.state == "finished" or (record.state == "stopped" and record.then_if_stopped)
        usable = record.run.kind != "train" or (
            record.run.result is not None and record.run.result is self.model
        )
        if record.then is not None and done and usable:
            record.then(record)

    def _close(self, run: Run) -> None:
        run.join()  # it told its end last: nothing is left to wait for
        _application().aboutToQuit.disconnect(run.stop)
        self._worker.aborted.disconnect(run.stop)  # napari keeps the worker, but not the model
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


def call_to_window() -> None:
    """Let the task bar say that something is there to see, if another program is in front."""
    if QApplication.applicationState() == Qt.ApplicationState.ApplicationActive:
        return
    for window in QApplication.topLevelWidgets():
        if isinstance(window, QMainWindow) and window.isVisible():
            QApplication.alert(window)


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
