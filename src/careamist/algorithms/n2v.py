"""Noise2Void: learn to predict a pixel from its surroundings (Krull et al., CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from careamist.algorithms.base import Algorithm
from careamist.algorithms.masking import (
    Masked,
    StructAxes,
    choose,
    median_values,
    pattern_offsets,
    replace,
    struct_pattern,
    uniform_values,
    window_offsets,
)

if TYPE_CHECKING:
    import torch

_PERCENTAGE = 11.0  # one pixel per box of 3 × 3
_STRUCT_PERCENTAGE = 2.0
_STRUCT_OVERWRITTEN = 22.0  # percent, the most that a default percentage overwrites

Plane = tuple[tuple[int, ...], ...]


class N2V(Algorithm):
    """Noise2Void: noisy images only."""

    short_name: ClassVar[str] = "N2V"
    full_name: ClassVar[str] = "Noise2Void"

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
    masked_pixel_percentage: float | None = Field(
        None,
        ge=0.05,
        le=25.0,
        title="Masked",
        description="Share of the pixels that are replaced and predicted in each step; about "
        "2 % for structured noise and 11 % otherwise when not given.",
        examples=[_PERCENTAGE],
        json_schema_extra={"level": "advanced", "unit": " %", "decimals": 2},
    )
    strategy: Literal["uniform", "median"] = Field(
        "uniform",
        title="Replace by",
        description="A random pixel of the window (Noise2Void), or the window's median (N2V2).",
        json_schema_extra={
            "level": "advanced",
            "choices": {"uniform": "random neighbour", "median": "median (N2V2)"},
        },
    )
    include_centre: bool = Field(
        False,
        title="Window with centre",
        description="Let the masked pixel itself belong to the window, as was published first.",
        json_schema_extra={"level": "hidden"},
    )
    struct_axes: StructAxes = Field(
        "none",
        title="Noise along",
        description="Hide the neighbours too whose noise resembles that of the masked pixel "
        "(structN2V): in its row, its column, both, or a square.",
        json_schema_extra={
            "level": "advanced",
            "choices": {
                "none": "no direction",
                "horizontal": "X (rows)",
                "vertical": "Y (columns)",
                "cross": "X and Y",
                "square": "all around",
            },
        },
    )
    struct_span: int = Field(
        5,
        ge=3,
        le=15,
        title="Noise span",
        description="Length of the hidden pattern, end to end (odd, pixels).",
        json_schema_extra={"level": "advanced", "unit": " px", "step": 2},
    )
    struct_mask: Plane | tuple[Plane, ...] | None = Field(
        None,
        title="Noise pattern",
        description="Any pattern instead, as rows of 0 and 1 (YX or ZYX, odd sizes) around the "
        "masked pixel.",
        json_schema_extra={"level": "hidden"},
    )

    @field_validator("roi_size", "struct_span")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"must be odd, so that it has a centre; {value} is even.")
        return value

    @field_validator("struct_mask", mode="before")
    @classmethod
    def _pattern(cls, value: Any) -> Any:
        if value is None:
            return None
        try:
            pattern = np.asarray(value)
        except ValueError as error:
            raise ValueError("must have rows of equal length.") from error
        if pattern.ndim not in (2, 3) or any(size % 2 == 0 for size in pattern.shape):
            raise ValueError(f"must have two or three axes of odd length, not {pattern.shape}.")
        if not np.isin(pattern, (0, 1)).all():
            raise ValueError("must hold 0 and 1 only.")
        pattern = pattern.astype(int)
        pattern[tuple(size // 2 for size in pattern.shape)] = 0
        if not pattern.any():
            raise ValueError("must have a 1 beside its centre, which is always hidden.")
        return pattern.tolist()

    @model_validator(mode="after")
    def _one_pattern(self) -> N2V:
        if self.struct_mask is not None and self.struct_axes != "none":
            raise ValueError(
                f"struct_mask and struct_axes='{self.struct_axes}' are both given: choose one."
            )
        return self

    @property
    def pattern(self) -> NDArray[np.bool_] | None:
        """The pixels around a masked one that are hidden too, bool in (Z)YX, or None."""
        if self.struct_mask is not None:
            return np.array(self.struct_mask, dtype=bool)
        return (
            None
            if self.struct_axes == "none"
            else struct_pattern(self.struct_axes, self.struct_span)
        )

    @property
    def percentage(self) -> float:
        """The share of masked pixels in percent, the default resolved.

        Patterns of many pixels get fewer centres, so that most of a patch is left to learn from.
        """
        if self.masked_pixel_percentage is not None:
            return self.masked_pixel_percentage
        if (pattern := self.pattern) is None:
            return _PERCENTAGE
        return min(_STRUCT_PERCENTAGE, _STRUCT_OVERWRITTEN / (1 + int(pattern.sum())))

    @property
    def variant(self) -> str:
        """What the algorithm is called with these settings, as in "structN2V"."""
        name = "N2V2" if self.strategy == "median" or self.model.n2v2 else "N2V"
        return name if self.pattern is None else f"struct{name}"

    @property
    def references(self) -> tuple[str, ...]:
        """The publications to cite, one line each."""
        found = [
            "Krull, Buchholz and Jug, Noise2Void: learning denoising from single noisy images, "
            "CVPR 2019, doi:10.1109/CVPR.2019.00223"
        ]
        if "N2V2" in self.variant:
            found.append(
                "Höck et al., N2V2: fixing Noise2Void checkerboard artifacts with modified "
                "sampling strategies and a tweaked network architecture, ECCV workshops 2022, "
                "doi:10.1007/978-3-031-25069-9_33"
            )
        if self.pattern is not None:
            found.append(
                "Broaddus et al., Removing structured noise with self-supervised blind-spot "
                "networks, ISBI 2020, doi:10.1109/ISBI45749.2020.9098336"
            )
        return tuple(found)

    @property
    def may_flip(self) -> bool:
        """Whether the pattern of hidden pixels is its own mirror image in X and in Y."""
        pattern = self.pattern
        return pattern is None or all(
            np.array_equal(pattern, np.flip(pattern, axis)) for axis in (-1, -2)
        )

    @property
    def may_turn(self) -> bool:
        """Whether the pattern of hidden pixels stays the same when it is turned by a quarter."""
        pattern = self.pattern
        return pattern is None or np.array_equal(pattern, np.rot90(pattern, axes=(-2, -1)))

    def free_coefficients(self, shape: Sequence[int]) -> torch.Tensor:
        """Return where the linear path may look at: neither at a pixel nor at its pattern."""
        free = super().free_coefficients(shape)
        middle = [size // 2 for size in shape]
        for offset in (tuple(0 for _ in shape), *pattern_offsets(self.pattern, len(shape))):
            place = tuple(m + o for m, o in zip(middle, offset, strict=True))
            if all(0 <= p < size for p, size in zip(place, shape, strict=True)):
                free[place] = False
        return free

    def check_patch(self, patch_size: Sequence[int]) -> None:
        """Raise `ValueError` if nothing can be learnt from patches of this size."""
        dims, pattern = len(patch_size), self.pattern
        if pattern is not None and pattern.ndim > dims:
            raise ValueError(
                f"struct_mask has {pattern.ndim} axes, patch_size={tuple(patch_size)} only {dims}: "
                "give a pattern in YX."
            )
        if self.strategy == "median" and not self._median_window(dims):
            raise ValueError(
                f"the struct pattern hides the whole window of roi_size={self.roi_size}, so that "
                "no median is left: choose a larger window or strategy='uniform'."
            )
        if math.prod(patch_size) * self.percentage < 100:
            raise ValueError(
                f"masked_pixel_percentage={self.percentage:g} is less than one pixel "
                f"of patch_size={tuple(patch_size)}: mask more pixels or use larger patches."
            )

    def mask(self, images: torch.Tensor, keys: torch.Tensor) -> Masked:
        """Replace one pixel per box, in each channel apart, and what the struct pattern hides.

        Parameters
        ----------
        images : torch.Tensor
            (N, C, (Z), Y, X).
        keys : torch.Tensor
            int64 (N,), the random key of each sample; everything drawn follows from it.
        """
        dims = images.ndim - 2
        centres = choose(images.shape, self.percentage, keys)
        if self.strategy == "median":
            values = median_values(images, centres, self._median_window(dims))
        else:
            values = uniform_values(images, centres, self.roi_size, self.include_centre)
        masked = replace(images, keys, centres, values, pattern_offsets(self.pattern, dims))
        if math.prod(images.shape[2:]) == 1:  # there is nothing to replace it by
            return masked._replace(weights=masked.weights * 0)
        return masked

    def _median_window(self, dims: int) -> list[tuple[int, ...]]:
        without = pattern_offsets(self.pattern, dims)
        if not self.include_centre:
            without.append((0,) * dims)
        return window_offsets(self.roi_size, dims, without)

    def loss(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        keys: torch.Tensor,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean squared error at the masked pixels; targets are not looked at."""
        masked = self.mask(inputs, keys)
        predicted = model(masked.inputs).flatten(2).gather(2, masked.places)
        wanted = inputs.flatten(2).gather(2, masked.places)
        total = (masked.weights * (predicted - wanted) ** 2).sum()
        # tiny patches may hold no masked pixel at all: no loss then, and no 0 / 0
        mean: torch.Tensor = total / masked.weights.sum().clamp(min=1)
        return mean
