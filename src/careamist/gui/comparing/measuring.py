"""What the Compare dock measures of two layers: asked on the GUI thread, read in another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from careamist.gui.comparing.comparison import (
    Figures,
    displayed_axes,
    figures,
    fitting,
    levels_of,
    sample,
    to_pixel,
    to_world,
    windows,
)

MOST_POINTS = 5000  # of a profile

Question = Callable[[Callable[[], None]], Any]
Box = Callable[[Any, Any, int], "tuple[int, int, int, int] | None"]


class Profile(NamedTuple):
    """Grey values along a line.

    Attributes
    ----------
    distance : numpy.ndarray
        From the first end, in `unit`.
    raw, restored : numpy.ndarray
    unit : str
    words : str
        Which line it is.
    """

    distance: NDArray[np.float64]
    raw: NDArray[np.float64]
    restored: NDArray[np.float64]
    unit: str
    words: str


class Told(NamedTuple):
    """The figures of a window, once they are there, and what it is a window of.

    Attributes
    ----------
    where : str
        In words: "Measured on the whole slice."
    is_part : bool
        Whether it depends on the view.
    note : str
        Why there is no comparison with the clean image.
    figures : Figures or None
    problem : str
    """

    where: str
    is_part: bool
    note: str = ""
    figures: Figures | None = None
    problem: str = ""

    def words(self) -> tuple[str, str, str]:
        """Return the gain in quality, what was removed, and what that was measured on."""
        found = self.figures
        if found is None:
            return "", self.problem, ""
        size = max(abs(found.mean), found.std)
        removed = (
            f"What was removed has mean {_number(found.mean, size)} and "
            f"standard deviation {_number(found.std, size)}."
        )
        if not math.isfinite(found.mean):
            removed = "There is nothing to compare in this slice."
        quality = ""
        where = [self.where]
        if found.psnr is not None and found.ssim is not None and found.data_range is not None:
            quality = (
                f"PSNR {found.psnr[0]:.1f} → {found.psnr[1]:.1f} dB · "
                f"SSIM {found.ssim[0]:.3f} → {found.ssim[1]:.3f}"
            )
            span = _number(found.data_range, found.data_range)
            where.append(f"Range: maximum minus minimum of the clean image there, {span}.")
        where += [text for text in (self.note, found.problem) if text]
        return quality, removed, " ".join(where)


def profile_question(viewer: Any, raw: Any, restored: Any, ends: Any) -> Question:
    """Return what finds the grey values of two layers between two points of the world.

    Parameters
    ----------
    viewer : napari.Viewer
    raw, restored : napari.layers.Image
        Two layers that fit each other.
    ends : array_like or None
        ((y, x), (y, x)); the middle row of the slice if None.

    Returns
    -------
    callable
        Gives a `Profile`; reads no more than the rectangle around the line.
    """
    found = fitting(raw, restored)
    assert found is not None
    guide, arrays = _guide(raw, restored, found)
    axes = displayed_axes(viewer, guide)
    assert axes is not None
    height, width = (int(levels_of(guide)[0].shape[axis]) for axis in axes)
    if ends is None:
        words = "Middle row of the slice. Draw a line to choose another."
        places = np.array([[height // 2, 0], [height // 2, width - 1]], float)
    else:
        words = "Drag the ends of the line in the image."
        places = np.array([to_pixel(viewer, guide, (float(y), float(x))) for y, x in ends])
    world = np.array([to_world(viewer, guide, (float(y), float(x))) for y, x in places])
    length = float(np.linalg.norm(world[1] - world[0]))
    count = int(min(max(float(np.linalg.norm(places[1] - places[0])), 1), MOST_POINTS)) + 1
    rows, columns = np.linspace(places[0], places[1], count).T
    limits = []
    for ends_, size in ((places[:, 0], height), (places[:, 1], width)):
        low = min(max(math.floor(min(ends_)), 0), size - 1)
        high = min(max(math.ceil(max(ends_)) + 1, low + 1), size)
        limits += [low, high]
    top, bottom, left, right = limits
    box = (top, bottom, left, right)
    parts = windows(viewer, arrays, guide, box)
    assert parts is not None
    distance = np.linspace(0, length, count)
    unit = _unit(guide, axes)

    def question(check: Callable[[], None]) -> Profile:
        curves = []
        for part in parts:
            check()
            curves.append(sample(part.read(), rows - top, columns - left))
        return Profile(distance, curves[0], curves[1], unit, words)

    return question


def figures_question(
    viewer: Any, raw: Any, restored: Any, clean: Any, box: Box | None, most: int
) -> tuple[Told, Question]:
    """Return what is measured, and what measures it.

    Parameters
    ----------
    viewer : napari.Viewer
    raw, restored : napari.layers.Image
        Two layers that fit each other.
    clean : napari.layers.Image or None
        The truth.
    box : callable or None
        ``box(viewer, layer, most)`` gives the pixels in view.
    most : int
        More pixels than this are not read: then it is the part in view.

    Returns
    -------
    told : Told
        Still without figures.
    question : callable
        Gives the `Figures`.
    """
    found = fitting(raw, restored)
    assert found is not None
    guide, arrays = _guide(raw, restored, found)
    axes = displayed_axes(viewer, guide)
    assert axes is not None
    height, width = (int(levels_of(guide)[0].shape[axis]) for axis in axes)
    where, seen = "Measured on the whole slice.", None
    if height * width > most:
        seen = box(viewer, guide, most) if box is not None else None
        if seen is None:
            side = int(most**0.5)
            seen = (0, min(height, side), 0, min(width, side))
        where = f"Measured on the part in view, {seen[1] - seen[0]} × {seen[3] - seen[2]} pixels."
    note = ""
    if clean is not None:
        levels = fitting(clean, restored)
        if clean in (raw, restored):
            note = "The clean image is one of the two."
        elif levels is None:
            note = f"“{clean.name}” has another shape."
        else:
            arrays = [*arrays, levels[0][0]]
    parts = windows(viewer, arrays, guide, seen)
    assert parts is not None

    def question(check: Callable[[], None]) -> Figures:
        pixels = []
        for part in parts:
            check()
            pixels.append(part.read())
        return figures(pixels[0], pixels[1], pixels[2] if len(pixels) > 2 else None, check)

    return Told(where, seen is not None, note), question


def _guide(raw: Any, restored: Any, found: tuple[list[Any], list[Any]]) -> tuple[Any, list[Any]]:
    """Return the layer whose grid both arrays lie in: the one with more slices."""
    ours, theirs = found[0][0], found[1][0]
    is_raw = len(found[0]) == len(levels_of(raw)) and math.prod(ours.shape) > math.prod(
        theirs.shape
    )
    return (raw if is_raw else restored), [ours, theirs]


def _unit(layer: Any, axes: tuple[int, int]) -> str:
    unit = layer.units[axes[1]]
    name = f"{unit:~P}" if hasattr(unit, "dimensionality") else str(unit)
    return "px" if name in ("", "px", "pixel", "pix") else name


def _number(value: float, size: float) -> str:
    """Return a number with the decimals that numbers of this size need."""
    if not (math.isfinite(value) and math.isfinite(size)):
        return str(value)
    decimals = 1 if size <= 0 else min(max(1, 1 - math.floor(math.log10(size))), 8)
    return f"{round(value, decimals) + 0.0:.{decimals}f}"
