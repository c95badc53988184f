"""Normalisation: fitted once on the training data, stored with the model, undone exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from careamist.errors import DataError, SettingsError

if TYPE_CHECKING:
    import torch

    from careamist.dataset.image_stack import ImageStack

Pixels = TypeVar("Pixels", "torch.Tensor", NDArray[Any])

_BLOCK_PIXELS = 2**22  # 32 MB in float64: bounds the memory of the statistics pass


class MeanStd(BaseModel):
    """Zero mean and unit variance for each channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["mean_std"] = "mean_std"
    input_means: tuple[float, ...] | None = Field(
        None,
        description="Mean of each channel; measured on the training data when not given.",
        json_schema_extra={"level": "hidden"},
    )
    input_stds: tuple[float, ...] | None = Field(
        None,
        description="Standard deviation of each channel; measured when not given.",
        json_schema_extra={"level": "hidden"},
    )

    @model_validator(mode="after")
    def _pairs(self) -> MeanStd:
        means, stds = self.input_means, self.input_stds
        if (means is None) != (stds is None) or (means and stds and len(means) != len(stds)):
            raise ValueError(f"input_means={means} and input_stds={stds} must have equal lengths.")
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether the statistics are known."""
        return self.input_means is not None

    def fit(
        self, stacks: Sequence[ImageStack], check: Callable[[], None] = lambda: None
    ) -> MeanStd:
        """Return a copy with the exact statistics of all pixels of `stacks`.

        Each pixel is read once, block by block; blocks are merged by the update of Chan, Golub
        and LeVeque (1979), in float64.

        Parameters
        ----------
        stacks : sequence of ImageStack
            The training images, with equal numbers of channels.
        check : callable
            Called before each block; may raise to end the pass.

        Raises
        ------
        DataError
            If an image holds NaN or Inf, or a channel is constant.
        """
        if self.is_fitted:
            return self
        count, mean, m2 = 0, np.zeros(1), np.zeros(1)
        low, high = np.full(1, np.inf), np.full(1, -np.inf)
        for stack in stacks:
            for block in blocks(stack):
                check()
                flat = block.reshape(block.shape[0], -1).astype(np.float64)
                if not np.isfinite(flat).all():
                    raise DataError(
                        f"{stack.source} contains NaN or Inf pixels; nothing can be learnt "
                        "from them.",
                        "Replace them or crop them away before training.",
                    )
                n, block_mean = flat.shape[1], flat.mean(axis=1)
                delta, total = block_mean - mean, count + n
                m2 = m2 + ((flat - block_mean[:, None]) ** 2).sum(axis=1)
                m2 = m2 + delta**2 * count * n / total
                mean, count = mean + delta * n / total, total
                low, high = np.minimum(low, flat.min(axis=1)), np.maximum(high, flat.max(axis=1))
        stds = np.sqrt(m2 / max(count, 1))
        # a mean of equal numbers may be off by a rounding error: stds need not be exactly zero
        if (constant := low >= high).any():
            names = ", ".join(stack.source for stack in stacks[:3])
            raise DataError(
                f"The image is constant ({names}): every pixel is {low[constant][0]:g}.",
                "Check that the right image or channel was chosen.",
            )
        return self.model_copy(
            update={
                "input_means": tuple(float(value) for value in mean),
                "input_stds": tuple(float(value) for value in stds),
            }
        )

    def apply(self, pixels: Pixels) -> Pixels:
        """Normalise an array or tensor whose second axis is the channel axis."""
        means, stds = self._like(pixels)
        normalized: Pixels = pixels - means
        normalized /= stds
        return normalized

    def undo(self, pixels: Pixels) -> Pixels:
        """Bring normalised pixels back to the units of the file."""
        means, stds = self._like(pixels)
        restored: Pixels = pixels * stds
        restored += means
        return restored

    def _like(self, pixels: Pixels) -> tuple[Pixels, Pixels]:
        """Return means and standard deviations that broadcast with `pixels`."""
        if self.input_means is None or self.input_stds is None:
            raise SettingsError("The normalisation has no statistics yet.", "Call fit() first.")
        n_channels = pixels.shape[1]
        if len(self.input_means) != n_channels:
            raise SettingsError(
                f"The normalisation was fitted on {len(self.input_means)} channels, the image has "
                f"{n_channels}.",
                "Choose as many channels as the model was trained on.",
            )
        shape = (1, -1) + (1,) * (pixels.ndim - 2)
        if isinstance(pixels, np.ndarray):
            dtype = pixels.dtype if pixels.dtype.kind == "f" else np.dtype(np.float64)
            means, stds = np.asarray((self.input_means, self.input_stds), dtype)
            return means.reshape(shape), stds.reshape(shape)
        import torch

        real = pixels.dtype if pixels.is_floating_point() else torch.float32
        statistics = pixels.new_tensor((self.input_means, self.input_stds), dtype=real)
        return statistics[0].view(shape), statistics[1].view(shape)


def blocks(stack: ImageStack, max_pixels: int = _BLOCK_PIXELS) -> Iterator[NDArray[Any]]:
    """Yield a stack as C(Z)YX blocks that together hold each pixel once."""
    n_samples, n_channels, *spatial = stack.data_shape
    size, budget = list(spatial), max(max_pixels // n_channels, 1)
    for axis in range(len(size)):  # cut the outer axes first: rows stay whole
        if math.prod(size) > budget:
            size[axis] = max(1, budget // math.prod(size[axis + 1 :]))
    starts = [range(0, length, step) for length, step in zip(spatial, size, strict=True)]
    for sample in range(n_samples):
        for coords in product(*starts):
            here = [min(step, n - c) for step, n, c in zip(size, spatial, coords, strict=True)]
            yield stack.extract_patch(sample, None, coords, here)
