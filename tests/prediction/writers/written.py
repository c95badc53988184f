"""Results built by hand, and written tile by tile as a sink does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.tiling import Tiling
from careamist.prediction.output import Output
from careamist.utils.reshape_array import spatial_axes

PIXEL_SIZE = {"T": 1.5, "Z": 0.5, "Y": 0.25, "X": 0.25}
UNITS = {"T": "s", "Z": "µm", "Y": "µm", "X": "µm"}
RECIPE = {"format": 1, "identity": "abc", "configuration": {"seed": 3}}


def pixels_of(shape: Sequence[int], dtype: Any = np.float32) -> NDArray[Any]:
    """Distinct pixels where the dtype has so many."""
    numbers = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    return (numbers % 2 == 1) if np.dtype(dtype).kind == "b" else numbers.astype(dtype)


def output_of(
    image: NDArray[Any],
    axes: str,
    *,
    tile: int | None = 20,
    halo: int = 4,
    grid: int = 4,
    n_channels: int | None = None,
    pixel_size: bool = True,
    channel_names: tuple[str, ...] = (),
    **more: Any,
) -> Output:
    """The result of an image, in the dtype of the image."""
    stack = ArrayStack(image, axes, source="some/image.tif")
    sizes = {axis: size for axis, size in PIXEL_SIZE.items() if axis in axes and pixel_size}
    units = {axis: UNITS[axis] for axis in sizes}
    stack.info = replace(
        stack.info, pixel_size=sizes, units=units, channel_names=channel_names, axes=axes
    )
    dims = len(spatial_axes(axes))
    tiling = Tiling((grid,) * dims, (halo,) * dims, None if tile is None else (tile,) * dims)
    channels = stack.data_shape[1] if n_channels is None else n_channels
    settings = {"result_type": "input", "recipe": RECIPE} | more
    return Output(0, stack, tiling.specs(0, stack.data_shape), channels, **settings)


def mixed(output: Output) -> NDArray[np.intp]:
    """The numbers of all tiles, in no order."""
    return np.random.default_rng(1).permutation(len(output.tiles))


def write(file: Any, output: Output, image: NDArray[Any], numbers: Iterable[int]) -> None:
    """Write some tiles of a result."""
    for number in numbers:
        box = output.box(output.tiles[int(number)])
        file.write(box, np.ascontiguousarray(image[box]))


def nothing() -> None:
    """What is called while a result is completed."""
