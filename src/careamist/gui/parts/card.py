"""A card: a bold line, a line under it, and perhaps a button."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel


class Card(QFrame):  # type: ignore[misc, unused-ignore]
    """Says in two lines what is at hand.

    Parameters
    ----------
    parent : QWidget
    button : str
        Words of the link at the right; none when empty.
    """

    def __init__(self, parent: QWidget, button: str = "") -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        self._title, self._line = QElidingLabel(self), QElidingLabel(self)
        self._more = QElidingLabel(self)
        for label, role in ((self._title, "title"), (self._line, "hint"), (self._more, "hint")):
            label.setProperty("role", role)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._title)
        words.addWidget(self._line)
        words.addWidget(self._more)
        self._more.hide()
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 7, 10, 7)
        row.addLayout(words, 1)
        self.button = QPushButton(button, self)
        self.button.setProperty("role", "link")
        self.button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.button.setVisible(bool(button))
        row.addWidget(self.button, 0, Qt.AlignmentFlag.AlignTop)

    def setWords(self, title: str, line: str, more: str = "") -> None:
        """Show two lines, or three."""
        for label, words in ((self._title, title), (self._line, line), (self._more, more)):
            label.setText(words)
            label.setVisible(bool(words))
            label.setToolTip(words)

    def words(self) -> tuple[str, str]:
        """Return the two lines."""
        return str(self._title.text()), str(self._line.text())

    def more(self) -> str:
        """Return the third line, or nothing."""
        return str(self._more.text())
