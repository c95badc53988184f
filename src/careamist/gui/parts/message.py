"""A message in the page: a bar, an icon, words and buttons that answer or repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from careamist.gui.forms.rows import Wrap, hint_label
from careamist.gui.icons import pixmap
from careamist.gui.theme import Palette, follow, palette_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MessageBox"]

KINDS = ("info", "question", "warning", "error")
BAR = 3


class MessageBox(QFrame):
    """Hidden until it is told something."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._kind = ""
        self._bar = QFrame(self)
        self._bar.setFixedWidth(BAR)
        self._sign = QLabel(self)
        self._sign.setFixedSize(16, 16)
        self._title = hint_label("", self, role="title")
        self._text = hint_label("", self, role="note")
        self._buttons = Wrap(self)
        inside = QGridLayout()
        inside.setContentsMargins(10, 7, 8, 7)
        inside.setHorizontalSpacing(8)
        inside.setVerticalSpacing(4)
        inside.addWidget(self._sign, 0, 0, 3, 1, Qt.AlignmentFlag.AlignTop)
        for row, part in enumerate((self._title, self._text, self._buttons)):
            inside.addWidget(part, row, 1)
        inside.setColumnStretch(1, 1)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(0)
        line.addWidget(self._bar)
        line.addLayout(inside, 1)
        self.hide()
        follow(self, self._recolor)

    def show_message(
        self,
        kind: str,
        title: str,
        text: str = "",
        answers: Sequence[tuple[str, Callable[[], object]]] = (),
    ) -> None:
        """Show words and a button for each answer; `kind` chooses icon and bar."""
        if kind not in KINDS:
            msg = f"kind={kind!r}: expected one of {', '.join(KINDS)}."
            raise ValueError(msg)
        self._kind = kind
        for label, words in ((self._title, title), (self._text, text)):
            label.setText(words)
            label.setVisible(bool(words))
        self._buttons.setWidgets([self._button(*answer) for answer in answers])
        self._buttons.setVisible(bool(answers))
        self._bar.setProperty("bar", kind)
        self._bar.style().unpolish(self._bar)
        self._bar.style().polish(self._bar)
        self._recolor(palette_of(self))
        self.setAccessibleName(f"{title} {text}".strip())
        self.show()

    def clear(self) -> None:
        self._kind = ""
        self._buttons.setWidgets([])
        self.hide()

    def kind(self) -> str:
        return self._kind

    def title(self) -> str:
        return str(self._title.text()) if self._kind else ""

    def text(self) -> str:
        return str(self._text.text()) if self._kind else ""

    def buttons(self) -> list[QPushButton]:
        return [button for button in self._buttons.widgets() if isinstance(button, QPushButton)]

    def _button(self, words: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(words, self)
        button.setProperty("role", "small")
        button.setAccessibleName(words.replace("&", ""))
        button.setToolTip(words.replace("&", ""))
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: act())
        return button

    def _recolor(self, colors: Palette) -> None:
        if self._kind:
            self._sign.setPixmap(pixmap(self._kind, colors.icon))
