"""How weights are moved: the optimizer, and the course of its learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

if TYPE_CHECKING:
    import torch

ValLosses = Sequence[Sequence[float]]  # of [step, loss]


class Optimizer(BaseModel):
    """One of the optimizers of torch, with its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["Adam", "AdamW", "Adamax", "SGD"] = Field(
        "Adam", title="Optimizer", description="How gradients become steps."
    )
    parameters: dict[str, JsonValue] = Field(
        {},
        title="Parameters",
        description="More of its parameters, as torch names them; the learning rate is apart.",
    )

    @field_validator("parameters")
    @classmethod
    def _known(cls, value: dict[str, JsonValue], info: Any) -> dict[str, JsonValue]:
        if not value or "name" not in info.data:
            return value
        import torch

        accepted = set(inspect.signature(getattr(torch.optim, info.data["name"])).parameters)
        accepted -= {"params", "lr"}
        if unknown := sorted(set(value) - accepted):
            raise ValueError(
                f"{info.data['name']} does not take {', '.join(unknown)}: "
                f"expected some of {', '.join(sorted(accepted))}."
            )
        try:
            getattr(torch.optim, info.data["name"])([torch.zeros(1)], lr=1e-3, **value)
        except (TypeError, ValueError) as error:  # known names with impossible values
            raise ValueError(f"{info.data['name']} refuses {value}: {error}.") from error
        return value

    def build(
        self, weights: Iterable[torch.nn.Parameter], rate: float, *, fuse: bool = True
    ) -> torch.optim.Optimizer:
        """Return the optimizer of some weights.

        Parameters
        ----------
        weights : iterable of torch.nn.Parameter
            Where they will be trained: on their device.
        rate : float
            The learning rate.
        fuse : bool
            Whether all weights may be moved in one go, where torch can do that.
        """
        import torch

        kind: Any = getattr(torch.optim, self.name)
        moved, how = list(weights), dict(self.parameters)
        can_fuse = "fused" in inspect.signature(kind).parameters and not how.get("differentiable")
        if can_fuse and not {"fused", "foreach"} & set(how):
            how["fused"] = fuse and all(one.device.type in ("cpu", "cuda") for one in moved)
        optimizer: torch.optim.Optimizer = kind(moved, lr=rate, **how)
        return optimizer


class _Schedule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def factor(
        self, step: int, first: int, last: int, epoch_steps: int, val_losses: ValLosses
    ) -> float:
        """Return the share of the base rate that `step` takes, at most 1.

        Parameters
        ----------
        step : int
            Optimizer steps done before.
        first, last : int
            The segment of steps that was ordered.
        epoch_steps : int
            Steps of an epoch.
        val_losses : sequence of (step, loss)
            Validation losses so far.
        """
        raise NotImplementedError


class Cosine(_Schedule):
    """A short linear warm-up, then half a cosine to zero (Loshchilov and Hutter, ICLR 2017)."""

    name: Literal["cosine"] = "cosine"
    warm_up: float = Field(
        0.03, ge=0, le=1, title="Warm-up", description="Share of the steps that it takes."
    )

    def factor(
        self, step: int, first: int, last: int, epoch_steps: int, val_losses: ValLosses
    ) -> float:
        length = max(last - first, 1)
        warm_up = max(1, round(self.warm_up * length))
        place = min(max(step - first, 0), length)
        if place < warm_up:
            return (place + 1) / warm_up
        progress = (place - warm_up) / max(length - warm_up, 1)
        return 0.5 * (1 + math.cos(math.pi * progress))


class Constant(_Schedule):
    """The base rate all along."""

    name: Literal["constant"] = "constant"

    def factor(
        self, step: int, first: int, last: int, epoch_steps: int, val_losses: ValLosses
    ) -> float:
        return 1.0


class StepLR(_Schedule):
    """The rate is multiplied by `gamma` every `step_size` epochs."""

    name: Literal["StepLR"] = "StepLR"
    step_size: int = Field(ge=1, description="Epochs between two changes.")
    gamma: float = Field(0.1, gt=0, le=1, description="What the rate is multiplied by.")

    def factor(
        self, step: int, first: int, last: int, epoch_steps: int, val_losses: ValLosses
    ) -> float:
        epochs = max(step - first, 0) // max(epoch_steps, 1)
        return float(self.gamma ** (epochs // self.step_size))


class ReduceLROnPlateau(_Schedule):
    """The rate is reduced whenever the validation loss has not fallen for a while."""

    name: Literal["ReduceLROnPlateau"] = "ReduceLROnPlateau"
    reduction: float = Field(
        0.1, gt=0, lt=1, alias="factor", description="What the rate is multiplied by."
    )
    patience: int = Field(10, ge=0, description="Epochs without progress that are waited.")
    threshold: float = Field(1e-4, ge=0, description="Relative fall that counts as progress.")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def factor(
        self, step: int, first: int, last: int, epoch_steps: int, val_losses: ValLosses
    ) -> float:
        # told from the losses so far, so that a resumed training needs no state of its own
        factor, best, waited = 1.0, math.inf, 0
        for at, loss in val_losses:
            if not first < at <= step:
                continue
            if loss < best * (1 - self.threshold):
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.patience:
                factor, waited = factor * self.reduction, 0
        return factor


Schedule = Annotated[Cosine | Constant | StepLR | ReduceLROnPlateau, Field(discriminator="name")]


class EarlyStopping(BaseModel):
    """End when the validation loss, averaged over some epochs, does not fall any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience: int = Field(
        10, ge=1, title="Patience", description="Epochs without progress that are waited."
    )
    smoothing: int = Field(
        5, ge=1, title="Smoothing", description="Epochs whose validation losses are averaged."
    )
    min_delta: float = Field(
        0.0, ge=0, title="Progress", description="Fall of the loss that counts as progress."
    )

    def is_over(self, val_losses: ValLosses) -> bool:
        """Return whether the training should end now."""
        losses, n = [loss for _, loss in val_losses], self.smoothing
        means = [sum(losses[i : i + n]) / n for i in range(len(losses) - n + 1)]
        if len(means) <= self.patience:
            return False
        before, lately = means[: -self.patience], means[-self.patience :]
        return min(lately) >= min(before) - self.min_delta
