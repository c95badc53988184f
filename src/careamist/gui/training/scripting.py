"""A run of the Train dock as a job, which a script or the command line can repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist.config.job import DataReference, TrainingJob
from careamist.errors import DataError
from careamist.export.data import keep_array
from careamist.gui.models.copy_job import Job, prediction_order, reference, resolved_config

if TYPE_CHECKING:
    from careamist.gui.training.order import TrainingOrder


def job_of(model: Any, order: TrainingOrder) -> Job:
    """Return the job of a run: of the training, and of denoising the image if that was ordered.

    Pixels of layers are written to files beside the model.

    Parameters
    ----------
    model : CAREamist
        What was trained; its configuration holds what was measured.
    order : TrainingOrder
        As it was ordered.

    Raises
    ------
    CareamistError
        If the images are not such as a script can name, or cannot be kept.
    """

    def training() -> TrainingJob:
        return _training(model, order)

    return prediction_order(model, order.image, training=training) if order.denoise else training()


def _training(model: Any, order: TrainingOrder) -> TrainingJob:
    choices = {
        "train_data": order.image,
        "train_data_target": order.target,
        "val_data": order.val_image,
        "val_data_target": order.val_target,
    }
    folder = Path(model.run_dir) / "job_data"
    found: dict[str, DataReference | None] = dict.fromkeys(choices)
    for name, source in order.data().items():
        choice = choices[name]
        if choice is not None:
            is_part = isinstance(source, list)
            found[name] = (
                _part(source, choice.name, folder) if is_part else reference(choice, folder)
            )
    data = found["train_data"]
    assert data is not None
    return TrainingJob(
        config=resolved_config(model),
        data=data,
        target=found["train_data_target"],
        val=found["val_data"],
        val_target=found["val_data_target"],
    )


def _part(source: list[Any], name: str, folder: Path) -> DataReference:
    if len(source) != 1:
        raise DataError(
            f"The model was trained on {len(source)} regions, a script takes one.",
            "Train on one region, or on all of the image.",
        )
    return keep_array(source[0], folder, name)
