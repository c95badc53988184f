"""What holds for every dock: nothing is cut, all can be read and has a name, in both themes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QScrollBar,
    QWidget,
)

import careamist.gui
from careamist.gui.theme import TEXT_CONTRAST, contrast_ratio

pytestmark = pytest.mark.gui

DOCKS = ("Train", "Predict", "Models", "Compare")
INTERACTIVE = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)
FIELDS = (QAbstractSpinBox, QComboBox)
# Where colours are derived; what lies on a picture, and what on the canvas that is black there.
NO_THEME = ("theme.py", "model_list.py", "preview_layer.py")
COLOUR = re.compile(r"""["']#(?:[0-9a-fA-F]{3}){1,2}["']|QColor\(["'\d]|rgba?\(""")


@pytest.fixture(params=DOCKS)
def dock(request: Any, make_napari_viewer: Any, noisy: Any, qtbot: Any) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy, name="noisy cells of a long name that has no end")
    viewer.add_image(noisy.astype("float32"), name="restored")
    frame, dock = viewer.window.add_plugin_dock_widget("careamist", request.param)
    frame.setFloating(True)
    if request.param == "Train":
        dock.settings.setMethod("care")  # which has the most rows
        dock.advanced.setOpen(True)
    if request.param == "Predict":
        dock.settings.advanced.setOpen(True)
    frame.resize(350, 1600)
    qtbot.wait(600)
    return dock


def shown(dock: Any, kinds: Any) -> list[Any]:
    found = [w for w in dock.findChildren(QWidget) if isinstance(w, kinds) and w.isVisible()]
    return [w for w in found if w.width() and not isinstance(w, QScrollBar) and not _is_inside(w)]


def _is_inside(widget: Any) -> bool:
    """Tell whether this is a part of a field that has the name itself."""
    parent = widget.parentWidget()
    return isinstance(parent, FIELDS) or type(parent).__module__.startswith("pyqtgraph")


def test_nothing_is_cut(dock: Any, qtbot: Any) -> None:
    for width in (260, 300, 350, 450, 700):
        dock.parent().resize(width, 700)
        qtbot.wait(200)
        assert width - 10 <= dock.width() <= max(width, 260)  # the frame takes some
        for area in dock.findChildren(QScrollArea):
            if area.isVisible() and area.widget() is not None:
                seen = area.viewport().width()
                assert area.widget().minimumSizeHint().width() <= seen
                for widget in shown(area.widget(), (*INTERACTIVE, QLabel)):
                    right = widget.mapTo(area.widget(), QPoint(widget.width(), 0)).x()
                    assert right <= seen, (width, widget, widget.accessibleName())
        for button in shown(dock, QAbstractButton):
            if button.property("role") in ("footer", "primary"):
                text = button.text().replace("&", "")
                assert button.width() >= button.fontMetrics().horizontalAdvance(text), text


def test_everything_has_a_name_and_a_tooltip(dock: Any) -> None:
    assert shown(dock, INTERACTIVE)
    unnamed = [w for w in shown(dock, INTERACTIVE) if not (w.accessibleName() or w.text())]
    mute = [w for w in shown(dock, INTERACTIVE) if not _tip(w)]
    assert not unnamed
    assert not [(type(w).__name__, w.accessibleName()) for w in mute]


def _tip(widget: Any) -> str:
    """Return the tooltip that Qt shows: the one of the widget, or of what it lies in."""
    while widget is not None and not widget.isWindow():
        if widget.toolTip():
            return str(widget.toolTip())
        widget = widget.parentWidget()
    return ""


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_text_can_be_read(dock: Any, theme: str, qtbot: Any) -> None:
    dock.viewer.theme = theme
    qtbot.wait(400)
    grab = dock.grab().toImage()
    looked_at, faint = 0, []
    for widget in shown(dock, (QLabel, QAbstractButton, QComboBox, QLineEdit)):
        text = widget.currentText() if isinstance(widget, QComboBox) else widget.text()
        if not text or not widget.isEnabled() or widget.visibleRegion().isEmpty():
            continue
        box = widget.visibleRegion().boundingRect()
        part = grab.copy(box.translated(widget.mapTo(dock, QPoint(0, 0))))
        colours = Counter(
            part.pixelColor(x, y).name() for x in range(part.width()) for y in range(part.height())
        )
        ground = colours.most_common(1)[0][0]
        # letters are drawn with soft edges: their middle has their colour
        best = max(contrast_ratio(colour, ground) for colour in colours)
        looked_at += 1
        if best < TEXT_CONTRAST:
            faint.append((text, ground, round(best, 2)))
    assert looked_at > 3
    assert not faint


def test_colours_come_from_the_theme() -> None:
    folder = Path(careamist.gui.__file__).parent
    own = {
        f"{file.name}:{number}: {line.strip()}"
        for file in folder.rglob("*.py")
        if file.name not in NO_THEME
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if COLOUR.search(line)
    }
    assert not own


def test_what_is_looked_for_is_found() -> None:
    for line in ('QColor("white")', "QColor(1, 2, 3)", 'pen = "#ff0000"', "color: rgb(1, 2, 3)"):
        assert COLOUR.search(line)
    assert np.isclose(contrast_ratio("#000000", "#ffffff"), 21)
