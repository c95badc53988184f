"""The row that chooses which part of an image is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal

from careamist.errors import CareamistError
from careamist.gui.data.region import Box, at_least, in_words, shape_boxes, shapes_of, view_box
from careamist.gui.forms.rows import FieldRow
from careamist.gui.forms.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from careamist.gui.data.data_source import DataChoice

_CHOICES = {
    "all": ("All", "Train on the whole image."),
    "view": ("In view", "Train on what the window shows when the training starts."),
    "shapes": ("Shapes", "Train on what is inside the boxes of the shapes drawn on the image."),
}
_WAIT_MS = 200


class RegionRow(FieldRow):
    """All of the image, what is in view, or what was drawn in a Shapes layer.

    Parameters
    ----------
    viewer : napari.Viewer
        Its view and its shapes count.
    parent : QWidget

    Attributes
    ----------
    valueChanged : Signal()
        Another region was chosen, or the region is another one now.
    """

    valueChanged = Signal()

    def __init__(self, viewer: Any, parent: QWidget) -> None:
        self.segments = Segments(_CHOICES)
        super().__init__("&Region", self.segments, parent)
        self._viewer = viewer
        self._choice: DataChoice | None = None
        self._drawn: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT_MS)
        self._timer.timeout.connect(self.valueChanged.emit)
        self.segments.valueChanged.connect(self._on_chosen)
        for name in ("center", "zoom", "angles"):
            getattr(viewer.scene.camera.events, name).connect(self._on_viewed)
        for name in ("ndisplay", "order"):
            getattr(viewer.dims.events, name).connect(self._on_viewed)
        for name in ("inserted", "removed"):
            getattr(viewer.layers.events, name).connect(self._on_layers)
        viewer.layers.selection.events.active.connect(self._on_layers)

    def value(self) -> str:
        """Return "all", "view" or "shapes"."""
        return self.segments.value()

    def setValue(self, value: str) -> None:
        """Choose one of them."""
        self.segments.setValue(value)

    def setChoice(self, choice: DataChoice | None) -> None:
        """Say of which image; of files there is only all."""
        self._choice = choice
        in_files = choice is not None and choice.layer is None
        for value in ("view", "shapes"):
            button = self.segments.button(value)
            button.setEnabled(not in_files)
            tip = "Only of a layer: files are trained on as a whole."
            button.setToolTip(tip if in_files else _CHOICES[value][1])
        if in_files:
            self.segments.setValue("all")

    def boxes(self, patch: Sequence[int]) -> tuple[Box, ...]:
        """Return the parts of the image in its pixels, each at least a patch large.

        Parameters
        ----------
        patch : sequence of int
            Size of the training patches in Y and X.

        Raises
        ------
        CareamistError
            If there is no such region.
        """
        choice = self._choice
        if self.value() == "all" or choice is None or choice.layer is None:
            return ()
        layer, axes = choice.layer, choice.axes
        if self.value() == "view":
            found = [view_box(self._viewer, layer, axes)]
        else:
            found = shape_boxes(self._viewer, layer, axes)
        places = (axes.index("Y"), axes.index("X"))
        size = [choice.shape[place] for place in places]
        if layer.multiscale:  # they are in pixels of the largest level
            top = [layer.data[0].shape[place] for place in places]
            found = [_scaled(box, size, top) for box in found]
        return tuple(at_least(box, patch, size) for box in found)

    def showBoxes(self, patch: Sequence[int]) -> str:
        """Show what is chosen; return what is wrong with it, or nothing."""
        try:
            boxes = self.boxes(patch)
        except CareamistError as error:
            self.setHint("")
            self.setMessage(str(error))
            return str(error)
        self.setMessage("")
        height, width = boxes[0].size if len(boxes) == 1 else (0, 0)
        one = f"{height} × {width} pixels of the image."
        self.setHint("" if not boxes else one if len(boxes) == 1 else f"{in_words(boxes)}.")
        return ""

    def _on_chosen(self) -> None:
        self._listen()
        self.valueChanged.emit()

    def _on_viewed(self, event: Any = None) -> None:
        # the corners of a layer follow when it is drawn
        if isalive(self) and self.value() == "view":
            self._timer.start()

    def _on_layers(self, event: Any = None) -> None:
        if isalive(self) and self.value() == "shapes":
            self._listen()
            self._timer.start()

    def _on_drawn(self, event: Any = None) -> None:
        if isalive(self) and self.value() == "shapes":
            self._timer.start()

    def _listen(self) -> None:
        """Follow the layer whose shapes count."""
        drawn = shapes_of(self._viewer) if self.value() == "shapes" else None
        if drawn is not self._drawn:
            if self._drawn is not None:
                self._drawn.events.data.disconnect(self._on_drawn)
            if drawn is not None:
                drawn.events.data.connect(self._on_drawn)
            self._drawn = drawn


def _scaled(box: Box, size: Sequence[int], top: Sequence[int]) -> Box:
    start = [begin * n // full for begin, n, full in zip(box.start, size, top, strict=True)]
    stop = [-(-end * n // full) for end, n, full in zip(box.stop, size, top, strict=True)]
    return Box((start[0], start[1]), (stop[0], stop[1]))
