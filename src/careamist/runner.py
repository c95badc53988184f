"""The frame around a run: one at a time, its listeners, its stop signal, one terminal event."""

from __future__ import annotations

import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from careamist.compute import cpu_threads, interrupt_stops
from careamist.errors import SettingsError
from careamist.events import Event, Listener, RunFailed, RunFinished, RunKind, RunStopped, tell
from careamist.failures import explain_failure
from careamist.progress_bar import ProgressBar
from careamist.stop import StopRequested, StopSignal


class Frame(NamedTuple):
    """What a run works with.

    Parameters
    ----------
    run_id : str
    emit : callable
        Tells an event.
    listen : callable
        Adds a listener, to this run only.
    stop : StopSignal
    """

    run_id: str
    emit: Callable[[Event], None]
    listen: Callable[[Listener], None]
    stop: StopSignal


class Runner:
    """Frames the runs of one model.

    Parameters
    ----------
    listeners : sequence of callable
        Called with every event of every run, in the thread of the run.
    progress_bar : bool
        Whether a progress bar is drawn on the terminal.

    Attributes
    ----------
    listeners : list of callable
    stop_signal : StopSignal
        Of the run in progress, or the latest one.
    """

    def __init__(self, listeners: Sequence[Listener] = (), *, progress_bar: bool = True) -> None:
        self.listeners = list(listeners)
        self.stop_signal = StopSignal()
        self._progress_bar = progress_bar
        self._attached = False
        self._busy = threading.Lock()

    @contextmanager
    def frame(self, kind: RunKind, threads: int | None) -> Iterator[Frame]:
        """Run what is inside. Errors are told and raised; a stop is only told.

        The signal may be set from the start: what is inside checks it first.
        """
        if not self._busy.acquire(blocking=False):
            raise SettingsError("This model is already running.", "Wait for it, or stop it.")
        run_id = uuid.uuid4().hex
        if not self._attached:
            self.stop_signal = StopSignal()
        own: list[Listener] = [ProgressBar()] if self._progress_bar else []

        def emit(event: Event) -> None:
            tell((*own, *self.listeners), event)

        try:
            with interrupt_stops(self.stop), cpu_threads(threads):
                yield Frame(run_id, emit, own.append, self.stop_signal)
            stopped = self.stop_signal.is_set()
            emit(RunStopped(run_id, kind) if stopped else RunFinished(run_id, kind))
        except StopRequested:
            emit(RunStopped(run_id, kind))
        except BaseException as error:
            message, hint = explain_failure(error)
            emit(RunFailed(run_id, kind, message, hint, traceback.format_exc()))
            raise
        finally:
            self._busy.release()

    def stop(self) -> None:
        """Ask the run in progress to stop. May be called anywhere."""
        self.stop_signal.set()

    @contextmanager
    def attached(self, listener: Listener, stop: StopSignal) -> Iterator[None]:
        """Let another thread listen to and stop what is run while this is entered."""
        self.listeners.append(listener)
        self.stop_signal, self._attached = stop, True
        try:
            yield
        finally:
            self.listeners.remove(listener)
            self._attached = False
