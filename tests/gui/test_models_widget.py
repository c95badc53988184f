"""The Models dock in a real napari."""

from __future__ import annotations

import datetime
import gc
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QObject, QPoint, QPointF, Qt, QUrl, Slot
from qtpy.QtGui import QDesktopServices, QDropEvent, QPixmap
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit

from careamist import library
from careamist.gui import tasks
from careamist.gui.jobs import jobs_of
from careamist.gui.models.model_actions import block_height
from careamist.gui.models.model_list import day, words_of
from careamist.gui.models_widget import ModelsWidget
from tiny import new, noise, small, small_care, waves

pytestmark = pytest.mark.gui

SECONDS = 60_000  # a busy machine may take that long to import torch


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with cards, and one without."""
    home = tmp_path_factory.mktemp("trained")
    for number, name in enumerate(("nuclei", "membrane", "not read yet")):
        care = name == "membrane"
        config = small_care(3) if care else small(2 + number)
        model = new(config.model_copy(update={"experiment_name": name}), home)
        target = waves(64, 64) if care else None
        model.train(train_data=noise(), train_data_target=target)
        for path in model.run_dir.glob("*.ckpt"):
            os.utime(path, (1_700_000_000 + number,) * 2)
        if number < 2:
            library.write_card(model.run_dir, "some cells", noise(), waves(64, 64))
    return home


@pytest.fixture
def home(trained: Path) -> Path:
    shutil.copytree(trained, tasks.models_folder())
    return tasks.models_folder()


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(home: Path, viewer: Any, qtbot: Any) -> ModelsWidget:
    """The dock with all models read."""
    _, dock = viewer.window.add_plugin_dock_widget("careamist", "Models")
    assert isinstance(dock, ModelsWidget)
    settled(dock, qtbot, 3)
    return dock


def settled(dock: ModelsWidget, qtbot: Any, n: int) -> None:
    def is_so() -> bool:
        models = dock._models
        return len(models) == n and all(m.is_read for m in models) and not dock._listing.is_busy

    qtbot.waitUntil(is_so, timeout=SECONDS)


def names(dock: ModelsWidget) -> list[str]:
    return [card.name for card in dock.models()]


def test_models_are_listed_and_those_without_a_card_are_read(dock: ModelsWidget) -> None:
    assert names(dock) == ["not read yet", "membrane", "nuclei"]
    assert words_of(dock.models()[1])[0] == "CARE · 2D · YX"
    assert words_of(dock.models()[1])[1].startswith("3 steps · 14 November 2023")
    assert dock.footer.text() == "3 models in the library"
    assert dock.footer.detail().endswith(" MB")
    assert dock.selected() == dock.models()[0]
    assert dock.apply_button.isEnabled()


def test_an_empty_library_says_what_to_do(viewer: Any, qtbot: Any) -> None:
    _, dock = viewer.window.add_plugin_dock_widget("careamist", "Models")
    qtbot.waitUntil(lambda: not dock._listing.is_busy)
    assert "Train one, or import" in dock.hint.text()
    assert not dock.list.isVisible()
    assert not dock.apply_button.isEnabled()
    assert dock.footer.text() == "No models in the library"
    for act in (dock.apply, dock.ask_to_delete, dock.show_file, dock.choose_export):
        act()  # nothing is selected: nothing happens
    assert not dock.message.kind()


def test_apply_makes_it_the_model_of_the_viewer(
    dock: ModelsWidget, viewer: Any, qtbot: Any
) -> None:
    dock.list.select(1)
    dock.apply_button.click()
    assert dock.footer.isBusy()
    jobs = jobs_of(viewer)
    qtbot.waitUntil(lambda: jobs.model is not None, timeout=SECONDS)
    assert jobs.model.config.experiment_name == "membrane"
    predict = viewer.window.dock_widgets["Predict (careamist)"]
    assert predict.model_card.words()[0] == "membrane"
    qtbot.waitUntil(lambda: dock.selected().used is not None and not dock._listing.is_busy)
    assert "in use" in words_of(dock.selected(), dock._used())[1]

    dock.order.setCurrentText("Last used")
    assert names(dock)[0] == "membrane"
    viewer.window.remove_dock_widget(dock.parent())
    jobs.setModel(None)
    _, again = viewer.window.add_plugin_dock_widget("careamist", "Models")
    settled(again, qtbot, 3)
    assert again.selected().name == "membrane"  # what was used last is chosen again


def test_search_and_order(dock: ModelsWidget) -> None:
    dock.search.setText("CELLS")  # the source
    assert names(dock) == ["membrane", "nuclei"]
    dock.order.setCurrentText("Name")
    dock.search.setText("")
    assert names(dock) == ["membrane", "not read yet", "nuclei"]
    dock.search.setText("nothing like it")
    assert names(dock) == []
    assert "No model has these words" in dock.hint.text()
    assert dock.selected() is None
    assert not dock.apply_button.isEnabled()
    dock.search.clear()
    assert len(names(dock)) == 3


def test_rename_in_the_list(dock: ModelsWidget, qtbot: Any) -> None:
    dock.list.select(2)
    QTest.keyClick(dock.list, Qt.Key.Key_F2)
    line = dock.list.buttons().name
    assert line.isVisible()
    assert line.selectedText() == "nuclei"
    QTest.keyClicks(line, "better")
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert not line.isVisible()
    qtbot.waitUntil(lambda: "better" in names(dock))
    assert dock.selected().name == "better"
    assert jobs_of(dock.viewer).model is None  # Enter named it, and did not apply it

    dock.list.buttons().rename.click()
    line = dock.list.buttons().name
    QTest.keyClicks(line, "Membrane")
    QTest.keyClick(line, Qt.Key.Key_Escape)
    assert not line.isVisible()
    dock.list.buttons().rename.click()
    QTest.keyClicks(line, "Membrane")
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert "already" in dock.message.title()
    assert names(dock)[2] == "better"


def test_a_name_that_is_typed_survives_a_refresh(dock: ModelsWidget, qtbot: Any) -> None:
    dock.list.rename()
    line = dock.list.buttons().name
    QTest.keyClicks(line, "half a na")
    library.rename(dock.models()[1], "other")
    dock.look()
    qtbot.waitUntil(lambda: not dock._listing.is_busy)
    assert line.text() == "half a na"
    assert line.isVisible()


def test_delete_asks_first(dock: ModelsWidget, home: Path, qtbot: Any) -> None:
    dock.list.select(1)
    folder = dock.selected().folder
    dock.list.buttons().bin.click()
    assert dock.message.title() == "Delete “membrane”?"
    dock.message.buttons()[1].click()
    assert folder.is_dir()
    dock.list.buttons().bin.click()
    dock.message.buttons()[0].click()
    qtbot.waitUntil(lambda: names(dock) == ["not read yet", "nuclei"])
    assert not folder.exists()
    assert dock.selected() is not None


def test_delete_of_the_model_in_use(dock: ModelsWidget, viewer: Any, qtbot: Any) -> None:
    dock.apply()
    jobs = jobs_of(viewer)
    qtbot.waitUntil(lambda: jobs.model is not None, timeout=SECONDS)
    dock.ask_to_delete()
    assert "in use here" in dock.message.text()
    dock.message.buttons()[0].click()
    assert jobs.model is None


def test_what_is_foreign_is_told(dock: ModelsWidget) -> None:
    (dock.selected().folder / "notes.txt").write_text("mine")
    dock.delete(dock.selected())
    assert dock.message.kind() == "error"
    assert "notes.txt" in dock.message.title()
    assert (dock.selected().folder / "notes.txt").is_file()


def test_nothing_is_deleted_or_applied_while_a_run_goes_on(
    dock: ModelsWidget, viewer: Any, qtbot: Any
) -> None:
    jobs = jobs_of(viewer)
    jobs.start("train", "Train on x", lambda listener, stop: stop.wait(20))
    assert not dock.apply_button.isEnabled()
    assert not dock.list.buttons().bin.isEnabled()
    assert "“Train on x” is running" in dock.list.buttons().bin.toolTip()
    dock.ask_to_delete()
    dock.delete(dock.selected())
    assert not dock.message.kind()
    assert dock.selected().folder.is_dir()
    jobs.stop()
    qtbot.waitUntil(lambda: not jobs.is_busy)
    assert dock.apply_button.isEnabled()


def test_export_then_import(dock: ModelsWidget, tmp_path: Path, qtbot: Any) -> None:
    dock.export_to(tmp_path / "copy.ckpt")
    qtbot.waitUntil(lambda: dock.message.title() == "Exported.", timeout=SECONDS)
    dock.import_file(tmp_path / "copy.ckpt")
    qtbot.waitUntil(lambda: "copy" in names(dock), timeout=SECONDS)
    assert dock.selected().name == "copy"
    settled(dock, qtbot, 4)
    assert dock.footer.text() == "4 models in the library"


def test_import_of_what_is_no_model(dock: ModelsWidget, tmp_path: Path, qtbot: Any) -> None:
    (tmp_path / "x.ckpt").write_text("nothing")
    dock.import_file(tmp_path / "x.ckpt")
    qtbot.waitUntil(lambda: dock.message.kind() == "error", timeout=SECONDS)
    assert "not a careamist checkpoint" in dock.message.title()
    assert "Choose a .ckpt file" in dock.message.title()
    assert dock.import_button.isEnabled()
    assert len(names(dock)) == 3


def test_a_dropped_file_is_imported(dock: ModelsWidget, tmp_path: Path, qtbot: Any) -> None:
    path = library.export(dock.models()[2], tmp_path / "é model")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.tif")), QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    dock.dropEvent(event)
    qtbot.waitUntil(lambda: "é model" in names(dock), timeout=SECONDS)


def test_show_file_opens_the_folder(dock: ModelsWidget) -> None:
    opened: list[str] = []

    class Opener(QObject):
        @Slot(QUrl)
        def open(self, url: QUrl) -> None:
            opened.append(url.toLocalFile())

    opener = Opener()
    QDesktopServices.setUrlHandler("file", opener, "open")
    try:
        dock.list.buttons().show_file.click()
    finally:
        QDesktopServices.unsetUrlHandler("file")
    assert opened == [str(dock.selected().folder)]


def test_what_cannot_be_read_is_said(dock: ModelsWidget, home: Path, qtbot: Any) -> None:
    (home / "checkpoints" / "bad_1").mkdir()
    (home / "checkpoints" / "bad_1" / "last.ckpt").write_bytes(b"no")
    dock.again.click()
    settled(dock, qtbot, 4)
    assert words_of(dock.models()[0])[0] == "Cannot be read."
    dock.list.select(0)
    assert not dock.apply_button.isEnabled()
    assert "damaged" in dock.apply_button.toolTip()
    QTest.qWait(300)
    assert not dock._reading.is_busy  # it is not read again and again


def test_the_end_of_a_training_is_followed(
    dock: ModelsWidget, viewer: Any, home: Path, qtbot: Any
) -> None:
    source = home / "checkpoints" / "nuclei_1"

    def job(listener: Any, stop: Any) -> None:
        shutil.copytree(source, home / "checkpoints" / "fresh_1")

    jobs_of(viewer).start("train", "Train on x", job)
    qtbot.waitUntil(lambda: len(names(dock)) == 4, timeout=SECONDS)


# -- looks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [260, 300, 350, 450, 700])
def test_nothing_is_cut_at_any_width(dock: ModelsWidget, qtbot: Any, width: int) -> None:
    window = dock.window()
    window.resizeDocks([dock.parent()], [width], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: abs(dock.width() - width) < 3)
    dock.list.select(1)
    QTest.qWait(50)
    view = dock.list.viewport()
    row = dock.list.visualRect(dock.list.currentIndex())
    buttons = dock.list.buttons()
    assert buttons.geometry() == row
    assert row.right() < view.width()
    boxes = [b.geometry() for b in (buttons.rename, buttons.export, buttons.show_file, buttons.bin)]
    for at, box in enumerate(boxes):
        assert buttons.rect().contains(box)
        assert box.top() >= block_height(dock.list)
        assert not any(box.intersects(other) for other in boxes[:at])
    for widget in (dock.search, dock.order, dock.again, dock.apply_button, dock.import_button):
        corner = widget.mapTo(dock, QPoint(widget.width(), 0))
        assert corner.x() <= dock.width()


def test_names_tooltips_and_mnemonics(dock: ModelsWidget) -> None:
    found = [w for t in (QAbstractButton, QLineEdit, QComboBox) for w in dock.findChildren(t)]
    shown = [w for w in found if w.isVisible()]
    assert len(shown) >= 9
    for widget in shown:
        assert widget.accessibleName(), widget
        assert widget.toolTip(), widget.accessibleName()
    assert [b.text() for b in dock.footer.buttons()] == ["&Apply to image", "&Import…"]
    index = dock.list.model().index(1, 0)
    spoken = index.data(Qt.ItemDataRole.AccessibleTextRole)
    assert spoken.startswith("membrane, CARE · 2D · YX, 3 steps")
    assert "Trained on some cells" in index.data(Qt.ItemDataRole.ToolTipRole)


def test_arrow_keys_move_and_enter_applies(dock: ModelsWidget, viewer: Any, qtbot: Any) -> None:
    dock.list.select(0)
    QTest.keyClick(dock.list, Qt.Key.Key_Down)
    assert dock.selected().name == "membrane"
    QTest.keyClick(dock.list, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: jobs_of(viewer).model is not None, timeout=SECONDS)


def test_both_themes_draw_the_picture_before_and_after(dock: ModelsWidget, viewer: Any) -> None:
    for theme in ("dark", "light"):
        viewer.theme = theme
        QTest.qWait(50)
        drawn = dock.list.grab()
        drawn.setDevicePixelRatio(1)
        picture = drawn.scaled(dock.list.size()).toImage()
        box = dock.list.visualRect(dock.list.model().index(1, 0))
        pair = QPixmap(str(dock.models()[1].thumbnail)).toImage()
        half, edge = pair.width() // 2, (pair.height() - 48) // 2
        for place, shift in ((5, 0), (40, half)):  # above and below the diagonal
            found = picture.pixelColor(box.left() + 8 + place, box.top() + 8 + place)
            assert found.red() == pair.pixelColor(shift + edge + place, edge + place).red()


def test_days() -> None:
    now = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
    ago = datetime.timedelta
    assert day(now - ago(hours=3), now) == "today 09:00"
    assert day(now - ago(hours=13), now) == "yesterday"
    assert day(now - ago(days=10), now) == "19 February"
    assert day(now - ago(days=100), now) == "21 November 2025"


# -- opening and closing ----------------------------------------------------------------------


@pytest.mark.slow
def test_opening_and_closing_leaves_nothing(home: Path, viewer: Any, qtbot: Any) -> None:
    left: list[weakref.ref[Any]] = []
    counts: list[int] = []
    for cycle in range(20):
        dock, widget = viewer.window.add_plugin_dock_widget("careamist", "Models")
        settled(widget, qtbot, 3)
        widget.list.select(cycle % 3)
        QTest.qWait(10)
        left.append(weakref.ref(widget))
        viewer.window.remove_dock_widget(dock)
        del dock, widget
        QTest.qWait(10)
        if cycle in (4, 19):
            gc.collect()
            counts.append(len(QApplication.allWidgets()))
    assert counts[1] <= counts[0]
    assert sum(ref() is not None for ref in left) <= 1


def test_closing_while_it_reads_is_no_error(home: Path, viewer: Any, qtbot: Any) -> None:
    for delay in (0, 5, 50):
        dock, widget = viewer.window.add_plugin_dock_widget("careamist", "Models")
        QTest.qWait(delay)
        widget.list.select(0)
        widget.apply()
        viewer.window.remove_dock_widget(dock)
    QTest.qWait(500)
    assert np.all([not name.startswith("Models") for name in viewer.window.dock_widgets])


def test_the_list_is_there_without_torch(home: Path) -> None:
    shutil.rmtree(home / "checkpoints" / "not_read_yet_1")
    code = f"""
import sys, time
from pathlib import Path
import napari
from qtpy.QtWidgets import QApplication
from careamist.gui import tasks
tasks.models_folder = lambda: Path({str(home)!r})
viewer = napari.Viewer(show=False)
_, dock = viewer.window.add_plugin_dock_widget("careamist", "Models")
end = time.monotonic() + 30
while len(dock.models()) < 2 and time.monotonic() < end:
    QApplication.processEvents()
assert [card.method for card in dock.models()] == ["CARE", "N2V"]
assert "torch" not in sys.modules
viewer.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
