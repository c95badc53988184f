"""The data part of the order form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    field_validator,
    model_validator,
)

from careamist.dataset.augmentation import Augmentation, XYFlip, XYRandomRotate90
from careamist.dataset.image_stack import FORMATS
from careamist.dataset.normalization import AnyNormalization, MeanStd
from careamist.dataset.patch_choices import AnyPatching, Stratified
from careamist.dataset.patch_filter import AnyFilter
from careamist.dataset.sources import check_channels
from careamist.errors import SettingsError
from careamist.utils.reshape_array import check_axes, spatial_axes

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack

    DataType = str
else:
    DataType = Literal[(*FORMATS, "custom")]


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
    target_axes: str | None = Field(
        None,
        title="Target axes",
        description="Axes of the targets, where they differ from those of the images.",
        json_schema_extra={"level": "hidden"},
    )
    channels: tuple[NonNegativeInt, ...] | None = Field(
        None,
        min_length=1,
        title="Use channels",
        description="Channels of the images that are used, counted from 0; all when not given.",
        json_schema_extra={"level": "hidden"},
    )
    n_channels: int | None = Field(
        None,
        ge=1,
        title="Channels",
        description="Number of channels; read from the data when not given.",
        json_schema_extra={"level": "hidden"},
    )
    n_channels_out: int | None = Field(
        None,
        ge=1,
        title="Target channels",
        description="Number of channels of the targets; read from the data when not given.",
        json_schema_extra={"level": "hidden"},
    )
    in_memory: bool | Literal["auto"] = Field(
        "auto",
        title="In memory",
        description="Whether files are read once and kept, or patch by patch. Automatic keeps "
        "compressed files that fit into 80 % of the free memory.",
        json_schema_extra={"level": "hidden"},
    )
    patch_size: tuple[int, ...] = Field(
        (64, 64),
        title="Patch",
        description="Size of the training patches in (Z)YX, in pixels; a multiple of 2^depth.",
        json_schema_extra={"level": "advanced", "unit": " px"},
    )
    patching: AnyPatching = Field(
        Stratified(),
        title="Choose patches",
        description="Where the training patches of an epoch lie.",
        json_schema_extra={"level": "hidden"},
    )
    patch_filter: AnyFilter | None = Field(
        None,
        title="Skip background",
        description="Which parts of the images are trained on; all when not given.",
        json_schema_extra={"level": "hidden"},
    )
    normalization: AnyNormalization = Field(
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
        "than every tenth.",
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

    @field_validator("axes", "target_axes")
    @classmethod
    def _known_axes(cls, value: str | None) -> str | None:
        return None if value is None else check_axes(value)

    @field_validator("channels")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError(f"channels={value} names a channel twice.")
        return value

    @field_validator("patch_size")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) not in (2, 3) or min(value) < 1:
            raise ValueError(f"expected two or three positive numbers in (Z)YX, got {value}.")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> DataConfig:
        target_axes = self.target_axes or self.axes
        if self.data_type == "czi":
            known = FORMATS["czi"].AXES
            for axes in (self.axes, target_axes):
                if axes not in known:
                    raise ValueError(
                        f"axes='{axes}' do not fit a CZI file: expected one of {', '.join(known)}."
                    )
        spatial = self.spatial_axes
        if len(self.patch_size) != len(spatial):
            raise ValueError(
                f"patch_size={self.patch_size} does not fit axes '{self.axes}': "
                f"expected {len(spatial)} numbers in the order {spatial}."
            )
        if self.patch_filter is not None and not isinstance(self.patching, Stratified):
            raise ValueError(
                f"patch_filter '{self.patch_filter.name}' needs patching 'stratified', "
                f"got '{self.patching.name}'."
            )
        turned = any(isinstance(a, XYRandomRotate90) for a in self.augmentations)
        if turned and self.patch_size[-1] != self.patch_size[-2]:
            raise ValueError(
                f"patch_size={self.patch_size} is not square in YX, so patches cannot be rotated: "
                "use a square patch or leave out XYRandomRotate90."
            )
        if self.n_channels is not None and self.n_channels > 1 and "C" not in self.axes:
            raise ValueError(f"n_channels={self.n_channels} needs a C in axes='{self.axes}'.")
        if (self.n_channels_out or 1) > 1 and "C" not in target_axes:
            raise ValueError(
                f"n_channels_out={self.n_channels_out} needs a C in target_axes='{target_axes}'."
            )
        if self.channels is not None:
            if "C" not in self.axes:
                raise ValueError(f"channels={self.channels} needs a C in axes='{self.axes}'.")
            if self.n_channels not in (None, len(self.channels)):
                raise ValueError(
                    f"n_channels={self.n_channels} does not fit channels={self.channels}: "
                    "leave one of them out."
                )
        if self._spatial(target_axes) != spatial:
            raise ValueError(
                f"target_axes='{target_axes}' and axes='{self.axes}' differ in Z: both or none "
                "must have it."
            )
        return self

    @property
    def spatial_axes(self) -> str:
        """``YX`` or ``ZYX``: along T instead of Z for the files of a CZI with axes ``SCTYX``."""
        return self._spatial(self.axes)

    def _spatial(self, axes: str) -> str:
        # a time series in a CZI file is read as a volume; elsewhere T counts samples, and the
        # axis to learn along is called Z
        return "ZYX" if (self.data_type, axes) == ("czi", "SCTYX") else spatial_axes(axes)

    @property
    def dims(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.spatial_axes)

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
            if channels is not None:
                check_channels([stack], channels)
            given = there if channels is None else len(channels)
            if given != expected:
                raise SettingsError(
                    f"{stack.source} has {there} channels"
                    + (f", of which {given} were chosen" if channels is not None else "")
                    + f"; the model was trained on {expected}.",
                    f"Choose {expected} with channels=[...].",
                )
