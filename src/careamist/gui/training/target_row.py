"""What an image should become: the target, and whether it fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from careamist.errors import CareamistError
from careamist.gui.data.data_picker import DataPicker
from careamist.gui.data.data_source import in_times
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.data.pair_table import PairTable
from careamist.gui.parts.message import MessageBox
from careamist.gui.training.order import Overlap, overlap_of, target_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from careamist.gui.data.data_source import DataChoice, SourceInfo

CHECKING = "The pairs of images are being checked."


class TargetRow(QWidget):  # type: ignore[misc, unused-ignore]
    """Chooses the target of an image; begins with nothing.

    Parameters
    ----------
    viewer : napari.Viewer
        Its Image layers are offered.
    parent : QWidget
    inspect : callable
        See `DataPicker`.
    label : str
        The word before the field, with its mnemonic.
    optional : bool
        Nothing may stay chosen.
    """

    valueChanged = Signal()

    def __init__(
        self,
        viewer: Any,
        parent: QWidget,
        inspect: Callable[[str], SourceInfo],
        label: str = "Tar&get",
        *,
        optional: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.picker = DataPicker(
            viewer,
            self,
            inspect=inspect,
            label=label,
            preselect=False,
            ask_axes=False,
            optional=optional,
        )
        self.message = MessageBox(self)
        self.table = PairTable(self)
        self._image: DataChoice | None = None
        self._cropped: Any = None  # the two that are to be cropped
        self._overlap: Overlap | None = None
        self._axes: str | None = None
        self._problem = ""
        self._latest = Latest(self)
        self._latest.answered.connect(self._on_checked)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        lines.addWidget(self.picker)
        lines.addWidget(self.message)
        lines.addWidget(self.table)
        self.picker.valueChanged.connect(self._on_picked)

    def value(self) -> DataChoice | None:
        """Return what is chosen, or None; `problem` tells whether it can be used."""
        return self.picker.value()

    def problem(self) -> str:
        """Return one sentence on what is missing or wrong, or nothing."""
        if wrong := self.picker.problem():
            return wrong
        return CHECKING if self._latest.is_busy else self._problem

    def axes(self) -> str | None:
        """Return the axes of the target where they differ from those of the image."""
        return self._axes

    def overlap(self) -> Overlap | None:
        """Return what both are cropped to, or None."""
        return self._overlap if self._is_cropped() else None

    def setImage(self, image: DataChoice | None) -> None:
        """Say which image it is the target of."""
        if image != self._image:
            self._image = image
            self._check()

    def crop(self) -> None:
        """Let both be cropped to where they lie over each other."""
        self._cropped = (self._image, self.value())
        self._check()
        self.valueChanged.emit()

    def _is_cropped(self) -> bool:
        return self._cropped is not None and self._cropped == (self._image, self.value())

    def _on_picked(self) -> None:
        self._check()
        self.valueChanged.emit()

    def _check(self) -> None:
        """Find out whether image and target fit."""
        self._problem, self._overlap, self._axes = "", None, None
        image, target = self._image, self.value()
        title = text = ""
        answers: list[tuple[str, Callable[[], object]]] = []
        if image is not None and target is not None and not self.picker.problem():
            if image.layer is not None and image.layer == target.layer:
                title = "Target is the image itself"
                text = f"“{target.name}” is both. Choose what the image should become."
            elif (image.layer is None) != (target.layer is None):
                title = "Layers and files cannot be paired"
                text = "Choose a layer for both, or files for both."
            elif image.layer is None:
                self._check_files(image, target)
                return
            else:
                title, text, answers = self._check_layers(image, target)
        self._latest.drop()
        self._tell(title, text, answers)

    def _check_layers(self, image: DataChoice, target: DataChoice) -> tuple[str, str, list[Any]]:
        sizes = f"{image.name} is {in_times(image.shape)}, {target.name} is "
        sizes += f"{in_times(target.shape)}."
        axes = target_axes(image, target)
        if axes is None or len(image.axes) != len(image.shape):
            return "Target has other axes", f"{sizes} Choose images of the same axes.", []
        self._axes = axes if axes != image.axes else None
        self._overlap = overlap_of(image, target, axes)
        if self._overlap is None or self._is_cropped():
            return "", "", []
        where = "to where they overlap: " if self._overlap.is_placed else "to "
        repair = (f"Crop both {where}{self._overlap.words}", self.crop)
        return "Target has another size", f"{sizes} They must match pixel by pixel.", [repair]

    def _check_files(self, image: DataChoice, target: DataChoice) -> None:
        """Pair the files of two paths, in the background: each one is opened."""

        def pair(_check: Callable[[], None]) -> Any:
            return _pairs(image, target)

        self._tell("", "", [])
        self._latest.ask(pair)

    def _on_checked(self, answer: Answer) -> None:
        if answer.result is None:
            self._tell("Image and target cannot be paired", answer.problem, [])
        else:
            count, title, text, rows = answer.result
            self._tell(title, text, [], rows)
            if count > 1:
                self.message.show_message("info", f"{count} pairs of images")
        self.valueChanged.emit()

    def _tell(
        self, title: str, text: str, answers: list[Any], rows: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._problem = title
        self.table.setRows(rows)
        self.picker.setWrong(on=bool(title))
        if title:
            self.message.show_message("error", title, text, answers)
        else:
            self.message.clear()


def _pairs(
    image: DataChoice, target: DataChoice
) -> tuple[int, str, str, tuple[tuple[str, str], ...]]:
    """Return how many pairs there are, or what is wrong: a title, words, and the files."""
    from careamist.dataset.pairing import PairingError, open_pairs

    try:
        images, _ = open_pairs(image.source, target.source, image.data_type, image.axes)
    except PairingError as error:
        title, _, _ = error.message.partition("\n")
        rows = tuple((_last(name), wrong) for name, wrong in error.rows)
        hint, _, _ = error.hint.partition(", or two lists")  # there are none in a dock
        return 0, f"{title.rstrip(':')}.", f"{hint.rstrip('.')}.", rows
    except CareamistError as error:
        title, _, text = str(error).partition("\n")
        return 0, title, text, ()
    return len(images), "", "", ()


def _last(name: str) -> str:
    """Return a file without its folder; names below a folder stay."""
    return name.replace("\\", "/").rpartition("/")[2] if Path(name).is_absolute() else name
