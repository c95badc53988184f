"""The data part of the order form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from careamist.dataset.augmentation import Augmentation, XYFlip, XYRandomRotate90
from careamist.dataset.normalization import MeanStd
from careamist.errors import SettingsError
from careamist.utils.reshape_array import check_axes, spatial_axes

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack

DataType = Literal["array", "tiff"]


class DataConfig(BaseModel):
    """What the images are and how patches of them are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_type: DataType = Field(
        "array",
        title="Format",
        description="Arrays in memory, or the format of the files.",
        json_schema_extra={"level": "hidden"},
    )
    axes: str = Field(
        "YX",
        title="Axes",
        description="One letter of STCZYX for each dimension of the images.",
        json_schema_extra={"level": "hidden"},
    )
    n_channels: int | None = Field(
        None,
        ge=1,
        title="Channels",
        description="Number of channels; read from the data when not given.",
        json_schema_extra={"level": "hidden"},
    )
    patch_size: tuple[int, ...] = Field(
        (64, 64),
        title="Patch",
        description="Size of the training patches in (Z)YX, in pixels; a multiple of 2^depth.",
        json_schema_extra={"level": "advanced", "unit": " px"},
    )
    normalization: MeanStd = Field(
        MeanStd(),
        title="Normalise",
        description="How intensities are brought to a common range.",
        json_schema_extra={"level": "hidden"},
    )
    augmentations: tuple[Augmentation, ...] = Field(
        (XYFlip(), XYRandomRotate90()),
        title="Augment",
        description="Random flips and quarter turns of the patches.",
        json_schema_extra={"level": "advanced"},
    )
    n_val_patches: int = Field(
        8,
        ge=0,
        le=4096,
        title="Validation",
        description="Patches kept out of training to measure the validation loss; never more "
        "than every eighth.",
        json_schema_extra={"level": "advanced", "unit": " patches"},
    )

    batch_size: int = Field(
        16,
        ge=1,
        title="Batch",
        description="Patches per step. Fewer need less memory.",
        json_schema_extra={"level": "advanced"},
    )
    seed: int = Field(
        42,
        ge=0,
        lt=2**31,
        title="Seed",
        description="The same seed gives the same model on the same machine.",
        json_schema_extra={"level": "advanced"},
    )
    num_workers: int = Field(
        0,
        ge=0,
        le=64,
        title="Workers",
        description="Processes that read the data; 0 reads in the training thread.",
        json_schema_extra={"level": "hidden"},
    )

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, value: str) -> str:
        return check_axes(value)

    @field_validator("patch_size")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) not in (2, 3) or min(value) < 1:
            raise ValueError(f"expected two or three positive numbers in (Z)YX, got {value}.")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> DataConfig:
        spatial = spatial_axes(self.axes)
        if len(self.patch_size) != len(spatial):
            raise ValueError(
                f"patch_size={self.patch_size} does not fit axes '{self.axes}': "
                f"expected {len(spatial)} numbers in the order {spatial}."
            )
        turned = any(isinstance(a, XYRandomRotate90) for a in self.augmentations)
        if turned and self.patch_size[-1] != self.patch_size[-2]:
            raise ValueError(
                f"patch_size={self.patch_size} is not square in YX, so patches cannot be rotated: "
                "use a square patch or leave out XYRandomRotate90."
            )
        if self.n_channels is not None and self.n_channels > 1 and "C" not in self.axes:
            raise ValueError(f"n_channels={self.n_channels} needs a C in axes='{self.axes}'.")
        return self

    @property
    def dims(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(spatial_axes(self.axes))

    def check_fits(self, stacks: Sequence[ImageStack], channels: Sequence[int] | None) -> None:
        """Raise `SettingsError` if images have other dimensions or channels than these."""
        expected = self.n_channels or 1
        for stack in stacks:
            dims = len(stack.data_shape) - 2
            if dims != self.dims:
                raise SettingsError(
                    f"{stack.source} has axes '{stack.original_axes}', that is {dims} spatial "
                    f"axes; the model was trained on {self.dims} ('{self.axes}').",
                    "Give axes that fit, for example 'TYX' for a 2D model on a stack.",
                )
            there = stack.data_shape[1]
            if channels is not None and any(not 0 <= channel < there for channel in channels):
                raise SettingsError(
                    f"channels={list(channels)} were chosen, but {stack.source} has {there}.",
                    f"Choose among 0 to {there - 1}.",
                )
            given = there if channels is None else len(channels)
            if given != expected:
                raise SettingsError(
                    f"{stack.source} has {there} channels"
                    + (f", of which {given} were chosen" if channels is not None else "")
                    + f"; the model was trained on {expected}.",
                    f"Choose {expected} with channels=[...].",
                )
