"""The training part of the order form."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
        description="Highest learning rate of Adam, reached after a short warm-up; it falls to "
        "zero along a cosine.",
        json_schema_extra={"level": "advanced", "decimals": 5},
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
        description="CPU threads of the computation; all cores when not given.",
        json_schema_extra={"level": "hidden"},
    )

    @model_validator(mode="before")
    @classmethod
    def _epochs_alone(cls, values: Any) -> Any:
        """Let epochs, where they are given and steps are not, say how long to train."""
        given = values.keys() if isinstance(values, dict) else set()
        if given & {"num_epochs", "steps_per_epoch"} and "num_steps" not in given:
            return values | {"num_steps": None}
        return values

    @model_validator(mode="after")
    def _enough(self) -> TrainingConfig:
        if (self.steps_per_epoch or 0) > (self.num_steps or math.inf):
            raise ValueError(
                f"steps_per_epoch={self.steps_per_epoch} is more than num_steps={self.num_steps}."
            )
        return self

    def epoch_steps(self, n_patches: int, batch_size: int) -> int:
        """Return the steps of an epoch of `n_patches` patches."""
        return self.steps_per_epoch or max(1, round(n_patches / batch_size))

    def total_steps(self, n_patches: int, batch_size: int) -> int:
        """Return how many optimizer steps this orders."""
        return self.num_steps or self.num_epochs * self.epoch_steps(n_patches, batch_size)

    def rate(self, step: int, first: int, last: int) -> float:
        """Return the learning rate of `step` in the segment of steps [first, last).

        Linear warm-up over 3 % of the segment, then half a cosine down to zero
        (Loshchilov and Hutter, ICLR 2017).
        """
        length = max(last - first, 1)
        warm_up = max(1, round(0.03 * length))
        place = min(max(step - first, 0), length)
        if place < warm_up:
            return self.learning_rate * (place + 1) / warm_up
        progress = (place - warm_up) / max(length - warm_up, 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
