"""The grey values of two images along a line, as two curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.theme import Palette, dress_axes, follow, palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LINE_LAYER", "ProfileLine", "ProfilePlot"]

LINE_LAYER = "profile line"
AXIS_WIDTH = 44  # fixed, so that the curves do not jump when numbers grow
_LINE_WIDTH = 2  # px on the screen when it is made


class ProfilePlot(QWidget):
    """Two curves over the distance along a line.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        import pyqtgraph

        self._qt: Any = pyqtgraph
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(150)
        self.setMaximumHeight(320)
        self._unit = "px"
        self._curves: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._words = QLabel(self)
        self._words.setTextFormat(Qt.TextFormat.RichText)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._plot = pyqtgraph.PlotWidget(self)
        self._plot.setMenuEnabled(False)
        self._plot.setAccessibleName("Line profile")
        self._plot.setToolTip("Grey values along the line. Scroll to zoom, drag to move.")
        self._item = self._plot.getPlotItem()
        self._item.hideButtons()
        self._item.layout.setContentsMargins(1, 4, 14, 1)  # room for the last tick's number
        self._item.getAxis("left").setWidth(AXIS_WIDTH)
        self._lines = {"raw": self._item.plot(), "restored": self._item.plot()}
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(4)
        lines.addWidget(self._words)
        lines.addWidget(self._plot, 1)
        follow(self, self._recolor)

    def setCurves(self, distance: Any, raw: Any, restored: Any, unit: str) -> None:
        """Show grey values over distances; NaN leaves a gap."""
        distance = np.asarray(distance, float)
        found = {"raw": np.asarray(raw, float), "restored": np.asarray(restored, float)}
        self._curves = {name: (distance, values) for name, values in found.items()}
        for name, values in found.items():
            self._lines[name].setData(distance, values, connect="finite")
        self._item.enableAutoRange()
        if unit != self._unit:
            self._unit = unit
            self._label(self._colors)

    def clear(self) -> None:
        """Show no curves."""
        self._curves = {}
        for line in self._lines.values():
            line.setData([], [])

    def curves(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Return distances and grey values of "raw" and "restored"."""
        return dict(self._curves)

    def label(self) -> str:
        """Return the words under the plot."""
        return str(self._item.getAxis("bottom").labelText)

    def _label(self, colors: Palette) -> None:
        words = f"distance ({self._unit})"
        axis = self._item.getAxis("bottom")
        axis.enableAutoSIPrefix(False)
        axis.setLabel(words, color=colors.text, **{"font-size": "8pt"})

    def _recolor(self, colors: Palette) -> None:
        self._colors = colors
        pen = self._qt.mkPen
        self._plot.setBackground(colors.foreground)
        self._lines["raw"].setPen(pen(colors.dim, width=1))
        self._lines["restored"].setPen(pen(colors.accent, width=2))
        dress_axes(self._item, colors, self.font())
        self._label(colors)
        self._words.setText(
            f"<b>Line profile</b>&nbsp; <span style='color:{colors.dim}'>─</span> raw"
            f"&nbsp; <span style='color:{colors.accent}'>━</span> restored"
        )


class ProfileLine(QObject):  # type: ignore[misc, unused-ignore]
    """A line that the user draws in a layer of its own, which is made when it is asked for.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject

    Attributes
    ----------
    changed : Signal()
        The line has moved, come or gone.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Any = None
        self._ends: NDArray[np.float64] | None = None

    @property
    def layer(self) -> Any:
        """The layer of the line, or None."""
        return self._layer

    def ends(self) -> NDArray[np.float64] | None:
        """Return both ends in the world, ((y, x), (y, x)), or None without a line."""
        return self._ends

    def draw(self, ends: Any, guide: Any) -> None:
        """Add a line between two points of the world; its ends can then be dragged.

        Parameters
        ----------
        ends : array_like
            ((y, x), (y, x)) in the world.
        guide : napari.layers.Layer
            Its units and axis labels are taken over.
        """
        self.take()
        colors = palette(str(self._viewer.theme))
        scale = np.abs(np.asarray(guide.scale[-2:], float))
        width = _LINE_WIDTH / (self._viewer.scene.camera.zoom * float(scale.mean()))
        layer = Shapes(
            [np.asarray(ends, float) / scale],
            shape_type="line",
            ndim=2,
            name=LINE_LAYER,
            edge_width=width,
            edge_color=colors.warning,
            opacity=1.0,
            scale=scale,
            units=guide.units[-2:],
            axis_labels=guide.axis_labels[-2:],
        )
        step = tuple(self._viewer.dims.current_step)
        self._layer = layer
        self._viewer.add_layer(layer)
        self._viewer.dims.current_step = step
        layer.mode = "direct"
        layer.selected_data = {0}
        layer.events.data.connect(self._on_data)
        layer.events.set_data.connect(self._on_data)
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._on_data()

    def put(self, guide: Any) -> None:
        """Add the line again that was taken away."""
        if self._layer is None and self._ends is not None:
            active = self._viewer.layers.selection.active
            self.draw(self._ends, guide)
            self._viewer.layers.selection.active = active

    def take(self) -> None:
        """Take the layer away and keep in mind where the line was."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        layer.events.data.disconnect(self._on_data)
        layer.events.set_data.disconnect(self._on_data)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_data(self) -> None:
        """Follow the line that was drawn or edited last."""
        layer = self._layer
        if layer is None or len(layer.data) == 0:
            ends = None
        else:
            chosen = max(layer.selected_data, default=len(layer.data) - 1)
            points = np.asarray(layer.data[min(chosen, len(layer.data) - 1)], float)[:, -2:]
            ends = np.array([layer.data_to_world(points[0]), layer.data_to_world(points[-1])])
        if not _equal(ends, self._ends):
            self._ends = ends
            self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value == self._layer:
            self.take()
            self._ends = None
            self.changed.emit()


def _equal(a: Any, b: Any) -> bool:
    return (a is None) == (b is None) and (a is None or np.array_equal(a, b))
