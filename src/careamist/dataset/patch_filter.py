"""Which parts of the images are worth training on: filters that tell objects from background."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from careamist.dataset.blocks import BlockLayout, Box, read_block
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.pairing import open_pairs
from careamist.dataset.patch_order import PatchOrder, Region
from careamist.dataset.patching import check_patch_size
from careamist.dataset.thinning import Thinning
from careamist.errors import DataError, SettingsError

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.image_stack.custom import Loading

Values = NDArray[np.float64]


class PatchFilter(BaseModel):
    """Measures parts of images as large as a patch, in their own units, and keeps some of them.

    A subclass says what it measures, and what it keeps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ref_channel: NonNegativeInt = Field(
        0, title="Look at channel", description="Channel that is measured, counted from 0."
    )
    filtered_patch_prob: float = Field(
        0.1,
        ge=0,
        le=1,
        title="Background",
        description="Share of the rejected patches that is trained on all the same, in each epoch.",
    )

    _measured: ClassVar[dict[str, str]] = {}  # quantity: the field that it is compared with

    def measure(self, patches: NDArray[Any]) -> Values:
        """Return what is measured in patches.

        Parameters
        ----------
        patches : numpy.ndarray
            Patches of one channel, (N, (Z), Y, X), of any numeric type.

        Returns
        -------
        numpy.ndarray of float64
            Shape (quantities, N); NaN where a patch has no pixel that is a finite number.
        """
        raise NotImplementedError

    def keeps(self, values: Values) -> NDArray[np.bool_]:
        """Return which parts are kept.

        Parameters
        ----------
        values : numpy.ndarray
            What was measured, (quantities, S, (Z), Y, X), from `filter_map`.

        Returns
        -------
        numpy.ndarray of bool
            Shape S(Z)YX; False where nothing could be measured.
        """
        raise NotImplementedError

    def filter_map(self, image: Any, axes: str, patch_size: Sequence[int]) -> Values:
        """Measure an image on a grid of patches, to look at and to choose thresholds from.

        What is measured does not depend on the thresholds, so that many can be tried with
        `keeps`::

            values = MaxFilter(threshold=0).filter_map(image, "YX", (64, 64))
            plt.imshow(values[0, 0])  # the first quantity of the first sample
            MaxFilter(threshold=300).keeps(values).mean()  # share that would be kept

        Parameters
        ----------
        image : array-like
            An image; for `MaskFilter`, a mask.
        axes : str
            Its axes.
        patch_size : sequence of int
            Size of the patches in (Z)YX, in pixels.

        Returns
        -------
        numpy.ndarray of float64
            What was measured, (quantities, S, (Z), Y, X): one quantity (for `MeanStdFilter` two),
            and ``ceil(size / patch)`` values along Z, Y and X; the last patches are moved inside.

        Raises
        ------
        ShapeError, AxesError
            If axes or patches do not fit the image.
        SettingsError
            If there is no channel `ref_channel`.
        """
        stack = ArrayStack(image, axes)
        check_patch_size([stack.data_shape], patch_size)
        n_samples, _, *sizes = (int(n) for n in stack.data_shape)
        starts = tuple(
            np.minimum(np.arange(-(-n // patch)) * patch, n - patch)
            for n, patch in zip(sizes, patch_size, strict=True)
        )
        whole = Box(range(n_samples), (0,) * len(sizes), tuple(sizes))
        return self._in_region(stack, Region(0, whole, False, 0, starts), patch_size)

    def thinning(
        self,
        stacks: Sequence[ImageStack],
        layout: BlockLayout,
        patch_size: Sequence[int],
        check: Callable[[], None] = lambda: None,
    ) -> Thinning:
        """Measure images once, each chunk of them once, and choose what is trained on.

        Parameters
        ----------
        stacks : sequence of ImageStack
            The training images, or masks of their size.
        layout : BlockLayout
            The blocks that training patches are drawn from.
        patch_size : sequence of int
            Size of the patches in (Z)YX, in pixels.
        check : callable
            Called before each part that is read; may raise to end the pass.

        Returns
        -------
        Thinning
            For `StratifiedPatching`; one byte for each patch of an epoch.

        Raises
        ------
        DataError
            If everything is rejected; the message tells the largest values.
        SettingsError
            If there is no channel `ref_channel`.
        """
        order = PatchOrder(layout, patch_size, 0)
        kept = np.zeros(order.n_patches, bool)
        largest = np.full(len(self._measured), np.nan)
        for region in order.regions():
            values = self._in_region(stacks[region.data_idx], region, patch_size, check)
            chosen = self.keeps(values).ravel()
            kept[region.first : region.first + len(chosen)] = chosen
            largest = np.fmax(largest, np.fmax.reduce(values.reshape(len(values), -1), axis=1))
        if not kept.any():
            limits = self._limits(len(patch_size))
            found = "; ".join(
                f"the largest {quantity} is {value:g}, {field}={limits[field]:g}"
                for (quantity, field), value in zip(self._measured.items(), largest, strict=True)
                if field in limits
            )
            raise DataError(
                f"The patch filter rejects all {len(kept)} parts of the images: {found}.",
                "Lower what is asked for; filter_map() shows what is measured where.",
            )
        return Thinning(kept, self.filtered_patch_prob)

    def _limits(self, dims: int) -> dict[str, float]:
        """Return what the measured quantities are compared with, as far as it is set."""
        given = {field: getattr(self, field) for field in self._measured.values()}
        return {field: value for field, value in given.items() if value is not None}

    def _in_region(
        self,
        stack: ImageStack,
        region: Region,
        patch_size: Sequence[int],
        check: Callable[[], None] = lambda: None,
    ) -> Values:
        """Return what is measured in the patches of a region, (quantities, S, (Z), Y, X)."""
        if self.ref_channel >= stack.data_shape[1]:
            raise SettingsError(
                f"ref_channel={self.ref_channel} is not in {stack.source}, which has "
                f"{stack.data_shape[1]} channels.",
                "Channels are counted from 0, of those that are used.",
            )
        values = []
        for patches in _rows(stack, region, patch_size, self.ref_channel):
            check()
            values.append(self.measure(patches))
        grid = (len(region.box.samples), *map(len, region.starts))
        return np.concatenate(values, axis=1).reshape(-1, *grid)


def _threshold(what: str, **bounds: Any) -> Any:
    return Field(title="Threshold", description=what, **bounds)


def _coverage(what: str) -> Any:
    return Field(
        None,
        gt=0,
        le=1,
        title="Coverage",
        description=f"{what}; 1/4 in 2D and 1/8 in 3D when not given.",
    )


class MaxFilter(PatchFilter):
    """Keeps what has bright spots, however small, in the size of half a patch around them.

    The greatest value within half a patch of each pixel is above the threshold for at least the
    share `coverage` of the pixels. What is measured is the greatest threshold of which that holds.
    """

    name: Literal["max"] = "max"
    threshold: float = _threshold("Kept is what has values above it, in the units of the image.")
    coverage: float | None = _coverage("Share of a patch that must have such a value nearby")

    _measured: ClassVar[dict[str, str]] = {"maximum": "threshold"}

    def measure(self, patches: NDArray[Any]) -> Values:
        """Return the greatest threshold that a share `coverage` is above."""
        greatest = patches
        if patches.dtype.kind == "f":
            greatest = np.where(np.isfinite(patches), patches, -np.inf)
        for axis in range(1, patches.ndim):
            greatest = _running_maximum(greatest, max(patches.shape[axis] // 2, 1), axis)
        flat = greatest.reshape(len(patches), -1)
        place = flat.shape[1] - math.ceil(_share(self.coverage, patches.ndim - 1) * flat.shape[1])
        values = np.partition(flat, place, axis=1)[None, :, place].astype(np.float64)
        return np.where(np.isneginf(values), np.nan, values)

    def keeps(self, values: Values) -> NDArray[np.bool_]:
        """Return which parts are kept: those above the threshold."""
        kept: NDArray[np.bool_] = values[0] > self.threshold
        return kept


class MeanStdFilter(PatchFilter):
    """Keeps what is bright on average, and perhaps varies."""

    name: Literal["mean_std"] = "mean_std"
    mean_threshold: float = _threshold("Least mean of what is kept, in the units of the image.")
    std_threshold: float | None = Field(
        None,
        ge=0,
        title="Spread",
        description="Least standard deviation of what is kept; any when not given.",
    )

    _measured: ClassVar[dict[str, str]] = {"mean": "mean_threshold", "std": "std_threshold"}

    def measure(self, patches: NDArray[Any]) -> Values:
        """Return mean and standard deviation."""
        flat = patches.reshape(len(patches), -1)
        known = np.isfinite(flat)
        count = known.sum(axis=1, dtype=np.float64)
        count[count == 0] = np.nan
        pixels = np.where(known, flat, 0).astype(np.float64)
        mean = pixels.sum(axis=1) / count
        pixels -= mean[:, None]
        std = np.sqrt(np.square(pixels, out=pixels).sum(axis=1, where=known) / count)
        return np.stack([mean, std])

    def keeps(self, values: Values) -> NDArray[np.bool_]:
        """Return which parts are kept: those with at least the mean and the spread wanted."""
        kept: NDArray[np.bool_] = values[0] >= self.mean_threshold
        return kept if self.std_threshold is None else kept & (values[1] >= self.std_threshold)


class ShannonFilter(PatchFilter):
    """Keeps what has many different grey values: the entropy of their frequencies, in bits.

    For images of whole numbers. Where hardly two pixels are equal, as in images of decimal
    fractions, it is the same everywhere.
    """

    name: Literal["shannon"] = "shannon"
    threshold: float = _threshold("Least entropy of what is kept, in bits.", ge=0)

    _measured: ClassVar[dict[str, str]] = {"entropy": "threshold"}

    def measure(self, patches: NDArray[Any]) -> Values:
        """Return the entropy in bits."""
        flat = patches.reshape(len(patches), -1)
        if flat.dtype.kind == "f":
            flat = np.where(np.isfinite(flat), flat, np.nan)
        flat = np.sort(flat, axis=1)
        is_new = np.ones(flat.shape, bool)  # NaN is always new, and so alone: it counts nothing
        is_new[:, 1:] = flat[:, 1:] != flat[:, :-1]
        firsts = np.flatnonzero(is_new)
        counts = np.diff(firsts, append=flat.size)
        weights = counts * np.log2(counts)
        sums = np.bincount(firsts // flat.shape[1], weights, minlength=len(flat))
        known = np.isfinite(flat).sum(axis=1, dtype=np.float64)
        known[known == 0] = np.nan
        entropy: Values = np.log2(known) - sums / known
        return entropy[None]

    def keeps(self, values: Values) -> NDArray[np.bool_]:
        """Return which parts are kept: those with at least the entropy wanted."""
        kept: NDArray[np.bool_] = values[0] >= self.threshold
        return kept


class MaskFilter(PatchFilter):
    """Keeps what a mask marks, which is given with the training images: its pixels are not zero.

    The mask only says where patches are taken from.
    """

    name: Literal["mask"] = "mask"
    coverage: float | None = _coverage("Share of a patch that must be marked")

    _measured: ClassVar[dict[str, str]] = {"marked share": "coverage"}

    def measure(self, patches: NDArray[Any]) -> Values:
        """Return the share that is marked."""
        flat = patches.reshape(len(patches), -1)
        marked: Values = ((flat != 0) & np.isfinite(flat)).mean(axis=1)
        return marked[None]

    def keeps(self, values: Values) -> NDArray[np.bool_]:
        """Return which parts are kept: those that are marked enough."""
        kept: NDArray[np.bool_] = values[0] >= _share(self.coverage, values.ndim - 2)
        return kept

    def _limits(self, dims: int) -> dict[str, float]:
        return {"coverage": _share(self.coverage, dims)}


AnyFilter = Annotated[
    MaxFilter | MeanStdFilter | ShannonFilter | MaskFilter, Field(discriminator="name")
]


def open_masks(
    images: Any, masks: Any | None, data_type: str, axes: str, loading: Loading | None = None
) -> list[ImageStack]:
    """Open the masks of images, in the order of these; none if None was given.

    Raises
    ------
    DataError
        If an image has no mask, or one of another size.
    """
    if masks is None:
        return []
    try:
        return open_pairs(images, masks, data_type, axes, axes, loading)[1]
    except DataError as error:
        message = f"The masks, which go with the images as targets do, do not fit. {error.message}"
        raise DataError(message, error.hint) from error


def _share(coverage: float | None, dims: int) -> float:
    return 0.5**dims if coverage is None else coverage


def _running_maximum(pixels: NDArray[Any], width: int, axis: int) -> NDArray[Any]:
    """Return the greatest of `width` values around each, of those there are at a border."""
    pad = [(0, 0)] * pixels.ndim
    pad[axis] = (width // 2, width - 1 - width // 2)
    pixels, seen = np.moveaxis(np.pad(pixels, pad, mode="edge"), axis, 0), 1
    while seen < width:
        step = min(seen, width - seen)
        pixels, seen = np.maximum(pixels[:-step], pixels[step:]), seen + step
    return np.moveaxis(pixels, 0, axis)


def _rows(
    stack: ImageStack, region: Region, patch_size: Sequence[int], channel: int
) -> Iterator[NDArray[Any]]:
    """Yield the patches of a region, (N, (Z), Y, X), row by row along X."""
    box = region.box
    block = read_block(stack, box)[:, channel] if region.is_pooled else None
    sizes = (*patch_size[:-1], box.size[-1])
    for number, sample in enumerate(box.samples):
        for corner in product(*(starts.tolist() for starts in region.starts[:-1])):
            if block is None:
                coords = [a + b for a, b in zip(box.coords, (*corner, 0), strict=True)]
                strip = stack.extract_patch(sample, [channel], coords, sizes)[0]
            else:
                inside = zip((*corner, 0), sizes, strict=True)
                strip = block[number][tuple(slice(at, at + n) for at, n in inside)]
            strip = strip.astype(strip.dtype.newbyteorder("="), copy=False)
            windows = sliding_window_view(strip, patch_size[-1], axis=-1)
            yield np.moveaxis(windows[..., region.starts[-1], :], -2, 0)
