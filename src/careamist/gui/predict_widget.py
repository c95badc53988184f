"""The Predict dock: apply a model to an image and watch it being restored, or to many files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog

from careamist.errors import DiskFullError, OutputExistsError, SomeFailedError
from careamist.events import Event, ImageFailed, RegionPredicted, RunFailed, RunStarted
from careamist.gui import tasks
from careamist.gui.data.data_source import clean_path
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.forms.remembered import Remembered
from careamist.gui.forms.tabs import order_tabs
from careamist.gui.jobs import BUSY
from careamist.gui.models.copy_job import Job, repeated
from careamist.gui.models.repeat import Repeat
from careamist.gui.panel import Panel, copy_text
from careamist.gui.parts.speed import exactly
from careamist.gui.predicting.last_model import load
from careamist.gui.predicting.predict_files import open_result
from careamist.gui.predicting.predict_form import PredictForm
from careamist.gui.predicting.predict_model import ModelCardBox
from careamist.gui.predicting.predict_page import PredictPage
from careamist.gui.predicting.results import Results, start_prediction
from careamist.gui.training.follow_ups import open_dock

if TYPE_CHECKING:
    import napari
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QMenu

    from careamist.gui.jobs import RunRecord
    from careamist.gui.predicting.predict_order import PredictionOrder

SUFFIX = ".ckpt"
NO_MODEL = "There is no model yet. Train one or load one."


class PredictWidget(Panel):
    """Applies the model trained last, or a loaded one, to a layer or to files.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered and which gets the results.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer, "predict")
        self.setAcceptDrops(True)
        self.memory = Remembered()
        self.model_card = ModelCardBox(self, self.load, self.choose_model)
        self.settings = PredictForm(napari_viewer, self, self.memory)
        self.run = PredictPage(self, self.retry)
        self.repeat = Repeat(self, self._order, self.tell)
        self._loader, self._opener = Latest(self), Latest(self)
        self._loader.answered.connect(self._on_loaded)
        self._opener.answered.connect(self._on_opened)
        self._shown: Any = None  # the record whose run is on the page
        self._told: Any = None  # the record whose end was told in the form
        self._build_buttons()
        self.form.addWidget(self.model_card)
        self.form.addWidget(self.settings)
        self.form.addStretch(1)
        self.page.addWidget(self.run, 1)
        self.settings.valueChanged.connect(self._on_edit)
        pages = [self.model_card, self.message, *self.settings.tabStops(), self.question, self.run]
        begin = [self.predict_button, self.pause_button, self.resume_button, self.cancel_button]
        end = [self.folder_button, self.open_button, self.back_button]
        order_tabs([*pages, self.more_button, *begin, *end])
        self.attach()

    def _build_buttons(self) -> None:
        self.predict_button = self.button("&Denoise", self.predict, primary=True)
        self.pause_button.setToolTip("Pause after this tile. Resume at any time.")
        self.folder_button = self.button("&Open folder", self.run.openFolder, primary=True)
        self.folder_button.setToolTip("Open the folder of the results.")
        self.open_button = self.button("Open in v&iewer", self.open_results)
        self.open_button.setToolTip("Show the results as layers.")
        self.back_button = self.button("&Back", self.new_prediction)
        self.back_button.setToolTip("Back to the settings of this run")

    # -- commands: everything a click does can be called -----------------------------------------

    def predict(self) -> None:
        """Denoise what is described, into a new layer or into files."""
        if not self.problem():
            self._start(self.settings.order())

    def retry(self) -> None:
        """Try the files again that have failed, or were not reached."""
        results, left = self._results(), self.run.failed()
        if results is not None and left and not self.jobs.is_busy:
            order = dataclasses.replace(results.order, only=tuple(left))
            self._start(order, model=results.model)

    def choose_model(self) -> None:
        """Ask for a checkpoint and load it."""
        folder = str(tasks.models_folder())
        path, _ = QFileDialog.getOpenFileName(self, "Choose a model", folder, "Models (*.ckpt)")
        if path:
            self.load(path)

    def load(self, path: str | Path) -> None:
        """Load a checkpoint, or the model in a folder, and offer it as the model."""
        self.message.clear()
        self.model_card.showLoading(str(path))
        self._loader.ask(lambda _: load(str(path)))

    def new_prediction(self) -> None:
        """Go back to the settings."""
        self.jobs.forget("predict")

    def open_results(self) -> None:
        """Show the files that are complete as layers."""
        paths = self.run.written()
        self._opener.ask(lambda check: _open(paths, check))

    def problem(self) -> str:
        """Return why nothing can be predicted and what to do, or nothing."""
        if self.jobs.is_busy:
            return f"“{self.jobs.label}” is running."
        if self.jobs.model is None:
            return NO_MODEL
        return self.settings.problem()

    # -- short names -----------------------------------------------------------------------------

    @property
    def picker(self) -> Any:
        """Chooses the image."""
        return self.settings.picker

    @property
    def about(self) -> Any:
        """Tells what the image is."""
        return self.settings.about

    @property
    def notices(self) -> Any:
        """What the run has noticed."""
        return self.run.notices

    # -- what the state shows ----------------------------------------------------------------------

    def _show(self) -> None:
        state, results = self.state, self._results()
        self.model_card.showModel(self.jobs.model)
        self.settings.setModel(self.jobs.model)
        of_files = results is not None and results.order.output == "files"
        failed = results is not None and isinstance(results.error, SomeFailedError)
        ended = of_files and (state in ("finished", "stopped") or (state == "failed" and failed))
        self.showPage(running=state in BUSY or ended)
        wrong = self.problem()
        self.predict_button.setEnabled(not wrong)
        self.predict_button.setToolTip(wrong or self._what_happens())
        self.pause_button.setEnabled(state == "running")
        self.cancel_button.setEnabled(state in ("starting", "running", "paused"))
        in_layer = "Finished tiles stay in the layer."
        self.cancel_button.setToolTip(
            f"Stop now. {'Finished files stay.' if of_files else in_layer}"
        )
        if state in BUSY:
            self._show_busy(state)
        elif ended:
            self._show_files(state)
        else:
            self._show_form(state, wrong, results)

    def _show_busy(self, state: str) -> None:
        if state == "paused":
            self.footer.setButtons([self.resume_button, self.cancel_button])
            self.footer.setText("Paused.")
            return
        self.footer.setButtons([self.pause_button, self.cancel_button])
        if state != "running":
            self.footer.setBusy("Starting…" if state == "starting" else "Stopping…")

    def _show_form(self, state: str, wrong: str, results: Results | None) -> None:
        self.footer.setButtons([self.predict_button])
        is_quiet = self.jobs.is_busy or self.picker.isReading() or self.picker.isAxesOpen()
        told = wrong != NO_MODEL and not self.picker.problem() and not is_quiet
        if self.message.kind() in ("", "warning"):
            self.showProblem(wrong if told else "")
        text, sign = wrong or self._what_happens(), "info" if wrong else ""
        if results is not None and results.order.output != self.settings.output.value():
            state = "ready"  # what is chosen now is another run
        if state == "finished" and not wrong:
            text, sign = "Done. The result is a new layer.", "done"
        elif state == "stopped" and not wrong:
            text, sign = "Stopped. Finished tiles stay in the layer.", "done"
            if results is not None and not results.layers:
                text, sign = "Stopped: nothing was denoised.", "info"
        self.footer.setIdle(text, sign)
        record = self.jobs.record("predict")
        if state == "finished" and record is not self._told and results is not None:
            self._told = record
            self._show_result(record, results)

    def _show_files(self, state: str) -> None:
        files = self.run.files.files
        buttons = [self.folder_button, self.open_button, self.back_button]
        self.footer.setButtons(buttons)
        self.open_button.setEnabled(bool(self.run.written()))
        record = self.jobs.record("predict")
        took = f" in {exactly(record.seconds)}" if record is not None else ""
        words = {"finished": f"Done{took}: ", "stopped": "Stopped: ", "failed": f"Ended{took}: "}
        signs = {"finished": "done", "stopped": "info", "failed": "error"}
        self.footer.setIdle(f"{words[state]}{files.summary()}", signs[state])

    def _show_result(self, record: Any, results: Results) -> None:
        """Say in the form what came out, and what can be done with it."""
        names = ", ".join(f"“{layer.name}”" for layer in results.layers)
        acts: list[tuple[str, Callable[[], object]]] = []
        layer = results.order.choice.layer
        if layer is not None and results.layers:
            restored = results.layers[0]
            acts.append(("Compare", lambda: self._compare(layer, restored)))
        if results.folder is not None:
            acts.append(("Show folder", self.run.openFolder))
        where = f" Kept in {results.folder}." if results.folder is not None else ""
        text = f"Denoised in {exactly(record.seconds)}.{where}"
        self.message.show_message("info", names, text, acts)

    def _what_happens(self) -> str:
        if self.settings.output.value() == "files":
            folder = self.settings.folder.value()
            return f"Writes to “{folder.name}”" if folder is not None else "Ready to denoise."
        name = str(self.settings.name.text()).strip()
        return f"Makes “{name}”" if name else "Ready to denoise."

    def _compare(self, raw: Any, restored: Any) -> None:
        open_dock(self.viewer, "Compare").compare(raw, restored)

    def fillMenu(self, menu: QMenu) -> None:
        """Offer the last run as text."""
        self.repeat.fill(menu)
        menu.addSeparator()
        super().fillMenu(menu)

    def _order(self) -> Callable[[], Job] | None:
        """Return what makes the job of the last run, if that has come to its end."""
        results = self._results()
        return None if results is None or self.state != "finished" else lambda: repeated(results)

    # -- what is told ------------------------------------------------------------------------------

    def _follow(self, event: Event) -> None:
        record = self.jobs.record("predict")
        if record is not None and self._shown is not record:
            results = self._results()
            again = bool(results is not None and results.order.only)
            self._shown = record
            self.run.begin(results, again=again)
        self.run.follow(event)
        if isinstance(event, RegionPredicted):
            if self.state in ("running", "paused"):
                words = f"Tile {event.done} of {event.total}"
                slices = self.run.slices()
                self.footer.setText(f"{words} · {slices}" if slices else words)
                self.footer.setProgress(event.done, event.total)
        elif isinstance(event, RunStarted):
            self.footer.setText("Denoising…")
        elif isinstance(event, ImageFailed):
            self.footer.setText(f"{Path(event.source).name} failed. Going on.")
        elif isinstance(event, RunFailed):
            self.showFailure(event)

    def showFailure(self, event: RunFailed) -> None:
        """Say once what went wrong, with what repairs it."""
        self.markShown()
        results = self._results()
        error = results.error if results is not None else None
        if isinstance(error, SomeFailedError):
            return  # each file says it
        if isinstance(error, OutputExistsError) and results is not None:
            answers = [("Skip", lambda: self._again("skip"))]
            answers.append(("Replace", lambda: self._again("replace")))
            there = f"{results.folder}/"
            words = error.message.replace(there, "").replace(str(results.folder), "")
            where = f"In {results.folder}. Nothing has been written yet."
            self.message.show_message("question", words, where, answers)
            return
        repairs: list[tuple[str, Callable[[], object]]] = []
        if isinstance(error, DiskFullError):
            repairs.append(("Choose another folder…", self.settings.folder.choose))
        elif "memory" in event.message:
            repairs.append(("Use smaller tiles", self._use_smaller_tiles))
        if event.traceback:
            repairs.append(("Copy details", lambda: copy_text(event.traceback)))
        self.message.show_message("error", event.message, event.hint, repairs)

    def _results(self) -> Results | None:
        record: RunRecord | None = self.jobs.record("predict")
        order = record.order if record is not None else None
        return order if isinstance(order, Results) else None

    # -- starting ----------------------------------------------------------------------------------

    def _start(self, order: PredictionOrder, model: Any = None) -> None:
        self.message.clear()
        self.settings.save()
        start_prediction(self.viewer, self.jobs, model or self.jobs.model, order)

    def _again(self, overwrite: Any) -> None:
        results = self._results()
        if results is not None and not self.jobs.is_busy:
            order = dataclasses.replace(results.order, overwrite=overwrite)
            self._start(order, model=results.model)

    def _use_smaller_tiles(self) -> None:
        self.settings.smallerTiles()
        self.message.clear()
        self.refresh()

    def _on_edit(self) -> None:
        self.message.clear()
        results = self._results()
        choice = self.picker.value()
        if (
            results is None or choice != results.order.choice
        ):  # a result among the layers is no edit
            self.jobs.forget("predict")
        self.refresh()

    def _on_loaded(self, answer: Answer) -> None:
        model, message, hint = answer.result or (None, answer.problem, "")
        if model is None:
            self.message.show_message("error", message, hint)
            self.refresh()
        elif not self.jobs.is_busy:
            self.jobs.setModel(model)

    def _on_opened(self, answer: Answer) -> None:
        if answer.problem:
            self.run.notices.add(answer.problem)
        for levels, options in answer.result or ():
            self.viewer.add_image(levels, **options)

    # -- drops -------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take model files; images are for the picker."""
        if _dropped(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Load a model."""
        if not self.jobs.is_busy:
            self.load(_dropped(event)[0])
            event.acceptProposedAction()


def _open(paths: list[Path], check: Callable[[], None]) -> list[Any]:
    opened = []
    for path in paths:
        check()
        opened.append(open_result(path))
    return opened


def _dropped(event: Any) -> list[str]:
    if not event.mimeData().hasUrls():
        return []
    paths = [clean_path(url.toString()) for url in event.mimeData().urls()]
    return [path for path in paths if path.lower().endswith(SUFFIX)]
