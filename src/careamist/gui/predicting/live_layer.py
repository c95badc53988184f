"""The layer that a prediction streams into."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

_REFRESH_MS = 150  # at most about 7 redraws a second, however fast tiles come
_SAMPLE_EDGE = 512  # pixels along Y and X that contrast limits are taken from, on the disk
_SAMPLE_PIXELS = 2**18  # of an image in memory: percentiles of more would stop the window


class LiveLayer(QObject):  # type: ignore[misc, unused-ignore]
    """Adds what is being filled to the viewer as a layer and redraws it, now and then.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the layer.
    view : array, or list of arrays
        What is being filled, of a pyramid its levels; NaN (transparent) where it is not yet.
    name : str
        Name of the layer.
    options : dict
        For the layer: its geometry and looks.
    metadata : dict, optional
        What the layer was made with.
    is_there : callable, optional
        Tells whether the view can be read; a file that gets its name cannot for a moment.
    """

    def __init__(
        self,
        viewer: Any,
        view: Any,
        name: str,
        options: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        is_there: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        # limits must be given: those of a layer of NaN would never show anything
        self._own_limits = "contrast_limits" not in options and not options.get("rgb", False)
        limits = {} if options.get("rgb", False) else {"contrast_limits": (0.0, 1.0)}
        step = tuple(viewer.dims.current_step)
        self.layer = viewer.add_image(
            view,
            name=name,
            metadata=metadata or {},
            multiscale=isinstance(view, list),
            **(limits | options),
        )
        viewer.dims.current_step = (*step, *viewer.dims.current_step[len(step) :])
        self._viewer, self._is_there = viewer, is_there
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)

    def touch(self) -> None:
        """Tell that the pixels have changed."""
        if isalive(self) and not self._timer.isActive():
            self._timer.start()

    def replace(self, levels: Any) -> None:
        """Show the same pixels from where they are kept for good.

        Parameters
        ----------
        levels : array, or list of arrays
            Of a pyramid all levels, the finest first.
        """
        self._timer.stop()
        if self.layer not in self._viewer.layers:
            return
        self._is_there = lambda: True
        found = levels if isinstance(levels, list) else [levels]
        if not self.layer.multiscale:
            self.layer.data = found[0]
        elif len(found) > 1:
            self.layer.data = found
        else:  # no coarser levels are kept: the overview goes on to serve
            self.layer.data = [found[0], *self.layer.data[1:]]

    def finish(self, *, complete: bool = True) -> None:
        """Tell that nothing will change any more."""
        self._timer.stop()
        if self.layer in self._viewer.layers:
            if not complete:
                self.layer.name = f"{self.layer.name}, unfinished"
            self._check_limits()
            self._refresh(thumbnail=True)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        self._timer.stop()
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)

    def _refresh(self, *, thumbnail: bool = False) -> None:
        if self.layer not in self._viewer.layers or not self._is_there():
            return  # the user has removed it, or it will be replaced at once
        if self._own_limits and (limits := _limits(self._sample())) is not None:
            self._set_limits(limits)
        self.layer.refresh(thumbnail=thumbnail, extent=False, highlight=False)

    def _check_limits(self) -> None:
        """Take other limits than those of the source where these would show nothing."""
        if self.layer.rgb or self._own_limits or not self._is_there():
            return
        sample = self._sample()
        low, high = self.layer.contrast_limits
        finite = sample[np.isfinite(sample)]
        if finite.size and low <= float(np.median(finite)) <= high:
            return
        if (limits := _limits(sample)) is not None:
            self._set_limits(limits)

    def _set_limits(self, limits: tuple[float, float]) -> None:
        self.layer.contrast_limits_range = limits
        self.layer.contrast_limits = limits

    def _sample(self) -> NDArray[Any]:
        """Return some of the pixels, quickly."""
        view = self.layer.data[-1] if self.layer.multiscale else self.layer.data
        if not isinstance(view, np.ndarray):
            return np.asarray(view[_middle(view.shape)])
        long = max(1, sum(n > 1 for n in view.shape))
        step = max(1, math.ceil((view.size / _SAMPLE_PIXELS) ** (1 / long)))
        return view[tuple(slice(None, None, step) for _ in range(view.ndim))]


def _middle(shape: Sequence[int]) -> tuple[Any, ...]:
    planes = tuple(n // 2 for n in shape[:-2])
    starts = [max(0, (n - _SAMPLE_EDGE) // 2) for n in shape[-2:]]
    return (*planes, *(slice(start, start + _SAMPLE_EDGE) for start in starts))


def _limits(sample: NDArray[Any]) -> tuple[float, float] | None:
    """Return contrast limits from a sample of what is there."""
    sample = sample[np.isfinite(sample)]
    if sample.size < 2 or sample.min() == sample.max():
        return None
    low, high = np.percentile(sample, (0.1, 99.9))
    return (float(low), float(high)) if low < high else None
