"""The Train dock: choose an image, press one button, watch the loss."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from qtpy.QtWidgets import QLabel

from careamist.config import N2V, Configuration, DataConfig, TrainingConfig, explain
from careamist.config.factories import fitting_patch
from careamist.errors import CareamistError
from careamist.events import EpochDone, Event, Noticed, RunFailed, RunStarted, StepDone
from careamist.gui.about import AboutImage
from careamist.gui.card import Card
from careamist.gui.data_picker import DataPicker
from careamist.gui.device_combo import DeviceCombo
from careamist.gui.fold import Fold
from careamist.gui.form import ModelForm
from careamist.gui.jobs import BUSY
from careamist.gui.notes import Notices
from careamist.gui.panel import Panel, set_role
from careamist.gui.path_info import inspect_path
from careamist.gui.progress import LossPlot
from careamist.gui.rows import FieldRow
from careamist.gui.sample_data import noisy_cells
from careamist.gui.tasks import check_choice, gui_threads, training_job

if TYPE_CHECKING:
    import napari


class TrainWidget(Panel):
    """Trains a model on a layer or on files.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer, "train")
        self.picker = DataPicker(
            napari_viewer, self, inspect=inspect_path, sample=lambda: _open_sample(napari_viewer)
        )
        self.about = AboutImage(self.picker, self)
        self.notices = Notices(self)
        self.steps = ModelForm(TrainingConfig(), self, level="simple")
        self.device = DeviceCombo(self)
        self.algorithm_form = ModelForm(N2V(), self, level="advanced")
        self.data_form = ModelForm(DataConfig(), self, level="advanced")
        self.training_form = ModelForm(TrainingConfig(), self, level="advanced")
        self.advanced = Fold("Ad&vanced", self, self._forms())
        self.summary = Card(self, "&Settings")
        self.summary.button.setToolTip("Back to the settings, for a new training.")
        self.summary.button.setAccessibleName("Back to the settings")
        self.summary.button.clicked.connect(lambda: self.jobs.forget("train"))
        self.plot = LossPlot(self)
        self.train_button = self.button("&Train", self.train, primary=True)
        self.apply_button = self.button("&Denoise…", self.open_predict, primary=True)
        self.apply_button.setToolTip("Apply this model to an image, in the Predict dock.")
        self._started, self._seconds = 0.0, 0.0
        self._fill()
        self.picker.valueChanged.connect(self._on_edit)
        for form in (self.steps, *self._forms()):
            form.valueChanged.connect(self._on_edit)
        self._suggest_patch()
        self.attach()

    # -- commands: everything a click does can be called -----------------------------------------

    def train(self) -> None:
        """Start training on what is chosen."""
        choice = self.picker.value()
        if self.problem() or choice is None:
            return
        self.message.clear()
        self.notices.clear()
        self.plot.clear()
        self.jobs.start("train", f"Train on {choice.name}", training_job(self.value(), choice))

    def open_predict(self) -> None:
        """Open the Predict dock, or bring it to the front."""
        docked = self.viewer.window.dock_widgets.get("Predict (careamist)")
        if docked is not None:
            docked.parent().show()
            docked.parent().raise_()
        else:
            self.viewer.window.add_plugin_dock_widget("careamist", "Predict", tabify=True)

    def value(self) -> Configuration:
        """Return the configuration that the form describes; raises if it is not valid."""
        choice = self.picker.value()
        axes = choice.axes if choice is not None else "YX"
        data = self.data_form.value().model_dump() | {
            "axes": axes,
            "data_type": choice.data_type if choice is not None else "array",
        }
        training = self.training_form.value().model_copy(
            update={
                "num_steps": self.steps.value().num_steps,
                "device": self.device.value(),
                "num_threads": gui_threads(),
            }
        )
        return Configuration(
            experiment_name=_experiment_name(choice.name if choice is not None else ""),
            algorithm_config=self.algorithm_form.value(),
            data_config=DataConfig.model_validate(data),
            training_config=training,
        )

    def problem(self) -> str:
        """Return why training cannot start and what to do, or nothing."""
        if self.jobs.is_busy:
            return f"“{self.jobs.label}” is running."
        if wrong := self.picker.problem():
            return wrong
        choice = self.picker.value()
        try:
            if choice is not None:
                check_choice(self.value(), choice)
        except ValidationError as error:
            return explain(error)
        except CareamistError as error:
            return str(error)
        return ""

    # -- what the state shows ----------------------------------------------------------------------

    def _show(self) -> None:
        state = self.state
        self.showPage(running=state not in ("ready", "failed"))
        busy = state in BUSY
        self.summary.button.setVisible(not busy)
        self.cancel_button.setEnabled(state in ("starting", "running"))
        wrong = self.problem()
        self.train_button.setEnabled(not wrong)
        self.train_button.setToolTip(wrong or "Train a new model on this image.")
        ended = state in ("finished", "stopped")
        set_role(self.train_button, "footer" if ended else "primary")  # one accent at a time
        self.footer.setButtons(
            [*([self.apply_button] if ended else []), self.train_button, self.cancel_button]
        )
        if ended:
            self._show_end(state)
        elif not busy:
            self.footer.setIdle(wrong or "Ready to train.", "info" if wrong else "")
            self.showProblem("" if self.picker.problem() else wrong)
        elif state == "starting":
            self.summary.setWords(self._label(), "Loading…")
            self.footer.setBusy("Starting…")
        elif state == "stopping":
            self.footer.setBusy("Stopping after this step…")

    def _show_end(self, state: str) -> None:
        record = self.jobs.record("train")
        steps = [e for e in record.events if isinstance(e, StepDone)] if record else []
        done, total = (steps[-1].done, steps[-1].total) if steps else (0, 1)
        usable = self.jobs.model is not None and done > 0
        kept = "the model is kept" if usable else "nothing was trained"
        words = f"Trained {done} steps." if state == "finished" else f"Stopped: {kept}."
        self.footer.setText(words, "done" if usable else "info")
        self.footer.setProgress(done, total)
        self.footer.setDetail(f"{self._seconds:.0f} s")
        self.apply_button.setEnabled(usable)

    def _follow(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._started = time.monotonic()
            self.plot.setTotal(event.total)
            self.summary.setWords(
                self._label(),
                f"{event.total} steps · {event.resolved['device']}",
            )
        elif isinstance(event, StepDone):
            if event.loss is not None:
                self.plot.addStep(event.done, event.loss)
            self._seconds = time.monotonic() - self._started
            if self.state != "stopping":
                self.footer.setText(f"Step {event.done} of {event.total}")
                self.footer.setProgress(event.done, event.total)
        elif isinstance(event, EpochDone) and "val_loss" in event.metrics:
            self.plot.addValidation(event.step, event.metrics["val_loss"])
        elif isinstance(event, Noticed):
            self.notices.add(event.message)
        elif isinstance(event, RunFailed):
            self.showFailure(event)

    def _label(self) -> str:
        record = self.jobs.record("train")
        return record.label if record is not None else ""

    # -- the form ------------------------------------------------------------------------------

    def _forms(self) -> tuple[ModelForm, ...]:
        return self.algorithm_form, self.data_form, self.training_form

    def _fill(self) -> None:
        method = FieldRow("Method", QLabel("Noise2Void"), self)
        method.setHint("Noisy images only.")
        device = FieldRow("&Device", self.device, self)
        for part in (method, self.picker, self.about, self.steps, device, self.advanced):
            self.form.addWidget(part)
        self.form.addStretch(1)
        self.page.addWidget(self.summary)
        self.page.addWidget(self.notices)
        self.page.addWidget(self.plot, 10)
        self.page.addStretch(1)

    def _on_edit(self) -> None:
        if self.sender() is self.picker:
            self._suggest_patch()
        self.message.clear()
        self.refresh()

    def _suggest_patch(self) -> None:
        """Offer a patch with as many axes as the image, and no larger than it."""
        choice = self.picker.value()
        if choice is None or self.picker.problem():
            return
        sizes = choice.sizes
        if self.algorithm_form.errors() or self.data_form.errors():
            return  # what is wrong there stands there
        grid = self.algorithm_form.value().model.grid_for(len(sizes))
        patch = fitting_patch(sizes, grid)
        current = self.data_form.value()
        too_small = any(n < size for n, size in zip(sizes, patch, strict=True))
        if not too_small and patch != current.patch_size:
            fitting = {"axes": choice.array_axes, "patch_size": patch}
            self.data_form.setValue(DataConfig.model_validate(current.model_dump() | fitting))


def _experiment_name(name: str) -> str:
    stem = name.rsplit(".", 1)[0] if "." in name else name
    kept = "".join(c if c.isalpha() or c.isdecimal() or c in "-_ " else "_" for c in stem)
    return kept.strip() or "careamist"


def _open_sample(viewer: Any) -> None:
    for data, looks, _ in noisy_cells():
        viewer.add_image(data, **looks)
