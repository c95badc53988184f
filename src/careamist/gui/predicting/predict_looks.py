"""How the layer of a result lies and looks: like the one it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

from careamist.gui.live.preview_place import geometry
from careamist.gui.tasks import layer_options

if TYPE_CHECKING:
    from careamist.gui.predicting.predict_order import PredictionOrder

_LOOKS = ("colormap", "gamma", "blending", "interpolation2d", "interpolation3d", "contrast_limits")


def result_options(
    order: PredictionOrder, source: str, axes: str, shape: Sequence[int], dtype: str
) -> dict[str, Any]:
    """Return geometry, units, axis labels and looks of the layer of a result.

    Parameters
    ----------
    order : PredictionOrder
        What is predicted.
    source : str
        Which image of it.
    axes : str
        Axes of the result, in the letters of the image.
    shape : sequence of int
        Its shape.
    dtype : str
        Type of its pixels.
    """
    layer = order.choice.layer
    if layer is None:
        return layer_options(order.choice, source, axes)
    is_color = bool(layer.rgb) and axes.endswith("C") and shape[-1] in (3, 4)
    if is_color and np.dtype(dtype).kind in "uf":
        return {**_lies(order, axes[:-1]), "rgb": True, "blending": layer.blending}
    looks = {} if layer.rgb else {key: _value(layer, key) for key in _LOOKS}
    return {**_lies(order, axes), **looks}


def _lies(order: PredictionOrder, axes: str) -> dict[str, Any]:
    choice, layer = order.choice, order.choice.layer
    own = choice.array_axes[: layer.ndim]
    lies = dict(geometry(layer, choice.level, order.offset[: layer.ndim]))
    if axes == own:
        return lies
    kept = [own.index(axis) for axis in axes if axis in own]
    added = [place for place, axis in enumerate(axes) if axis not in own]
    whole = Affine(**{key: lies[key] for key in ("scale", "rotate", "shear", "translate")})
    inner, outer = (found.set_slice(kept).expand_dims(added) for found in (whole, layer.affine))
    units, labels = iter([layer.units[place] for place in kept]), "axis_labels"
    names = iter([layer.axis_labels[place] for place in kept])
    return {
        **{key: getattr(inner, key) for key in ("scale", "rotate", "shear", "translate")},
        "affine": outer,
        "units": tuple("pixel" if place in added else next(units) for place in range(len(axes))),
        labels: tuple(
            axis.lower() if place in added else next(names) for place, axis in enumerate(axes)
        ),
    }


def _value(layer: Any, key: str) -> Any:
    value = getattr(layer, key)
    return tuple(value) if key == "contrast_limits" else value
