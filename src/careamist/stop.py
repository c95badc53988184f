"""Asking a run to stop or to wait: a signal that any thread may set, honoured within a second."""

from __future__ import annotations

import threading
import time


class StopRequested(Exception):
    """Raised inside a run to end it at once; a request that is honoured, not an error."""


class StopSignal:
    """An event that remembers when it was set, and that can hold up a run meanwhile."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._since = 0.0
        self._go_on = threading.Event()
        self._go_on.set()

    def set(self) -> None:
        """Ask to stop. Later calls change nothing. A stop ends a pause."""
        if not self._event.is_set():
            self._since = time.monotonic()
            self._event.set()
        self._go_on.set()

    def clear(self) -> None:
        """Forget the request, before a new run."""
        self._event.clear()
        self._go_on.set()

    def is_set(self) -> bool:
        """Return whether stopping was asked for."""
        return self._event.is_set()

    def pause(self) -> None:
        """Ask to wait, in the next `check`. Who was asked to stop does not wait."""
        if not self._event.is_set():
            self._go_on.clear()
            if self._event.is_set():  # asked for meanwhile, by another thread
                self._go_on.set()

    def resume(self) -> None:
        """Let the run go on after a pause."""
        self._go_on.set()

    def is_paused(self) -> bool:
        """Return whether waiting was asked for."""
        return not self._go_on.is_set()

    def check(self, grace: float = 0.0) -> None:
        """Wait while paused; raise `StopRequested` if a stop was asked for.

        Parameters
        ----------
        grace : float
            Seconds since the request that are given to gentler ways of stopping.
        """
        if not self._go_on.is_set():
            self._go_on.wait()
        if self._event.is_set() and time.monotonic() - self._since >= grace:
            raise StopRequested
