"""2D and 3D U-Net that knows how far it looks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from careamist.errors import SettingsError
from careamist.models.linear import apply_filter, filter_shape
from careamist.models.network import grid_of, pooled_axes

_POOLS: dict[int, tuple[Any, Any]] = {
    2: (nn.MaxPool2d, nn.AvgPool2d),
    3: (nn.MaxPool3d, nn.AvgPool3d),
}


class UNetModel(nn.Module):
    """U-Net with two 3×3(×3) convolutions per block and concatenated skips.

    Parameters
    ----------
    dims : int
        Number of spatial axes, 2 or 3.
    in_channels, out_channels : int
        Channels of the input and of the output.
    depth : int
        Number of pooling levels; sizes of pooled axes must be multiples of ``2**depth``.
    num_channels_init : int
        Filters of the first level, doubled at every level below.
    use_batch_norm : bool
        Whether each convolution is followed by batch normalisation.
    upsampling : {"nearest", "linear"}
        Interpolation of the decoder.
    linear_path : bool
        Whether a fixed linear filter is added to the output. It is zero until `set_filter`.
    filter_per_channel : bool
        Whether that filter is one of each channel by itself; else it leads from all channels of
        the input to each of the output.
    pool_z : bool
        Whether volumes are halved along Z too.
    independent_channels : bool
        Whether each channel has a network of its own (convolutions in groups), with
        `num_channels_init` filters.
    n2v2 : bool
        Whether to pool with a blur and without a skip at the top level (Höck et al., 2022).
    residual : bool
        Whether the input is added to the output.

    Raises
    ------
    SettingsError
        If channels of in- and output must be the same ones and are not.
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
        filter_per_channel: bool = False,
        pool_z: bool = True,
        independent_channels: bool = False,
        n2v2: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if in_channels != out_channels:
            same = {
                "independent_channels": independent_channels,
                "residual": residual,
                "filter_per_channel": linear_path and filter_per_channel,
            }
            if names := [name for name, wanted in same.items() if wanted]:
                raise SettingsError(
                    f"{names[0]}=True needs as many output as input channels, not {out_channels} "
                    f"and {in_channels}.",
                    f"Set {names[0]}=False.",
                )
        self.dims, self.depth, self.upsampling = dims, depth, upsampling
        self.pooled, self.n2v2, self.residual = pooled_axes(dims, pool_z), n2v2, residual
        self.groups = in_channels if independent_channels else 1
        widths = [self.groups * num_channels_init * 2**level for level in range(depth + 1)]
        inputs = [in_channels, *widths]
        skipped = [0 if n2v2 and level == 0 else widths[level] for level in range(depth)]

        def block(n_in: int, n_out: int) -> nn.Sequential:
            return _block(dims, n_in, n_out, use_batch_norm, self.groups)

        self.encoder = nn.ModuleList(block(inputs[n], widths[n]) for n in range(depth))
        self.bottleneck = block(inputs[depth], widths[depth])
        self.decoder = nn.ModuleList(
            block(skipped[n] + widths[n + 1], widths[n]) for n in reversed(range(depth))
        )
        steps = tuple(2 if pooled else 1 for pooled in self.pooled)
        self.pool = _blur_pool(steps) if n2v2 else _POOLS[dims][0](steps)
        mode = {"nearest": "nearest", "linear": "bilinear" if dims == 2 else "trilinear"}[
            upsampling
        ]
        self.up = nn.Upsample(
            scale_factor=tuple(float(step) for step in steps),
            mode=mode,
            align_corners=None if mode == "nearest" else False,
        )
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.head = conv(widths[0], out_channels, kernel_size=1, groups=self.groups)
        alone = filter_per_channel or independent_channels
        shape = (out_channels, 1 if alone else in_channels, *filter_shape(dims))
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
        return grid_of(self.dims, self.depth, self.pooled[0])

    @property
    def halo(self) -> tuple[int, ...]:
        """Per spatial axis, the context that makes the core of an aligned tile exact, in pixels.

        A core of one grid step is followed backwards through the layers; the halo is the distance
        it has grown, rounded up to the grid.
        """
        return tuple(self._halo(step) for step in self.grid)

    def _halo(self, step: int) -> int:
        pooled, start, stop = step > 1, 0, step
        for _ in range(self.depth):  # decoder, from the last block up
            start, stop = start - 2, stop + 2
            if pooled:
                start, stop = _before_upsampling(start, stop, linear=self.upsampling == "linear")
        start, stop = start - 2, stop + 2  # bottleneck
        for _ in range(self.depth):  # encoder, from the deepest block up
            if pooled:
                start, stop = _before_pooling(start, stop, blurred=self.n2v2)
            start, stop = start - 2, stop + 2
        reach = max(-start, stop - step)
        return -(-reach // step) * step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, (Z), Y, X) to the same spatial shape with `out_channels` channels."""
        given, skips = x, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for block in self.decoder:
            skip, x = skips.pop(), self.up(x)
            x = block(x if self.n2v2 and not skips else self._joined(skip, x))
        # in full precision, whatever the rest is computed in: here the result gets its digits
        with torch.autocast(x.device.type, enabled=False):
            out: torch.Tensor = self.head(x.to(self.head.weight.dtype))
            if self.residual:
                out = out + given
            if self.linear_filter is not None:
                out = out + apply_filter(given, self.linear_filter)
        return out

    def _joined(self, skip: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """Concatenate channels; those of a group stay together."""
        if self.groups == 1:
            return torch.cat([skip, below], dim=1)
        parts = [tensor.unflatten(1, (self.groups, -1)) for tensor in (skip, below)]
        return torch.cat(parts, dim=2).flatten(1, 2)


def _block(dims: int, n_in: int, n_out: int, use_batch_norm: bool, groups: int) -> nn.Sequential:
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = []
    for channels in (n_in, n_out):
        layers.append(conv(channels, n_out, kernel_size=3, padding=1, groups=groups))
        if use_batch_norm:
            layers.append(norm(n_out))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _blur_pool(steps: tuple[int, ...]) -> nn.Sequential:
    """Return max pooling at every pixel, a [1, 2, 1]/4 blur, and every second pixel of it.

    The blur is two means of two pixels each, of which the second one is only taken where it is
    kept; zeros lie around the image, as for the convolutions.
    """
    maximum, mean = _POOLS[len(steps)]
    margin = tuple(step - 1 for step in steps)
    return nn.Sequential(
        maximum(steps, stride=1), mean(steps, stride=1, padding=margin), mean(steps)
    )


def _before_upsampling(start: int, stop: int, *, linear: bool) -> tuple[int, int]:
    """Return the interval at half size that [start, stop) of the doubled image is made from."""
    if not linear:
        return start // 2, -(-stop // 2)
    # output pixel i lies at (i + 0.5) / 2 - 0.5 of the input, between its two neighbours
    return (start - 1) // 2, stop // 2 + 1


def _before_pooling(start: int, stop: int, *, blurred: bool) -> tuple[int, int]:
    """Return the interval that [start, stop) of the halved image is made from."""
    # with a blur, pixel i is made from the maxima 2i - 1 to 2i + 1, each of itself and the next
    return (2 * start - 1, 2 * stop + 1) if blurred else (2 * start, 2 * stop)
