"""The settings of the Predict dock: which image, which slices, where to, how."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from careamist.config.prediction import PredictionConfig
from careamist.gui import tasks
from careamist.gui.data.about import AboutImage
from careamist.gui.data.data_picker import DataPicker
from careamist.gui.data.path_info import inspect_path
from careamist.gui.data.slices_row import SlicesRow
from careamist.gui.forms.fold import Fold
from careamist.gui.forms.form import ModelForm
from careamist.gui.forms.remembered import differences, merged
from careamist.gui.forms.rows import Combo, FieldRow
from careamist.gui.forms.segments import Segments
from careamist.gui.predicting.folder_row import FolderRow
from careamist.gui.predicting.predict_order import PredictionOrder, Use, use_of

if TYPE_CHECKING:
    from careamist.gui.data.data_source import DataChoice
    from careamist.gui.forms.remembered import Remembered
    from careamist.prediction.disk_sink import Overwrite

MEMORY = "predict"
_OUTPUT = {
    "layer": ("New layer", "Show the result as a new layer."),
    "files": ("Files", "Write the results to a folder."),
}
_FORMATS = {"TIFF": "tiff", "OME-Zarr": "ome-zarr", "Zarr": "zarr"}
_PIXELS = {
    "float32": ("float32", "Pixels as they are predicted."),
    "input": ("As input", "Rounded and clipped to the type of the image."),
}
_EXISTS = {
    "error": ("Ask", "Ask before anything is written, if a file is there."),
    "skip": ("Skip", "Leave out images whose file is there."),
    "replace": ("Replace", "Replace a file once the new one is complete."),
}
_DETAILS = ("tile_size", "tile_overlap", "precision", "batch_size", "in_memory", "fuse_noisy")


class PredictForm(QWidget):  # type: ignore[misc, unused-ignore]
    """Describes a prediction.

    Parameters
    ----------
    viewer : napari.Viewer
        Its layers are offered.
    parent : QWidget
    memory : Remembered
        Keeps the settings from day to day.

    Attributes
    ----------
    valueChanged : Signal()
        Something else is described.
    """

    valueChanged = Signal()

    def __init__(self, viewer: Any, parent: QWidget, memory: Remembered) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._viewer, self._memory = viewer, memory
        self._model: Any = None
        self._use: Use | None = None
        self._wanted = "layer"  # where to, if there is one image
        self._proposed = ""  # name of the layer
        self._quiet = False
        self._build()
        self._recall()
        self._connect()
        self.refresh()

    # -- what is described -------------------------------------------------------------------------

    def setModel(self, model: Any) -> None:
        """Say which model predicts; None where there is none yet."""
        if model is not self._model:
            before = self._dims()
            self._model = model
            if self._dims() != before:
                self._show_details(self.details.value())
            self._proposed = ""
            self.refresh()

    def order(self) -> PredictionOrder:
        """Return what is described; `problem` must be empty."""
        choice = self.picker.value()
        if choice is None or self._use is None:
            raise ValueError(self.problem())
        return self._order(choice, self._use)

    def problem(self) -> str:
        """Return why nothing can be predicted and what to do, or nothing."""
        if wrong := self.picker.problem():
            return wrong
        if self._use is not None and self._use.problem:
            return self._use.problem
        if self.slices.isVisibleTo(self) and (wrong := self.slices.problem()):
            return wrong
        if self.folder.isVisibleTo(self) and (wrong := self.folder.problem()):
            return wrong
        errors = self.details.errors()
        return next((f"{name}: {words}" for name, words in errors.items()), "")

    def use(self) -> Use | None:
        """Return how the model goes over the image, as far as both are known."""
        return self._use

    def tabStops(self) -> list[QWidget]:
        """Return the parts in the order of reading."""
        rows = [self.picker, self.slices, self.output_row, self.name_row, self.folder]
        rows += [self.format_row, self.pixels_row, self.exists_row, self.quality_row]
        return [*rows, self.advanced, self.about]

    def save(self) -> None:
        """Keep the settings for the next time."""
        defaults = self._model_of_details()().model_dump(mode="json")
        details = self.details.value().model_dump(mode="json")
        kept = {
            "output": self._wanted,
            "format": self.format.currentText(),
            "pixels": self.pixels.value(),
            "exists": self.exists.value(),
            "average": self.quality.isChecked(),
            "advanced": self.advanced.isOpen(),
            "details": differences(details, defaults),
        }
        self._memory.set(MEMORY, kept)

    def reset(self) -> None:
        """Put the advanced settings back to their defaults."""
        self.details.reset()

    def smallerTiles(self) -> None:
        """Set tiles of half the edge, or of 128 pixels."""
        size = self.details.value().tile_size
        edges = size if isinstance(size, tuple) else (256,) * self._dims()
        halved = tuple(max(64 if self._dims() == 2 else 16, edge // 2) for edge in edges)
        self.details.setValue(self.details.value().model_copy(update={"tile_size": halved}))
        self.advanced.setOpen(True)

    # -- building ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.picker = DataPicker(self._viewer, self, inspect=partial(inspect_path, tolerant=True))
        self.slices = SlicesRow(self._viewer, self)
        self.output = Segments(_OUTPUT)
        self.output_row = FieldRow("&Output", self.output, self)
        self.name = QLineEdit()
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.name.setToolTip("Name of the new layer.")
        self.name_row = FieldRow("&Name", self.name, self)
        self.folder = FolderRow(self)
        self.format = Combo()
        self.format.addItems(list(_FORMATS))
        self.format.setToolTip("TIFF opens everywhere; Zarr suits what is larger than memory.")
        self.format_row = FieldRow("Forma&t", self.format, self)
        self.pixels = Segments(_PIXELS)
        self.pixels_row = FieldRow("Pixel t&ype", self.pixels, self)
        self.exists = Segments(_EXISTS)
        self.exists_row = FieldRow("If it &exists", self.exists, self)
        self.quality = QCheckBox("Average 8 flips and turns")
        self.quality.setToolTip("Test-time augmentation: smoother, 8 times slower")
        self.quality.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.quality_row = FieldRow("&Quality", self.quality, self)
        self._holder = QWidget(self)
        self._holder.setProperty("clear", True)
        self._inside = QVBoxLayout(self._holder)
        self._inside.setContentsMargins(0, 0, 0, 0)
        self.details = ModelForm(self._model_of_details()(), self._holder)
        self._inside.addWidget(self.details)
        self.advanced = Fold("Advan&ced", self, [self._holder])
        self.advanced.reset.clicked.connect(lambda: self.reset())
        self.about = AboutImage(self.picker, self)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        first = (self.picker, self.slices, self.output_row, self.name_row, self.folder)
        rows = (self.format_row, self.pixels_row, self.exists_row, self.quality_row)
        for part in (*first, *rows, self.advanced, self.about):
            lines.addWidget(part)

    def _connect(self) -> None:
        self.picker.valueChanged.connect(self._on_image)
        self._viewer.layers.events.renamed.connect(self._on_renamed)
        self.output.valueChanged.connect(self._on_output)
        self.name.textEdited.connect(lambda _: self._on_changed())
        self.slices.valueChanged.connect(self._on_changed)
        self.folder.valueChanged.connect(self._on_changed)
        self.format.currentIndexChanged.connect(lambda _: self._on_changed())
        self.pixels.valueChanged.connect(lambda _: self._on_changed())
        self.exists.valueChanged.connect(lambda _: self._on_changed())
        self.quality.toggled.connect(lambda _: self._on_changed())
        self.details.valueChanged.connect(self._on_changed)

    def _recall(self) -> None:
        kept = self._memory.table(MEMORY)
        for part, name, known in (
            (self.output, "output", _OUTPUT),
            (self.pixels, "pixels", _PIXELS),
            (self.exists, "exists", _EXISTS),
        ):
            if kept.get(name) in known:
                part.setValue(kept[name])
        self._wanted = self.output.value()
        if kept.get("format") in _FORMATS:
            self.format.setCurrentText(kept["format"])
        self.quality.setChecked(kept.get("average") is True)
        self.advanced.setOpen(kept.get("advanced") is True)
        changes = kept.get("details")
        if isinstance(changes, dict):
            defaults = self.details.value()
            try:
                values = merged(defaults.model_dump(mode="json"), changes)
                self.details.setValue(type(defaults).model_validate(values))
            except (ValidationError, TypeError):
                self.details.reset()  # of another version

    # -- what is shown -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what follows from the model and the image."""
        choice, model = self.picker.value(), self._model
        known = model is not None and choice is not None and not self.picker.problem()
        self._use = use_of(model.config.data_config, choice) if known and choice else None
        told = self._use
        self.picker.setUse(told.words if told is not None else "")
        letters = ""
        if choice is not None and told is not None and not told.problem:
            pairs = zip(choice.axes, told.axes, strict=True)
            letters = "".join(axis for axis, as_told in pairs if as_told in "ST")
            if choice.layer is not None and choice.layer.rgb:
                letters = letters.replace("C", "")
        self.slices.setChoice(choice, letters)
        self.slices.setVisible(self.slices.isOffered())
        self._show_output(choice)
        self._show_name(choice)
        self.advanced.setChanged(self.details.changed())

    def _show_output(self, choice: DataChoice | None) -> None:
        in_files = self.output.value() == "files"
        large = choice is not None and self._use is not None and self._is_large(choice, self._use)
        self.name_row.setVisible(not in_files)
        self.format_row.setVisible(in_files)
        self.folder.setVisible(in_files or large)
        self.exists_row.setVisible(in_files or large)
        self.folder.propose(_beside(choice))
        self.folder.setHint("" if in_files else "Too large for memory: kept here, shown from here.")
        wrong = self.folder.problem() if in_files or large else ""
        self.folder.setMessage(wrong)
        is_color = choice is not None and PredictionOrder(choice, choice.axes).is_color
        self.pixels.setEnabled(not is_color)
        self.pixels_row.setHint("Colours keep their type." if is_color else "")

    def _show_name(self, choice: DataChoice | None) -> None:
        several = choice is not None and choice.layer is None and len(choice.images) > 1
        self.name.setEnabled(not several)
        self.name_row.setHint("One layer per image, named after it." if several else "")
        if choice is None or self._model is None:
            return
        proposed = f"{choice.name} ({self._model.config.algorithm_config.variant})"
        if proposed != self._proposed:  # another image or model: its own name
            self._proposed = proposed
            self.name.setText("" if several else proposed)

    def _is_large(self, choice: DataChoice, told: Use) -> bool:
        if told.problem or not (choice.shape or choice.images):
            return False
        data = self._model.config.data_config if self._model is not None else None
        channels = (data.n_channels_out or data.n_channels or 1) if data is not None else 1
        return self._order(choice, told).is_too_large(channels)

    def _order(self, choice: DataChoice, told: Use) -> PredictionOrder:
        details = self.details.value().model_dump()
        name = str(self.name.text()).strip()
        is_layer = self.output.value() == "layer"
        # what is proposed follows the name of the layer; a scene of a file has a longer name
        by_hand = name != self._proposed
        options = PredictionConfig(
            **details,
            dtype=self.pixels.value(),
            tta="all" if self.quality.isChecked() else "none",
        )
        return PredictionOrder(
            choice,
            told.axes,
            options,
            self.slices.ranges() if choice.layer is not None else {},
            "layer" if is_layer else "files",
            name if is_layer and by_hand else "",
            self.folder.value(),
            _FORMATS[self.format.currentText()],
            cast("Overwrite", self.exists.value()),
        )

    def _dims(self) -> int:
        return int(self._model.config.data_config.dims) if self._model is not None else 2

    def _model_of_details(self) -> type[BaseModel]:
        return details_model(self._dims())

    def _show_details(self, before: BaseModel) -> None:
        """Make the form of the details anew: how many numbers a tile has is another one."""
        values = before.model_dump() | {"tile_size": "auto", "tile_overlap": "auto"}
        model = self._model_of_details().model_validate(values)
        old = self.details
        self.details = ModelForm(model, self._holder)
        self._inside.replaceWidget(old, self.details)
        old.hide()
        old.deleteLater()
        self.details.valueChanged.connect(self._on_changed)

    # -- what the user does ------------------------------------------------------------------------

    def _on_image(self) -> None:
        choice = self.picker.value()
        several = choice is not None and choice.layer is None and len(choice.images) > 1
        self._quiet = True
        self.output.setValue("files" if several else self._wanted)
        self._quiet = False
        self._on_changed()

    def _on_renamed(self, event: Any = None) -> None:
        if isalive(self):
            self._on_changed()

    def _on_output(self, value: str) -> None:
        if not self._quiet:
            self._wanted = value
            self._on_changed()

    def _on_changed(self) -> None:
        self.refresh()
        self.valueChanged.emit()


def details_model(dims: int) -> type[BaseModel]:
    """Return the fields of `PredictionConfig` that are folded away, with tiles of `dims` axes."""
    tile = {2: (256, 256), 3: (32, 128, 128)}[dims]
    fields: dict[str, Any] = {}
    for name in _DETAILS:
        info = copy.copy(PredictionConfig.model_fields[name])
        if name == "tile_size":
            info.examples = [tile]
        elif name == "tile_overlap":
            info.examples = [(64,) * dims if dims == 2 else (8, 64, 64)]
        fields[name] = (info.annotation, info)
    return create_model("Details", __config__=ConfigDict(frozen=True), **fields)


def _beside(choice: DataChoice | None) -> Path:
    """Return the folder for results that is proposed: beside the source, if that is a file."""
    place = None
    if choice is not None:
        place = choice.path if choice.layer is None else choice.layer.source.path
    if not place or "://" in str(place):
        return tasks.results_folder()
    path = Path(str(place))
    is_folder = path.is_dir() and not path.suffix
    return path.with_name(f"{path.name}_denoised") if is_folder else path.parent / "denoised"
