"""The line on the canvas that separates two images, and what maps the canvas to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QMainWindow, QOpenGLWidget, QWidget  # type: ignore[attr-defined]

from careamist.gui.comparing.comparison import displayed_axes, levels_of, to_pixel, to_world
from careamist.gui.theme import Palette, contrast_ratio, palette

if TYPE_CHECKING:
    from qtpy.QtGui import QMouseEvent, QPaintEvent

__all__ = ["CanvasMap", "SwipeLine", "canvas_of"]

HANDLE = 28  # px
CAPTION_TOP = 12


def canvas_of(widget: QWidget) -> QWidget | None:
    """Return the canvas of the window that a dock belongs to, floating or not."""
    at: Any = widget
    while at is not None and not isinstance(at, QMainWindow):
        at = at.parentWidget()
    centre = at.centralWidget() if at is not None else None
    found = centre.findChildren(QOpenGLWidget) if centre is not None else []
    return found[0] if found else None


class CanvasMap:
    """Turns places on the canvas into places in the world, in 2D.

    Parameters
    ----------
    viewer : napari.Viewer
    canvas : QWidget
        The native widget that napari draws on.
    """

    def __init__(self, viewer: Any, canvas: QWidget) -> None:
        self._camera, self._canvas = viewer.scene.camera, canvas

    def toCanvas(self, world: tuple[float, float]) -> QPointF:
        """Return where a point (y, x) of the world is drawn, in pixels of the widget."""
        (y, x), (down, right) = self._camera.center[-2:], self._signs()
        zoom = self._camera.zoom
        return QPointF(
            self._canvas.width() / 2 + right * (world[1] - x) * zoom,
            self._canvas.height() / 2 + down * (world[0] - y) * zoom,
        )

    def toWorld(self, place: QPointF) -> tuple[float, float]:
        """Return which point (y, x) of the world is drawn there."""
        (y, x), (down, right) = self._camera.center[-2:], self._signs()
        zoom = self._camera.zoom
        return (
            float(y + down * (place.y() - self._canvas.height() / 2) / zoom),
            float(x + right * (place.x() - self._canvas.width() / 2) / zoom),
        )

    def box(self, viewer: Any, layer: Any, most: int) -> tuple[int, int, int, int] | None:
        """Return the pixels of a layer in view: top, bottom, left, right; not more than `most`."""
        width, height = self._canvas.width(), self._canvas.height()
        corners = [
            to_pixel(viewer, layer, self.toWorld(QPointF(x, y)))
            for x in (0, width)
            for y in (0, height)
        ]
        sizes = plane_size(viewer, layer)
        if sizes is None:
            return None
        box: list[int] = []
        side = int(most**0.5)
        for axis, size in enumerate(sizes):
            ends = sorted(corner[axis] for corner in corners if corner is not None)
            low, high = max(0, int(ends[0])), min(size, int(ends[-1]) + 1)
            if high <= low:
                return None
            if high - low > side:  # the middle of the view
                low = (low + high - side) // 2
                high = low + side
            box += [low, high]
        return box[0], box[1], box[2], box[3]

    def _signs(self) -> tuple[int, int]:
        vertical, horizontal = self._camera.orientation2d
        return (1 if vertical == "down" else -1), (1 if horizontal == "right" else -1)


class SwipeLine(QObject):  # type: ignore[misc, unused-ignore]
    """A line between two columns of a layer, with a handle; it follows zoom, pan and size.

    Parameters
    ----------
    viewer : napari.Viewer
    canvas : QWidget
        The native widget that napari draws on.
    layer : napari.layers.Image
        The layer whose columns are counted.
    names : tuple of str
        What stands before and after the line.
    parent : QObject

    Attributes
    ----------
    dragged : Signal(float)
        The part of the columns before the line that the user asks for, 0 to 1.
    """

    dragged = Signal(float)

    def __init__(
        self, viewer: Any, canvas: QWidget, layer: Any, names: tuple[str, str], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer, self._canvas, self._layer = viewer, canvas, layer
        self._map = CanvasMap(viewer, canvas)
        self._column = 0
        self.line, self.handle = _Line(canvas), _Handle(canvas)
        self.line.names = names
        self.handle.dragged.connect(self._on_drag)
        canvas.installEventFilter(self)
        self._connect(True)
        self._recolor()

    def setColumn(self, column: int) -> None:
        """Place the line before this column."""
        self._column = column
        self.place()

    def setNames(self, names: tuple[str, str]) -> None:
        """Change the captions."""
        self.line.names = names
        self.line.update()

    def place(self) -> None:
        """Draw the line where the camera says."""
        if not (isalive(self) and isalive(self._canvas)):
            return
        sizes = plane_size(self._viewer, self._layer)
        shown = self._viewer.dims.ndisplay == 2 and sizes is not None
        if shown and sizes is not None:
            ends = [
                to_world(self._viewer, self._layer, (row, self._column - 0.5))
                for row in (-0.5, sizes[0] - 0.5)
            ]
            self.line.ends = [self._map.toCanvas(end) for end in ends if end is not None]
            # a flipped image has its first columns at the right
            beside = to_world(self._viewer, self._layer, (-0.5, self._column - 1.5))
            if beside is not None:
                first = self._map.toCanvas(beside).x() < self.line.ends[0].x()
                self.line.is_flipped = not first
            self.line.setGeometry(self._canvas.rect())
            self.handle.move(self.line.grip().toPoint() - self.handle.rect().center())
        self.line.setVisible(shown)
        self.handle.setVisible(shown)
        self.line.update()

    def close(self) -> None:
        """Take the line away."""
        self._connect(False)
        if isalive(self._canvas):
            self._canvas.removeEventFilter(self)
        for part in (self.handle, self.line):
            if isalive(part):
                part.hide()
                part.deleteLater()
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self.place()
        return False

    def _connect(self, on: bool) -> None:
        camera, dims = self._viewer.scene.camera.events, self._viewer.dims.events
        emitters = [camera.center, camera.zoom, camera.orientation, dims.ndisplay, dims.order]
        for emitter in emitters:
            (emitter.connect if on else emitter.disconnect)(self.place)
        theme = self._viewer.events.theme
        (theme.connect if on else theme.disconnect)(self._recolor)

    def _recolor(self) -> None:
        if isalive(self.line):
            self.line.colors = self.handle.colors = palette(str(self._viewer.theme))
            self.line.update()
            self.handle.update()

    def _on_drag(self, place: QPointF) -> None:
        pixel = to_pixel(self._viewer, self._layer, self._map.toWorld(place))
        sizes = plane_size(self._viewer, self._layer)
        if pixel is not None and sizes is not None:
            self.dragged.emit(min(max((pixel[1] + 0.5) / sizes[1], 0.0), 1.0))


def plane_size(viewer: Any, layer: Any) -> tuple[int, int] | None:
    """Return how many rows and columns of a layer are on show."""
    axes = displayed_axes(viewer, layer)
    if axes is None:
        return None
    shape = levels_of(layer)[0].shape
    return int(shape[axes[0]]), int(shape[axes[1]])


def light_and_dark(colors: Palette) -> tuple[QColor, QColor]:
    """Return the lighter and the darker of text and background: seen on any picture."""
    pair = sorted(
        (colors.text, colors.background), key=lambda c: contrast_ratio(c, palette("dark").text)
    )
    return QColor(pair[0]), QColor(pair[1])


class _Line(QWidget):
    """Covers the canvas, lets the mouse through, paints the line and the two names."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setAccessibleName("Line between the raw and the restored image")
        self.ends: list[QPointF] = []
        self.names = ("", "")
        self.is_flipped = False
        self.colors = palette()

    def grip(self) -> QPointF:
        """Return the point of the line at mid-height of the canvas."""
        return self._at(self.height() / 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        if len(self.ends) < 2:
            return
        light, dark = light_and_dark(self.colors)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top, bottom = self._at(0.0), self._at(float(self.height()))
        if abs(self.ends[0].y() - self.ends[1].y()) < 1:  # turned by 90°: a level line
            y = self.ends[0].y()
            top, bottom = QPointF(0, y), QPointF(self.width(), y)
        dark.setAlphaF(0.5)
        painter.setPen(QPen(dark, 4))
        painter.drawLine(top, bottom)
        painter.setPen(QPen(light, 2))
        painter.drawLine(top, bottom)
        dark.setAlphaF(0.7)
        metrics, gap = QFontMetrics(self.font()), 20
        x = self._at(CAPTION_TOP + metrics.height() / 2).x()
        before, after = reversed(self.names) if self.is_flipped else self.names
        for name, is_left in ((before, True), (after, False)):
            room = int(x - gap if is_left else self.width() - x - gap) - 12
            if room < 30:
                continue
            text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, room)
            width = metrics.horizontalAdvance(text) + 12
            box = QRectF(
                x - gap - width if is_left else x + gap, CAPTION_TOP, width, metrics.height() + 6
            )
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(dark)
            painter.drawRoundedRect(box, 3, 3)
            painter.setPen(light)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
        painter.end()

    def _at(self, y: float) -> QPointF:
        """Return the point of the line at a height of the canvas."""
        if len(self.ends) < 2:
            return QPointF(0, y)
        (a, b) = self.ends
        if abs(a.y() - b.y()) < 1:
            return QPointF(self.width() / 2, a.y())
        part = (y - a.y()) / (b.y() - a.y())
        return QPointF(a.x() + part * (b.x() - a.x()), y)


class _Handle(QWidget):
    """A round grip that is dragged."""

    dragged = Signal(QPointF)

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFixedSize(HANDLE, HANDLE)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setAccessibleName("Swipe handle")
        self.setToolTip("Drag to see more of the raw or of the restored image.")
        self.colors = palette()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.dragged.emit(QPointF(self.mapToParent(event.pos())))
        event.accept()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def paintEvent(self, event: QPaintEvent) -> None:
        light, _ = light_and_dark(self.colors)
        ground = QColor(self.colors.current)
        sign = max(
            (self.colors.text, self.colors.background),
            key=lambda color: contrast_ratio(color, self.colors.current),
        )
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(light, 2))
        painter.setBrush(ground)
        painter.drawEllipse(QRectF(self.rect()).adjusted(2, 2, -2, -2))
        arrows = QPainterPath()
        middle = HANDLE / 2
        for side in (-1, 1):
            arrows.moveTo(middle + side * 3, middle - 5)
            arrows.lineTo(middle + side * 8, middle)
            arrows.lineTo(middle + side * 3, middle + 5)
        painter.setPen(QPen(QColor(sign), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(arrows)
        painter.end()
