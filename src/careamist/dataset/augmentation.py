"""Augmentation on the training device, drawn for each sample from its own key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from careamist.stream import integers, uniforms

if TYPE_CHECKING:
    import torch

# counters of the sample's key; the masks of the algorithms start at 2**20
_FLIP, _FLIP_AXIS, _TURN, _TURNS = 1, 2, 3, 4


class XYFlip(BaseModel):
    """Mirror a patch along X or Y, one at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Flip")

    name: Literal["XYFlip"] = "XYFlip"
    flip_x: bool = Field(True, description="Mirror along X.")
    flip_y: bool = Field(True, description="Mirror along Y.")
    p: float = Field(0.5, ge=0, le=1, description="Probability of a flip.")

    def apply(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Flip images (N, C, (Z), Y, X); equal keys flip alike."""
        axes = [axis for axis, wanted in ((-1, self.flip_x), (-2, self.flip_y)) if wanted]
        if not axes:
            return images
        flipped = uniforms(keys, _FLIP) < self.p
        choice = integers(keys, _FLIP_AXIS) % len(axes)
        for place, axis in enumerate(axes):
            images = _where(flipped & (choice == place), images.flip(axis), images)
        return images


class XYRandomRotate90(BaseModel):
    """Turn a patch by one, two or three quarters in the YX plane."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Rotate 90°")

    name: Literal["XYRandomRotate90"] = "XYRandomRotate90"
    p: float = Field(0.5, ge=0, le=1, description="Probability of a turn.")

    def apply(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Turn images (N, C, (Z), Y, X) that are square in YX; equal keys turn alike."""
        turned = uniforms(keys, _TURN) < self.p
        turns = integers(keys, _TURNS) % 3 + 1
        rotated = _where(turned & (turns % 2 == 1), images.rot90(1, (-2, -1)), images)
        return _where(turned & (turns >= 2), rotated.rot90(2, (-2, -1)), rotated)


Augmentation = Annotated[XYFlip | XYRandomRotate90, Field(discriminator="name")]


def _where(chosen: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.where(chosen.view(-1, *(1,) * (no.ndim - 1)), yes, no)
