"""Which part of a layer is trained on: all of it, what is in view, or what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Shapes

from careamist.errors import DataError

Ranges = Mapping[str, tuple[int, int]]  # first and one past the last slice, by axis


class Box(NamedTuple):
    """Pixels from `start` up to but without `stop`, in Y and X."""

    start: tuple[int, int]
    stop: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.stop[0] - self.start[0], self.stop[1] - self.start[1]


def view_box(viewer: Any, layer: Any, axes: str) -> Box:
    """Return the part of a layer that is in view.

    Parameters
    ----------
    viewer : napari.Viewer
        Has the layer.
    layer : napari.layers.Image
        Of a multiscale layer, its highest level.
    axes : str
        What its axes mean.

    Raises
    ------
    DataError
        If the view does not show Y and X of it.
    """
    y, x = _places(axes)
    shown = {int(axis) - (viewer.dims.ndim - layer.ndim) for axis in viewer.dims.displayed}
    if shown != {y, x}:
        raise DataError(
            "The view does not show Y and X as a flat image.", "Switch to 2D, or choose All."
        )
    first, last = np.asarray(layer.corner_pixels)[:, (y, x)]
    full = _full(layer, axes)
    if layer.multiscale:  # the corners are those of the level on show
        coarse = layer.data[layer.data_level].shape
        scale = np.array([full[0] / coarse[y], full[1] / coarse[x]])
        first, last = first * scale, (last + 1) * scale - 1
    return _clipped(first, last + 1, full)


def shape_boxes(viewer: Any, layer: Any, axes: str) -> list[Box]:
    """Return the bounding boxes of the drawn shapes, in pixels of a layer.

    Raises
    ------
    DataError
        If nothing is drawn on it.
    """
    drawn = shapes_of(viewer)
    if drawn is None or not len(drawn.data):
        raise DataError(
            "Nothing is drawn yet.", "Add a Shapes layer and draw around what to train on."
        )
    y, x = _places(axes)
    full, found = _full(layer, axes), []
    for corners in drawn.data:
        points = [_in_pixels(drawn, layer, corner) for corner in np.asarray(corners)]
        places = np.array(points)[:, (y, x)]
        box = _clipped(places.min(0), places.max(0) + 1, full)
        if min(box.size) > 0:
            found.append(box)
    if not found:
        raise DataError(
            f"No shape of “{drawn.name}” lies on the image.", "Draw one on it, or choose All."
        )
    return found


def shapes_of(viewer: Any) -> Any:
    """Return the Shapes layer that counts: the active one, else the topmost with shapes in it."""
    active = viewer.layers.selection.active
    if isinstance(active, Shapes):
        return active
    drawn = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    return next(
        (layer for layer in reversed(drawn) if len(layer.data)), drawn[-1] if drawn else None
    )


def at_least(box: Box, patch: Sequence[int], full: Sequence[int]) -> Box:
    """Return a box that holds a patch, as far as the image does: around the same centre.

    Parameters
    ----------
    box : Box
        What was chosen.
    patch, full : sequence of int
        Sizes in Y and X of a patch and of the image.
    """
    start, stop = [], []
    for first, last, wanted, size in zip(box.start, box.stop, patch, full, strict=True):
        length = min(max(last - first, wanted), size)
        begin = min(max(0, (first + last - length) // 2), size - length)
        start.append(begin)
        stop.append(begin + length)
    return Box((start[0], start[1]), (stop[0], stop[1]))


def crop(array: Any, axes: str, box: Box) -> Any:
    """Return the part of an array in a box, without copying what is large.

    Parameters
    ----------
    array : array-like
        NumPy arrays give a view; what is read when it is indexed (Zarr, memory maps of other
        libraries) gives a Dask array.
    axes : str
        What its axes mean.
    box : Box
        In its pixels.
    """
    places = dict(zip(_places(axes), zip(box.start, box.stop, strict=True), strict=True))
    return cut(array, [slice(*places.get(axis, (None, None))) for axis in range(len(axes))])


def cut(array: Any, slices: Sequence[Any]) -> Any:
    """Return a part of an array, without copying what is large; see `crop`."""
    # NumPy gives a view, Dask and xarray wait; the others would read at once
    if not isinstance(array, np.ndarray) and not (hasattr(array, "dask") or hasattr(array, "isel")):
        import dask.array

        make: Any = dask.array.from_array
        array = make(array)
    return array[tuple(slices)]


def in_words(
    boxes: Sequence[Box], ranges: Ranges | None = None, channels: Sequence[int] | None = None
) -> str:
    """Return a part of an image as a part of a name: "y0-64 x32-96 t0-20 c0_2".

    Several boxes are "3 regions"; all of the image is nothing. Slices and channels are numbered
    as the sliders number them.
    """
    words = [f"{len(boxes)} regions"] if len(boxes) > 1 else []
    if len(boxes) == 1:
        (y0, x0), (y1, x1) = boxes[0]
        words = [f"y{y0}-{y1} x{x0}-{x1}"]
    words += [f"{axis.lower()}{runs(range(*span))}" for axis, span in (ranges or {}).items()]
    words += [f"c{runs(channels, '_')}"] if channels else []
    return " ".join(words)


def runs(numbers: Sequence[int], between: str = ", ") -> str:
    """Return increasing numbers in short: "0, 2-4"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return between.join("-".join(map(str, run)) for run in found)


def pick(array: Any, axis: int, places: Sequence[int]) -> Any:
    """Return some places along an axis: of a NumPy array a view where they are evenly spaced."""
    steps = {after - before for before, after in pairwise(places)} or {1}
    which: Any = list(places)
    if len(steps) == 1 and (step := steps.pop()) > 0:
        which = slice(places[0], places[-1] + 1, step)
    return cut(array, [slice(None)] * axis + [which])


def _places(axes: str) -> tuple[int, int]:
    return axes.index("Y"), axes.index("X")


def _full(layer: Any, axes: str) -> tuple[int, int]:
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    y, x = _places(axes)
    return int(shape[y]), int(shape[x])


def _clipped(first: Any, last: Any, full: tuple[int, int]) -> Box:
    low = [min(max(int(np.floor(n)), 0), size) for n, size in zip(first, full, strict=True)]
    high = [min(max(int(np.ceil(n)), 0), size) for n, size in zip(last, full, strict=True)]
    return Box((low[0], low[1]), (high[0], high[1]))


def _in_pixels(drawn: Any, layer: Any, corner: Any) -> Any:
    """Return a corner of a shape in pixels of the image; axes that it lacks are the first ones."""
    world = np.asarray(drawn.data_to_world(corner), float)
    missing = layer.ndim - len(world)
    padded = np.concatenate([np.zeros(max(missing, 0)), world[max(-missing, 0) :]])
    return np.asarray(layer.world_to_data(padded))
