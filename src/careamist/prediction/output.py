"""What becomes of one image: shape, axes and dtype of its result, and how tiles fill it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.tiling import LARGE_CORE, Tiles
from careamist.errors import AxesError
from careamist.utils.reshape_array import (
    AxesTransform,
    check_axes,
    get_patch_slices,
    restore_patch,
    spatial_axes,
)

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageInfo, ImageStack
    from careamist.dataset.region import TileSpecs

ResultType = Literal["float32", "input"]
SPREAD = "spread"
"""Key of a region's metadata: the spread of the averaged predictions, shaped like its data."""


@dataclass(frozen=True)
class Output:
    """The result of one image.

    Parameters
    ----------
    index : int
        Number of the image in its run.
    stack : ImageStack
        The image.
    tiles : Tiles
        How it is cut.
    n_channels : int
        Channels of the result.
    result_type : {"float32", "input"}
        Pixels as they are predicted, or rounded and clipped to the dtype of the image.
    spread : bool
        Whether regions bring the spread of the averaged predictions along.
    recipe : mapping
        How it is made, in JSON types: kept with the result, and compared before an unfinished
        result is taken up again.
    result_axes : str, optional
        Order of the axes of the result, where it is not that of the image.

    Raises
    ------
    AxesError
        If `result_axes` does not name the axes of the result.
    """

    index: int
    stack: ImageStack
    tiles: Tiles
    n_channels: int = 1
    result_type: ResultType = "float32"
    spread: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)
    result_axes: str | None = None

    def __post_init__(self) -> None:
        if self.result_axes is None:
            return
        there, given = self._layout.restored_axes(self.n_channels), check_axes(self.result_axes)
        if set(given) not in (set(there), set(there) | {"C"}):
            raise AxesError(
                f"output_axes='{self.result_axes}' does not fit {self.source}, whose result has "
                f"the axes {there}.",
                "Give these letters in the order wanted.",
            )
        object.__setattr__(self, "result_axes", given)

    @property
    def source(self) -> str:
        """What the image is called."""
        return str(self.stack.source)

    @property
    def info(self) -> ImageInfo | None:
        """What the image says of itself: pixel size, units, channel names."""
        return getattr(self.stack, "info", None)

    @property
    def _layout(self) -> AxesTransform:
        return AxesTransform(self.stack.original_axes, self.stack.original_data_shape)

    @property
    def axes(self) -> str:
        """Axes of the result: those of the image; C is added where there are several channels."""
        return self.result_axes or self._layout.restored_axes(self.n_channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result, in `axes`."""
        sizes = {"C": self.n_channels}
        return tuple(sizes.get(axis, self._layout.size(axis)) for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels of the result."""
        stored = np.dtype(self.stack.data_dtype)
        return np.dtype(np.float32) if self.result_type == "float32" else stored

    @property
    def n_bytes(self) -> int:
        """Bytes of all pixels of the result."""
        return math.prod(self.shape) * self.dtype.itemsize

    def pixels(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return a region, C(Z)YX, in `axes`: S and T have length one."""
        return restore_patch(data, self.axes)

    def box(self, specs: TileSpecs) -> tuple[slice, ...]:
        """Return what to index the result with to reach the core of a tile."""
        entries = get_patch_slices(
            self.axes,
            self.shape,
            specs["sample_idx"],
            None,
            specs["stitch_coords"],
            specs["crop_size"],
        )
        known = (entry for entry in entries if isinstance(entry, slice))
        return tuple(
            slice(0, size) if entry.start is None else entry
            for entry, size in zip(known, self.shape, strict=True)
        )

    def converted(self, data: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Return pixels in the dtype of the result, and how many of them were clipped.

        Parameters
        ----------
        data : numpy.ndarray
            Float, of any shape.

        Returns
        -------
        pixels : numpy.ndarray
            Rounded, if the dtype is an integer.
        n_clipped : int
            Pixels that lay outside the range of an integer dtype; those that are no number become
            the lowest value, and count.
        """
        dtype = self.dtype
        if dtype.kind == "f":
            return data.astype(dtype, copy=False), 0
        if dtype.kind == "b":
            return data >= 0.5, 0
        limits = np.iinfo(dtype)
        rounded = np.rint(data.astype(np.float64))
        outside = ~((rounded >= limits.min) & (rounded <= limits.max))
        rounded = np.nan_to_num(rounded, nan=limits.min)
        # as floats, the ends of wide integers are rounded outwards: they are set as integers
        low, high = rounded <= limits.min, rounded >= limits.max
        whole = np.where(low | high, 0, rounded).astype(dtype)
        whole[low], whole[high] = limits.min, limits.max
        return whole, int(np.count_nonzero(outside))

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Parts to store the result in, in `axes`: a core is a whole number of them."""
        edges = {}
        for axis, cuts in zip(spatial_axes(self.axes), self.tiles.cuts, strict=True):
            size, core = self._layout.size(axis), cuts[0].core_size
            if len(cuts) == 1:  # whatever is written owns all of this axis
                edges[axis] = min(size, LARGE_CORE)
            else:
                edges[axis] = core if core <= LARGE_CORE else LARGE_CORE // 2
        return self._in_axes(edges)

    @property
    def shard_shape(self) -> tuple[int, ...]:
        """The part that one tile owns, in `axes`: a whole number of chunks, at most all of it."""
        edges = {}
        chunk = dict(zip(self.axes, self.chunk_shape, strict=True))
        for axis, cuts in zip(spatial_axes(self.axes), self.tiles.cuts, strict=True):
            edges[axis] = -(-cuts[0].core_size // chunk[axis]) * chunk[axis]
        return self._in_axes(edges)

    def _in_axes(self, edges: Mapping[str, int]) -> tuple[int, ...]:
        """Return a box in `axes`: these edges, all channels, one sample."""
        known = {"C": self.n_channels, **edges}
        return tuple(known.get(axis, 1) for axis in self.axes)


def total_bytes(outputs: Sequence[Output]) -> int:
    """Return the bytes of all pixels of some results."""
    return sum(output.n_bytes * (2 if output.spread else 1) for output in outputs)
