"""The buttons of the selected card of the models, and the line that a name is typed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import QLineEdit, QPushButton, QSizePolicy, QWidget

from careamist.gui.icons import icon
from careamist.gui.theme import TEXT_SIZE, follow, row_height

if TYPE_CHECKING:
    from qtpy.QtGui import QFocusEvent, QKeyEvent

    from careamist.library import ModelCard

PICTURE = 48  # pixels, at 1:1: noise vanishes in a picture that was shrunk
PAD, GAP = 8, 10  # around a card, and beside its picture
_SPACE = 4
_HINT_SIZE = 9


class Actions(QWidget):  # type: ignore[misc, unused-ignore]
    """The buttons of the selected card, below its words; the rest lets the card show through.

    Attributes
    ----------
    asked : Signal(str)
        "rename", "export", "show" or "delete".
    named : Signal(str)
        Another name, that was typed.
    left : Signal()
        Nothing is typed any more.
    """

    asked = Signal(str)
    named = Signal(str)
    left = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.rename = self._button("Rename", "Type another name (F2).", "rename")
        self.export = self._button("Export…", "Copy this model to a file.", "export")
        self.show_file = self._button("Show file", "Open the folder of this model.", "show")
        self.bin = self._button("", "", "delete")
        self.bin.setAccessibleName("Delete")
        self.bin.setProperty("role", "icon")
        self.bin.setFixedSize(row_height(self), row_height(self))
        follow(self.bin, lambda colors: self.bin.setIcon(icon("bin", colors)))
        self.name = _NameLine(self)
        self.name.hide()
        self.name.returnPressed.connect(self._on_named)
        self.name.left.connect(self.end_naming)
        self._before = ""
        self._height = 0

    def ask_name(self, card: ModelCard) -> None:
        """Let the user type another name, in the place of the name."""
        left = PAD + PICTURE + GAP - 6
        width = self.width() - left - PAD
        self.name.setGeometry(left, PAD - 5, width, row_height(self))
        self._before = card.name
        self.name.setText(card.name)
        self.name.show()
        self.name.raise_()
        self.name.setSelection(len(card.name), -len(card.name))  # a long one shows its beginning
        self.name.setFocus()

    def _on_named(self) -> None:
        text = self.name.text()
        self.end_naming()
        if text != self._before:
            self.named.emit(text)

    def end_naming(self) -> None:
        """Leave the name as it is."""
        if self.name.isVisible():
            self.name.hide()
            self.left.emit()

    def fit(self, width: int) -> bool:
        """Arrange the buttons for a width; return whether that takes another height."""
        before, top = self._height, block_height(self)
        x = y = 0
        for button in (self.rename, self.export, self.show_file, self.bin):
            button.ensurePolished()
            size = button.sizeHint() if button is not self.bin else button.size()
            if x and x + size.width() > width:
                x, y = 0, y + self.rename.sizeHint().height() + _SPACE
            at = width - size.width() if button is self.bin else x
            button.setGeometry(PAD + at, top + y, size.width(), size.height())
            x += size.width() + _SPACE
        self._height = y + row_height(self) + PAD
        return self._height != before

    def height_needed(self) -> int:
        """Return the height of the buttons and the space below them."""
        return self._height

    def setReason(self, reason: str) -> None:
        """Say why the model cannot be deleted, or nothing."""
        self.bin.setEnabled(not reason)
        self.bin.setToolTip(reason or "Delete this model (asks first)")

    def _button(self, words: str, tip: str, asked: str) -> QPushButton:
        button = QPushButton(words, self)
        button.setProperty("role", "small")
        button.setAccessibleName(words.removesuffix("…"))
        button.setToolTip(tip)
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: self.asked.emit(asked))
        return button


class _NameLine(QLineEdit):  # type: ignore[misc, unused-ignore]
    left = Signal()  # without a name

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName("Name of the model")
        self.setToolTip("Enter keeps the name, Escape leaves it as it was.")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)
        event.accept()  # Enter names, and does not apply the model

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.left.emit()


def block_height(widget: QWidget) -> int:
    """Return the height of a card without its buttons."""
    name, line = (QFontMetrics(card_font(widget.font(), bold=bold)) for bold in (True, False))
    words = name.height() + 3 + 2 * (line.height() + 1)
    return int(max(PICTURE, words)) + 2 * PAD


def card_font(font: QFont, *, bold: bool) -> QFont:
    made = QFont(font)
    made.setPointSizeF(TEXT_SIZE if bold else _HINT_SIZE)
    made.setBold(bold)
    return made
