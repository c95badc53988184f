"""Asking a run to stop: a signal that any thread may set, honoured within a second."""

from __future__ import annotations

import threading
import time


class StopRequested(Exception):
    """Raised inside a run to end it at once; a request that is honoured, not an error."""


class StopSignal:
    """An event that remembers when it was set."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._since = 0.0

    def set(self) -> None:
        """Ask to stop. Later calls change nothing."""
        if not self._event.is_set():
            self._since = time.monotonic()
            self._event.set()

    def clear(self) -> None:
        """Forget the request, before a new run."""
        self._event.clear()

    def is_set(self) -> bool:
        """Return whether stopping was asked for."""
        return self._event.is_set()

    def check(self, grace: float = 0.0) -> None:
        """Raise `StopRequested` if stopping was asked for more than `grace` seconds ago."""
        if self._event.is_set() and time.monotonic() - self._since >= grace:
            raise StopRequested
