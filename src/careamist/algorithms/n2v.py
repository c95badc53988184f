"""Noise2Void: learn to predict a pixel from its surroundings (Krull et al., CVPR 2019)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from careamist.algorithms.base import Algorithm
from careamist.stream import integers, uniforms

if TYPE_CHECKING:
    import torch

    from careamist.models.unet import UNetModel

_MASK = 2**20  # first counter of the mask; below it lie those of the augmentations


class Masked(NamedTuple):
    """A batch with some pixels replaced.

    `inputs` has the shape of the batch; `places` int64 (N, C, n) are flat pixel indices of the
    replaced pixels, `weights` (N, C, n) is 0 for places that count for nothing.
    """

    inputs: torch.Tensor
    places: torch.Tensor
    weights: torch.Tensor


class N2V(Algorithm):
    """Noise2Void: noisy images only."""

    short_name: ClassVar[str] = "N2V"

    algorithm: Literal["n2v"] = Field("n2v", title="Method", json_schema_extra={"level": "hidden"})
    roi_size: int = Field(
        5,
        ge=3,
        le=21,
        title="Window",
        description="A masked pixel is replaced by another one of the window of this size "
        "around it (odd, pixels).",
        json_schema_extra={"level": "advanced", "unit": " px", "step": 2},
    )
    masked_pixel_percentage: float = Field(
        11.0,
        ge=0.05,
        le=25.0,
        title="Masked",
        description="Share of the pixels that are replaced and predicted in each step.",
        json_schema_extra={"level": "advanced", "unit": " %", "decimals": 2},
    )

    @field_validator("roi_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"must be odd, so that it has a centre; {value} is even.")
        return value

    def prepare(self, model: UNetModel, images: torch.Tensor) -> None:
        """Fit the linear path blind: with the pixel itself it would return the noise."""
        import torch

        if model.linear_filter is None:
            return
        from careamist.models.linear import fit_filter

        free = torch.ones(model.linear_filter.shape[2:], dtype=torch.bool)
        free.view(-1)[free.numel() // 2] = False
        model.set_filter(fit_filter(images, free))

    def check_patch(self, patch_size: Sequence[int]) -> None:
        """Raise `ValueError` if fewer than one pixel of a patch is replaced."""
        if math.prod(patch_size) * self.masked_pixel_percentage < 100:
            raise ValueError(
                f"masked_pixel_percentage={self.masked_pixel_percentage} is less than one pixel "
                f"of patch_size={tuple(patch_size)}: mask more pixels or use larger patches."
            )

    def mask(self, images: torch.Tensor, keys: torch.Tensor) -> Masked:
        """Replace one pixel per box, in each channel apart, by a neighbour.

        The replacement is drawn exactly uniformly from the window around the pixel without the
        pixel itself, as far as the window lies inside the patch.

        Parameters
        ----------
        images : torch.Tensor
            (N, C, (Z), Y, X).
        keys : torch.Tensor
            int64 (N,), the random key of each sample; everything drawn follows from it.
        """
        import torch

        n, channels, *spatial = images.shape
        device = images.device
        box = (100 / self.masked_pixel_percentage) ** (1 / len(spatial))
        corners = torch.cartesian_prod(
            *(torch.arange(math.ceil(size / box), device=device) for size in spatial)
        ).view(-1, len(spatial))
        draws = len(spatial) + 1
        counters = torch.arange(channels * len(corners) * draws, device=device) + _MASK
        counters = counters.view(channels, len(corners), draws)
        keys = keys.view(n, 1, 1, 1)
        inside_box = uniforms(keys, counters[..., :-1])
        points = ((corners + inside_box) * box).floor().long()
        sizes = torch.tensor(spatial, device=device)
        valid = (points < sizes).all(dim=-1)
        points = torch.minimum(points, sizes - 1)

        first = (points - self.roi_size // 2).clamp(min=0)
        extent = torch.minimum(points + self.roi_size // 2, sizes - 1) - first + 1
        others = extent.prod(dim=-1) - 1
        choice = integers(keys[..., 0], counters[..., -1]) % others.clamp(min=1)
        choice = choice + (choice >= _flat(points - first, extent)).long()
        source = first + _unflat(choice, extent)

        flat = images.flatten(2)
        places = _flat(points, sizes.expand_as(points))
        values = flat.gather(2, _flat(source, sizes.expand_as(points)))
        # a place that does not count is written to a pixel beyond the end, which is cut off again
        target = torch.where(valid, places, flat.shape[2])
        padded = torch.nn.functional.pad(flat, (0, 1)).scatter(2, target, values)
        return Masked(
            padded[..., :-1].reshape(images.shape), places, (valid & (others > 0)).to(images.dtype)
        )

    def loss(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        keys: torch.Tensor,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean squared error at the replaced pixels."""
        masked = self.mask(inputs, keys)
        predicted = model(masked.inputs).flatten(2).gather(2, masked.places)
        wanted = inputs.flatten(2).gather(2, masked.places)
        total = (masked.weights * (predicted - wanted) ** 2).sum()
        # tiny patches may hold no replaced pixel at all: no loss then, and no 0 / 0
        mean: torch.Tensor = total / masked.weights.sum().clamp(min=1)
        return mean


def _strides(extent: torch.Tensor) -> torch.Tensor:
    """Return the C-order strides of boxes of the sizes in the last axis of `extent`."""
    import torch

    sizes = list(extent.unbind(-1))
    inner = itertools.accumulate(reversed(sizes[1:]), torch.mul, initial=torch.ones_like(sizes[0]))
    return torch.stack(list(inner)[::-1], dim=-1)


def _flat(points: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    return (points * _strides(extent)).sum(dim=-1)


def _unflat(indices: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    return indices.unsqueeze(-1) // _strides(extent) % extent
