"""The log of the plugin: a file that says what was run, how it ended, and what went wrong."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from careamist import __version__
from careamist.events import TERMINAL, Event, Noticed, RunFailed, RunFinished, RunStarted

if TYPE_CHECKING:
    from careamist.gui.jobs import RunRecord

_BYTES, _KEPT = 500_000, 2  # of a file, and how many older ones are kept
_LINE = "%(asctime)s %(levelname)s %(message)s"

# Runs are told to the file only: neither the terminal nor other handlers hear of them.
_runs = logging.getLogger(f"{__name__}.runs")
_runs.setLevel(logging.INFO)
_runs.propagate = False


def log_file() -> Path:
    """Return where the log is; the variable ``CAREAMIST_LOG`` names another file."""
    if named := os.environ.get("CAREAMIST_LOG"):
        return Path(named)
    return Path(platformdirs.user_log_dir("careamist", appauthor=False)) / "careamist.log"


def open_log() -> Path:
    """Begin to write the log, if that has not begun yet, and return its file.

    From then on it holds the warnings of the library, too.
    """
    path = log_file().absolute()
    ours = [handler for handler in _runs.handlers if isinstance(handler, _Quiet)]
    if any(handler.baseFilename == str(path) for handler in ours):
        return path
    close_log()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    handler = _Quiet(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(_LINE))
    _runs.addHandler(handler)
    logging.getLogger("careamist").addHandler(handler)
    _runs.info("careamist %s, process %d", __version__, os.getpid())
    return path


def close_log() -> None:
    """End writing the log; the next run begins it anew."""
    for handler in list(_runs.handlers):
        _runs.removeHandler(handler)
        logging.getLogger("careamist").removeHandler(handler)
        handler.close()


def note_start(record: RunRecord) -> None:
    """Note that a run was asked for, with the two lines of its settings."""
    open_log()
    order = record.order
    config: Any = getattr(order, "config", None) or getattr(
        getattr(order, "model", None), "config", None
    )
    about = f"\n{config.describe()}" if config is not None else ""
    _runs.info("%s: asked for%s", record.label, about)


def note_event(record: RunRecord, event: Event) -> None:
    """Note how a run goes: where it begins, what it notices, how it ends."""
    if isinstance(event, RunStarted):
        device = event.resolved.get("device", "")
        _runs.info("%s: started, %d to do, on %s", record.label, event.total, device)
    elif isinstance(event, Noticed):
        _runs.info("%s: %s", record.label, event.message)
    elif isinstance(event, RunFailed):
        words = f"{event.message} {event.hint}".strip()
        _runs.error("%s: failed: %s\n%s", record.label, words, event.traceback)
    elif isinstance(event, TERMINAL):
        how = "finished" if isinstance(event, RunFinished) else "stopped"
        _runs.info("%s: %s after %.1f s", record.label, how, record.seconds)


class _Quiet(RotatingFileHandler):
    """A log that cannot be written is not missed."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing."""
