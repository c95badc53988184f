"""Choose an image: a layer of the viewer, a file or a folder; and say what its axes mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.axes_chips import AxesChips, describe_axes, propose_axes
from careamist.gui.data_source import (
    DataChoice,
    SourceInfo,
    clean_path,
    describe,
    layer_info,
    path_problem,
)
from careamist.gui.icons import icon
from careamist.gui.message import MessageBox
from careamist.gui.rows import Combo, FieldRow, plain, set_state
from careamist.gui.theme import Palette, follow, row_height

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QDragEnterEvent, QDropEvent

__all__ = ["DataChoice", "DataPicker", "SourceInfo", "propose_axes"]

FILES = "File or folder…"
BUTTON_TIP = "Use files or a folder instead of a layer. You can also drop them here."
_LIST_EVENTS = ("inserted", "removed", "reordered", "renamed")
_LAYER_EVENTS = ("data", "axis_labels", "scale", "units")


class DataPicker(QWidget):
    """Chooses an image and its axes.

    Parameters
    ----------
    viewer : napari.Viewer
        Its Image layers are offered.
    parent : QWidget, optional
    inspect : callable, optional
        Tells shape, type and axes of a path. What it raises is shown in its own words.
    label : str
        The word before the field, with its mnemonic.
    preselect : bool
        Begin with the active layer; otherwise with nothing.
    ask_axes : bool
        Show the axes and ask for those that are not known.
    sample : callable, optional
        Opens an example; offered while no image is open.
    """

    valueChanged = Signal()

    def __init__(
        self,
        viewer: Any,
        parent: QWidget | None = None,
        *,
        inspect: Callable[[str], SourceInfo] | None = None,
        label: str = "&Image",
        preselect: bool = True,
        ask_axes: bool = True,
        sample: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setAcceptDrops(True)
        self._viewer, self._inspect, self._sample = viewer, inspect, sample
        self._preselect, self._ask_axes, self._word = preselect, ask_axes, plain(label).lower()
        self._offered: list[Any] = []
        self._layer: Any = None
        self._path: str | None = None  # "" while a path is being asked for
        self._path_problem = ""
        self._info: SourceInfo | None = None
        self._known: Any = None  # what the axes were proposed for
        self._answers: dict[Any, str] = {}
        self._build(label)
        for name in _LIST_EVENTS:
            getattr(viewer.layers.events, name).connect(self._on_layers)
        self._on_layers()
        follow(self, self._recolor)

    def value(self) -> DataChoice | None:
        """Return what is chosen, or None; `problem` tells whether it can be used."""
        if self._layer is None and (not self._path or self._path_problem):
            return None
        shape = self._info.shape if self._info else ()
        return DataChoice(self._layer, self._path, self._chips.axes(), shape)

    def problem(self) -> str:
        """Return one sentence on what is missing or wrong and what to do, or nothing."""
        if self._path is not None:
            wrong = path_problem(self._path) if not self._path else self._path_problem
        elif self._layer is not None:
            wrong = ""
        elif not self._offered:
            wrong = "No image is open. Open one or choose a file."
        else:
            wrong = f"No {self._word} is chosen. Choose a layer or a file."
        if wrong or not self._ask_axes or self._info is None:
            return wrong
        return self._chips.problem()

    def setLayer(self, layer: Any) -> None:
        """Choose an Image layer of the viewer; None chooses nothing."""
        if layer is not None and not self._is_offered(layer):
            msg = f"“{layer}” is not an Image layer of this viewer: expected one of its layers."
            raise ValueError(msg)
        self._take(layer, None)

    def setPath(self, path: str | None) -> None:
        """Choose a file, a folder or an address; nothing is not the working directory."""
        cleaned = clean_path(str(path)) if path is not None else ""
        self._take(None, cleaned)

    def setAxes(self, axes: str) -> None:
        """Say what the axes mean, one letter of STCZYX each."""
        self._chips.setAxes(axes)

    def isAxesOpen(self) -> bool:
        """Tell whether the meaning of an axis is still asked for."""
        return self._chips.isOpen()

    def chooseFile(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a file")
        if path:
            self.setPath(path)

    def chooseFolder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose a folder")
        if path:
            self.setPath(path)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        urls = event.mimeData().urls()
        if len(urls) > 1:
            self._row.setMessage(
                f"{len(urls)} files were dropped. Drop one file, or the folder they are in."
            )
        elif urls:
            self.setPath(urls[0].toLocalFile() or urls[0].toString())
        event.acceptProposedAction()

    # -- building

    def _build(self, label: str) -> None:
        self._combo = Combo(self)
        self._combo.setPlaceholderText("No image open" if self._preselect else self._nothing())
        self._combo.activated.connect(self._on_activated)
        self._combo.setAccessibleName(plain(label))
        self._combo.setToolTip(f"The {self._word}: a layer, a file or a folder.")
        self._edit = QLineEdit(self)
        self._edit.setPlaceholderText("Type, paste or drop a path")
        self._edit.setAccessibleName(f"Path of the {self._word}")
        self._edit.setToolTip("A file, a folder or an address. Enter reads it.")
        self._edit.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._edit.setAcceptDrops(False)  # the whole picker takes them
        self._edit.editingFinished.connect(self._on_typed)
        self._row = FieldRow(label, self._field(), self)
        self._box = MessageBox(self)
        self._chips = AxesChips(self)
        self._chips.axesChanged.connect(self._on_axes)
        self._axes_row = FieldRow("A&xes", self._chips, self)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        for part in (self._row, self._box, self._axes_row, self._chips.question):
            lines.addWidget(part)

    def _field(self) -> QWidget:
        menu = QMenu(self)
        menu.addAction("Choose file…", self.chooseFile)
        menu.addAction("Choose folder…", self.chooseFolder)
        menu.addAction("Type a path…", self._ask_path)
        self._button = QPushButton(self)
        self._button.setProperty("role", "icon")
        self._button.setMenu(menu)
        self._button.setFixedSize(row_height(self), row_height(self))
        self._button.setToolTip(BUTTON_TIP)
        self._button.setAccessibleName(f"Choose the {self._word} from files")
        field = QWidget(self)
        field.setProperty("clear", True)
        field.setFocusProxy(self._combo)
        grid = QGridLayout(field)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(4)
        grid.addWidget(self._combo, 0, 0)
        grid.addWidget(self._button, 0, 1, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._edit, 1, 0, 1, 2)
        return field

    def _nothing(self) -> str:
        return f"Choose the {self._word}"

    def _recolor(self, colors: Palette) -> None:
        self._button.setIcon(icon("folder", colors))

    # -- what others do: the viewer, the user

    def _on_layers(self, event: Any = None) -> None:
        if not isalive(self):  # napari may be told before Python is
            return
        self._offered = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        there = {id(layer) for layer in self._offered}
        self._answers = {
            key: axes
            for key, axes in self._answers.items()
            if isinstance(key[0], str) or key[0] in there
        }
        lost = self._layer is not None and not self._is_offered(self._layer)
        none_yet = self._layer is None and self._path is None and self._first() is not None
        if lost or none_yet:
            self._take(self._first(), None)
        else:
            self._show()

    def _on_layer(self, event: Any = None) -> None:
        if isalive(self) and self._layer is not None:
            before = self.value()
            self._read()
            self._show()
            if self.value() != before:
                self.valueChanged.emit()

    def _on_activated(self, place: int) -> None:
        if place < len(self._offered):
            self._take(self._offered[place], None)
        elif self._path is None:
            self._ask_path()

    def _ask_path(self) -> None:
        self._take(None, self._path or "")
        self._edit.setFocus()

    def _on_typed(self) -> None:
        if self._path is not None and clean_path(self._edit.text()) != self._path:
            self.setPath(self._edit.text())

    def _on_axes(self) -> None:
        self._answers[self._known] = self._chips.axes()
        self._show()
        self.valueChanged.emit()

    # -- what is chosen

    def _take(self, layer: Any, path: str | None) -> None:
        before = self.value(), self._path
        self._listen(False)
        # A plugin's viewer hands out proxies: equal, but not the same object each time.
        self._layer = next((own for own in self._offered if own == layer), None)
        self._path = path
        self._listen(True)
        self._read()
        self._show()
        if (self.value(), self._path) != before:
            self.valueChanged.emit()

    def _listen(self, on: bool) -> None:
        for name in _LAYER_EVENTS if self._layer is not None else ():
            emitter = getattr(self._layer.events, name)
            (emitter.connect if on else emitter.disconnect)(self._on_layer)

    def _read(self) -> None:
        """Find out what the chosen image is, and propose axes if it is another one."""
        self._info, self._path_problem = None, ""
        labels: tuple[str, ...] = ()
        rgb = False
        if self._layer is not None:
            self._info = layer_info(self._layer)
            labels, rgb = tuple(self._layer.axis_labels), bool(self._layer.rgb)
        elif self._path:
            self._info, self._path_problem = self._inspected(self._path)
            labels = tuple(self._info.axes or ()) if self._info else ()
        shape = self._info.shape if self._info else ()
        image = (self._path or id(self._layer), shape, labels, rgb)
        if image != self._known:
            self._known = image
            self._chips.setImage(shape, labels, rgb)
            if image in self._answers:
                self._chips.setAxes(self._answers[image])

    def _inspected(self, path: str) -> tuple[SourceInfo | None, str]:
        try:
            if (problem := path_problem(path)) or self._inspect is None:
                return None, problem
            return self._inspect(path), ""
        except Exception as error:  # whatever a reader raises is the answer
            first = (str(error) or type(error).__name__).splitlines()[0]
            return None, first

    def _first(self) -> Any:
        if not self._preselect:
            return None
        active = self._viewer.layers.selection.active
        return active if self._is_offered(active) else next(iter(self._offered), None)

    def _is_offered(self, layer: Any) -> bool:
        return layer is not None and any(layer == other for other in self._offered)

    def _show(self) -> None:
        in_files = self._path is not None
        names = [str(layer.name) for layer in self._offered]
        choice = DataChoice(None, self._path, "", ())
        self._combo.clear()
        self._combo.addItems([*names, choice.name or FILES])
        at = [layer == self._layer for layer in self._offered]
        place = at.index(True) if True in at else len(at) if in_files else -1
        self._combo.setCurrentIndex(place)
        if self._offered:
            self._combo.setPlaceholderText(self._nothing())
        self._edit.setVisible(in_files)
        if in_files and clean_path(self._edit.text()) != self._path:
            self._edit.setText(self._path)
        self._row.setMessage(self._path_problem if in_files else "")
        set_state(self._edit, "error" if self._path_problem else "")
        self._row.setHint(describe(self._info) if self._info else "")
        self._show_axes()
        self._show_need()

    def _show_axes(self) -> None:
        shown = self._ask_axes and self._info is not None and bool(self._info.shape)
        self._axes_row.setVisible(shown)
        if not shown:
            self._chips.question.hide()
        elif self._chips.problem():
            self._chips.question.show()
            self._axes_row.setHint("")
        elif self._info is not None:
            self._axes_row.setHint(describe_axes(self._chips.axes(), self._info.shape))

    def _show_need(self) -> None:
        if self._offered or self._path is not None or not self._preselect:
            self._box.clear()
        elif not self._box.kind():
            ways: list[tuple[str, Callable[[], object]]] = [("Choose file…", self.chooseFile)]
            ways += [("Try the sample", self._sample)] if self._sample else []
            self._box.show_message(
                "info", "An image is needed", "Open one, or drop a file here.", ways
            )
