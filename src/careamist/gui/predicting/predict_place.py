"""Which tile is wanted first: where the screen stands, told to the thread of a prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from careamist.gui.live.preview_place import visible_place
from careamist.utils.reshape_array import spatial_axes

if TYPE_CHECKING:
    from careamist.gui.predicting.predict_order import PredictionOrder

_LOOK_MS = 200


class ViewFollower(QObject):  # type: ignore[misc, unused-ignore]
    """Looks at the viewer now and then, on the GUI thread; `wanted` may be called in any.

    Parameters
    ----------
    parent : QObject
    viewer : napari.Viewer
        What is looked at.
    order : PredictionOrder
        What is predicted; of files nothing is wanted first.
    """

    def __init__(self, parent: QObject, viewer: Any, order: PredictionOrder) -> None:
        super().__init__(parent)
        self._viewer, self._order = viewer, order
        self._place: tuple[float, ...] | None = None  # replaced as a whole
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self.look)
        if order.choice.layer is not None:
            self.look()
            self._timer.start()

    def wanted(self, index: int) -> tuple[float, ...] | None:
        """Return sample and (Z)YX of what is looked at, in pixels of the image that is read."""
        return self._place if index == 0 else None

    def look(self) -> None:
        """See where the screen stands."""
        if isalive(self):
            found = _wanted_place(self._viewer, self._order)
            self._place = found if found is not None else self._place

    def end(self) -> None:
        """Stop looking."""
        self._timer.stop()


def _wanted_place(viewer: Any, order: PredictionOrder) -> tuple[float, ...] | None:
    choice = order.choice
    # the colours of a pixel are no axis of the viewer
    axes = choice.axes if choice.layer.rgb else order.axes
    place = visible_place(viewer, replace(choice, axes=axes))
    if place is None:
        return None
    start = dict(zip(axes, order.offset, strict=True))
    size = dict(zip(axes, order.shape, strict=True))
    full = dict(zip(axes, choice.shape, strict=True))
    s, t = divmod(place.sample, full.get("T", 1))
    sample = 0
    for axis, at in (("S", s), ("T", t)):
        n = size.get(axis, 1)
        sample = sample * n + int(np.clip(at - start.get(axis, 0), 0, n - 1))
    spatial = spatial_axes(axes)
    middle = [
        at + n / 2 - start[axis]
        for axis, at, n in zip(spatial, place.start, place.size, strict=True)
    ]
    return (float(sample), *middle)
