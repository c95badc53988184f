"""The order form of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from careamist.config.configuration import explain
from careamist.config.data import DataConfig, DataType
from careamist.dataset.sources import check_dtypes, guess_data_type, keep_in_memory, open_groups
from careamist.dataset.symmetry import Which
from careamist.errors import SettingsError
from careamist.utils.reshape_array import check_axes

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.image_stack.custom import Loading


class PredictionConfig(BaseModel):
    """How images are restored; what is not given is as in the training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile_size: tuple[PositiveInt, ...] | Literal["auto"] | None = Field(
        "auto",
        title="Tile",
        description="Window in (Z)YX, halo included; automatic from memory, or whole images.",
    )
    tile_overlap: tuple[NonNegativeInt, ...] | Literal["auto"] = Field(
        "auto",
        title="Overlap",
        description="Overlap of the windows in (Z)YX; automatic is what makes tiles exact.",
    )
    axes: str | None = Field(
        None, title="Axes", description="Axes of the images, one letter of STCZYX each."
    )
    output_axes: str | None = Field(
        None,
        title="Result axes",
        description="Order of the axes of the result: where C goes, if only the result has it.",
    )
    data_type: DataType | None = Field(
        None,
        title="Format",
        description="Format of the images; told from their names if not given.",
    )
    channels: tuple[NonNegativeInt, ...] | Literal["all"] | None = Field(
        None, title="Channels", description="Channels of the images to use."
    )
    in_memory: bool = Field(
        False, title="In memory", description="Read whole images before they are restored."
    )
    dtype: Literal["float32", "input"] = Field(
        "float32",
        title="Pixels",
        description="float32 as predicted, or those of the image: rounded and clipped.",
    )
    tta: Which = Field(
        "none",
        title="Average",
        description="Predict flipped and turned as well and average: in all eight ways, or in "
        "those of the training. Smoother, and as many times slower.",
    )
    spread: bool = Field(
        False,
        title="Spread",
        description="A second result: the standard deviation over the ways that are averaged.",
    )
    batch_size: PositiveInt = Field(1, title="Batch", description="Tiles at a time.")
    num_workers: NonNegativeInt = Field(
        0,
        title="Workers",
        description="Accepted for the sake of older scripts; changes nothing: tiles are read "
        "while others are computed.",
    )
    device: str | None = Field(
        None,
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        title="Device",
        description="Where to compute: auto, cpu, cuda, cuda:1, mps; as in the training, or what "
        "there is, if not given.",
    )
    num_threads: PositiveInt | None = Field(
        None, title="Threads", description="CPU threads, a tile for each; all cores if not given."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="Of the computation; the results are float32. Automatic: what is clearly "
        "faster here, for large images.",
    )
    fuse_noisy: bool = Field(
        False,
        title="Fuse",
        description="Give back a part of the noisy pixel where the prediction misses signal. It "
        "brings back some noise, and fails on noise that is alike in neighbours.",
    )

    @field_validator("axes", "output_axes")
    @classmethod
    def _known_axes(cls, value: str | None) -> str | None:
        return None if value is None else check_axes(value)

    @model_validator(mode="after")
    def _spread_of_several(self) -> PredictionConfig:
        if self.spread and self.tta == "none":
            raise ValueError("spread=True needs several predictions: set tta='all' or 'trained'.")
        return self

    @classmethod
    def of(cls, **given: Any) -> PredictionConfig:
        """Return the configuration of some values; raise `SettingsError` if one is invalid."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise SettingsError(explain(error), "Correct the settings.") from error

    def open(
        self,
        data: Any,
        trained_on: DataConfig,
        loading: Loading | None = None,
        failures: dict[str, Exception] | None = None,
    ) -> tuple[list[ImageStack], Sequence[int] | None]:
        """Open the images, and say which of their channels are used (None: all).

        Parameters
        ----------
        data : array, path, URI, or list of these
            The images.
        trained_on : DataConfig
            What the model expects.
        loading : ReadFuncLoading or ImageStackLoading, optional
            How custom data are read.
        failures : dict of str to Exception, optional
            Given, images that cannot be used are put here, by source, and left out.

        Raises
        ------
        CareamistError
            If they cannot be read, or are not what the model expects; with `failures`, if that
            is true of all of them.
        """
        custom = "custom" if loading is not None else None
        data_type = self.data_type or custom or guess_data_type(data)
        axes = self.axes or trained_on.axes
        by_default = trained_on.channels if "C" in axes else None
        wanted = by_default if self.channels is None else self.channels
        channels = None if wanted == "all" else wanted

        def usable(group: Sequence[ImageStack]) -> None:
            check_dtypes(group)
            trained_on.check_fits(group, channels)

        groups = open_groups(data, data_type, axes, loading, check=usable, failures=failures)
        stacks = [stack for group in groups for stack in group]
        return keep_in_memory(stacks, self.in_memory, data_type), channels
