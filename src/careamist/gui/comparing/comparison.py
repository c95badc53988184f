"""Two images of one grid of pixels: do they fit, what is shown of them, and what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from careamist.analysis.metrics import psnr, ssim
from careamist.errors import CareamistError
from careamist.gui.data.data_source import in_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Difference",
    "Figures",
    "Leading",
    "Window",
    "default_pair",
    "figures",
    "fitting",
    "misfit",
    "sample",
    "windows",
]

MOST_PIXELS = 4_000_000
"""More than this are not read at once."""


class Leading:
    """The first columns of an array, read when they are asked for.

    Parameters
    ----------
    array : array_like
        Anything that napari shows.
    axis : int
        The axis that is shortened.
    stop : int
        How many entries of it are left.
    """

    def __init__(self, array: Any, axis: int, stop: int) -> None:
        self._array = array
        self.shape = tuple(stop if at == axis else int(n) for at, n in enumerate(array.shape))
        self.dtype = np.dtype(array.dtype)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self._array[_bounded(key, self.shape)])


class Difference:
    """One array minus another, computed in float32 for what is asked for.

    Parameters
    ----------
    raw, restored : array_like
        Two arrays whose shapes broadcast.
    is_rgb : bool
        Whether the last axis holds colours; the difference is that of their means.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, raw: Any, restored: Any, *, is_rgb: bool = False) -> None:
        self._arrays = (raw, restored)
        self._is_rgb = is_rgb
        shape = np.broadcast_shapes(tuple(raw.shape), tuple(restored.shape))
        self.shape = shape[:-1] if is_rgb else shape
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        key = _bounded(key, self.shape) + (slice(None),) * self._is_rgb
        raw, restored = (
            np.asarray(array[_aligned(key, array.shape)], np.float32) for array in self._arrays
        )
        removed: NDArray[np.float32] = raw - restored
        return removed[..., :3].mean(axis=-1) if self._is_rgb else removed


class Window(NamedTuple):
    """A rectangle of the slice on show, of one array; read in whatever thread calls `read`.

    Attributes
    ----------
    array : array_like
    key : tuple of int or slice
    is_turned : bool
        Whether the vertical axis of the display is the later one of the array.
    is_rgb : bool
        Whether the last axis holds colours, of which the mean is read.
    """

    array: Any
    key: tuple[Any, ...]
    is_turned: bool
    is_rgb: bool

    def read(self) -> NDArray[np.float64]:
        """Return the pixels, (rows, columns)."""
        pixels = np.asarray(self.array[self.key]).astype(np.float64)
        if self.is_rgb:
            pixels = pixels[..., :3].mean(axis=-1)
        return pixels.T if self.is_turned else pixels


class Figures(NamedTuple):
    """What was measured of a window.

    Attributes
    ----------
    mean, std : float
        Of raw minus restored, in grey values.
    spread : float
        The 99.5th percentile of the absolute difference.
    psnr, ssim : tuple of float or None
        Of raw and of restored, where there is a clean image.
    data_range : float or None
        Largest minus smallest value of the clean window, the range of both.
    problem : str
        Why there are no such numbers although there is a clean image.
    """

    mean: float
    std: float
    spread: float
    psnr: tuple[float, float] | None = None
    ssim: tuple[float, float] | None = None
    data_range: float | None = None
    problem: str = ""


def levels_of(layer: Any) -> list[Any]:
    """Return the arrays of a layer, the largest first."""
    return list(layer.data) if layer.multiscale else [layer.data]


def fitting(raw: Any, restored: Any) -> tuple[list[Any], list[Any]] | None:
    """Return the levels of two layers that fit each other, or None.

    A result of a smaller level of a pyramid fits that level.
    """
    ours, theirs = levels_of(raw), levels_of(restored)
    if bool(raw.rgb) != bool(restored.rgb):
        return None
    for skip in range(len(ours)):
        if _fit(ours[skip].shape, theirs[0].shape, bool(raw.rgb)):
            return ours[skip:], theirs
    return None


def misfit(raw: Any, restored: Any) -> str:
    """Say why two layers cannot be compared pixel by pixel, or nothing."""
    if raw == restored:
        return f"“{raw.name}” is chosen twice. Choose two images."
    if fitting(raw, restored) is not None:
        return ""
    if bool(raw.rgb) != bool(restored.rgb):
        colored, grey = (raw, restored) if raw.rgb else (restored, raw)
        return f"“{colored.name}” is in colour and “{grey.name}” is grey. Choose two of a kind."
    ours, theirs = (in_times(levels_of(layer)[0].shape) for layer in (raw, restored))
    return (
        f"“{raw.name}” is {ours} and “{restored.name}” is {theirs}. Choose two images of one size."
    )


def default_pair(layers: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return (raw, restored): the newest result whose source is among the layers."""
    by_name = {str(layer.name): layer for layer in layers}
    for layer in reversed(layers):
        made = layer.metadata.get("careamist")
        source = str(made.get("source", "")) if isinstance(made, dict) else ""
        if not source and str(layer.name).endswith(")"):
            source = str(layer.name).rpartition(" (")[0]
        raw = by_name.get(source)
        if raw is not None and raw != layer:
            return raw, layer
    return None


def windows(viewer: Any, arrays: Sequence[Any], guide: Any, box: Any = None) -> list[Window] | None:
    """Return the part of each array that is on show in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    arrays : sequence of array_like
        Arrays of one grid of pixels, whose shapes broadcast.
    guide : napari.layers.Image
        The layer that says where in the world the pixels are.
    box : tuple of int, optional
        ``(top, bottom, left, right)`` in pixels; the whole slice if not given.

    Returns
    -------
    list of Window or None
        None where the image has no such axis.
    """
    axes = displayed_axes(viewer, guide)
    if axes is None:
        return None
    place = [round(float(at)) for at in guide.world_to_data(viewer.dims.point)]
    shape = levels_of(guide)[0].shape
    key: list[Any] = [min(max(at, 0), int(n) - 1) for at, n in zip(place, shape, strict=False)]
    top, bottom, left, right = box or (None,) * 4
    key[axes[0]], key[axes[1]] = slice(top, bottom), slice(left, right)
    if guide.rgb:
        key.append(slice(None))
    turned = axes[0] > axes[1]
    return [
        Window(array, _aligned(tuple(key), array.shape), turned, bool(guide.rgb))
        for array in arrays
    ]


def displayed_axes(viewer: Any, layer: Any) -> tuple[int, int] | None:
    """Return which axes of a layer run down and to the right, or None if it lacks one."""
    down, right = (axis - (viewer.dims.ndim - layer.ndim) for axis in viewer.dims.order[-2:])
    return (down, right) if down >= 0 and right >= 0 else None


def to_world(viewer: Any, layer: Any, pixel: tuple[float, float]) -> tuple[float, float] | None:
    """Return where (row, column) of the slice on show lies in the world."""
    axes = displayed_axes(viewer, layer)
    if axes is None:
        return None
    place = list(layer.world_to_data(viewer.dims.point))
    place[axes[0]], place[axes[1]] = pixel
    world = layer.data_to_world(place)
    return float(world[axes[0]]), float(world[axes[1]])


def to_pixel(viewer: Any, layer: Any, world: tuple[float, float]) -> tuple[float, float] | None:
    """Return which (row, column) of the slice on show lies at a point of the world."""
    axes = displayed_axes(viewer, layer)
    if axes is None:
        return None
    point = list(viewer.dims.point)
    for axis, value in zip(viewer.dims.order[-2:], world, strict=True):
        point[axis] = value
    place = layer.world_to_data(point)
    return float(place[axes[0]]), float(place[axes[1]])


def figures(
    raw: NDArray[np.float64],
    restored: NDArray[np.float64],
    clean: NDArray[np.float64] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Figures:
    """Measure what was taken away, and how far both images are from the clean one.

    Parameters
    ----------
    raw, restored : numpy.ndarray
        The same window of both images, (rows, columns).
    clean : numpy.ndarray, optional
        That window of the clean image; its largest minus its smallest value is the range.
    check : callable
        Called between the steps; may raise to end it.
    """
    removed = (raw - restored)[np.isfinite(restored) & np.isfinite(raw)]
    if removed.size == 0:
        return Figures(math.nan, math.nan, math.nan)
    spread = float(np.percentile(np.abs(removed), 99.5))
    found = Figures(float(removed.mean()), float(removed.std()), spread)
    if clean is None:
        return found
    check()
    try:
        levels = psnr(clean, raw), psnr(clean, restored)
        check()
        likeness = ssim(clean, raw), ssim(clean, restored)
    except CareamistError as error:
        return found._replace(problem=str(error).splitlines()[0])
    return found._replace(psnr=levels, ssim=likeness, data_range=float(np.ptp(clean)))


def sample(image: NDArray[np.float64], rows: Any, columns: Any) -> NDArray[np.float64]:
    """Read an image between its pixels, linearly; NaN outside of it.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, columns).
    rows, columns : array_like
        Places in pixels; whole numbers are the centres of pixels.
    """
    rows, columns = np.asarray(rows, float), np.asarray(columns, float)
    height, width = image.shape
    inside = (rows >= -0.5) & (rows <= height - 0.5) & (columns >= -0.5) & (columns <= width - 0.5)
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = rows - top, columns - left
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return np.where(inside, upper * (1 - down) + lower * down, np.nan)


def _fit(a: Sequence[int], b: Sequence[int], is_rgb: bool) -> bool:
    """Equal heights and widths, and further axes that broadcast."""
    plane = 3 if is_rgb else 2
    if tuple(a[-plane:]) != tuple(b[-plane:]):
        return False
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def _full(key: Any, ndim: int) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts = (*parts[:at], *(slice(None),) * (ndim - len(parts) + 1), *parts[at + 1 :])
    return (*parts, *(slice(None),) * (ndim - len(parts)))


def _bounded(key: Any, shape: Sequence[int]) -> tuple[Any, ...]:
    return tuple(
        slice(*part.indices(n)) if isinstance(part, slice) else part
        for part, n in zip(_full(key, len(shape)), shape, strict=True)
    )


def _aligned(key: tuple[Any, ...], shape: Sequence[int]) -> tuple[Any, ...]:
    """Leave out the axes that an array lacks; of those it has one entry of, take that."""
    parts = key[len(key) - len(shape) :]
    return tuple(
        (slice(None) if isinstance(part, slice) else 0) if n == 1 else part
        for part, n in zip(parts, shape, strict=True)
    )
