"""From one click to a denoised layer: train, then denoise; and training on after that.

All of it belongs to the jobs of a viewer, so that it goes on when the dock is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from careamist.gui.live.preview import preview_of
from careamist.gui.parts.speed import exactly
from careamist.gui.predicting.predict_order import PredictionOrder, use_of
from careamist.gui.predicting.results import start_prediction, tell_denoised
from careamist.gui.tasks import continuing_job, pictured, resuming_job, training_job
from careamist.gui.training.keeper import Keeper

if TYPE_CHECKING:
    from careamist.background import Job
    from careamist.gui.forms.remembered import Remembered
    from careamist.gui.jobs import Jobs, RunRecord
    from careamist.gui.live.preview_feed import PreviewFeed
    from careamist.gui.training.order import TrainingOrder


class Chain:
    """Starts runs of the Train dock and what follows them.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the results.
    jobs : Jobs
        Of this viewer.
    memory : Remembered
        Keeps what steps took, and which run is under way.
    """

    def __init__(self, viewer: Any, jobs: Jobs, memory: Remembered) -> None:
        self._viewer, self._jobs, self._memory = viewer, jobs, memory

    def train(self, order: TrainingOrder) -> RunRecord:
        """Train a new model; then denoise the image, if that was ordered."""
        job = training_job(order, self._feed(order))
        return self._start(f"Train on {order.image.name}", job, order)

    def train_on(self, record: RunRecord) -> RunRecord:
        """Go on with the model of a training that has ended."""
        order: TrainingOrder = record.order
        job = continuing_job(record.run.result, order, self._feed(order))
        return self._start(record.label, job, order, record)

    def resume(self, path: str, order: TrainingOrder) -> RunRecord:
        """Go on with what a run has left behind that was not brought to its end."""
        job = resuming_job(path, order, self._feed(order))
        return self._start(f"Train on {order.image.name}", job, order, timed=False)

    def denoise(self, training: RunRecord) -> RunRecord:
        """Denoise the image that a model was trained on."""
        trained_on: TrainingOrder = training.order
        model = training.run.result
        choice = trained_on.image
        use = use_of(model.config.data_config, choice)
        order = PredictionOrder(choice, use.axes, region=trained_on.region)
        return start_prediction(
            self._viewer,
            self._jobs,
            model,
            order,
            before=training,
            then=tell_denoised,
            wrap=lambda job, sink: pictured(model, trained_on, sink, job),
        )

    def denoising(self, training: RunRecord | None) -> RunRecord | None:
        """Return the prediction that follows a training, or None."""
        record = self._jobs.record("predict")
        if training is None or record is None or record.before is not training:
            return None
        return record

    def _feed(self, order: TrainingOrder) -> PreviewFeed:
        return preview_of(self._viewer).begin(order.image)

    def _start(
        self,
        label: str,
        job: Job,
        order: TrainingOrder,
        before: RunRecord | None = None,
        *,
        timed: bool = True,
    ) -> RunRecord:
        then = self.denoise if order.denoise else _tell_trained
        record = self._jobs.start("train", label, job, order=order, before=before, then=then)
        Keeper(self._jobs, record, self._memory, timed=timed)
        return record


def _tell_trained(record: RunRecord) -> None:
    model = record.run.result
    where = f" The model is in {model.run_dir}." if model.run_dir is not None else ""
    show_info(f"{record.label}: {model.steps_done} steps in {exactly(record.seconds)}.{where}")
