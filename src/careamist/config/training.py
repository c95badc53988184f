"""The training part of the order form."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from careamist.config.optimization import (
    Cosine,
    EarlyStopping,
    Optimizer,
    ReduceLROnPlateau,
    Schedule,
    ValLosses,
)

_VALIDATE_EVERY = 20  # steps, at least: an epoch of a small image is over in one or two


class TrainingConfig(BaseModel):
    """How long, how fast and where to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_steps: int | None = Field(
        1000,
        ge=1,
        title="Steps",
        description="Optimizer steps in all. When off, their number follows from the epochs.",
        json_schema_extra={"none": "by epochs", "step": 100},
    )
    num_epochs: int = Field(
        30,
        ge=1,
        title="Epochs",
        description="Times that every pixel is seen about once, where no steps are given.",
        json_schema_extra={"level": "hidden"},
    )
    max_minutes: float | None = Field(
        None,
        gt=0,
        title="Minutes",
        description="Train for so long instead: the steps that fit are found by timing some "
        "before the first.",
        json_schema_extra={"level": "hidden"},
    )
    steps_per_epoch: int | None = Field(
        None,
        ge=1,
        title="Steps per epoch",
        description="Steps between two validations; from the size of the data when not given.",
        json_schema_extra={"level": "hidden"},
    )
    learning_rate: float = Field(
        3e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="Highest learning rate; how it goes on from there is the schedule.",
        json_schema_extra={"level": "advanced", "decimals": 5},
    )
    lr_schedule: Schedule = Field(
        Cosine(),
        title="Schedule",
        description="Course of the learning rate: a cosine to zero ends with the best weights.",
        json_schema_extra={"level": "hidden"},
    )
    optimizer: Optimizer = Field(
        Optimizer(),
        title="Optimizer",
        description="How gradients become steps.",
        json_schema_extra={"level": "hidden"},
    )
    gradient_clip: float | None = Field(
        None,
        gt=0,
        title="Clip gradients",
        description="Largest norm of the gradients of a step; longer ones are shortened.",
        json_schema_extra={"level": "hidden"},
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="Of the computation of a training step; automatic is float32, or bfloat16 "
        "where that is faster. Weights are always float32.",
        json_schema_extra={"level": "hidden"},
    )
    early_stopping: EarlyStopping | None = Field(
        None,
        title="Early stopping",
        description="End when the validation loss does not fall any more.",
        json_schema_extra={"level": "hidden"},
    )
    ema_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        title="Averaging",
        description="Decay of the running average of the weights that is saved and predicts.",
        json_schema_extra={"level": "hidden", "decimals": 4},
    )
    checkpoint_every: int = Field(
        500,
        ge=1,
        title="Checkpoint every",
        description="Steps between two kept checkpoints; the last one is always written.",
        json_schema_extra={"level": "hidden", "unit": " steps"},
    )
    logger: Literal["none", "tensorboard", "wandb"] = Field(
        "none",
        title="Logger",
        description="Where losses are sent besides the table losses.csv in the folder of the run.",
        json_schema_extra={"level": "hidden"},
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        title="Device",
        description="Where to compute: auto, cpu, cuda, cuda:1, mps.",
        json_schema_extra={"level": "hidden"},
    )
    num_threads: int | None = Field(
        None,
        ge=1,
        title="Threads",
        description="CPU threads of the computation; as many as are fastest when not given.",
        json_schema_extra={"level": "hidden"},
    )

    @model_validator(mode="before")
    @classmethod
    def _epochs_alone(cls, values: Any) -> Any:
        """Let epochs or minutes, where they are given and steps are not, say how long to train."""
        given = values.keys() if isinstance(values, dict) else set()
        if given & {"num_epochs", "steps_per_epoch", "max_minutes"} and "num_steps" not in given:
            return values | {"num_steps": None}
        return values

    @model_validator(mode="after")
    def _enough(self) -> TrainingConfig:
        if (self.steps_per_epoch or 0) > (self.num_steps or math.inf):
            raise ValueError(
                f"steps_per_epoch={self.steps_per_epoch} is more than num_steps={self.num_steps}."
            )
        if self.num_steps and self.max_minutes:
            raise ValueError(
                f"num_steps={self.num_steps} and max_minutes={self.max_minutes} were both given: "
                "leave one of them out."
            )
        return self

    def epoch_steps(self, n_patches: int, batch_size: int) -> int:
        """Return the steps of an epoch of `n_patches` patches."""
        return self.steps_per_epoch or max(1, round(n_patches / batch_size))

    def validation_steps(self, epoch_steps: int) -> int:
        """Return the steps between two validations: whole epochs, about 20 steps at least.

        It is each epoch where that was ordered, or where something is decided by epochs.
        """
        plateau = isinstance(self.lr_schedule, ReduceLROnPlateau)
        if self.steps_per_epoch or self.early_stopping or plateau:
            return epoch_steps
        return epoch_steps * math.ceil(_VALIDATE_EVERY / epoch_steps)

    def total_steps(self, n_patches: int, batch_size: int) -> int:
        """Return how many optimizer steps this orders; minutes must be turned into steps first."""
        return self.num_steps or self.num_epochs * self.epoch_steps(n_patches, batch_size)

    def rate(
        self,
        step: int,
        first: int,
        last: int,
        epoch_steps: int = 1,
        val_losses: ValLosses = (),
    ) -> float:
        """Return the learning rate of `step` in the segment of steps [first, last).

        See the `factor` of the schedules for `epoch_steps` and `val_losses`.
        """
        share = self.lr_schedule.factor(step, first, last, epoch_steps, val_losses)
        return self.learning_rate * share
