"""2D and 3D U-Net that knows how far it looks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from careamist.errors import SettingsError
from careamist.models.linear import apply_filter, filter_shape


def _block(dims: int, n_in: int, n_out: int, use_batch_norm: bool) -> nn.Sequential:
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = []
    for channels in (n_in, n_out):
        layers.append(conv(channels, n_out, kernel_size=3, padding=1))
        if use_batch_norm:
            layers.append(norm(n_out))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class UNetModel(nn.Module):
    """U-Net with two 3×3(×3) convolutions per block, max pooling and concatenated skips.

    Parameters
    ----------
    dims : int
        Number of spatial axes, 2 or 3.
    in_channels, out_channels : int
        Channels of the input and of the output.
    depth : int
        Number of pooling levels; input sizes must be multiples of ``2**depth``.
    num_channels_init : int
        Filters of the first level, doubled at every level below.
    use_batch_norm : bool
        Whether each convolution is followed by batch normalisation.
    upsampling : {"nearest", "linear"}
        Interpolation of the decoder.
    linear_path : bool
        Whether a fixed linear filter is added to the output. It is zero until `set_filter`.
    """

    linear_filter: torch.Tensor | None

    def __init__(
        self,
        dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        depth: int = 2,
        num_channels_init: int = 16,
        use_batch_norm: bool = True,
        upsampling: Literal["nearest", "linear"] = "nearest",
        linear_path: bool = False,
    ) -> None:
        super().__init__()
        self.dims, self.depth, self.upsampling = dims, depth, upsampling
        widths = [num_channels_init * 2**level for level in range(depth + 1)]
        inputs = [in_channels, *widths]
        self.encoder = nn.ModuleList(
            _block(dims, inputs[level], widths[level], use_batch_norm) for level in range(depth)
        )
        self.bottleneck = _block(dims, inputs[depth], widths[depth], use_batch_norm)
        self.decoder = nn.ModuleList(
            _block(dims, widths[level] + widths[level + 1], widths[level], use_batch_norm)
            for level in reversed(range(depth))
        )
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        mode = {"nearest": "nearest", "linear": "bilinear" if dims == 2 else "trilinear"}[
            upsampling
        ]
        self.up = nn.Upsample(
            scale_factor=2, mode=mode, align_corners=None if mode == "nearest" else False
        )
        head = nn.Conv2d if dims == 2 else nn.Conv3d
        self.head = head(widths[0], out_channels, kernel_size=1)
        if linear_path and in_channels != out_channels:
            raise SettingsError(
                f"A linear path needs as many output as input channels, not {out_channels} and "
                f"{in_channels}.",
                "Set linear_path=False.",
            )
        shape = (in_channels, 1, *filter_shape(dims))
        # a buffer: it is stored with the weights but no optimizer moves it
        self.register_buffer("linear_filter", torch.zeros(shape) if linear_path else None)

    def set_filter(self, weights: torch.Tensor) -> None:
        """Set the linear path, and let the network start from it: its head begins at zero."""
        assert self.linear_filter is not None
        self.linear_filter.copy_(weights)
        for parameter in self.head.parameters():
            torch.nn.init.zeros_(parameter)

    @property
    def grid(self) -> tuple[int, ...]:
        """Per spatial axis, the pixels between two places that the network treats alike."""
        return (2**self.depth,) * self.dims

    @property
    def halo(self) -> tuple[int, ...]:
        """Per spatial axis, the context that makes the core of an aligned tile exact, in pixels.

        One core of ``2**depth`` pixels is followed backwards through the layers; the halo is the
        distance it has grown, rounded up to the grid.
        """
        start, stop = 0, 2**self.depth
        for _ in range(self.depth):  # decoder, from the last block up
            start, stop = start - 2, stop + 2
            start, stop = _before_upsampling(start, stop, linear=self.upsampling == "linear")
        start, stop = start - 2, stop + 2  # bottleneck
        for _ in range(self.depth):  # encoder, from the deepest block up
            start, stop = 2 * start - 2, 2 * stop + 2
        reach = max(-start, stop - 2**self.depth)
        return tuple(-(-reach // step) * step for step in self.grid)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, (Z), Y, X) to the same spatial shape with `out_channels` channels."""
        filtered = 0 if self.linear_filter is None else apply_filter(x, self.linear_filter)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for block in self.decoder:
            x = block(torch.cat([skips.pop(), self.up(x)], dim=1))
        out: torch.Tensor = self.head(x) + filtered
        return out


def _before_upsampling(start: int, stop: int, *, linear: bool) -> tuple[int, int]:
    """Return the interval at half size that [start, stop) of the doubled image is made from."""
    if not linear:
        return start // 2, -(-stop // 2)
    # output pixel i lies at (i + 0.5) / 2 - 0.5 of the input, between its two neighbours
    return (start - 1) // 2, stop // 2 + 1
