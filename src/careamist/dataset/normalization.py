"""Normalisation: fitted once on the training data, stored with the model, undone exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from careamist.dataset.pixel_pass import PASS_BYTES, PixelPass
from careamist.dataset.statistics import Survey
from careamist.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from careamist.dataset.image_stack import ImageStack

Pixels = TypeVar("Pixels", "torch.Tensor", NDArray[Any])
Statistics = tuple[float, ...] | None

_HIDDEN: Any = {"level": "hidden"}
_LOOKS, _FEW_BINS = 3, 256


def _statistics(what: str) -> Any:
    return Field(
        None,
        description=f"{what} of each channel; measured on the training data when not given.",
        json_schema_extra=_HIDDEN,
    )


class Normalization(BaseModel):
    """An affine map of each channel, with statistics of the images and of the targets.

    A subclass names its two statistics, measures them, and makes an offset and a scale of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_channel: bool = Field(
        True,
        title="Channels apart",
        description="Whether each channel has statistics of its own.",
        json_schema_extra=_HIDDEN,
    )
    skip_target: bool = Field(
        False,
        title="Leave targets",
        description="Whether targets are left in their own units.",
        json_schema_extra=_HIDDEN,
    )

    _names: ClassVar[tuple[str, str]] = ("", "")  # of the fields, after "input_" and "target_"
    _expected: ClassVar[str] = ""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        for part in ("input", "target"):
            given = list(self._given(part).items())
            if not given:
                return self
            (a, first), (b, second) = given
            if (first is None) != (second is None) or len(first or ()) != len(second or ()):
                raise ValueError(f"{a}={first} and {b}={second} must have equal lengths.")
            if first is None or second is None:
                continue
            offset, scale = self._offset_and_scale(first, second)
            sound = all(map(math.isfinite, (*offset, *scale))) and all(s > 0 for s in scale)
            if not (first and sound):
                raise ValueError(f"{a}={first} and {b}={second} {self._expected}.")
        return self

    def _given(self, part: str) -> dict[str, Statistics]:
        return {f"{part}_{name}": getattr(self, f"{part}_{name}") for name in self._names}

    @property
    def is_fitted(self) -> bool:
        """Whether the statistics of the images are known."""
        return all(values is not None for values in self._given("input").values())

    def fit(
        self,
        stacks: Sequence[ImageStack],
        check: Callable[[], None] = lambda: None,
        targets: Sequence[ImageStack] | None = None,
        *,
        budget: int = PASS_BYTES,
        seed: int = 0,
        report: Callable[[float], None] = lambda share: None,
    ) -> Self:
        """Return a copy with the statistics of the pixels; those that were given are kept.

        They are exact: each pixel is read once, block by block. Of images that hold more than the
        budget, blocks are read that are spread evenly over them.

        Parameters
        ----------
        stacks : sequence of ImageStack
            The training images, with equal numbers of channels.
        check : callable
            Called before each block; may raise to end the pass.
        targets : sequence of ImageStack, optional
            What they should become; measured apart.
        budget : int
            Bytes, as stored, that are read at most.
        seed : int
            Chooses the blocks if not all are read.
        report : callable
            Told the share of the pixels that is read, 1 for all, before the pass.

        Raises
        ------
        DataError
            If an image holds NaN or Inf, or a channel is constant.
        """
        found: dict[str, Any] = {}
        if targets is None and self.skip_target:
            found["skip_target"] = False  # the images are what is aimed at
        for part, images in (("input", stacks), ("target", targets)):
            given = self._given(part)
            known = bool(given) and None not in given.values()
            if images is None or known:
                continue
            blocks = PixelPass(images, budget, seed)
            report(blocks.share)
            measured = self._measure(Survey(images, blocks, check, self.per_channel))
            values = (tuple(float(v) for v in statistic) for statistic in measured)
            found |= dict(zip(given, values, strict=True))
        return self.model_copy(update=found) if found else self

    def apply(self, pixels: Pixels) -> Pixels:
        """Normalise an array or tensor of images whose second axis is the channel axis."""
        return _normalized(pixels, *self._affine("input"))

    def apply_target(self, pixels: Pixels) -> Pixels:
        """Normalise an array or tensor of targets."""
        return _normalized(pixels, *self._affine("target"))

    def undo(self, pixels: Pixels) -> Pixels:
        """Bring results back to the units of the targets, or of the images if there were none."""
        return _restored(pixels, *self._affine("target"))

    def _affine(self, part: str) -> tuple[Sequence[float], Sequence[float]]:
        """Return offset and scale of each channel."""
        if part == "target" and self.skip_target:
            return (0.0,), (1.0,)
        first, second = self._given(part).values()
        if first is None or second is None:
            if part == "target":
                return self._affine("input")
            raise SettingsError("The normalisation has no statistics yet.", "Call fit() first.")
        return self._offset_and_scale(first, second)

    def _measure(self, pixels: Survey) -> Sequence[NDArray[Any]]:
        raise NotImplementedError

    def _offset_and_scale(
        self, first: Sequence[float], second: Sequence[float]
    ) -> tuple[Sequence[float], Sequence[float]]:
        raise NotImplementedError


class MeanStd(Normalization):
    """Zero mean and unit variance."""

    name: Literal["mean_std"] = "mean_std"
    input_means: Statistics = _statistics("Mean")
    input_stds: Statistics = _statistics("Standard deviation")
    target_means: Statistics = _statistics("Mean of the targets")
    target_stds: Statistics = _statistics("Standard deviation of the targets")

    _names: ClassVar[tuple[str, str]] = ("means", "stds")
    _expected: ClassVar[str] = "must be numbers, the second ones positive"

    def _measure(self, pixels: Survey) -> Sequence[NDArray[Any]]:
        moments = pixels.moments()
        return moments.mean, moments.stds

    def _offset_and_scale(
        self, first: Sequence[float], second: Sequence[float]
    ) -> tuple[Sequence[float], Sequence[float]]:
        return first, second


class _Range(Normalization):
    """From a lower and an upper value to 0 and 1; nothing is clipped."""

    _expected: ClassVar[str] = "must be numbers, the second ones greater"

    def _offset_and_scale(
        self, first: Sequence[float], second: Sequence[float]
    ) -> tuple[Sequence[float], Sequence[float]]:
        return first, [high - low for low, high in zip(first, second, strict=True)]


class MinMax(_Range):
    """The least and the greatest pixel become 0 and 1."""

    name: Literal["min_max"] = "min_max"
    input_mins: Statistics = _statistics("Minimum")
    input_maxes: Statistics = _statistics("Maximum")
    target_mins: Statistics = _statistics("Minimum of the targets")
    target_maxes: Statistics = _statistics("Maximum of the targets")

    _names: ClassVar[tuple[str, str]] = ("mins", "maxes")

    def _measure(self, pixels: Survey) -> Sequence[NDArray[Any]]:
        moments = pixels.moments()
        return moments.low, moments.high


class Quantile(_Range):
    """A low and a high quantile become 0 and 1: a few extreme pixels do not matter."""

    name: Literal["quantile"] = "quantile"
    lower_quantiles: tuple[float, ...] = Field(
        (0.01,), description="Lower quantile, one for all channels or one for each, in 0 to 1."
    )
    upper_quantiles: tuple[float, ...] = Field(
        (0.99,), description="Upper quantile, one for all channels or one for each, in 0 to 1."
    )
    input_lower_quantile_values: Statistics = _statistics("Lower quantile")
    input_upper_quantile_values: Statistics = _statistics("Upper quantile")
    target_lower_quantile_values: Statistics = _statistics("Lower quantile of the targets")
    target_upper_quantile_values: Statistics = _statistics("Upper quantile of the targets")

    _names: ClassVar[tuple[str, str]] = ("lower_quantile_values", "upper_quantile_values")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.lower_quantiles, self.upper_quantiles
        if len(low) != len(high) or any(
            not 0 <= a < b <= 1 for a, b in zip(low, high, strict=True)
        ):
            raise ValueError(
                f"lower_quantiles={low} and upper_quantiles={high} must have equal lengths, with "
                "0 <= lower < upper <= 1."
            )
        return self

    def _measure(self, pixels: Survey) -> Sequence[NDArray[Any]]:
        moments = pixels.moments()
        if len(self.lower_quantiles) not in (1, len(moments.low)):
            raise SettingsError(
                f"{len(self.lower_quantiles)} quantiles were given for {len(moments.low)} "
                "channels.",
                "Give one, or one for each channel.",
            )
        from_, to = moments.low, moments.high
        for _ in range(_LOOKS):
            counts = pixels.histogram(from_, to)
            width = (to - from_) / (counts.shape[1] - 1)
            low, high = (
                from_ + _places(counts, wanted) * width
                for wanted in (self.lower_quantiles, self.upper_quantiles)
            )
            # a few extreme pixels may have made the bins too wide: look again, more closely
            coarse = high - low < _FEW_BINS * width
            coarse &= width > 1e-12 * np.maximum(abs(from_), abs(to))
            if not coarse.any():
                break
            from_ = np.where(coarse, low - width, from_)
            to = np.where(coarse, high + width, to)
        # where more pixels are equal than the quantiles leave out, there is no range between them
        flat = low >= high
        return np.where(flat, moments.low, low), np.where(flat, moments.high, high)


class NoNormalization(Normalization):
    """Images are learnt from in their own units."""

    name: Literal["none"] = "none"

    @property
    def is_fitted(self) -> bool:
        """Whether nothing has to be measured; the pixels are looked through all the same."""
        return False

    def _given(self, part: str) -> dict[str, Statistics]:
        return {}

    def _measure(self, pixels: Survey) -> Sequence[NDArray[Any]]:
        pixels.moments()
        return ()

    def _affine(self, part: str) -> tuple[Sequence[float], Sequence[float]]:
        return (0.0,), (1.0,)


AnyNormalization = Annotated[
    MeanStd | MinMax | Quantile | NoNormalization, Field(discriminator="name")
]


def _places(counts: NDArray[np.int64], quantiles: Sequence[float]) -> NDArray[np.int64]:
    """Return the bin of each channel that a quantile lies in."""
    ranks = np.broadcast_to(quantiles, len(counts)) * (counts.sum(axis=1) - 1)
    rows = zip(counts, ranks, strict=True)
    return np.array([np.searchsorted(np.cumsum(row), rank, side="right") for row, rank in rows])


def _normalized(pixels: Pixels, offsets: Sequence[float], scales: Sequence[float]) -> Pixels:
    offset, scale = _like(pixels, offsets, scales)
    normalized: Pixels = pixels - offset
    normalized /= scale
    return normalized


def _restored(pixels: Pixels, offsets: Sequence[float], scales: Sequence[float]) -> Pixels:
    offset, scale = _like(pixels, offsets, scales)
    restored: Pixels = pixels * scale
    restored += offset
    return restored


def _like(
    pixels: Pixels, offsets: Sequence[float], scales: Sequence[float]
) -> tuple[Pixels, Pixels]:
    """Return offsets and scales that broadcast with `pixels`."""
    n_channels = pixels.shape[1]
    if len(offsets) not in (1, n_channels):
        raise SettingsError(
            f"The normalisation was fitted on {len(offsets)} channels, the image has {n_channels}.",
            "Choose as many channels as the model was trained on.",
        )
    shape = (1, -1) + (1,) * (pixels.ndim - 2)
    if isinstance(pixels, np.ndarray):
        dtype = pixels.dtype if pixels.dtype.kind == "f" else np.dtype(np.float64)
        offset, scale = np.asarray((offsets, scales), dtype)
        return offset.reshape(shape), scale.reshape(shape)
    import torch

    real = pixels.dtype if pixels.is_floating_point() else torch.float32
    both = pixels.new_tensor((offsets, scales), dtype=real)
    return both[0].view(shape), both[1].view(shape)
