"""Does what a job file orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from careamist.careamist import CAREamist
from careamist.config.job import PredictionJob, TrainingJob

if TYPE_CHECKING:
    from careamist.events import Listener


class JobDone(NamedTuple):
    """What a job left: the model, the folder of its results, and whether it was stopped."""

    careamist: CAREamist
    folder: Path | None
    was_stopped: bool


def run_job(
    job: TrainingJob | PredictionJob,
    listeners: Sequence[Listener] = (),
    *,
    enable_progress_bar: bool = True,
) -> JobDone:
    """Train, or predict, or one after the other, as ordered.

    Parameters
    ----------
    job : TrainingJob or PredictionJob
        The order; relative paths are taken from the current folder.
    listeners : sequence of callable
        Called with every event.
    enable_progress_bar : bool
        Whether a progress bar is drawn on the terminal.

    Returns
    -------
    JobDone
        `folder` is that of the model, or of the images; None if nothing was trained.

    Raises
    ------
    CareamistError
        If the data or the model cannot be used. The message says what to do.
    """
    training = job.model if isinstance(job, PredictionJob) else job
    if isinstance(training, str):
        careamist = CAREamist(
            checkpoint_path=training,
            listeners=listeners,
            enable_progress_bar=enable_progress_bar,
        )
    else:
        careamist = CAREamist(
            training.config,
            work_dir=training.output,
            listeners=listeners,
            enable_progress_bar=enable_progress_bar,
        )
        careamist.train(**{name: data.open() for name, data in training.arguments().items()})
    if isinstance(job, PredictionJob) and not careamist.was_stopped:
        return _predicted(careamist, job)
    folder = careamist.run_dir if careamist.is_trained else None
    return JobDone(careamist, folder, careamist.was_stopped)


def _predicted(careamist: CAREamist, job: PredictionJob) -> JobDone:
    folder = Path(job.output).absolute()
    careamist.predict_to_disk(
        job.data.open(),
        prediction_dir=folder,
        **job.arguments(),
    )
    return JobDone(careamist, folder, careamist.was_stopped)
