"""About this image: what it is, how it is read, and what to mind in its pixels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.data.findings import about
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.forms.fold import Fold
from careamist.gui.forms.rows import hint_label
from careamist.gui.parts.notes import WarnLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from careamist.gui.data.data_picker import DataPicker

ATTENTION = "Attention"
NOTHING = "There is no image to look at yet."
LABEL_WIDTH = 72
_BREAK = "\u200b"  # a line may end here


class AboutImage(Fold):
    """Folded away until it is asked for; then it looks at the image of a picker.

    Parameters
    ----------
    picker : DataPicker
        Chooses the image.
    parent : QWidget
    """

    def __init__(self, picker: DataPicker, parent: QWidget) -> None:
        self._table = _Table(parent)
        super().__init__("A&bout this image", parent, [self._table])
        self.heading.setToolTip("Show what the image is, and look at a part of its pixels.")
        self._picker = picker
        self._latest = Latest(self)
        self._latest.answered.connect(self._on_answer)
        picker.valueChanged.connect(self._look)
        self.heading.toggled.connect(self._look)

    def rows(self) -> list[tuple[str, str]]:
        """Return what is shown."""
        return self._table.rows()

    def isLooking(self) -> bool:
        """Tell whether the image is being looked at."""
        return self._latest.is_busy

    def _look(self, *_: object) -> None:
        self._latest.drop()
        if not self.isOpen():
            return
        choice, problem = self._picker.value(), self._picker.problem()
        if choice is None or not choice.shape:
            self._table.setRows([], NOTHING)
            return
        self._table.setRows([], "Looking at the pixels…")
        self._latest.ask(partial(about, choice, not problem))

    def _on_answer(self, answer: Answer) -> None:
        self._table.setRows(answer.result or [], answer.problem)


class _Table(QWidget):  # type: ignore[misc, unused-ignore]
    """Labels and texts in two columns, what needs attention below them."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._rows: list[tuple[str, str]] = []
        self._hint = hint_label("", self)
        self._lines = QVBoxLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(4)
        self._lines.addWidget(self._hint)
        self._body: QWidget | None = None

    def rows(self) -> list[tuple[str, str]]:
        return list(self._rows)

    def setRows(self, rows: Sequence[tuple[str, str]], hint: str = "") -> None:
        self._rows = list(rows)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        if self._body is not None:
            self._lines.removeWidget(self._body)
            self._body.hide()
            self._body.deleteLater()
        self._body = self._made(rows) if rows else None
        if self._body is not None:
            self._lines.addWidget(self._body)

    def _made(self, rows: Sequence[tuple[str, str]]) -> QWidget:
        body = QWidget(self)
        body.setProperty("clear", True)
        grid = QGridLayout(body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(3)
        grid.setColumnMinimumWidth(0, LABEL_WIDTH)
        grid.setColumnStretch(1, 1)
        for at, (label, text) in enumerate(rows):
            shown = text.replace("/", f"/{_BREAK}").replace("_", f"_{_BREAK}")
            if label == ATTENTION:
                grid.addWidget(WarnLine(body, shown), at, 0, 1, 2)
                continue
            name = QLabel(label, body)
            name.setProperty("role", "hint")
            words = hint_label(shown, body, role="note")
            words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            grid.addWidget(name, at, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(words, at, 1)
        return body
