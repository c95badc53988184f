"""A line per file, a function of what a run tells."""

from __future__ import annotations

import time
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from careamist.events import (
    ImageFailed,
    ImageFinished,
    ImageStarted,
    RegionPredicted,
    RunStopped,
)
from careamist.gui.predicting.batch_list import BatchList
from careamist.gui.theme import style

pytestmark = pytest.mark.gui


@pytest.fixture
def page(qtbot: Any) -> QWidget:
    made = QWidget()
    style(made)
    qtbot.addWidget(made)
    made.resize(350, 400)
    return made


@pytest.fixture
def files(page: QWidget) -> BatchList:
    lines = QVBoxLayout(page)
    made = BatchList(page)
    lines.addWidget(made)
    page.show()
    return made


def started(index: int, source: str) -> ImageStarted:
    return ImageStarted("run", index, source, (40, 40), "float32", "YX")


def predicted(index: int, total: int) -> RegionPredicted:
    return RegionPredicted("run", index, {"total_tiles": total, "sample_idx": 0}, 1, 2)


def test_a_line_goes_through_its_states(files: BatchList) -> None:
    model = files.files
    model.setSources(["/a/one.tif", "/a/two.tif", "/a/three.tif"])
    assert [line.words for line in model.lines] == ["waiting"] * 3
    model.follow(started(0, "/a/one.tif"))
    assert model.lines[0].words == "running"
    model.follow(predicted(0, 4))
    assert model.lines[0].words == "running 25 %"
    model.follow(ImageFinished("run", 0, "/a/one.tif", "/b/one.tiff"))
    model.follow(ImageFailed("run", None, "/a/two.tif", "It is cut off.", "Copy it again."))
    model.follow(started(1, "/a/three.tif"))
    model.follow(ImageFinished("run", 1, "/a/three.tif", "/b/three.tiff"))
    assert [line.words for line in model.lines] == [
        "done",
        "failed: It is cut off.",
        "skipped, exists",
    ]
    assert model.summary() == "1 done · 1 skipped · 1 failed"
    assert model.sources("failed") == ["/a/two.tif"]


def test_trying_again_keeps_what_is_done(files: BatchList) -> None:
    model = files.files
    model.setSources(["one", "two"])
    model.follow(started(0, "one"))
    model.follow(predicted(0, 1))
    model.follow(ImageFinished("run", 0, "one", "there"))
    model.follow(ImageFailed("run", None, "two", "broken"))
    model.setSources(["two"], keep=True)
    assert [line.state for line in model.lines] == ["done", "waiting"]
    model.follow(started(0, "two"))  # numbered anew
    model.follow(predicted(0, 2))
    assert [line.done for line in model.lines] == [1, 1]


def test_a_stop_ends_the_line_that_runs(files: BatchList) -> None:
    model = files.files
    model.setSources(["one", "two"])
    model.follow(started(0, "one"))
    model.follow(RunStopped("run", "predict"))
    assert [line.state for line in model.lines] == ["stopped", "waiting"]


def test_files_that_nobody_knew_of_get_a_line(files: BatchList) -> None:
    files.files.setSources(["one"])
    files.files.follow(ImageFailed("run", None, "two", "broken"))
    assert [line.source for line in files.files.lines] == ["one", "two"]


def test_a_thousand_files_stay_fluid(files: BatchList, qtbot: Any) -> None:
    sources = [f"/a/{number:04d}.tif" for number in range(1000)]
    start = time.perf_counter()
    files.files.setSources(sources)
    files.grab()
    assert time.perf_counter() - start < 0.25
    slowest = 0.0
    for number, source in enumerate(sources[:200]):
        start = time.perf_counter()
        files.files.follow(started(number, source))
        for _ in range(4):
            files.files.follow(predicted(number, 4))
        files.files.follow(ImageFinished("run", number, source, "there"))
        files.files.summary()
        qtbot.wait(0)
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.25
    assert files.files.summary() == "200 done · 800 waiting"


def test_a_line_is_read_out(files: BatchList) -> None:
    files.files.setSources(["/a/one.tif"])
    files.files.follow(ImageFailed("run", None, "/a/one.tif", "It is cut off."))
    index = files.files.index(0)
    said = index.data(Qt.ItemDataRole.AccessibleTextRole)
    assert said == "one.tif, failed: It is cut off."
    assert "It is cut off." in index.data(Qt.ItemDataRole.ToolTipRole)
    files.setCurrentIndex(index)
    line = files.line()
    assert line is not None
    assert line.name == "one.tif"
