"""Four ways to look at two layers; whatever they change in the viewer they give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image
from napari.utils.colormaps import Colormap
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from careamist.gui.comparing.comparison import (
    Difference,
    Leading,
    displayed_axes,
    fitting,
    levels_of,
)
from careamist.gui.comparing.swipe import SwipeLine, plane_size

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

__all__ = ["VIEWS", "Loan", "Views"]

VIEWS = ("Swipe", "Split", "Blink", "Diff.")
DIFFERENCE = "difference"

_REDRAW_MS = 30
_GEOMETRY = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_LOOKS = ("colormap", "gamma", "contrast_limits", "interpolation2d", "interpolation3d")
_MOVES = ("scale", "translate", "rotate", "shear", "affine")
# Blue, white, red: told apart by those who do not tell red from green.
_DIVERGING = Colormap(
    [[0.13, 0.4, 0.67, 1], [0.97, 0.97, 0.97, 1], [0.7, 0.09, 0.17, 1]],
    name="blue to red",
    display_name="blue to red",
)


class Loan:
    """Changes attributes and puts them back, those excepted that somebody else has changed since.

    Parameters
    ----------
    viewer : napari.Viewer
        Layers that it does not hold any more are left alone.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._taken: dict[tuple[int, str], tuple[Any, Any, Any]] = {}

    def set(self, thing: Any, name: str, value: Any) -> None:
        """Change an attribute; what it was at first is remembered."""
        now = getattr(thing, name)
        if _same(now, value):
            return
        key = id(thing), name
        original = self._taken[key][1] if key in self._taken else now
        setattr(thing, name, value)
        self._taken[key] = thing, original, getattr(thing, name)

    def isOpen(self) -> bool:
        """Tell whether anything is to be put back."""
        return bool(self._taken)

    def giveBack(self) -> None:
        """Put everything back."""
        taken, self._taken = self._taken, {}
        for (_, name), (thing, original, ours) in reversed(taken.items()):
            is_gone = isinstance(getattr(thing, "name", None), str) and (
                thing not in self._viewer.layers
            )
            if not is_gone and _same(getattr(thing, name), ours):
                setattr(thing, name, original)


class Views(QObject):  # type: ignore[misc, unused-ignore]
    """Shows two layers in one of `VIEWS`.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject

    Attributes
    ----------
    moved : Signal(float)
        The part of the columns before the line, which was dragged.
    lost : Signal()
        A layer that a view needs was removed by somebody.
    """

    moved = Signal(float)
    lost = Signal()

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._raw: Any = None
        self._restored: Any = None
        self._view = ""
        self._part = 0.5
        self._loan, self._peek, self._limits = Loan(viewer), Loan(viewer), Loan(viewer)
        self._spread = (-1.0, 1.0)  # the limits that we gave the difference
        self._own: Any = None  # the layer that a view has added
        self._line: SwipeLine | None = None
        self._linked: list[Any] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self._cut)

    @property
    def own(self) -> Any:
        """The temporary layer, or None."""
        return self._own

    @property
    def line(self) -> SwipeLine | None:
        """The line on the canvas, or None."""
        return self._line

    @property
    def view(self) -> str:
        """The view that is shown; empty if none is."""
        return self._view

    def show(self, view: str, raw: Any, restored: Any, canvas: QWidget | None) -> None:
        """Show two layers in a view, instead of what was shown before."""
        self.leave()
        self._raw, self._restored, self._view = raw, restored, view
        shown = {
            "Swipe": (restored,),
            "Split": (raw, restored),
            "Blink": (restored,),
            "Diff.": (),
        }[view]
        for layer in self._viewer.layers:
            if isinstance(layer, Image) or (view == "Split" and layer.visible):
                self._loan.set(layer, "visible", layer in shown)
        if view == "Split":
            self._split()
        elif view == "Diff.":
            self._subtract()
        elif view == "Swipe" and canvas is not None and self._viewer.dims.ndisplay == 2:
            self._lay_over(canvas)
        self._viewer.layers.events.removed.connect(self._on_removed)

    def leave(self) -> None:
        """Put the viewer back to what it was before a view was shown."""
        if not self._view:
            return
        self._view = ""
        self._timer.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._peek.giveBack()
        if self._line is not None:
            self._line.close()
            self._line = None
        own, self._own = self._own, None
        if own is not None:
            unlink_layers([self._raw, own])
            if own in self._viewer.layers:
                self._viewer.layers.remove(own)
        self._loan.giveBack()
        self._raw = self._restored = None

    def peek(self, on: bool) -> None:
        """Show the raw image as long as a key or a button is held."""
        if on and self._view in ("Swipe", "Blink", "Diff."):
            for layer in self._viewer.layers:
                if isinstance(layer, Image):
                    self._peek.set(layer, "visible", layer == self._raw)
        else:
            self._peek.giveBack()

    def link(self, raw: Any, restored: Any) -> None:
        """Give both layers the contrast limits of the raw one, and keep them equal."""
        self.unlink()
        self._limits.set(restored, "contrast_limits", list(raw.contrast_limits))
        if link_layers([raw, restored], ("contrast_limits",)):  # else somebody has linked them
            self._linked = [raw, restored]

    def unlink(self) -> None:
        """Give the layers their own contrast limits back."""
        linked, self._linked = self._linked, []
        if linked:
            unlink_layers(linked, ("contrast_limits",))
        self._limits.giveBack()

    def setPart(self, part: float) -> None:
        """Place the line: the part of the columns that shows the raw image, 0 to 1."""
        self._part = part
        if self._line is not None:
            self._line.setColumn(self._column())
            if not self._timer.isActive():
                self._timer.start()

    def setSpread(self, spread: float) -> None:
        """Set the limits of the difference, as long as nobody else has."""
        layer = self._own
        if self._view != "Diff." or layer is None or not np.isfinite(spread) or spread <= 0:
            return
        if _same(layer.contrast_limits, self._spread):
            layer.contrast_limits_range = (-4 * spread, 4 * spread)
            layer.contrast_limits = self._spread = (-spread, spread)

    def refresh(self) -> None:
        """Compute the difference again, as the pixels have changed."""
        if self._view == "Diff." and self._own is not None:
            self._own.refresh(extent=False)

    def rename(self) -> None:
        """Take over new names of the layers."""
        if self._line is not None:
            self._line.setNames((str(self._raw.name), str(self._restored.name)))

    # -- the views -----------------------------------------------------------------------------

    def _split(self) -> None:
        grid, layers = self._viewer.canvas.grid, self._viewer.layers
        is_first = layers.index(self._raw) < layers.index(self._restored)
        self._loan.set(grid, "stride", 1 if is_first else -1)
        self._loan.set(grid, "shape", (1, 2))
        self._loan.set(grid, "enabled", True)

    def _lay_over(self, canvas: QWidget) -> None:
        if displayed_axes(self._viewer, self._raw) is None:
            return
        names = str(self._raw.name), str(self._restored.name)
        layer = Image(
            self._leading(),
            name=f"{names[0]}, before the line",
            rgb=self._raw.rgb,
            multiscale=self._raw.multiscale,
            blending="translucent_no_depth",
            **{key: getattr(self._raw, key) for key in (*_GEOMETRY, *_LOOKS)},
        )
        self._add(layer, self._viewer.layers.index(self._restored) + 1)
        link_layers([self._raw, layer], (*_LOOKS, *_MOVES))
        self._line = SwipeLine(self._viewer, canvas, self._raw, names, self)
        self._line.dragged.connect(self.moved)
        self._line.setColumn(self._column())
        self._cut()

    def _subtract(self) -> None:
        raw, restored = self._raw, self._restored
        found = fitting(raw, restored)
        if found is None:
            return
        pairs = [
            Difference(a, b, is_rgb=raw.rgb)
            for a, b in zip(*found, strict=False)
            if a.shape[-2:] == b.shape[-2:] or raw.rgb
        ]
        guide = restored if restored.ndim >= raw.ndim else raw
        low, high = raw.contrast_limits
        self._spread = (-(high - low) / 4, (high - low) / 4)
        layer = Image(
            pairs if len(pairs) > 1 else pairs[0],
            name=DIFFERENCE,
            rgb=False,
            multiscale=len(pairs) > 1,
            colormap=_DIVERGING,
            contrast_limits=self._spread,
            **{key: getattr(guide, key) for key in _GEOMETRY},
        )
        self._add(layer, max(map(self._viewer.layers.index, (raw, restored))) + 1)

    def _add(self, layer: Any, place: int) -> None:
        """Add a layer; the selection and the slice stay."""
        viewer = self._viewer
        step, selected = tuple(viewer.dims.current_step), set(viewer.layers.selection)
        self._own = layer
        viewer.layers.insert(place, layer)
        viewer.layers.selection.clear()
        viewer.layers.selection.update(selected)
        viewer.dims.current_step = (*step, *viewer.dims.current_step[len(step) :])

    def _column(self) -> int:
        size = plane_size(self._viewer, self._raw)
        return round(self._part * size[1]) if size is not None else 0

    def _leading(self) -> Any:
        """Return the columns of the raw image before the line, at all levels."""
        axes = displayed_axes(self._viewer, self._raw)
        right = axes[1] if axes is not None else -1
        levels = levels_of(self._raw)
        whole = levels[0].shape[right]
        cut = [
            Leading(level, right, max(1, round(self._column() * level.shape[right] / whole)))
            for level in levels
        ]
        return cut if self._raw.multiscale else cut[0]

    def _cut(self) -> None:
        if self._own is None or self._view != "Swipe" or not isalive(self):
            return
        self._own.data = self._leading()
        if not self._peek.isOpen():
            self._loan.set(self._own, "visible", self._column() > 0)

    def _on_removed(self, event: Any) -> None:
        if event.value == self._own:
            self._own = None
            self.lost.emit()
        elif event.value in (self._raw, self._restored):
            self.lost.emit()


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
        return tuple(a) == tuple(b)
    return bool(a == b)
