"""The drawing of a loss plot: curves, marks, and what is under the mouse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, Signal

from careamist.gui.parts.curves import decimate, log_ticks, smooth
from careamist.gui.theme import Palette, dress_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QFont
    from qtpy.QtWidgets import QWidget

    Points = tuple[NDArray[np.float64], NDArray[np.float64]]

AXIS_WIDTH = 38  # fixed, so that the curve does not jump when numbers grow
NEAR = 5  # pixels within which the mouse finds a mark
MARKS = {"preview": (0.0, 0.05), "checkpoint": (0.95, 1.0)}  # where they stand: below, above
_FEWEST = 50  # columns of a plot that has no width yet
_NONE: Points = (np.empty(0), np.empty(0))


class LossView(QObject):  # type: ignore[misc, unused-ignore]
    """Draws with pyqtgraph, which is imported when the first view is made.

    Parameters
    ----------
    parent : QWidget
        Gets the plot, `widget`, as a child.

    Attributes
    ----------
    zoomed : Signal(bool)
        The user looks at a part of the curve, or at all of it again.
    """

    zoomed = Signal(bool)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        import pyqtgraph  # 0.2 s that the opening of a dock does not have

        self._qt: Any = pyqtgraph
        self.widget = pyqtgraph.PlotWidget(parent)
        self.widget.setMenuEnabled(False)
        self.widget.setAccessibleName("Loss over steps")
        self.widget.setToolTip(
            "Loss over steps. Scroll to zoom, drag to move, double-click for all.\n"
            "Ticks below are previews, those above are models that are kept."
        )
        self._item = self.widget.getPlotItem()
        self._item.hideButtons()
        self._item.layout.setContentsMargins(1, 4, 14, 1)  # room for the last tick's number
        self._item.setLabel("bottom", "step")
        self._item.getAxis("left").setWidth(AXIS_WIDTH)
        self._is_log = self._is_zoomed = False
        self._train = self._smooth = self._validation = _NONE
        self._marks: dict[str, list[int]] = {name: [] for name in MARKS}
        self._best_step: int | None = None
        self._total = 0
        self._add_items()
        self._item.vb.sigRangeChangedManually.connect(self._on_zoom)
        self.widget.scene().sigMouseMoved.connect(self._on_mouse)
        self.widget.viewport().installEventFilter(self)

    # -- what is shown ---------------------------------------------------------------------------

    def show(
        self,
        train: Points,
        validation: Points,
        total: int,
        marks: dict[str, list[int]],
        best: int | None,
    ) -> None:
        """Draw what has come in.

        Parameters
        ----------
        train, validation : (numpy.ndarray, numpy.ndarray)
            Steps, which rise, and losses.
        total : int
            Planned steps.
        marks : dict of str to list of int
            Steps of "preview" and "checkpoint".
        best : int or None
            Step of the best model.
        """
        self._train, self._validation = train, validation
        self._smooth = (train[0], smooth(train[1]))
        self._marks, self._best_step, self._total = marks, best, total
        last = int(train[0][-1]) if len(train[0]) else 0
        self._now.setVisible(0 < last < total)
        self._now.setValue(last)
        self._best.setVisible(best is not None)
        self._best.setValue(best or 0)
        for name, ticks in self._ticks.items():
            ticks.setXVals(marks[name])
            ticks.update()
        if not self._is_zoomed:
            self._item.setXRange(0, max(last, total, 1), padding=0.02)
        self._draw()

    def setLog(self, on: bool) -> None:
        """Show the loss on a logarithmic scale, or not."""
        self._is_log = on
        self._item.setLogMode(y=on)
        self.showAll()

    def showAll(self) -> None:
        """Show the whole curve again, and follow it."""
        was, self._is_zoomed = self._is_zoomed, False
        self._item.enableAutoRange(axis="y")
        self.show(self._train, self._validation, self._total, self._marks, self._best_step)
        if was:
            self.zoomed.emit(False)

    def range(self) -> tuple[float, float]:
        """Return the first and the last step that are shown."""
        low, high = self._item.vb.viewRange()[0]
        return float(low), float(high)

    def words(self, step: float, reach: float = 0.0) -> str:
        """Say what is known of the step that is next to a place on the axis.

        Parameters
        ----------
        step : float
            Place on the axis.
        reach : float
            How far a mark may be from there.
        """
        lines = []
        if (at := _next(self._smooth, step)) is not None:
            lines.append(f"step {int(at[0])}")
            raw = _next(self._train, step)
            lines.append(f"train {raw[1]:.4g}, mean {at[1]:.4g}" if raw else "")
        if (found := _next(self._validation, step)) is not None:
            lines.append(f"validation {found[1]:.4g} (step {int(found[0])})")
        near = [
            f"{name} at {min(steps, key=lambda each: abs(each - step))}"
            for name, steps in (*self._marks.items(), ("best", [self._best_step or 0]))
            if steps != [0] and any(abs(each - step) <= reach for each in steps)
        ]
        return "\n".join(line for line in (*lines, ", ".join(near)) if line)

    def hovered(self) -> str:
        """Return what is said of the place under the mouse, or nothing."""
        return str(self._words.toPlainText()) if self._words.isVisible() else ""

    def recolor(self, colors: Palette, font: QFont) -> None:
        """Take the colours of the theme."""
        pen = self._qt.mkPen
        raw = self._qt.mkColor(colors.dim)
        raw.setAlphaF(0.45)
        self.widget.setBackground(colors.foreground)
        self._raw_line.setPen(pen(raw, width=1))
        self._smooth_line.setPen(pen(colors.accent, width=2))
        self._validation_line.setPen(pen(colors.warning, width=2))
        self._validation_line.setSymbolPen(colors.warning)
        self._validation_line.setSymbolBrush(colors.warning)
        for line in (self._now, self._cursor):
            line.setPen(pen(colors.dim, width=1))
        self._best.setPen(pen(colors.dim, width=1, style=Qt.PenStyle.DashLine))
        self._best.label.setColor(colors.text)
        self._ticks["preview"].setPen(pen(colors.text, width=1))
        self._ticks["checkpoint"].setPen(pen(colors.accent, width=2))
        self._words.setColor(colors.text)
        self._words.fill = self._qt.mkBrush(colors.background)
        self._words.border = pen(colors.primary)
        dress_axes(self._item, colors, font)
        small = type(font)(font)
        small.setPointSize(8)
        self._words.setFont(small)
        self._item.getAxis("bottom").setLabel("step", color=colors.text, **{"font-size": "8pt"})

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Forget the place under a mouse that leaves; a double click shows all."""
        if event.type() == QEvent.Type.Leave:
            self._hide_words()
        elif event.type() == QEvent.Type.MouseButtonDblClick:
            self.showAll()
            return True
        return False

    # -- inside ----------------------------------------------------------------------------------

    def _add_items(self) -> None:
        self._item.enableAutoRange(axis="y")
        self._raw_line = self._item.plot()
        self._smooth_line = self._item.plot()
        self._validation_line = self._item.plot(symbol="o", symbolSize=4)
        self._ticks = {name: self._qt.VTickGroup(yrange=at) for name, at in MARKS.items()}
        for ticks in self._ticks.values():
            self._item.addItem(ticks, ignoreBounds=True)
        self._now = self._qt.InfiniteLine(angle=90)
        self._cursor = self._qt.InfiniteLine(angle=90)
        self._best = self._qt.InfiniteLine(angle=90, label="best", labelOpts={"position": 0.9})
        self._words = self._qt.TextItem()
        for item in (self._now, self._best, self._cursor, self._words):
            self._item.addItem(item, ignoreBounds=True)
            item.hide()

    def _draw(self) -> None:
        """Draw the part that is shown, thinned out to what the width can show."""
        columns = max(_FEWEST, self.widget.width())
        for line, points in (
            (self._raw_line, self._train),
            (self._smooth_line, self._smooth),
            (self._validation_line, self._validation),
        ):
            line.setData(*decimate(*self._visible(points), columns))
        self._set_ticks()

    def _visible(self, points: Points) -> Points:
        if not self._is_zoomed:
            return points
        steps, losses = points
        low, high = self.range()
        shown = slice(
            max(0, int(np.searchsorted(steps, low)) - 1), int(np.searchsorted(steps, high)) + 1
        )
        return steps[shown], losses[shown]

    def _set_ticks(self) -> None:
        """On a log axis pyqtgraph writes powers of ten; ours reads 0.1, 0.2, 0.5."""
        axis = self._item.getAxis("left")
        if not self._is_log:
            axis.setTicks(None)
            return
        low, high = self._item.vb.viewRange()[1]
        axis.setTicks([[(math.log10(tick), f"{tick:g}") for tick in log_ticks(low, high)]])

    def _on_zoom(self) -> None:
        if not self._is_zoomed:
            self._is_zoomed = True
            self.zoomed.emit(True)
        self._draw()

    def _on_mouse(self, place: Any) -> None:
        box = self._item.vb
        inside = box.sceneBoundingRect()
        if not inside.contains(place) or not len(self._train[0]):
            self._hide_words()
            return
        (low, high), (_, top) = box.viewRange()
        step = float(box.mapSceneToView(place).x())
        at = _next(self._train, step)
        self._cursor.setValue(step if at is None else at[0])
        self._words.setText(self.words(step, NEAR * (high - low) / max(1.0, inside.width())))
        self._words.setAnchor((0, 0) if step < (low + high) / 2 else (1, 0))
        self._words.setPos(self._cursor.value(), top)
        self._words.show()
        self._cursor.show()

    def _hide_words(self) -> None:
        self._words.hide()
        self._cursor.hide()


def _next(points: Points, step: float) -> tuple[float, float] | None:
    """Return the point that is next to a step."""
    steps, losses = points
    if not len(steps):
        return None
    right = int(np.searchsorted(steps, step))
    near = [at for at in (right - 1, right) if 0 <= at < len(steps)]
    at = min(near, key=lambda each: abs(steps[each] - step))
    return float(steps[at]), float(losses[at])
