"""The rows that say which slices of an image are used, and which of its channels."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.data.region import runs
from careamist.gui.forms.rows import Combo, FieldRow, set_state
from careamist.gui.forms.segments import Segments

if TYPE_CHECKING:
    from qtpy.QtGui import QWheelEvent

    from careamist.gui.data.data_source import DataChoice
    from careamist.gui.data.region import Ranges

_CHOICES = {
    "all": ("All", "Use all slices."),
    "current": ("Current", "Use the slice that the sliders stand at when the run starts."),
    "range": ("Range", "Use some slices that follow each other."),
}


class SlicesRow(FieldRow):
    """All slices of a layer, the one on show, or a range along each axis.

    Parameters
    ----------
    viewer : napari.Viewer
        Its sliders say which slice is current.
    parent : QWidget

    Attributes
    ----------
    valueChanged : Signal()
        Other slices are wanted.
    """

    valueChanged = Signal()

    def __init__(self, viewer: Any, parent: QWidget) -> None:
        field = QWidget()
        field.setProperty("clear", True)
        self.segments = Segments(_CHOICES, field)
        self.axis = Combo(field)
        self.axis.setAccessibleName("Axis of the range")
        self.axis.setToolTip("Along which axis the range is taken.")
        self.first, self.last = (_Spin(field, word) for word in ("First slice", "Last slice"))
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(6)
        self._to = QLabel("to", field)
        line.addWidget(self.axis, 1)
        line.addWidget(self.first, 2)
        line.addWidget(self._to)
        line.addWidget(self.last, 2)
        lines = QVBoxLayout(field)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(4)
        lines.addWidget(self.segments)
        lines.addLayout(line)
        super().__init__("&Slices", field, parent)
        field.setFocusProxy(self.segments)
        self.segments.setAccessibleName("Slices")
        self._viewer = viewer
        self._choice: DataChoice | None = None
        self._sizes: dict[str, int] = {}
        self._spans: dict[str, tuple[int, int]] = {}  # first and last slice of each axis
        self.segments.valueChanged.connect(lambda _: self._on_changed())
        self.axis.currentIndexChanged.connect(lambda _: self._on_axis())
        self.first.valueChanged.connect(lambda _: self._on_span())
        self.last.valueChanged.connect(lambda _: self._on_span())
        self._show()

    def setChoice(self, choice: DataChoice | None, letters: str) -> None:
        """Say of which image, and which of its axes are gone along slice by slice."""
        sizes: dict[str, int] = {}
        if choice is not None and choice.layer is not None:
            known = dict(zip(choice.axes, choice.shape, strict=True))
            sizes = {axis: known[axis] for axis in letters if known[axis] > 1}
        another = choice is None or self._choice is None or choice.layer != self._choice.layer
        self._choice = choice
        if sizes == self._sizes and not another:
            return
        self._sizes = sizes
        self._spans = {axis: (0, n - 1) for axis, n in sizes.items()}
        parts = (self, self.segments, self.axis, self.first, self.last)
        for part in parts:
            part.blockSignals(True)
        self.segments.setValue("all")
        self.axis.clear()
        self.axis.addItems(list(sizes))
        self._on_axis()
        for part in parts:
            part.blockSignals(False)
        n = math.prod(sizes.values())
        self.segments.button("all").setText(f"All {n}" if sizes else "All")
        self._show()

    def isOffered(self) -> bool:
        """Tell whether there is anything to choose."""
        return bool(self._sizes)

    def ranges(self) -> Ranges:
        """Return first and one past the last slice, by axis; nothing for all of them."""
        choice, what = self._choice, self.segments.value()
        if what == "all" or choice is None or not self._sizes:
            return {}
        if what == "range":
            return {axis: (first, last + 1) for axis, (first, last) in self._spans.items()}
        layer = choice.layer
        point = layer.world_to_data(self._viewer.dims.point)
        at = {axis: round(float(point[choice.axes.index(axis)])) for axis in self._sizes}
        return {
            axis: (min(max(at[axis], 0), n - 1), min(max(at[axis], 0), n - 1) + 1)
            for axis, n in self._sizes.items()
        }

    def problem(self) -> str:
        """Return what is wrong with the range, or nothing."""
        if not self._sizes or self.segments.value() != "range":
            return ""
        if all(first <= last for first, last in self._spans.values()):
            return ""
        return "The first slice comes after the last. Swap them."

    def _on_axis(self) -> None:
        axis = self.axis.currentText()
        span = self._spans.get(axis, (0, 0))
        for spin, value in zip((self.first, self.last), span, strict=True):
            was_blocked = spin.blockSignals(True)
            spin.setMaximum(self._sizes.get(axis, 1) - 1)
            spin.setValue(value)
            spin.blockSignals(was_blocked)
        self._on_changed()

    def _on_span(self) -> None:
        if (axis := self.axis.currentText()) in self._spans:
            self._spans[axis] = (self.first.value(), self.last.value())
        self._on_changed()

    def _on_changed(self) -> None:
        self._show()
        self.valueChanged.emit()

    def _show(self) -> None:
        shown = self.segments.value() == "range"
        self.axis.setVisible(shown and len(self._sizes) > 1)
        for part in (self.first, self._to, self.last):
            part.setVisible(shown)
        several = shown and len(self._sizes) > 1
        words = [f"{axis} {a} to {b}" for axis, (a, b) in self._spans.items()] if several else []
        self.setHint(", ".join(words))
        self.setMessage(self.problem())


class ChannelsRow(FieldRow):
    """All channels of an image, or some: "0, 2-4".

    Parameters
    ----------
    parent : QWidget

    Attributes
    ----------
    valueChanged : Signal()
        Other channels are wanted.
    """

    valueChanged = Signal()

    def __init__(self, parent: QWidget) -> None:
        self.edit = QLineEdit()
        self.edit.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.edit.setToolTip("Which channels are used, counted from 0: 0, 2 or 0-3. Empty: all.")
        super().__init__("&Channels", self.edit, parent)
        self._image: Any = None
        self._n = 1
        self.edit.textChanged.connect(lambda _: self._on_changed())

    def setChoice(self, choice: DataChoice | None) -> None:
        """Say of which image; the colours of a picture are used together."""
        n, image = 1, None
        if choice is not None and "C" in choice.axes and len(choice.axes) == len(choice.shape):
            image = choice.layer if choice.layer is not None else choice.path
            is_color = choice.layer is not None and bool(choice.layer.rgb)
            n = 1 if is_color else choice.shape[choice.axes.index("C")]
        if n == self._n and (image is self._image or image == self._image):
            return
        self._n, self._image = n, image
        self.edit.setPlaceholderText(f"All {n}")
        self.edit.blockSignals(True)
        self.edit.clear()
        self.edit.blockSignals(False)
        self.setMessage("")

    def isOffered(self) -> bool:
        """Tell whether there is anything to choose."""
        return self._n > 1

    def value(self) -> tuple[int, ...] | None:
        """Return the channels, in order; None for all of them, or while they cannot be read."""
        found = None if self.problem() else _numbers(str(self.edit.text()))
        return None if not found or found == list(range(self._n)) else tuple(found)

    def setValue(self, channels: tuple[int, ...] | None) -> None:
        """Choose channels; None chooses all."""
        self.edit.setText(runs(channels or ()))

    def problem(self) -> str:
        """Return what is wrong with the channels, or nothing."""
        text = str(self.edit.text()).strip()
        if not self.isOffered() or not text:
            return ""
        found = _numbers(text)
        if found is None:
            return f"“{text}” names no channels. Type numbers like 0, 2 or 0-3."
        if found[-1] >= self._n:
            return f"There is no channel {found[-1]}. They are 0 to {self._n - 1}."
        return ""

    def _on_changed(self) -> None:
        wrong = self.problem()
        self.setMessage(wrong)
        set_state(self.edit, "error" if wrong else "")
        self.valueChanged.emit()


def _numbers(text: str) -> list[int] | None:
    """Return the numbers of "0, 2-4", each once and in order; None where it is no such list."""
    found: set[int] = set()
    for part in re.split(r"[,;\s]+", re.sub(r"\s*[-–]\s*", "-", text.strip(" ,;"))):
        ends = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part, re.ASCII)
        if ends is None:
            return None
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            return None
        found.update(range(first, last + 1))
    return sorted(found)


class _Spin(QSpinBox):  # type: ignore[misc, unused-ignore]
    """A number that the wheel changes only when it has the focus."""

    def __init__(self, parent: QWidget, name: str) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(10)
        self.setAccessibleName(name)
        self.setToolTip(f"{name}, counted from 0.")

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
