"""A model file that is dropped on the canvas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from napari.utils.notifications import notification_manager

from careamist.errors import SettingsError
from careamist.gui.jobs import jobs_of
from careamist.gui.models.open_model import get_reader, open_predict, read_model
from tiny import new, noise, small

pytestmark = pytest.mark.gui

SECONDS = 60_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = new(small(2), tmp_path_factory.mktemp("model"))
    model.train(train_data=noise())
    return model.run_dir / "last.ckpt"


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer(show=True)


def test_only_model_files_are_ours() -> None:
    for path in ("a.tif", "a.ckpt.txt", ["a.ckpt", "b.tif"], []):
        assert get_reader(path) is None
    for path in ("a.ckpt", "A.CKPT", ["a.ckpt", "b.ckpt"]):
        assert get_reader(path) is read_model


def test_a_dropped_model_is_the_model_of_the_viewer(
    viewer: Any, qtbot: Any, checkpoint: Path
) -> None:
    jobs = jobs_of(viewer)
    assert viewer.open(str(checkpoint), plugin="careamist") == []
    qtbot.waitUntil(lambda: jobs.model is not None, timeout=SECONDS)
    assert jobs.model.steps_done == 2
    assert len(viewer.layers) == 0
    predict = viewer.window.dock_widgets["Predict (careamist)"]
    assert predict.isVisible()
    assert predict.model_card.words()[0] == "careamist"


def test_napari_finds_the_reader_itself(viewer: Any, qtbot: Any, checkpoint: Path) -> None:
    viewer.open(str(checkpoint), plugin=None)  # as a drop does
    qtbot.waitUntil(lambda: jobs_of(viewer).model is not None, timeout=SECONDS)


def test_a_file_that_is_no_model_is_told_with_what_to_do(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    (tmp_path / "x.ckpt").write_text("of another program")
    before = len(notification_manager.records)
    viewer.open(str(tmp_path / "x.ckpt"), plugin="careamist")
    qtbot.waitUntil(lambda: len(notification_manager.records) > before, timeout=SECONDS)
    told = notification_manager.records[-1]
    assert str(told.severity) == "error"
    assert "not a careamist checkpoint" in told.message
    assert "Choose a .ckpt file that careamist wrote." in told.message
    assert jobs_of(viewer).model is None


def test_the_viewer_may_close_while_a_model_is_loaded(
    viewer: Any, qtbot: Any, checkpoint: Path
) -> None:
    jobs = jobs_of(viewer)
    viewer.open(str(checkpoint), plugin="careamist")
    viewer.window.remove_dock_widget("all")
    qtbot.wait(1500)
    assert len(viewer.window.dock_widgets) == 0
    assert jobs.model is None or jobs.model.steps_done == 2


def test_the_dock_is_opened_once(viewer: Any) -> None:
    assert open_predict(viewer) is open_predict(viewer)
    assert list(viewer.window.dock_widgets) == ["Predict (careamist)"]


def test_without_a_viewer() -> None:
    with pytest.raises(SettingsError, match="no napari window"):
        read_model("a.ckpt")
