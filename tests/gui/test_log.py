"""The log: runs and what went wrong, in a file that stays small, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtGui import QDesktopServices

from careamist.config import N2V, Configuration
from careamist.events import RunFailed, RunFinished, RunStarted
from careamist.gui import log, panel


class Record:
    """What the log reads of a run."""

    label = "Train on noisy"
    seconds = 12.3

    def __init__(self) -> None:
        self.order = type("Order", (), {"config": Configuration(algorithm_config=N2V())})()


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    log.close_log()
    yield
    log.close_log()


def text() -> str:
    return log.log_file().read_text(encoding="utf-8")


def test_a_run_is_noted_with_its_settings_and_its_end(capfd: Any, caplog: Any) -> None:
    record: Any = Record()
    log.note_start(record)
    log.note_event(record, RunStarted("1", "train", 300, resolved={"device": "CPU, 1 thread"}))
    log.note_event(record, RunFinished("1", "train"))
    for line in record.order.config.describe().splitlines():
        assert line in text()
    assert "started, 300 to do, on CPU, 1 thread" in text()
    assert "finished after 12.3 s" in text()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records  # nor anywhere else


def test_a_failure_is_noted_with_its_traceback() -> None:
    record: Any = Record()
    log.note_start(record)
    log.note_event(record, RunFailed("1", "train", "No memory.", "Smaller tiles.", "Traceback: x"))
    assert "failed: No memory. Smaller tiles.\nTraceback: x" in text()


def test_warnings_of_the_library_are_kept_once() -> None:
    assert log.open_log() == log.open_log()
    logging.getLogger("careamist.library").warning("The card is gone.")
    assert text().count("The card is gone.") == 1


def test_the_library_alone_writes_none(tmp_path: Path) -> None:
    logging.getLogger("careamist.library").warning("The card is gone.")
    assert not log.log_file().exists()


def test_it_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_BYTES", 2000)
    record: Any = Record()
    for _ in range(60):
        log.note_start(record)
    kept = sorted(log.log_file().parent.glob("careamist.log*"))
    assert len(kept) == 3
    assert all(path.stat().st_size <= 2000 for path in kept)


def test_a_place_that_cannot_be_written_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CAREAMIST_LOG", str(tmp_path / "file" / "careamist.log"))
    record: Any = Record()
    log.note_start(record)
    assert capfd.readouterr() == ("", "")
    assert not panel.show_log()


def test_it_is_opened_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: not opened.append(url.toLocalFile())
    )
    assert panel.show_log()
    assert opened == [str(log.log_file())]
