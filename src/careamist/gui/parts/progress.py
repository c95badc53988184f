"""What a run looks like while it runs: the loss curve, and the footer with the time left."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
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
from careamist.gui.parts.curves import Curve, decimate, log_ticks, smooth
from careamist.gui.theme import Palette, dress_axes, follow, palette_of, row_height

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from qtpy.QtGui import QResizeEvent, QShowEvent

__all__ = ["LossPlot", "RunFooter", "eta_text"]

REDRAW_MS = 100
PREPARE_MS = 2000
FOOTER_HEIGHT = 86
AXIS_WIDTH = 38  # fixed, so that the curve does not jump when numbers grow


class LossPlot(QWidget):
    """Loss of training, raw and smoothed, and of validation, over the steps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(120)
        self.setMaximumHeight(320)
        self._train, self._validation = Curve(), Curve()
        self._total = 0
        self._best_step: int | None = None
        self._plot: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self.redraw)
        self._build()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._prepare)
        self._soon.start(PREPARE_MS)

    def addStep(self, step: int, loss: float) -> None:
        """Add the training loss of a step; drawn a little later, with what came meanwhile."""
        self._train.add(step, loss)
        self._later()

    def addValidation(self, step: int, loss: float) -> None:
        self._validation.add(step, loss)
        self._later()

    def setTotal(self, steps: int) -> None:
        """Say how many steps are planned, so that the axis shows what is to come."""
        self._total = steps
        self._later()

    def setBest(self, step: int | None) -> None:
        """Mark the step whose model is the best one."""
        self._best_step = step
        self._later()

    def clear(self) -> None:
        self._train, self._validation = Curve(), Curve()
        self.setBest(None)
        self._later()

    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return steps and losses of "train", "smooth" and "validation"."""
        steps, losses = self._train.points()
        return {
            "train": (steps, losses),
            "smooth": (steps, smooth(losses)),
            "validation": self._validation.points(),
        }

    def isLog(self) -> bool:
        return bool(self._log.isChecked())

    def setLog(self, on: bool) -> None:
        self._log.setChecked(on)

    def redraw(self) -> None:
        """Draw what has come in, thinned out to what the width can show."""
        self._timer.stop()
        if self._plot is None:
            return
        columns = max(50, self._plot.width())
        steps, losses = self._train.points()
        self._raw_line.setData(*decimate(steps, losses, columns))
        self._smooth_line.setData(*decimate(steps, smooth(losses), columns))
        self._validation_line.setData(*decimate(*self._validation.points(), columns))
        last = int(steps[-1]) if len(steps) else 0
        self._now.setVisible(0 < last < self._total)
        self._now.setValue(last)
        self._best.setVisible(self._best_step is not None)
        self._best.setValue(self._best_step or 0)
        self._item.setXRange(0, max(last, self._total, 1), padding=0.02)
        self._set_ticks()

    def showEvent(self, event: QShowEvent) -> None:
        self._prepare()
        super().showEvent(event)

    def _build(self) -> None:
        self._words = QLabel(self)
        self._words.setTextFormat(Qt.TextFormat.RichText)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._log = QPushButton("log", self)
        self._log.setProperty("role", "toggle")
        self._log.setCheckable(True)
        self._log.setAccessibleName("Logarithmic loss")
        self._log.setToolTip("Show the loss on a logarithmic scale.")
        self._log.toggled.connect(self._on_log)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self._words, 1)
        top.addWidget(self._log)
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(4)
        self._rows.addLayout(top)

    def _prepare(self) -> None:
        """Make the plot: when it is first seen, or when the dock has been open for a while."""
        if self._plot is not None:
            return
        import pyqtgraph  # 0.2 s that the opening of a dock does not have

        self._soon.stop()
        self._qt = pyqtgraph
        self._plot = self._qt.PlotWidget(self)
        self._plot.setMenuEnabled(False)
        self._plot.setAccessibleName("Loss over steps")
        self._plot.setToolTip("Loss over steps. Scroll to zoom, drag to move.")
        self._item = self._plot.getPlotItem()
        self._item.hideButtons()
        self._item.layout.setContentsMargins(1, 4, 14, 1)  # room for the last tick's number
        self._item.setLabel("bottom", "step")
        self._item.getAxis("left").setWidth(AXIS_WIDTH)
        self._item.enableAutoRange(axis="y")
        self._raw_line = self._item.plot()
        self._smooth_line = self._item.plot()
        self._validation_line = self._item.plot(symbol="o", symbolSize=4)
        self._now = self._qt.InfiniteLine(angle=90)
        self._best = self._qt.InfiniteLine(angle=90, label="best", labelOpts={"position": 0.9})
        for line in (self._now, self._best):
            self._item.addItem(line, ignoreBounds=True)
            line.hide()
        self._rows.addWidget(self._plot, 1)
        self._on_log(self.isLog())
        follow(self, self._recolor)
        self._later()

    def _on_log(self, on: bool) -> None:
        if self._plot is not None:
            self._item.setLogMode(y=on)
            self.redraw()

    def _set_ticks(self) -> None:
        """On a log axis pyqtgraph writes powers of ten; ours reads 0.1, 0.2, 0.5."""
        axis = self._item.getAxis("left")
        if not self.isLog():
            axis.setTicks(None)
            return
        low, high = self._item.vb.viewRange()[1]
        axis.setTicks([[(math.log10(tick), f"{tick:g}") for tick in log_ticks(low, high)]])

    def _later(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _recolor(self, colors: Palette) -> None:
        pen = self._qt.mkPen
        raw = self._qt.mkColor(colors.dim)
        raw.setAlphaF(0.45)
        self._plot.setBackground(colors.foreground)
        self._raw_line.setPen(pen(raw, width=1))
        self._smooth_line.setPen(pen(colors.accent, width=2))
        self._validation_line.setPen(pen(colors.warning, width=2))
        self._validation_line.setSymbolPen(colors.warning)
        self._validation_line.setSymbolBrush(colors.warning)
        self._now.setPen(pen(colors.dim, width=1))
        self._best.setPen(pen(colors.dim, width=1, style=Qt.PenStyle.DashLine))
        self._best.label.setColor(colors.text)
        dress_axes(self._item, colors, self.font())
        self._item.getAxis("bottom").setLabel("step", color=colors.text, **{"font-size": "8pt"})
        self._words.setText(
            f"<b>Loss</b>&nbsp; <span style='color:{colors.accent}'>━</span> train"
            f"&nbsp; <span style='color:{colors.warning}'>━●</span> validation"
        )


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

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def _build(self, row: int) -> None:
        words = QHBoxLayout()
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
