"""Which part of a layer is on the screen, in the pixels of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.utils.transforms import Affine

from careamist.gui.data.data_source import level_geometry
from careamist.utils.reshape_array import spatial_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from careamist.gui.data.data_source import DataChoice


class Place(NamedTuple):
    """A box of an image: its sample, and first pixel and size in (Z)YX."""

    sample: int
    start: tuple[int, ...]
    size: tuple[int, ...]


def visible_place(viewer: Any, choice: DataChoice) -> Place | None:
    """Return the part of a chosen layer that is shown, the one slice of it.

    None if there is nothing to show: the layer is gone, out of view or another image, the slider
    stands beside it, or it is not shown as planes of two spatial axes.
    """
    layer, axes, dims = choice.layer, choice.array_axes, viewer.dims
    if layer not in viewer.layers or dims.ndisplay != 2:
        return None
    if tuple(choice.source.shape) != choice.shape:
        return None  # it holds another image by now
    shown = [int(axis) - (dims.ndim - layer.ndim) for axis in dims.displayed]
    if any(axis < 0 or axes[axis] not in "ZYX" for axis in shown):
        return None
    first, last = _corners(layer, choice.level)
    point = _to_level(layer, choice.level, layer.world_to_data(dims.point))
    inside: dict[str, tuple[int, int]] = {}
    for axis, letter in enumerate(axes):
        n = choice.shape[axis]
        if letter == "C":
            continue
        if axis in shown:
            low, high = max(int(first[axis]), 0), min(int(last[axis]), n - 1)
            if low == high == 0:
                high = n - 1  # it has not been drawn like this yet
            elif low == high:
                return None  # out of view
        else:
            low = high = round(float(point[axis]))
        if not 0 <= low <= high < n:
            return None
        inside[letter] = low, high - low + 1
    return _place(axes, choice.shape, inside)


def middle_place(axes: str, shape: tuple[int, ...], edge: int) -> Place:
    """Return the middle of the first plane of an image, for one that is not shown anywhere."""
    inside = {
        axis: ((n - min(n, edge)) // 2, min(n, edge)) if axis in "YX" else (n // 2, 1)
        for axis, n in zip(axes, shape, strict=True)
        if axis not in "STC"
    }
    return _place(axes, shape, inside)


def origin(axes: str, shape: tuple[int, ...], place: Place) -> list[int]:
    """Return the first pixel of a place, one number per axis of the image."""
    n_t = shape[axes.index("T")] if "T" in axes else 1
    at: dict[str, int] = {"S": place.sample // n_t, "T": place.sample % n_t, "C": 0}
    at |= dict(zip(spatial_axes(axes), place.start, strict=True))
    return [at[axis] for axis in axes]


def geometry(layer: Any, level: int, offset: list[int]) -> Mapping[str, Any]:
    """Return how a layer lies that begins at a pixel of a level of another one."""
    own = level_geometry(layer, level) if level else {}
    scale = own.get("scale", layer.scale)
    translate = own.get("translate", layer.translate)
    moved = Affine(scale=scale, rotate=layer.rotate, shear=layer.shear, translate=translate)
    return {
        "scale": scale,
        "translate": moved(offset),
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def _corners(layer: Any, level: int) -> tuple[Any, Any]:
    """Return first and last pixel on the canvas."""
    corners = np.asarray(layer.corner_pixels)
    if not layer.multiscale:
        return corners[0], corners[1]
    full = layer.data[0].shape[: layer.ndim]
    here = layer.data[layer.data_level].shape[: layer.ndim]
    factor = np.divide(full, here)
    low, high = corners[0] * factor, np.where(corners[1], (corners[1] + 1) * factor - 1, 0)
    return np.round(_to_level(layer, level, low)), np.round(_to_level(layer, level, high))


def _to_level(layer: Any, level: int, pixel: Any) -> Any:
    """Turn a pixel of the finest level of a layer into one of another level."""
    if not level:
        return np.asarray(pixel)
    full, coarse = layer.data[0].shape[: layer.ndim], layer.data[level].shape[: layer.ndim]
    return (np.asarray(pixel) + 0.5) * np.divide(coarse, full) - 0.5


def _place(axes: str, shape: tuple[int, ...], inside: dict[str, tuple[int, int]]) -> Place:
    n_t = shape[axes.index("T")] if "T" in axes else 1
    sample = inside.get("S", (0, 1))[0] * n_t + inside.get("T", (0, 1))[0]
    spatial = [inside[axis] for axis in spatial_axes(axes)]
    return Place(sample, tuple(at for at, _ in spatial), tuple(n for _, n in spatial))
