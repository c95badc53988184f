"""Choose an image: a layer of the viewer, a file or a folder; and say what its axes mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.data.axes_chips import AxesChips, describe_axes, propose_axes
from careamist.gui.data.candidates import first_of, images_of
from careamist.gui.data.choice_row import ChoiceRow, depths
from careamist.gui.data.data_source import (
    DataChoice,
    SourceInfo,
    clean_path,
    describe,
    layer_info,
    levels_of,
    path_problem,
)
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.data.source_field import SourceField
from careamist.gui.forms.rows import FieldRow, plain
from careamist.gui.parts.message import MessageBox
from careamist.gui.parts.notes import WarnLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QDragEnterEvent, QDropEvent

__all__ = ["DataChoice", "DataPicker", "SourceInfo", "propose_axes"]

FILES = "File or folder…"
READING = "Reading…"
NOTHING = "None"
MODEL = ".ckpt"
FIXED = "The format fixes the order of its axes."
COARSE = "A smaller copy: noise is averaged away in it. Level 0 is what was recorded."
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
        Tells shape, type and axes of a path, in the background. What it raises is shown in its
        own words.
    label : str
        The word before the field, with its mnemonic.
    preselect : bool
        Begin with the active layer; otherwise with nothing.
    ask_axes : bool
        Show the axes and ask for those that are not known.
    sample : callable, optional
        Opens an example; offered while no image is open.
    optional : bool
        Nothing may stay chosen, and can be chosen again.
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
        optional: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setAcceptDrops(True)
        self._viewer, self._inspect, self._sample = viewer, inspect, sample
        self._preselect, self._ask_axes, self._word = preselect, ask_axes, plain(label).lower()
        self._optional = optional
        self._offered: list[Any] = []
        self._layer: Any = None
        self._path: str | None = None  # "" while a path is being asked for
        self._path_problem = ""
        self._level = 0  # of a multiscale layer
        self._parts: list[tuple[str, Any]] = []  # what is offered of the path, or of the layer
        self._info: SourceInfo | None = None
        self._known: Any = None  # what the axes were proposed for
        self._answers: dict[Any, str] = {}
        self._use = ""  # how the axes are used, in words
        self._reader = Latest(self)
        self._reader.answered.connect(self._on_read)
        self._build(label)
        for name in _LIST_EVENTS:
            getattr(viewer.layers.events, name).connect(self._on_layers)
        self._on_layers()

    def value(self) -> DataChoice | None:
        """Return what is chosen, or None; `problem` tells whether it can be used."""
        if self._layer is None and (not self._path or self._path_problem or self.isReading()):
            return None
        info = self._info or SourceInfo((), "", None, "", data_type="")
        known = info.shape, info.data_type, self._level, info.images
        return DataChoice(self._layer, self._path, self._chips.axes(), *known)

    def problem(self) -> str:
        """Return one sentence on what is missing or wrong and what to do, or nothing."""
        if self._path is not None:
            wrong = path_problem(self._path) or self._path_problem
            if self.isReading():
                wrong = f"“{DataChoice(None, self._path, '', ()).name}” is being read."
        elif self._layer is not None or self._optional:
            wrong = ""
        elif not self._offered:
            wrong = "No image is open. Open one or choose a file."
        else:
            wrong = f"No {self._word} is chosen. Choose a layer or a file."
        if wrong or self._info is None:
            return wrong
        return self._info.problem or (self._chips.problem() if self._ask_axes else "")

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

    def setWrong(self, *, on: bool) -> None:
        """Mark the field, where what is chosen does not fit something else."""
        self._field.setWrong(on=on)

    def setUse(self, words: str) -> None:
        """Say how the axes are used, instead of what they mean."""
        if words != self._use:
            self._use = words
            self._show_axes()

    def isReading(self) -> bool:
        """Tell whether a path is being read in the background."""
        return self._reader.is_busy

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
        urls = event.mimeData().urls()
        if urls and not all(url.path().lower().endswith(MODEL) for url in urls):
            event.acceptProposedAction()
        else:
            event.ignore()  # a model is for the dock

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
        ways = {
            "Choose file…": self.chooseFile,
            "Choose folder…": self.chooseFolder,
            "Type a path…": self._ask_path,
        }
        self._field = SourceField(self._word, ways, self)
        self._field.activated.connect(self._on_activated)
        self._field.typed.connect(self._on_typed)
        self._row = FieldRow(label, self._field, self)
        self._box = MessageBox(self)
        self._warning = WarnLine(self)
        self._part = ChoiceRow("Part", f"Which part of the {self._word} is used.", self)
        self._part.chosen.connect(self._on_part)
        self._depth = ChoiceRow("Depth", "What is learnt along, besides Y and X.", self)
        self._depth.chosen.connect(self._on_depth)
        self._chips = AxesChips(self)
        self._chips.axesChanged.connect(self._on_axes)
        self._axes_row = FieldRow("A&xes", self._chips, self)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        rows = (self._row, self._warning, self._part, self._box, self._depth, self._axes_row)
        for part in (*rows, self._chips.question):
            lines.addWidget(part)

    # -- what others do: the viewer, the user

    def _on_layers(self, event: Any = None) -> None:
        if not isalive(self):  # napari may be told before Python is
            return
        self._offered = images_of(self._viewer)
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
        elif place > len(self._offered):
            self._take(None, None)
        elif self._path is None:
            self._ask_path()

    def _ask_path(self) -> None:
        self._take(None, self._path or "")
        self._field.focusPath()

    def _on_typed(self, text: str) -> None:
        if self._path is not None and clean_path(text) != self._path:
            self.setPath(text)

    def _on_axes(self) -> None:
        self._answers[self._known] = self._chips.axes()
        self._show()
        self.valueChanged.emit()

    def _on_part(self, part: Any) -> None:
        if self._layer is None:
            self._take(None, str(part))
            return
        self._level = int(part)
        self._read()
        self._show()
        self.valueChanged.emit()

    def _on_depth(self, axes: str) -> None:
        if self._info is not None:
            self._info = self._info._replace(axes=axes, shape=self._info.layouts[axes])
            self._propose()
            self._show()
            self.valueChanged.emit()

    def _on_read(self, answer: Answer) -> None:
        self._info, self._path_problem = answer.result, answer.problem
        if self._info is not None and self._info.parts:
            self._parts = list(self._info.parts)
        self._propose()
        self._show()
        self.valueChanged.emit()

    # -- what is chosen

    def _take(self, layer: Any, path: str | None) -> None:
        before = self.value(), self._path
        self._listen(False)
        # A plugin's viewer hands out proxies: equal, but not the same object each time.
        self._layer = next((own for own in self._offered if own == layer), None)
        self._path, self._level = path, 0
        if self._layer is not None or path not in [part for _, part in self._parts]:
            self._parts = levels_of(self._layer)
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
        """Find out what the chosen image is; of a path, in the background."""
        self._info, self._path_problem = None, ""
        self._reader.drop()
        if self._layer is not None:
            self._parts = levels_of(self._layer)
            self._level = min(self._level, max(len(self._parts) - 1, 0))
            self._info = layer_info(self._layer, self._level)
        elif self._path and self._inspect is not None:
            inspect, path = self._inspect, self._path
            self._reader.ask(lambda _check: inspect(path))
            return
        self._propose()

    def _propose(self) -> None:
        """Propose axes if the image is another one."""
        labels: tuple[str, ...] = ()
        rgb = False
        if self._layer is not None:
            labels, rgb = tuple(self._layer.axis_labels), bool(self._layer.rgb)
        elif self._info is not None:
            labels = tuple(self._info.axes or ())
        shape = self._info.shape if self._info else ()
        image = (self._path or id(self._layer), shape, labels, rgb)
        if image != self._known:
            self._known = image
            is_fixed = self._info is not None and bool(self._info.layouts)
            self._chips.setImage(shape, labels, rgb, FIXED if is_fixed else "")
            if image in self._answers:
                self._chips.setAxes(self._answers[image])

    def _first(self) -> Any:
        return first_of(self._viewer, self._offered) if self._preselect else None

    def _is_offered(self, layer: Any) -> bool:
        return layer is not None and any(layer == other for other in self._offered)

    def _show(self) -> None:
        in_files = self._path is not None
        names = [str(layer.name) for layer in self._offered]
        choice = DataChoice(None, self._path, "", ())
        at = [layer == self._layer for layer in self._offered]
        place = at.index(True) if True in at else len(at) if in_files else -1
        offers = bool(self._offered) or not self._preselect
        nothing = f"Choose the {self._word}" if offers else "No image open"
        nothing = NOTHING if self._optional else nothing
        none = [NOTHING] if self._optional else []
        self._field.setNames([*names, choice.name or FILES, *none], place, nothing)
        self._field.setPath(self._path, is_wrong=bool(self._path_problem))
        self._row.setMessage(self._path_problem if in_files else "")
        told = describe(self._info) if self._info else ""
        self._row.setHint(READING if self.isReading() else told)
        self._warning.setLines(self._info.warnings if self._info else ())
        chosen = self._level if self._layer is not None else self._path
        self._part.setChoices(self._parts, chosen)
        self._part.setHint(COARSE if self._level else "")
        layouts = self._info.layouts if self._info else {}
        self._depth.setChoices(depths(layouts), self._info.axes if self._info else None)
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
            choice = self.value()
            axes = choice.array_axes if choice is not None else self._chips.axes()
            self._axes_row.setHint(self._use or describe_axes(axes, self._info.shape))

    def _show_need(self) -> None:
        if self._offered or self._path is not None or not self._preselect:
            self._box.clear()
        elif not self._box.kind():
            ways: list[tuple[str, Callable[[], object]]] = [("Choose file…", self.chooseFile)]
            ways += [("Try the sample", self._sample)] if self._sample else []
            self._box.show_message(
                "info", "An image is needed", "Open one, or drop a file here.", ways
            )
