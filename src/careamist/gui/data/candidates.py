"""Which layers of a viewer are images that somebody may want to use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from napari.layers import Image

LEADING, DIFFERENCE = ", before the line", "difference"  # layers of the Compare dock
PREVIEW = "careamist_preview"  # in the metadata of a live preview
RESULT = "careamist"  # in the metadata of what a prediction has made


def images_of(viewer: Any) -> list[Any]:
    """Return the Image layers of a viewer without those that are only there to look at."""
    return [layer for layer in viewer.layers if isinstance(layer, Image) and not is_view(layer)]


def first_of(viewer: Any, offered: Sequence[Any]) -> Any:
    """Return what to begin with: the active layer, or the first; never a result, or None.

    Results are offered, but nobody gets one without having asked for it.
    """
    own = [layer for layer in offered if RESULT not in layer.metadata]
    active = viewer.layers.selection.active
    at = [layer for layer in own if active is not None and layer == active]
    return at[0] if at else next(iter(own), None)


def is_view(layer: Any) -> bool:
    """Tell whether a layer is a live preview, or one of the Compare dock."""
    name = re.sub(r" \[\d+\]$", "", str(layer.name))  # napari numbers namesakes
    return bool(layer.metadata.get(PREVIEW)) or name == DIFFERENCE or name.endswith(LEADING)
