"""The settings of a training: method, images, region, effort, device, and the advanced ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from careamist.config import Configuration, DataConfig, TrainingConfig, explain
from careamist.errors import CareamistError
from careamist.gui.data.about import AboutImage
from careamist.gui.data.data_picker import DataPicker
from careamist.gui.data.path_info import inspect_path
from careamist.gui.forms.fold import Fold
from careamist.gui.forms.form import ModelForm
from careamist.gui.forms.rows import FieldRow, Heading
from careamist.gui.forms.tabs import order_tabs
from careamist.gui.parts.device_combo import DeviceCombo
from careamist.gui.tasks import check_order, gui_threads
from careamist.gui.training.effort_row import EffortRow
from careamist.gui.training.method_row import MethodRow
from careamist.gui.training.method_settings import MethodSettings
from careamist.gui.training.order import TrainingOrder
from careamist.gui.training.part_rows import PartRows
from careamist.gui.training.target_row import TargetRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from careamist.gui.data.data_source import DataChoice
    from careamist.gui.forms.remembered import Remembered

_SAVE_MS = 400
_DEVICE, _METHOD = "device", "method"


class TrainForm(QWidget):  # type: ignore[misc, unused-ignore]
    """Describes a training.

    Parameters
    ----------
    viewer : napari.Viewer
        Its layers are offered, its view and its shapes count.
    parent : QWidget
    memory : Remembered
        What was set before.
    sample : callable
        Opens an example.

    Attributes
    ----------
    valueChanged : Signal()
        Something is described in another way now.
    """

    valueChanged = Signal()

    def __init__(
        self,
        viewer: Any,
        parent: QWidget,
        memory: Remembered,
        sample: Callable[[], object],
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._memory = memory
        self._settings = MethodSettings(memory)
        self._is_filling = False
        self._may_measure = True
        self.method = MethodRow(self)
        self.method.setKey(str(memory.get(_METHOD)))
        self.picker = DataPicker(viewer, self, inspect=inspect_path, sample=sample)
        self.target = TargetRow(viewer, self, inspect_path)
        self.part = PartRows(viewer, self)
        self.region = self.part.region
        self.effort = EffortRow(self, memory)
        self.device = DeviceCombo(self, gui_threads())
        self.device.setValue(str(memory.get(_DEVICE) or "auto"))
        self.about = AboutImage(self.picker, self)
        self.val_image = DataPicker(
            viewer,
            self,
            inspect=inspect_path,
            label="Validate on",
            preselect=False,
            ask_axes=False,
            optional=True,
        )
        self.val_target = TargetRow(viewer, self, inspect_path, label="Its target", optional=True)
        self._algorithm_forms: dict[str, ModelForm] = {}
        self._rows: tuple[QWidget, ...] = ()
        self.data_form = ModelForm(DataConfig(), self, level="advanced")
        self.training_form = ModelForm(TrainingConfig(), self)
        self._methods = QWidget(self)
        self._methods.setProperty("clear", True)
        self._method_lines = QVBoxLayout(self._methods)
        self._method_lines.setContentsMargins(0, 0, 0, 0)
        advanced = [
            self._methods,
            Heading("Training", self),
            self.training_form,
            self.data_form,
            self.val_image,
            self.val_target,
        ]
        self.advanced = Fold("Adva&nced", self, advanced)
        self._saving = QTimer(self)
        self._saving.setSingleShot(True)
        self._saving.setInterval(_SAVE_MS)
        self._saving.timeout.connect(self.save)
        self._lay_out()
        self._fill()
        self._connect()

    # -- what is described ---------------------------------------------------------------------

    @property
    def algorithm_form(self) -> ModelForm:
        """The settings of the chosen method."""
        return self._algorithm_form(self.method.key())

    def order(self) -> TrainingOrder:
        """Return what is described.

        Raises
        ------
        CareamistError
            If there is no image, or no such region of it.
        pydantic.ValidationError
            If the settings do not fit together.
        """
        image = self.picker.value()
        if image is None:
            raise CareamistError("There is no image.", "Open one or choose a file.")
        needs_target = self.method.method().needs_target
        config = self.value()
        order = TrainingOrder(
            config,
            image,
            self.target.value() if needs_target else None,
            self.val_image.value(),
            self.val_target.value() if needs_target else None,
            self.region.boxes(config.data_config.patch_size[-2:]),
            self.target.overlap() if needs_target else None,
            self.part.slices.ranges(),
        )
        name = f"{config.experiment_name} {order.region}".strip()
        return replace(order, config=config.model_copy(update={"experiment_name": name}))

    def value(self) -> Configuration:
        """Return the configuration; raises `pydantic.ValidationError` if it is not valid."""
        choice = self.picker.value()
        data = self.data_form.value().model_dump() | {
            "axes": choice.axes if choice is not None else "YX",
            "data_type": choice.data_type if choice is not None else "array",
        }
        if choice is not None and "C" in choice.axes and len(choice.shape) == len(choice.axes):
            data["channels"] = channels = self.part.channels.value()
            data["n_channels"] = len(channels or range(choice.shape[choice.axes.index("C")]))
        if self.method.method().needs_target:
            data["target_axes"] = self.target.axes()
        training = {"device": self.device.value(), "num_threads": gui_threads()}
        return Configuration(
            experiment_name=_experiment_name(choice.name if choice is not None else ""),
            algorithm_config=self.algorithm_form.value(),
            data_config=DataConfig.model_validate(data),
            training_config=self.training_form.value().model_copy(update=training),
        )

    def problem(self) -> str:
        """Return why it cannot be trained and what to do, or nothing."""
        if wrong := self.picker.problem():
            return wrong
        if self.method.method().needs_target and (wrong := self.target.problem()):
            return wrong
        for wrong in (self.val_image.problem(), self._validation_problem(), self.part.problem()):
            if wrong:
                return wrong
        try:
            order = self.order()
            check_order(order)
        except ValidationError as error:
            return explain(error)
        except CareamistError as error:
            return str(error)
        return order.problem

    def canDenoise(self) -> bool:
        """Tell whether the result can be a layer: of a folder of images it would be many."""
        image = self.picker.value()
        return image is not None and (image.layer is not None or len(image.images) < 2)

    def result_name(self) -> str:
        """Return the name of the layer that comes out, or nothing."""
        image = self.picker.value()
        if image is None or not self.canDenoise() or self.algorithm_form.errors():
            return ""
        return f"{image.name} ({self.algorithm_form.value().variant})"

    def isToldElsewhere(self) -> bool:
        """Tell whether what is wrong stands beside its field already."""
        needs_target = self.method.method().needs_target
        wrong = self.picker.problem() or (needs_target and self.target.problem())
        return bool(wrong) or self.part.isToldHere()

    # -- commands ------------------------------------------------------------------------------

    def setMethod(self, key: str) -> None:
        """Choose a method, as the user does."""
        self.method.choose(key)

    def setEffort(self, effort: str) -> None:
        """Choose an effort, as the user does."""
        self.effort.segments.setValue(effort)

    def reset(self) -> None:
        """Put the advanced settings of the method back to their defaults."""
        self._settings.reset(self.method.key())
        self._fill()
        self.save()
        self.valueChanged.emit()

    def changed(self) -> int:
        """Return how many of the advanced settings differ from their defaults."""
        forms = (self.algorithm_form, self.data_form, self.training_form)
        return sum(form.changed() for form in forms)

    def save(self) -> None:
        """Remember the settings for another day."""
        self._saving.stop()
        self._settings.save()
        self._memory.set(_METHOD, self.method.key())
        self._memory.set(_DEVICE, self.device.value())

    def setMayMeasure(self, *, on: bool) -> None:
        """Say whether the machine is free to time some steps."""
        self._may_measure = on
        self._show_effort()

    def tabStops(self) -> list[QWidget]:
        """Return the settings from top to bottom."""
        heading = (self.advanced.heading, self.advanced.reset, self._methods)
        own = (self.training_form, self.data_form, self.val_image, self.val_target)
        return [*self._rows, *heading, *own]

    # -- building ------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        device = FieldRow("&Device", self.device, self)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        rows = (self.method, self.picker, self.target, self.part, self.effort, device)
        self._rows = (*rows, self.about)
        for part in (*self._rows, self.advanced):
            lines.addWidget(part)

    def _connect(self) -> None:
        self.method.changed.connect(self._on_method)
        self.effort.changed.connect(self._on_effort)
        self.effort.timed.connect(self.valueChanged)
        self.device.currentTextChanged.connect(self._on_edit)
        self.picker.valueChanged.connect(self._on_image)
        for part in (self.target, self.part, self.val_image, self.val_target):
            part.valueChanged.connect(self._on_edit)
        for form in (self.data_form, self.training_form):
            form.valueChanged.connect(self._on_form)
        self.advanced.reset.clicked.connect(self.reset)

    def _algorithm_form(self, key: str) -> ModelForm:
        if key not in self._algorithm_forms:
            start = self._settings.defaults(key, self._image()).algorithm_config
            form = ModelForm(start, self._methods, level="advanced")
            form.valueChanged.connect(self._on_form)
            self._method_lines.addWidget(form)
            self._algorithm_forms[key] = form
            order_tabs(self.tabStops())
        return self._algorithm_forms[key]

    # -- what changes --------------------------------------------------------------------------

    def _image(self) -> DataChoice | None:
        return None if self.picker.problem() else self.picker.value()

    def _fill(self) -> None:
        """Show the settings of the method for the image, with what was changed in them."""
        key, image = self.method.key(), self._image()
        self._is_filling = True
        try:
            defaults = self._defaults = self._settings.defaults(key, image)
            config = self._settings.changed(key, defaults, image)
            self.effort.setValue(self._settings.effort(key))
            for part, form in self._forms().items():
                form.setDefaults(getattr(defaults, part))
                form.setValue(getattr(config, part))
            for other, form in self._algorithm_forms.items():
                form.setVisible(other == key)
        finally:
            self._is_filling = False
        needs_target = self.method.method().needs_target
        self.target.setVisible(needs_target)
        self.target.setImage(image)
        self.val_target.setImage(self.val_image.value())
        self.val_target.setVisible(needs_target and self.val_image.value() is not None)
        self.part.setChoice(image)
        self._show()

    def _forms(self) -> dict[str, ModelForm]:
        return {
            "algorithm_config": self.algorithm_form,
            "data_config": self.data_form,
            "training_config": self.training_form,
        }

    def _on_method(self) -> None:
        self._fill()
        self._saving.start()
        self.valueChanged.emit()

    def _on_effort(self, effort: str) -> None:
        self._settings.setEffort(self.method.key(), effort)
        self._on_method()

    def _on_image(self) -> None:
        self._fill()
        self.valueChanged.emit()

    def _on_edit(self) -> None:
        self.val_target.setImage(self.val_image.value())
        needs_target = self.method.method().needs_target
        self.val_target.setVisible(needs_target and self.val_image.value() is not None)
        self._saving.start()
        self._show()
        self.valueChanged.emit()

    def _on_form(self) -> None:
        if self._is_filling:
            return
        key = self.method.key()
        for part, form in self._forms().items():
            if not form.errors():
                self._settings.take(key, part, form.value(), self._defaults)
        self._follow_grid()
        self._saving.start()
        self._show()
        self.valueChanged.emit()

    def _follow_grid(self) -> None:
        """Keep the default patch one that fits the network."""
        key, before = self.method.key(), self._defaults.data_config
        defaults = self._settings.defaults(key, self._image())
        if defaults.data_config == before or self.data_form.errors():
            return
        if self.data_form.value().patch_size == before.patch_size:
            self._fill()

    def _show(self) -> None:
        self.advanced.setChanged(self.changed())
        forms = self._forms().values()
        valid = not any(form.errors() for form in forms)
        if valid:
            target = self.target.value() if self.method.method().needs_target else None
            self.part.showUse(
                self.data_form.value().patch_size[-2:],
                apart=self.algorithm_form.value().model.independent_channels,
                target_files=target is not None and target.layer is None,
            )
        self._show_effort()

    def _show_effort(self) -> None:
        config: Configuration | None
        try:
            config = self.value()
        except ValidationError:
            config = None
        may_measure = self._may_measure and self._image() is not None
        self.effort.setConfig(config, self.device.currentText(), may_measure=may_measure)

    def _validation_problem(self) -> str:
        if self.val_image.value() is None:
            return ""
        if not self.method.method().needs_target:
            return ""
        if self.val_target.value() is None:
            return "Validation needs a target too. Choose one in Advanced."
        return self.val_target.problem()


def _experiment_name(name: str) -> str:
    stem = name.rsplit(".", 1)[0] if "." in name else name
    kept = "".join(c if c.isalpha() or c.isdecimal() or c in "-_ " else "_" for c in stem)
    return kept.strip() or "careamist"
