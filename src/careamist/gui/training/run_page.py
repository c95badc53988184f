"""What a training looks like while it runs and when it has ended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QSizePolicy, QVBoxLayout, QWidget

from careamist.config.methods import METHODS
from careamist.events import CheckpointSaved, EpochDone, Event, Noticed, RunStarted, StepDone
from careamist.gui.forms.tabs import order_tabs
from careamist.gui.live.preview import preview_of
from careamist.gui.live.preview_strip import PreviewStrip
from careamist.gui.models.repeat import Repeat
from careamist.gui.parts.card import Card
from careamist.gui.parts.loss_plot import LossPlot
from careamist.gui.parts.message import MessageBox
from careamist.gui.parts.notes import Notices
from careamist.gui.parts.speed import exactly
from careamist.gui.training.follow_ups import FollowUps
from careamist.gui.training.scripting import job_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from careamist.gui.jobs import RunRecord
    from careamist.gui.models.copy_job import Job
    from careamist.gui.training.follow_ups import Act
    from careamist.gui.training.order import TrainingOrder


class RunPage(QWidget):  # type: ignore[misc, unused-ignore]
    """A card, what was noticed, what can be done next, the previews, the loss curve.

    Parameters
    ----------
    parent : QWidget
    viewer : napari.Viewer
        The viewer of the dock.

    Attributes
    ----------
    preview : PreviewStrip
        The time line of the training.
    repeat : Repeat
        The run as a script, a command or a file, when it has ended.
    """

    def __init__(self, parent: QWidget, viewer: Any) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.viewer = viewer
        self.summary = Card(self)
        self.message = MessageBox(self)
        self.notices = Notices(self)
        self.acts = FollowUps(self)
        self.acts.hide()
        self.plot = LossPlot(self)
        self.preview = PreviewStrip(preview_of(viewer), self)
        self.repeat = Repeat(self, self._order, self.message.show_message)
        self._ended: RunRecord | None = None
        self._offered: tuple[str, ...] = ()
        self._step = 0  # of the run
        self._moments = preview_of(viewer)
        self._moments.changed.connect(self._mark_previews)
        self._mark_previews()
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        for part in (self.summary, self.message, self.notices, self.acts, self.preview):
            lines.addWidget(part)
        lines.addWidget(self.plot, 10)
        lines.addStretch(1)

    def clear(self) -> None:
        """Forget the last run, before a new model is trained."""
        self.message.clear()
        self.notices.clear()
        self.plot.clear()
        self.acts.offer({})
        self._offered = ()
        self._ended = None

    def follow(self, event: Event) -> None:
        """Show what a run tells."""
        if isinstance(event, RunStarted):
            self.plot.setTotal(event.total)
        elif isinstance(event, StepDone):
            self._step = event.done
            if event.loss is not None:
                self.plot.addStep(event.done, event.loss)
        elif isinstance(event, EpochDone):
            if "val_loss" in event.metrics:
                self.plot.addValidation(event.step, event.metrics["val_loss"])
            if "learning_rate" not in event.metrics and "train_loss" in event.metrics:
                self.plot.addStep(event.step, event.metrics["train_loss"])  # of a run before
        elif isinstance(event, CheckpointSaved):
            if not event.is_best:  # which one is best is told when all is known
                self.plot.addCheckpoint(self._step)
        elif isinstance(event, Noticed):
            self.notices.add(event.message)

    def describe(self, record: RunRecord | None, event: RunStarted) -> None:
        """Say what is trained, where."""
        if record is not None and event.kind == "train":
            order: TrainingOrder = record.order
            method = _title(order.config.algorithm_config)
            where = f", {order.region}" if order.region else ""
            line = f"{event.total} steps · {event.resolved.get('device', '')}"
            self.summary.setWords(f"{method} on {order.image.name}{where}", line)

    def showBusy(self, record: RunRecord | None) -> None:
        """Show a run that is under way."""
        self._ended = None
        self.acts.hide()
        self.message.clear()
        if record is not None and record.state == "starting":
            self.summary.setWords(record.label, "Loading…")

    def showEnd(
        self,
        record: RunRecord,
        denoising: RunRecord | None,
        acts: dict[str, tuple[str, str, Act]],
    ) -> None:
        """Show what came out, in figures that were measured, and what can be done with it."""
        self._ended = record
        order: TrainingOrder = record.order
        config = record.run.result.config
        layers = denoising.order.layers if denoising is not None else []
        title = layers[0].name if layers else config.experiment_name
        facts = [
            _title(config.algorithm_config),
            f"{config.data_config.dims}D",
            f"{self.steps(record)} steps",
        ]
        times = [f"trained {exactly(record.seconds)}"]
        if denoising is not None and denoising.state == "finished":
            times.append(f"denoised in {exactly(denoising.seconds)}")
        if order.region:
            facts.append(order.region)
        self.summary.setWords(title, " · ".join(facts), ", ".join(times))
        self._mark_best(record)
        runs = [each.run.run_id for each in (record, denoising) if each is not None]
        if (offered := (*runs, *acts)) != self._offered:  # the acts are of these runs
            self._offered = offered
            self.acts.offer(acts)
            order_tabs([self.summary, self.acts, self.preview, self.plot])
        self.acts.show()

    def steps(self, record: RunRecord | None) -> int:
        """Return how many steps a training has come to."""
        steps = [e.done for e in record.events if isinstance(e, StepDone)] if record else []
        return steps[-1] if steps else 0

    def total(self, record: RunRecord) -> int:
        """Return how many steps were planned."""
        return next((e.total for e in reversed(record.events) if isinstance(e, StepDone)), 1)

    def more(self, record: RunRecord) -> str:
        """Return how many steps would come on top, " +500"; nothing where that is not told."""
        steps = record.run.result.config.training_config.num_steps
        left = self.total(record) - self.steps(record)
        return f" +{left or steps}" if left or steps else ""

    def save(self, record: RunRecord) -> Path | None:
        """Ask for a file name and copy there what the method trusts most; None when cancelled."""
        model = record.run.result
        by_name = {path.name: path for path in model.get_checkpoints()}
        wanted = model.config.algorithm_config.default_checkpoint
        source = by_name.get(f"{wanted}.ckpt") or by_name.get("last.ckpt")
        if source is None:
            self.message.show_message(
                "error", "The file of the model is gone.", "Continue the training to write it anew."
            )
            return None
        start = Path.home() / f"{model.config.file_name}.ckpt"
        path, _ = QFileDialog.getSaveFileName(self, "Save model", str(start), "Models (*.ckpt)")
        if not path:
            return None
        target = Path(path) if Path(path).suffix else Path(f"{path}.ckpt")
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            words = f"The model cannot be written to {target.parent} ({error.strerror})."
            self.message.show_message("error", words, "Choose another folder.")
            return None
        return target

    def _order(self) -> Callable[[], Job] | None:
        """Return what makes the job of the run; it repeats one training from its beginning."""
        record = self._ended
        if record is None or record.before is not None:
            return None
        model, order = record.run.result, record.order
        return lambda: job_of(model, order)

    def _mark_previews(self) -> None:
        moments = self._moments.moments()
        self.plot.setPreviews([each.step for each in moments if each.result is not None])

    def _mark_best(self, record: RunRecord) -> None:
        """Mark the best step where the method goes by the validation loss."""
        config = record.run.result.config
        losses = record.run.result.get_losses().get("val_loss", [])
        if config.algorithm_config.default_checkpoint == "best" and losses:
            self.plot.setBest(int(min(losses, key=lambda entry: entry[1])[0]))


def _title(algorithm: Any) -> str:
    """Return the name of a method with its settings: "Noise2Void", "structN2V"."""
    is_plain = algorithm.variant == algorithm.short_name
    known = [m.title for m in METHODS.values() if m.algorithm.variant == algorithm.variant]
    return known[0] if known else algorithm.full_name if is_plain else algorithm.variant
