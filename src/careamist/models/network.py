"""The order form of a network: its parameters and the act of building it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
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

    @property
    def grid(self) -> int:
        """Pixels between two places that the network treats alike: ``2**depth``."""
        return int(2**self.depth)

    def build(self, dims: int, in_channels: int, out_channels: int) -> UNetModel:
        """Return a freshly initialised `torch.nn.Module` for `dims` spatial axes (2 or 3)."""
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
        )
