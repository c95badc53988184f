"""The layer that a prediction streams into."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

_REFRESH_MS = 150  # at most about 7 redraws a second, however fast tiles come
_GEOMETRY = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_LOOKS = ("colormap", "gamma", "blending", "interpolation2d", "interpolation3d", "contrast_limits")


class LiveLayer(QObject):  # type: ignore[misc, unused-ignore]
    """Adds an array to the viewer as a layer and redraws it, now and then, while it fills.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the layer.
    array : numpy.ndarray
        What is being filled; NaN (transparent) where it is not yet.
    name : str
        Name of the layer.
    source : napari.layers.Image, optional
        Its geometry, units, axis labels and looks are taken over.
    metadata : dict, optional
        What the layer was made with.
    """

    def __init__(
        self,
        viewer: Any,
        array: NDArray[np.float32],
        name: str,
        source: Any = None,
        metadata: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if source is not None and source.ndim == array.ndim:
            options |= {key: getattr(source, key) for key in _GEOMETRY}
        if source is not None and not source.rgb:
            options |= {key: _value(source, key) for key in _LOOKS}
        # limits must be given: those of a layer of NaN would never show anything
        self._own_limits = "contrast_limits" not in options
        options.setdefault("contrast_limits", (0.0, 1.0))
        step = tuple(viewer.dims.current_step)
        self.layer = viewer.add_image(array, name=name, metadata=metadata or {}, **options)
        viewer.dims.current_step = (*step, *viewer.dims.current_step[len(step) :])
        self._viewer = viewer
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)

    def touch(self) -> None:
        """Tell that the array has changed."""
        if isalive(self) and not self._timer.isActive():
            self._timer.start()

    def finish(self) -> None:
        """Tell that nothing will change any more."""
        self._timer.stop()
        self._refresh(thumbnail=True)

    def _refresh(self, *, thumbnail: bool = False) -> None:
        if self.layer not in self._viewer.layers:
            return  # the user has removed it
        if self._own_limits and (limits := _limits(self.layer.data)) is not None:
            self.layer.contrast_limits_range = limits
            self.layer.contrast_limits = limits
        self.layer.refresh(thumbnail=thumbnail, extent=False, highlight=False)


def _value(layer: Any, key: str) -> Any:
    value = getattr(layer, key)
    return tuple(value) if key == "contrast_limits" else value


def _limits(array: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return contrast limits from a sample of what is there."""
    step = max(1, int(np.cbrt(array.size / 1e6)))
    sample = array[tuple(slice(None, None, step) for _ in range(array.ndim))]
    sample = sample[np.isfinite(sample)]
    if sample.size < 2 or sample.min() == sample.max():
        return None
    low, high = np.percentile(sample, (0.1, 99.9))
    return (float(low), float(high)) if low < high else None
