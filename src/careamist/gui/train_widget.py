"""The Train dock: choose an image, press one button, get it denoised."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from careamist.errors import SettingsError
from careamist.events import (
    EpochDone,
    Event,
    Noticed,
    RegionPredicted,
    RunFailed,
    RunStarted,
    StepDone,
)
from careamist.gui.forms.remembered import Remembered
from careamist.gui.forms.tabs import order_tabs
from careamist.gui.jobs import BUSY
from careamist.gui.panel import Panel, split_arrow
from careamist.gui.parts import speed
from careamist.gui.sample_data import noisy_cells
from careamist.gui.training.chain import Chain
from careamist.gui.training.follow_ups import acts_after, open_dock
from careamist.gui.training.load_settings import add_menu, load_settings, results_in
from careamist.gui.training.resume_offer import ResumeOffer
from careamist.gui.training.run_page import RunPage
from careamist.gui.training.train_form import TrainForm

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QMenu

    from careamist.gui.jobs import RunRecord
    from careamist.gui.parts.card import Card
    from careamist.gui.training.order import TrainingOrder


class TrainWidget(Panel):
    """Trains a model on a layer or on files, and denoises them with it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered, and which gets the results.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer, "train")
        self.memory = Remembered()
        self.chain = Chain(napari_viewer, self.jobs, self.memory)
        self.settings = TrainForm(
            napari_viewer, self, self.memory, lambda: _open_sample(napari_viewer)
        )
        self.offer = ResumeOffer(self, napari_viewer, self.settings, self.memory, self._resume)
        self.run = RunPage(self, napari_viewer)
        self._build_buttons()
        self.form.addWidget(self.offer)
        self.form.addWidget(self.settings)
        self.form.addStretch(1)
        self.page.addWidget(self.run, 1)
        self.settings.valueChanged.connect(self._on_edit)
        pages = [self.message, self.offer, *self.settings.tabStops(), self.question, self.run]
        begin = [self.train_button, self.arrow_button, self.pause_button, self.resume_button]
        end = [self.finish_button, self.use_button, self.save_button, self.continue_button]
        order_tabs([*pages, self.more_button, *begin, *end, self.cancel_button])
        self.attach()

    def _build_buttons(self) -> None:
        self.train_button = self.button("&Train && denoise", self.train_and_denoise, primary=True)
        self.train_button.setAccessibleName("Train & denoise")
        self.arrow_button = split_arrow(self, {"Train &only": self.train})
        self.finish_button = self.button("Fi&nish here", self.finish)
        self.finish_button.setToolTip("End the training now and go on with the model so far.")
        self.use_button = self.button("&Use this model", self.denoise, primary=True)
        self.use_button.setToolTip("Denoise the image with the model so far.")
        self.continue_button = self.button("C&ontinue", self.continue_training)
        self.save_button = self.button("&Save model…", self.save_model, primary=True)
        self.save_button.setToolTip("Keep the model in a file of your own.")

    # -- commands: everything a click does can be called -----------------------------------------

    def train_and_denoise(self) -> None:
        """Train on what is described, and denoise the image when that has ended."""
        self._train(denoise=True)

    def train(self) -> None:
        """Train on what is described, and leave it at that."""
        self._train(denoise=False)

    def denoise(self) -> None:
        """Denoise the image with the model of the last training."""
        if (record := self._usable()) is not None and not self.jobs.is_busy:
            self.chain.denoise(record)

    def finish(self) -> None:
        """End the training here, and go on with the model so far."""
        self.jobs.finish()

    def continue_training(self) -> None:
        """Train on from where the last training has ended."""
        if (record := self._usable()) is not None and not self.jobs.is_busy:
            self.run.notices.clear()
            self.chain.train_on(record)

    def resume_last(self) -> None:
        """Go on with the training that was cut short when napari was last closed."""
        if not self.jobs.is_busy:
            self.offer.resume()

    def new_training(self) -> None:
        """Go back to the settings, for another model."""
        self.jobs.forget("train")

    def save_model(self) -> None:
        """Ask for a file name and keep the model there."""
        if (record := self._usable()) is not None and (path := self.run.save(record)):
            self.footer.setText(f"Saved as {path.name}.", "done")

    def load_settings(self, layer: Any = None) -> None:
        """Go back to the settings, those that a layer was made with.

        Of the selected layer, or else of the topmost result, where none is given.
        """
        if self.jobs.is_busy:
            return
        layer = layer or next(iter(results_in(self.viewer)), None)
        self.new_training()
        try:
            load_settings(self.settings, layer)
        except SettingsError as error:
            self.message.show_message("error", error.message, error.hint)
        else:
            self.message.show_message("info", f"These are the settings of “{layer.name}”.")

    def value(self) -> Any:
        """Return the configuration that the form describes; raises if it is not valid."""
        return self.settings.value()

    def problem(self) -> str:
        """Return why training cannot start and what to do, or nothing."""
        if self.jobs.is_busy:
            return f"“{self.jobs.label}” is running."
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
    def advanced(self) -> Any:
        """Holds the advanced settings."""
        return self.settings.advanced

    @property
    def algorithm_form(self) -> Any:
        """The settings of the chosen method."""
        return self.settings.algorithm_form

    @property
    def data_form(self) -> Any:
        """The settings of the patches."""
        return self.settings.data_form

    @property
    def training_form(self) -> Any:
        """The settings of the training."""
        return self.settings.training_form

    @property
    def plot(self) -> Any:
        """The loss curve."""
        return self.run.plot

    @property
    def notices(self) -> Any:
        """What the run has noticed."""
        return self.run.notices

    @property
    def summary(self) -> Card:
        """What is trained, in two lines."""
        return self.run.summary

    # -- what the state shows ----------------------------------------------------------------------

    def _show(self) -> None:
        state = self.state
        denoising = self.chain.denoising(self.jobs.record("train"))
        steps = self.run.steps(self.jobs.record("train"))
        nothing = state == "stopped" and not steps
        on_form = state in ("ready", "failed") or nothing
        self.showPage(running=not on_form)
        wrong = self.problem()
        for button in (self.train_button, self.arrow_button):
            button.setEnabled(not wrong)
            button.setToolTip(wrong)
        if not wrong:
            self.train_button.setToolTip("Train a new model on this image, then denoise it.")
            self.arrow_button.setToolTip("More ways to begin.")
        self.settings.setMayMeasure(on=on_form and not self.jobs.is_busy)
        self.pause_button.setEnabled(state == "running")
        self.cancel_button.setEnabled(state in ("starting", "running", "paused"))
        if on_form:
            self._show_form(wrong, nothing=nothing)
        elif state in BUSY:
            self._show_busy(state, denoising=False)
        elif denoising is not None and denoising.state in BUSY:
            self.pause_button.setEnabled(denoising.state == "running")
            self.cancel_button.setEnabled(denoising.state != "stopping")
            self._show_busy(denoising.state, denoising=True)
        else:
            self._show_end(denoising)

    def _show_form(self, wrong: str, *, nothing: bool) -> None:
        self.footer.setButtons([self.train_button, self.arrow_button])
        name = self.settings.result_name()
        text, sign = wrong or (f"Makes “{name}”" if name else "Ready to train."), ""
        if nothing and not wrong:
            text, sign = "Stopped: nothing was trained.", "info"
        self.footer.setIdle(text, "info" if wrong else sign)
        if not wrong and (seconds := self.settings.effort.seconds()) is not None:
            self.footer.setDetail(f"about {speed.duration(seconds)}")
        self.showProblem("" if self.settings.isToldElsewhere() else wrong)

    def _show_busy(self, state: str, *, denoising: bool) -> None:
        self.run.showBusy(self.jobs.record("train"))
        if state == "paused":
            finish = [] if denoising else [self.finish_button]
            self.footer.setButtons([self.resume_button, *finish, self.cancel_button])
            steps = self.run.steps(self.jobs.record("train"))
            self.footer.setText("Paused." if denoising else f"Paused at step {steps}")
            return
        self.footer.setButtons([self.pause_button, self.cancel_button])
        if state == "starting":
            self.footer.setBusy("Denoising…" if denoising else "Loading…")
        elif state == "stopping":
            self.footer.setBusy("Stopping…" if denoising else "Stopping after this step…")

    def _show_end(self, denoising: RunRecord | None) -> None:
        record = self.jobs.record("train")
        usable = self._usable()
        if record is None or usable is None:
            return
        steps, total = self.run.steps(record), self.run.total(record)
        self.continue_button.setText(f"C&ontinue{self.run.more(record)}")
        self.continue_button.setAccessibleName(self.continue_button.text().replace("&", ""))
        self.continue_button.setToolTip("Train on from here. The curve goes on.")
        used = denoising is not None and denoising.state == "finished"
        first = self.save_button
        if record.state == "stopped" and not used:
            first = self.use_button
        self.footer.setButtons([first, self.continue_button])
        words = f"Done: {steps} steps in {speed.exactly(record.seconds)}"
        if record.state == "stopped":
            words = f"Stopped at step {steps}: the model is kept."
        if denoising is not None and denoising.state == "stopped":
            words = "Denoising was stopped. Finished tiles are in the layer."
        self.footer.setText(words, "done")
        self.footer.setProgress(steps, total)
        self.footer.setDetail("")
        self.run.showEnd(record, denoising, self._follow_ups(record, denoising))
        if denoising is not None and isinstance(failed := denoising.events[-1], RunFailed):
            denoising.is_shown = denoising.is_shown or self.isVisible()
            self.run.message.show_message("error", failed.message, failed.hint)
            self.footer.setText("The model is kept, the image was not denoised.", "error")

    def _follow_ups(self, record: RunRecord, denoising: RunRecord | None) -> dict[str, Any]:
        acts: dict[str, Any] = acts_after(record, denoising, self.run.repeat.menu, self._compare)
        tip = "Open Predict with this model"
        acts["&Apply to more…"] = ("forward", tip, self.open_predict)
        acts["&New training"] = ("back", "Back to the settings of this run", self.new_training)
        return acts

    def open_predict(self) -> None:
        """Open the Predict dock, or bring it to the front."""
        if (record := self._usable()) is not None and self.jobs.model is not record.run.result:
            self.jobs.setModel(record.run.result)
        open_dock(self.viewer, "Predict")

    def _compare(self, raw: Any, restored: Any) -> None:
        open_dock(self.viewer, "Compare").compare(raw, restored)

    def fillMenu(self, menu: QMenu) -> None:
        """Offer the run as text, and the settings of an earlier one."""
        self.run.repeat.fill(menu)
        menu.addSeparator()
        add_menu(menu, self.viewer, self.load_settings)
        menu.addSeparator()
        super().fillMenu(menu)

    def shownRun(self) -> RunRecord | None:
        """Return the training, or the denoising that follows it, if that is the present run."""
        denoising = self.chain.denoising(self.jobs.record("train"))
        if denoising is not None and denoising is self.jobs.current:
            return denoising
        return super().shownRun()

    # -- what is told ------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        denoising = self.chain.denoising(self.jobs.record("train"))
        if denoising is not None and event.run_id == denoising.run.run_id:
            self._follow_denoising(event)

    def _follow(self, event: Event) -> None:
        self.run.follow(event)
        if isinstance(event, RunStarted):
            record = self.jobs.record("train")
            self.run.describe(record, event)
        elif isinstance(event, StepDone):
            if self.state in ("running", "paused"):
                self.footer.setProgress(event.done, event.total)
                step = f"tep {event.done} of {event.total}"
                paused = self.state == "paused"
                self.footer.setText(f"Paused at s{step}" if paused else f"S{step}")
        elif isinstance(event, RunFailed):
            self.showFailure(event)

    def _follow_denoising(self, event: Event) -> None:
        if isinstance(event, RegionPredicted) and self.jobs.state("predict") == "running":
            self.footer.setProgress(event.done, event.total)
            self.footer.setText(f"Denoising: tile {event.done} of {event.total}")
        elif isinstance(event, (Noticed, EpochDone)):
            self.run.follow(event)

    def attach(self) -> None:
        """Take up the run that is under way, with the curve of those that it goes on from."""
        record = self.jobs.record("train")
        earlier: list[Event] = []
        before = record.before if record is not None else None
        while before is not None:
            earlier = [*before.events, *earlier]
            before = before.before
        for event in earlier:
            if not isinstance(event, RunFailed):
                self.run.follow(event)
        super().attach()

    def _usable(self) -> RunRecord | None:
        """Return the last training, if it has left a model."""
        record = self.jobs.record("train")
        if record is None or record.state in BUSY or record.run.result is None:
            return None
        return record if record.run.result.is_trained else None

    # -- starting --------------------------------------------------------------------------------

    def _train(self, *, denoise: bool) -> None:
        if self.problem():
            return
        order = dataclasses.replace(
            self.settings.order(), denoise=denoise and self.settings.canDenoise()
        )
        self._begin()
        self.settings.save()
        self.chain.train(order)

    def _resume(self, folder: str, order: TrainingOrder) -> None:
        self._begin()
        self.chain.resume(folder, order)

    def _begin(self) -> None:
        self.message.clear()
        self.offer.withdraw()
        self.run.clear()

    def _on_edit(self) -> None:
        self.message.clear()
        self.refresh()


def _open_sample(viewer: Any) -> None:
    for data, looks, _ in noisy_cells():
        viewer.add_image(data, **looks)
