"""The footer of a run: how far it is, the time left, and the buttons of its state."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpacerItem,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.forms.rows import set_state
from careamist.gui.icons import pixmap
from careamist.gui.theme import Palette, follow, palette_of, row_height

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QResizeEvent

__all__ = ["RunFooter", "eta_text"]

FOOTER_HEIGHT = 86


class RunFooter(QWidget):
    """A line of words, a bar and the buttons of a state; as high in every state."""

    def __init__(
        self, parent: QWidget | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        row = row_height(self)
        self.setFixedHeight(FOOTER_HEIGHT + 2 * max(0, row - 26))
        self._eta = _Eta(clock)
        self._full = ""
        self._sign_name = ""
        self._sign = QLabel(self)
        self._text = QLabel(self)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._detail = QLabel(self)
        for label, role in ((self._text, "note"), (self._detail, "hint")):
            label.setProperty("role", role)
        self._detail.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._bar = QProgressBar(self)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._bar.setAccessibleName("Progress")
        self._bar.setToolTip("Progress of the run")
        self._buttons: list[QPushButton] = []
        self._row = QHBoxLayout()
        self._row.setSpacing(6)
        self._build(row)
        self.setIdle("")
        follow(self, self._recolor)

    def setText(self, text: str, sign: str = "") -> None:
        """Show a line of words, with an icon where the state needs one."""
        self._full, self._sign_name = text, sign
        self._recolor(palette_of(self))
        self._sign.setVisible(bool(sign))
        self._text.setToolTip(text)
        self._elide()

    def text(self) -> str:
        return self._full

    def setDetail(self, text: str) -> None:
        """Show a few words at the right."""
        self._detail.setText(text)

    def detail(self) -> str:
        return str(self._detail.text())

    def setProgress(self, done: int, total: int) -> None:
        """Fill the bar and tell the time left."""
        self._set_range(max(1, total))
        self._bar.setValue(min(done, total))
        self.setDetail(eta_text(self._eta.left(done, total)))

    def progress(self) -> tuple[int, int]:
        return int(self._bar.value()), int(self._bar.maximum())

    def setBusy(self, text: str) -> None:
        """Show that something goes on of which nobody knows how long."""
        self._eta.forget()
        self._set_range(0)
        self.setText(text)
        self.setDetail("")

    def isBusy(self) -> bool:
        return bool(self._bar.maximum() == 0)

    def setIdle(self, text: str, sign: str = "") -> None:
        """Empty the bar, which keeps its place."""
        self._eta.forget()
        self._set_range(1, idle=True)
        self._bar.setValue(0)
        self.setText(text, sign)
        self.setDetail("")

    def pauseClock(self) -> None:
        """Keep the time of a pause out of the time left."""
        self._eta.pause()

    def setButtons(self, buttons: list[QPushButton]) -> None:
        """Show these buttons; the ones before are hidden and stay whose they were."""
        for old in self._buttons:
            self._row.removeWidget(old)
            if old not in buttons:
                old.hide()
        self._buttons = list(buttons)
        for button in buttons:
            policy = button.sizePolicy().horizontalPolicy()
            self._row.addWidget(button, int(policy != QSizePolicy.Policy.Fixed))
            button.setFixedHeight(row_height(self) + 6)
            button.show()

    def buttons(self) -> list[QPushButton]:
        return list(self._buttons)

    def setCorner(self, widget: QWidget) -> None:
        """Show a small widget at the right of the words, in every state."""
        self._words.addWidget(widget)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def _build(self, row: int) -> None:
        self._words = words = QHBoxLayout()
        words.setSpacing(6)
        words.addWidget(self._sign)
        words.addWidget(self._text, 1)
        words.addWidget(self._detail)
        self._lines = lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 6, 0, 8)
        lines.setSpacing(6)
        lines.addLayout(words, 1)
        lines.addWidget(self._bar)
        lines.addLayout(self._row)
        fixed = QSizePolicy.Policy.Fixed
        self._row.addSpacerItem(QSpacerItem(0, row + 6, fixed, fixed))  # as high without buttons

    def _set_range(self, total: int, idle: bool = False) -> None:
        set_state(self._bar, "idle" if idle else "")
        self._bar.setRange(0, total)

    def _elide(self) -> None:
        self._lines.activate()
        room = self._text.width()
        mode = Qt.TextElideMode.ElideRight
        self._text.setText(self._text.fontMetrics().elidedText(self._full, mode, room))

    def _recolor(self, colors: Palette) -> None:
        if self._sign_name:
            self._sign.setPixmap(pixmap(self._sign_name, colors.icon))


class _Eta:
    """Time left, from a smoothed speed; the first step is not representative and not counted."""

    def __init__(self, clock: Callable[[], float], memory: float = 10.0) -> None:
        self._clock = clock
        self._memory = memory  # seconds until an old speed has lost most of its weight
        self.forget()

    def forget(self) -> None:
        self._last: tuple[float, int] | None = None
        self._pace: float | None = None  # seconds per unit

    def pause(self) -> None:
        self._last = None

    def left(self, done: int, total: int) -> float | None:
        now = self._clock()
        if self._last is None or done < self._last[1]:
            if self._last is not None:
                self._pace = None
            self._last = (now, done)
        elif done > self._last[1]:
            passed, moved = now - self._last[0], done - self._last[1]
            weight = 1.0 if self._pace is None else 1 - math.exp(-passed / self._memory)
            old = self._pace or 0.0
            self._pace = old + weight * (passed / moved - old)
            self._last = (now, done)
        return None if self._pace is None else self._pace * max(0, total - done)


def eta_text(seconds: float | None) -> str:
    """Say how much time is left: "0:52 left", "1 h 05 min left", "2 days left"."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} left"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min left"
    return f"{whole // 86400} days left"
