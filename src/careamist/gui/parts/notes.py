"""Small things that are told in passing: a line that warns, and what a run noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from careamist.gui.forms.rows import hint_label
from careamist.gui.icons import pixmap
from careamist.gui.parts.message import MessageBox
from careamist.gui.theme import Palette, follow

if TYPE_CHECKING:
    from collections.abc import Sequence


class WarnLine(QWidget):  # type: ignore[misc, unused-ignore]
    """A sign and small words; takes no place while there is nothing to say."""

    def __init__(self, parent: QWidget | None = None, text: str = "") -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._sign = QLabel(self)
        self._sign.setFixedSize(16, 16)
        self._text = hint_label("", self, role="note")
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(5)
        line.addWidget(self._sign, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(self._text, 1)
        follow(self, self._recolor)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Say something, or nothing."""
        self._text.setText(text)
        self._text.setVisible(bool(text))
        self.setAccessibleName(text)
        self.setVisible(bool(text))

    def setLines(self, lines: Sequence[str]) -> None:
        """Say several things below each other."""
        self.setText("\n".join(lines))

    def text(self) -> str:
        """Return what is said."""
        return str(self._text.text())

    def _recolor(self, colors: Palette) -> None:
        self._sign.setPixmap(pixmap("warning", colors.icon))


class Notices(MessageBox):  # type: ignore[misc, unused-ignore]
    """What a run noticed, the newest below; in the page, so that it covers nothing."""

    MOST = 5

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._told: list[str] = []

    def add(self, message: str) -> None:
        """Show one more notice, unless it is there already."""
        if message not in self._told:
            self._told = [*self._told, message][-self.MOST :]
            self.show_message("info", "Notice", "\n".join(self._told))

    def clear(self) -> None:
        """Forget them, before another run."""
        self._told = []
        super().clear()
