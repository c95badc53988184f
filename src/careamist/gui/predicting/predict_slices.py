"""The rows of a prediction that say which slices, and into which folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.data.data_source import clean_path
from careamist.gui.forms.rows import Combo, FieldRow
from careamist.gui.forms.segments import Segments
from careamist.gui.icons import icon
from careamist.gui.theme import Palette, follow, row_height

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent, QWheelEvent

    from careamist.gui.data.data_source import DataChoice
    from careamist.gui.predicting.predict_order import Ranges

_CHOICES = {
    "all": ("All", "Denoise all slices."),
    "current": ("Current", "Denoise the slice that the sliders stand at when the run starts."),
    "range": ("Range", "Denoise some slices that follow each other."),
}


class SlicesRow(FieldRow):
    """All slices of a layer, the one on show, or a range along one axis.

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
        self.segments.valueChanged.connect(lambda _: self._on_changed())
        self.axis.currentIndexChanged.connect(lambda _: self._on_axis())
        self.first.valueChanged.connect(lambda _: self._on_changed())
        self.last.valueChanged.connect(lambda _: self._on_changed())
        self._show()

    def setChoice(self, choice: DataChoice | None, letters: str) -> None:
        """Say of which image, and which of its axes the model goes along slice by slice."""
        sizes: dict[str, int] = {}
        if choice is not None and choice.layer is not None:
            known = dict(zip(choice.axes, choice.shape, strict=True))
            sizes = {axis: known[axis] for axis in letters if known[axis] > 1}
        another = choice is None or self._choice is None or choice.layer != self._choice.layer
        self._choice = choice
        if sizes == self._sizes and not another:
            return
        self._sizes = sizes
        parts = (self, self.segments, self.axis, self.first, self.last)
        for part in parts:
            part.blockSignals(True)
        self.segments.setValue("all")
        self.axis.clear()
        self.axis.addItems(list(sizes))
        self._on_axis()
        for part in parts:
            part.blockSignals(False)
        n = 1
        for size in sizes.values():
            n *= size
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
            return {self.axis.currentText(): (self.first.value(), self.last.value() + 1)}
        layer = choice.layer
        point = layer.world_to_data(self._viewer.dims.point)
        at = {axis: round(float(point[choice.axes.index(axis)])) for axis in self._sizes}
        return {
            axis: (min(max(at[axis], 0), n - 1), min(max(at[axis], 0), n - 1) + 1)
            for axis, n in self._sizes.items()
        }

    def problem(self) -> str:
        """Return what is wrong with the range, or nothing."""
        if self.segments.value() == "range" and self.first.value() > self.last.value():
            return "The first slice comes after the last. Swap them."
        return ""

    def _on_axis(self) -> None:
        n = self._sizes.get(self.axis.currentText(), 1)
        for spin in (self.first, self.last):
            spin.setMaximum(n - 1)
        self.first.setValue(0)
        self.last.setValue(n - 1)
        self._on_changed()

    def _on_changed(self) -> None:
        self._show()
        self.valueChanged.emit()

    def _show(self) -> None:
        shown = self.segments.value() == "range"
        self.axis.setVisible(shown and len(self._sizes) > 1)
        for part in (self.first, self._to, self.last):
            part.setVisible(shown)
        self.setMessage(self.problem())


class FolderRow(FieldRow):
    """A folder that is typed, chosen, dropped, or proposed.

    Parameters
    ----------
    parent : QWidget

    Attributes
    ----------
    valueChanged : Signal()
        Another folder is wanted.
    """

    valueChanged = Signal()

    def __init__(self, parent: QWidget) -> None:
        field = QWidget()
        field.setProperty("clear", True)
        self.edit = QLineEdit(field)
        self.edit.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.edit.setToolTip("The folder of the results; made when needed. Type, paste or drop.")
        self.edit.setAcceptDrops(False)  # the row takes them
        self.button = QPushButton(field)
        self.button.setProperty("role", "icon")
        self.button.setFixedSize(row_height(field), row_height(field))
        self.button.setToolTip("Choose the folder of the results.")
        self.button.setAccessibleName("Choose the folder of the results")
        self.button.clicked.connect(lambda: self.choose())
        grid = QGridLayout(field)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.addWidget(self.edit, 0, 0)
        grid.addWidget(self.button, 0, 1, Qt.AlignmentFlag.AlignTop)
        super().__init__("S&ave to", field, parent)
        field.setFocusProxy(self.edit)
        self.edit.setAccessibleName("Save to")
        self.setAcceptDrops(True)
        self._proposed, self._typed = "", False
        self.edit.textEdited.connect(self._on_typed)
        follow(self.button, self._recolor)

    def value(self) -> Path | None:
        """Return the folder, None where none is given."""
        text = clean_path(str(self.edit.text()))
        return Path(text) if text else None

    def setValue(self, folder: str | Path) -> None:
        """Choose a folder."""
        self._typed = True
        self.edit.setText(str(folder))
        self.valueChanged.emit()

    def propose(self, folder: Path) -> None:
        """Propose a folder, as long as nobody has chosen one."""
        if str(folder) != self._proposed:
            self._proposed = str(folder)
            if not self._typed:
                self.edit.setText(self._proposed)

    def choose(self) -> None:
        """Ask for a folder; cancelling changes nothing."""
        start = self.value() or Path.home()
        there = next((p for p in (start, *start.parents) if p.exists()), Path.home())
        if path := QFileDialog.getExistingDirectory(self, "Where results go", str(there)):
            self.setValue(path)

    def problem(self) -> str:
        """Return what is wrong with the folder, or nothing."""
        folder = self.value()
        if folder is None:
            return "No folder is chosen for the results. Type one or use the folder button."
        if folder.is_file():
            return f"“{folder.name}” is a file. Choose a folder for the results."
        return ""

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = Path(event.mimeData().urls()[0].toLocalFile())
        self.setValue(path if path.is_dir() else path.parent)
        event.acceptProposedAction()

    def _on_typed(self, text: str) -> None:
        self._typed = bool(text.strip())
        self.valueChanged.emit()

    def _recolor(self, colors: Palette) -> None:
        self.button.setIcon(icon("folder", colors))


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
