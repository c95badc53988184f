"""The layer that shows what a network in training makes of the slice on the screen."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from careamist.gui.data.candidates import PREVIEW
from careamist.gui.live.preview_place import Place, geometry, origin
from careamist.gui.theme import contrast_ratio, palette
from careamist.utils.reshape_array import restore_patch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from careamist.gui.data.data_source import DataChoice
    from careamist.lightning.preview import PreviewResult

_LOOKS = ("colormap", "gamma", "interpolation2d", "interpolation3d")


def is_preview(layer: Any) -> bool:
    """Tell whether a layer is a live preview: nobody wants to train on it, or denoise it."""
    return bool(layer.metadata.get(PREVIEW))


class PreviewLayer:
    """Shows previews in a layer of the viewer, above the one they are made from.

    The layer is as large as what was predicted and lies there, so that napari itself shows
    nothing of it in other slices. It is made when there is something to show, never the active
    layer, and forgotten when the user removes it.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the layer.
    choice : DataChoice
        The image, which must be a layer.
    """

    def __init__(self, viewer: Any, choice: DataChoice) -> None:
        self._viewer, self._source = weakref.ref(viewer), weakref.ref(choice.layer)
        self._axes, self._shape, self._level = choice.array_axes, choice.shape, choice.level
        self._layer: Any = _nothing

    @property
    def layer(self) -> Any:
        """The layer, or None while there is none in the viewer."""
        layer, viewer = self._layer(), self._viewer()
        return (
            layer if layer is not None and viewer is not None and layer in viewer.layers else None
        )

    def show(self, result: PreviewResult) -> None:
        """Show a preview."""
        source, viewer = self._source(), self._viewer()
        if source is None or viewer is None or source not in viewer.layers:
            return
        place = Place(result.request.sample, result.start, result.data.shape[1:])
        data = self._as_layer(result, source)
        lies = geometry(source, self._level, origin(self._axes, self._shape, place)[: source.ndim])
        layer = self.layer
        if layer is None:
            self._add(viewer, source, data, lies)
        elif np.shape(layer.data) == data.shape and np.allclose(layer.translate, lies["translate"]):
            layer.data[...] = data
            layer.refresh(extent=False, highlight=False)
        else:
            layer.data = data
            layer.translate = lies["translate"]
        self.follow()

    def follow(self) -> None:
        """Outline the preview where its slice is shown, which napari would do in all of them."""
        if (layer := self.layer) is not None:
            layer.bounding_box.visible = not self._beside(layer)

    def reveal(self) -> None:
        """Move the sliders to the slice of the preview."""
        layer, viewer = self.layer, self._viewer()
        if layer is None or viewer is None:
            return
        point = layer.world_to_data(viewer.dims.point)
        beside = self._beside(layer)
        point[beside] = np.clip(point[beside], 0, np.array(layer.data.shape)[beside] - 1)
        world = layer.data_to_world(point)
        for axis in beside:
            viewer.dims.set_point(axis + viewer.dims.ndim - layer.ndim, float(world[axis]))

    def _beside(self, layer: Any) -> list[int]:
        """Return the axes along which the slice on the screen is not one of the preview."""
        viewer = self._viewer()
        if viewer is None:
            return []
        point = np.round(layer.world_to_data(viewer.dims.point))
        return [
            axis
            for axis in range(layer.ndim)
            if axis + viewer.dims.ndim - layer.ndim not in viewer.dims.displayed
            and not 0 <= point[axis] < layer.data.shape[axis]
        ]

    def owns(self, layer: Any) -> bool:
        """Tell whether a layer is this one, in the viewer or not."""
        return layer is not None and layer is self._layer()

    def setVisible(self, on: bool) -> None:
        """Show the layer, or only what is below it."""
        if (layer := self.layer) is not None:
            layer.visible = on

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer, viewer = self.layer, self._viewer()
        self._layer = _nothing
        if layer is not None and viewer is not None:
            viewer.layers.remove(layer)

    def _add(self, viewer: Any, source: Any, data: NDArray[Any], lies: Any) -> None:
        looks: dict[str, Any] = {"rgb": bool(source.rgb)}
        if not source.rgb:
            looks |= {key: getattr(source, key) for key in _LOOKS}
            looks["contrast_limits"] = _limits(data, source.contrast_limits)
        layer = Image(
            data,
            name=f"{source.name} preview",
            metadata={PREVIEW: True},
            blending="translucent_no_depth",
            **lies,
            **looks,
        )
        chosen, active = set(viewer.layers.selection), viewer.layers.selection.active
        viewer.layers.insert(viewer.layers.index(source) + 1, layer)
        viewer.layers.selection = chosen
        viewer.layers.selection.active = active
        colors = palette(str(viewer.theme))
        outline = max(colors.current, colors.accent, key=lambda c: contrast_ratio(c, "#000000"))
        layer.bounding_box.line_color = outline
        layer.bounding_box.line_thickness = 2
        layer.bounding_box.points = False
        self._layer = weakref.ref(layer)

    def _as_layer(self, result: PreviewResult, source: Any) -> NDArray[Any]:
        """Return a preview with the axes of the layer."""
        data = result.data
        if "C" in self._axes:
            n = self._shape[self._axes.index("C")]
            used = list(result.channels or range(n))[: len(data)]
            if len(data) != n or used != list(range(n)):
                spread = np.full((n, *data.shape[1:]), np.nan, np.float32)
                spread[used] = data[: len(used)]
                data = spread
        data = restore_patch(data, self._axes)
        if not source.rgb:
            return np.array(data)
        dtype = np.dtype(source.dtype)
        most = np.iinfo(dtype).max if dtype.kind in "ui" else 1
        return np.clip(np.nan_to_num(data), 0, most).astype(dtype)


def _nothing() -> None:
    """Stand for a reference to no layer."""


def _limits(data: NDArray[Any], given: Any) -> tuple[float, float]:
    """Return the contrast limits of the source, or own ones if little would be seen with these."""
    low, high = (float(value) for value in given)
    finite = data[np.isfinite(data)]
    if finite.size and not low <= float(np.median(finite)) <= high:
        own = np.percentile(finite, (0.1, 99.9))
        if own[0] < own[1]:
            return float(own[0]), float(own[1])
    return low, high
