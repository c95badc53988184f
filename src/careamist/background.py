"""A job in a thread of its own: its news in a queue, its stop in a signal. No Qt."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from careamist.events import (
    TERMINAL,
    Event,
    Listener,
    RunFailed,
    RunFinished,
    RunKind,
    RunStopped,
)
from careamist.stop import StopRequested, StopSignal

logger = logging.getLogger(__name__)

THREAD = "careamist"  # what the names of threads begin with

Job = Callable[[Listener, StopSignal], Any]


class Run:
    """One job in the background.

    Whatever happens, `events` ends with exactly one terminal event, and nothing is raised.

    Parameters
    ----------
    kind : {"train", "predict"}
        What the job does.
    job : callable
        Gets a listener to tell its events to and a signal to obey, e.g. a function that enters
        ``CAREamist.attached(listener, stop)`` and trains. It runs in the thread, so what it
        imports does not hold up the caller.

    Attributes
    ----------
    run_id : str
        Stands in every event of the queue.
    events : queue.SimpleQueue
        The events so far unread.
    result : Any
        What the job returned.
    """

    def __init__(self, kind: RunKind, job: Job) -> None:
        self.kind = kind
        self.run_id = uuid.uuid4().hex
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.result: Any = None
        self._job = job
        self._stop = StopSignal()
        self._ended = False
        # not a daemon: the interpreter must not die under a computing thread
        self._thread = threading.Thread(target=self._work, name=f"{THREAD}-{kind}")

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the job to stop; it ends within a second, with its work kept."""
        self._stop.set()

    def pause(self) -> None:
        """Ask the job to wait, between two layers of the network; `stop` ends that too."""
        self._stop.pause()

    def resume(self) -> None:
        """Let the job go on."""
        self._stop.resume()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def is_paused(self) -> bool:
        """Whether it was asked to wait."""
        return self._stop.is_paused()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is still at work."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout)

    def _emit(self, event: Event) -> None:
        if not self._ended:
            self._ended = isinstance(event, TERMINAL)
            self.events.put(replace(event, run_id=self.run_id))

    def _work(self) -> None:
        try:
            self.result = self._job(self._hold_back_end, self._stop)
            stopped = self._stop.is_set()
            self._emit(
                RunStopped(self.run_id, self.kind)
                if stopped
                else RunFinished(self.run_id, self.kind)
            )
        except StopRequested:
            self._emit(RunStopped(self.run_id, self.kind))
        except BaseException as error:  # a worker must never raise: the message goes to the panel
            from careamist.failures import explain_failure

            message, hint = explain_failure(error)
            logger.info("A %s run failed.", self.kind, exc_info=error)
            self._emit(RunFailed(self.run_id, self.kind, message, hint, traceback.format_exc()))

    def _hold_back_end(self, event: Event) -> None:
        # the end is told when the job has returned and its result can be used
        if not isinstance(event, TERMINAL):
            self._emit(event)
