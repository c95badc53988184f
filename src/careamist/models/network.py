"""The order form of a network: its parameters and the act of building it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import torch

    from careamist.models.unet import UNetModel


class UNet(BaseModel):
    """U-Net: an encoder and a decoder with skips (Ronneberger et al., MICCAI 2015)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: int = Field(2, ge=1, le=6, title="Depth", description="Number of pooling levels.")
    num_channels_init: int = Field(
        16,
        ge=4,
        le=1024,
        title="Filters",
        description="Filters of the first level; every level below has twice as many.",
    )
    use_batch_norm: bool = Field(
        True, title="Batch norm", description="Normalise activations after each convolution."
    )
    upsampling: Literal["nearest", "linear"] = Field(
        "nearest",
        title="Upsampling",
        description="How the decoder doubles the size; nearest is faster.",
        json_schema_extra={"level": "hidden"},
    )
    linear_path: bool = Field(
        True,
        title="Linear path",
        description="Add a linear filter, fitted before training, so that the network only "
        "learns the rest.",
        json_schema_extra={"level": "advanced"},
    )
    pool_z: bool = Field(
        True,
        title="Pool Z",
        description="Halve volumes along Z too; switch it off where planes are few or far apart.",
        json_schema_extra={"level": "advanced"},
    )
    independent_channels: bool = Field(
        False,
        title="Channels apart",
        description="Give each channel a network of its own, so that none is seen in another.",
        json_schema_extra={"level": "advanced"},
    )
    n2v2: bool = Field(
        False,
        title="N2V2 network",
        description="Blur before pooling and leave out the top skip, against checkerboards.",
        json_schema_extra={"level": "hidden"},
    )
    residual: bool = Field(
        False,
        title="Residual",
        description="Add the input to the output, so that the network learns the difference.",
        json_schema_extra={"level": "hidden"},
    )

    @model_validator(mode="after")
    def _one_way_around(self) -> UNet:
        if self.residual and self.linear_path:
            raise ValueError(
                "residual=True adds the input, linear_path=True a fitted filter of it: "
                "choose one, for example linear_path=False."
            )
        return self

    @property
    def grid(self) -> int:
        """Pixels in YX between two places that the network treats alike: ``2**depth``."""
        return int(2**self.depth)

    def grid_for(self, dims: int) -> tuple[int, ...]:
        """Return the grid of each of `dims` spatial axes in (Z)YX; sizes are multiples of it."""
        return grid_of(dims, self.depth, self.pool_z)

    def build(
        self, dims: int, in_channels: int, out_channels: int, *, filter_per_channel: bool = False
    ) -> UNetModel:
        """Return a freshly initialised `torch.nn.Module`.

        Parameters
        ----------
        dims : int
            Number of spatial axes, 2 or 3.
        in_channels, out_channels : int
            Channels of the input and of the output.
        filter_per_channel : bool
            Whether the linear path filters each channel by itself; else it mixes all of them.

        Raises
        ------
        SettingsError
            If in- and output channels must be the same ones and are not.
        """
        from careamist.models.unet import UNetModel

        return UNetModel(
            dims=dims,
            in_channels=in_channels,
            out_channels=out_channels,
            depth=self.depth,
            num_channels_init=self.num_channels_init,
            use_batch_norm=self.use_batch_norm,
            upsampling=self.upsampling,
            linear_path=self.linear_path,
            filter_per_channel=filter_per_channel,
            pool_z=self.pool_z,
            independent_channels=self.independent_channels,
            n2v2=self.n2v2,
            residual=self.residual,
        )


def grid_of(dims: int, depth: int, pool_z: bool) -> tuple[int, ...]:
    """Return, for each spatial axis in (Z)YX, 2**depth, or 1 where it is not pooled."""
    return tuple(2**depth if pooled else 1 for pooled in pooled_axes(dims, pool_z))


def pooled_axes(dims: int, pool_z: bool) -> tuple[bool, ...]:
    """Return which of the spatial axes (Z)YX are halved at each level."""
    return (pool_z, True, True)[-dims:]


def memory_format(dims: int) -> torch.memory_format:
    """Return how images lie in memory that convolutions read fastest: channels last."""
    import torch

    return torch.channels_last if dims == 2 else torch.channels_last_3d
