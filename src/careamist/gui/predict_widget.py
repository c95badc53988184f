"""The Predict dock: apply a model to an image and watch it being restored."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from qtpy.QtWidgets import QFileDialog

from careamist.events import Event, ImageStarted, Noticed, RegionPredicted, RunFailed
from careamist.gui.about import AboutImage
from careamist.gui.card import Card
from careamist.gui.data_picker import DataPicker
from careamist.gui.jobs import BUSY
from careamist.gui.live_layer import LiveLayer
from careamist.gui.notes import Notices
from careamist.gui.panel import Panel
from careamist.gui.path_info import inspect_path
from careamist.gui.rows import hint_label
from careamist.gui.tasks import (
    layer_options,
    load_model,
    models_folder,
    prediction_job,
)
from careamist.prediction.sinks import ArraySink

if TYPE_CHECKING:
    import napari

    from careamist.gui.data_source import DataChoice


class PredictWidget(Panel):
    """Applies the model trained last, or a loaded one, to a layer or to files.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered and which gets the results.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer, "predict")
        self.model_card = Card(self, "&Load…")
        self.model_card.button.setAccessibleName("Load a model")
        self.model_card.button.setToolTip("Choose a model file (.ckpt).")
        self.model_card.button.clicked.connect(lambda: self.choose_model())
        self.picker = DataPicker(napari_viewer, self, inspect=inspect_path)
        self.about = AboutImage(self.picker, self)
        self.notices = Notices(self)
        self.fit = hint_label("", self)
        self.predict_button = self.button("&Denoise", self.predict, primary=True)
        for part in (self.model_card, self.picker, self.fit, self.about, self.notices):
            self.form.addWidget(part)
        self.form.addStretch(1)
        self._sink: ArraySink | None = None
        self._choice: DataChoice | None = None
        self._live: dict[int, LiveLayer] = {}
        self.picker.valueChanged.connect(self._on_edit)
        self.attach()

    # -- commands ------------------------------------------------------------------------------

    def predict(self) -> None:
        """Denoise what is chosen into a new layer."""
        choice = self.picker.value()
        if self.problem() or choice is None:
            return
        self.message.clear()
        self.notices.clear()
        self._choice, self._sink, self._live = choice, ArraySink(), {}
        job = prediction_job(self.jobs.model, choice, self._sink)
        self.jobs.start("predict", f"Denoise {choice.name}", job)

    def choose_model(self) -> None:
        """Ask for a checkpoint and load it."""
        folder = str(models_folder())
        path, _ = QFileDialog.getOpenFileName(self, "Choose a model", folder, "Models (*.ckpt)")
        if path:
            self.load(path)

    def load(self, path: str | Path) -> None:
        """Load a checkpoint in the background and offer it as the model."""
        self.message.clear()
        self.model_card.setWords("Loading…", str(path))
        worker = create_worker(load_model, str(path))
        worker.returned.connect(self._on_loaded)
        worker.start()

    def problem(self) -> str:
        """Return why nothing can be predicted and what to do, or nothing."""
        if self.jobs.is_busy:
            return f"“{self.jobs.label}” is running."
        if self.jobs.model is None:
            return "There is no model yet. Train one or load one."
        if wrong := self.picker.problem():
            return wrong
        choice = self.picker.value()
        dims = self.jobs.model.config.data_config.dims
        if choice is not None and len(choice.sizes) != dims:
            return (
                f"The model works on {dims}D images, but axes {choice.axes} are "
                f"{len(choice.sizes)}D. Change the axes or the model."
            )
        expected = self.jobs.model.config.data_config.n_channels or 1
        if choice is not None:
            there = choice.shape[choice.axes.index("C")] if "C" in choice.axes else 1
            if there != expected:
                return (
                    f"The model works on {_count(expected, 'channel')}, the image has {there}. "
                    "Choose an image with as many, or split it into its channels."
                )
        return ""

    # -- what the state shows ------------------------------------------------------------------

    def _show(self) -> None:
        state = self.state
        busy = state in BUSY
        self._show_model()
        for part in (self.model_card, self.picker):
            part.setEnabled(not busy)
        wrong = self.problem()
        self.footer.setButtons([self.predict_button, self.cancel_button])
        self.cancel_button.setEnabled(state in ("starting", "running"))
        self.predict_button.setEnabled(not wrong)
        self.predict_button.setToolTip(wrong or "Restore this image into a new layer.")
        if busy:
            if state != "running":
                self.footer.setBusy("Starting…" if state == "starting" else "Stopping…")
            return
        needs_words = self.jobs.model is not None and not self.picker.problem()
        self.showProblem(wrong if needs_words else "")
        text, sign = wrong or "Ready to denoise.", "info" if wrong else ""
        if state == "finished" and not wrong:
            text, sign = "Done. The result is a new layer.", "done"
        elif state == "stopped" and not wrong:
            text, sign = "Stopped. Finished tiles are in the layer.", "done"
        self.footer.setIdle(text, sign)

    def _show_model(self) -> None:
        model = self.jobs.model
        if model is None:
            self.model_card.setWords("No model", "Train one, or load one.")
        else:
            config = model.config
            self.model_card.setWords(
                config.experiment_name,
                f"{config.algorithm_config.short_name} · {config.data_config.dims}D · "
                f"{model.steps_done} steps",
            )
            self.model_card.setToolTip(config.describe())
        choice = self.picker.value()
        words = ""
        if model is not None and choice is not None and not self.picker.problem():
            words = _how_axes_apply(model.config.data_config.dims, choice)
        self.fit.setText(words)
        self.fit.setVisible(bool(words))

    def _follow(self, event: Event) -> None:
        if isinstance(event, ImageStarted):
            self._add_layer(event)
        elif isinstance(event, RegionPredicted):
            if event.index in self._live:
                self._live[event.index].touch()
            if self.state != "stopping":
                self.footer.setText(f"Tile {event.done} of {event.total}")
                self.footer.setProgress(event.done, event.total)
        elif isinstance(event, Noticed):
            self.notices.add(event.message)
        elif isinstance(event, RunFailed):
            self.showFailure(event)

    def _on_state(self) -> None:
        if self.state not in BUSY:
            for live in self._live.values():
                live.finish()
            self._live = {}
        super()._on_state()

    def _add_layer(self, event: ImageStarted) -> None:
        choice, sink = self._choice, self._sink
        if choice is None or sink is None:  # a run that another dock started
            return
        name = choice.name if choice.layer is not None else Path(event.source).name
        config = self.jobs.model.config
        metadata = {
            "careamist": {
                "source": choice.name if choice.layer is not None else event.source,
                "axes": event.axes,
                "configuration": config.model_dump(mode="json"),
                "steps": self.jobs.model.steps_done,
                "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            }
        }
        options = layer_options(choice, event.source, event.axes)
        live = LiveLayer(
            self.viewer,
            sink.view(event.index),
            f"{name} ({config.algorithm_config.short_name})",
            choice.layer,
            metadata,
            **({} if choice.level else options),
        )
        if choice.level:  # it is not as large as the layer it is made from
            live.layer.scale, live.layer.translate = options["scale"], options["translate"]
        self._live[event.index] = live

    def _on_edit(self) -> None:
        self.message.clear()
        if self.picker.value() != self._choice:  # a result among the layers is no edit
            self.jobs.forget("predict")
        self.refresh()

    def _on_loaded(self, loaded: Any) -> None:
        model, message, hint = loaded
        if model is None:
            self.message.show_message("error", message, hint)
            self.refresh()
        else:
            self.jobs.setModel(model)


def _how_axes_apply(dims: int, choice: DataChoice) -> str:
    """Say in words how a model goes over the axes of an image."""
    words = {"T": "time point", "S": "sample"}
    others = [
        _count(n, words[axis])
        for axis, n in zip(choice.array_axes, choice.shape, strict=True)
        if axis in words
    ]
    works_on = "ZYX" if dims == 3 else "YX"
    if not others:
        return ""
    return f"The model works on {works_on}: each of the {' × '.join(others)} is denoised alone."


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"
