"""The built-in sample as napari opens it: File ▸ Open Sample ▸ careamist."""

from __future__ import annotations

from typing import Any

from careamist.dataset.samples import PIXEL_SIZE_UM
from careamist.dataset.samples import noisy_cells as _noisy_cells


def noisy_cells(seed: int = 0) -> list[tuple[Any, dict[str, Any], str]]:
    """Return simulated noisy cells as layer data."""
    looks = {
        "name": "noisy cells",
        "scale": (PIXEL_SIZE_UM, PIXEL_SIZE_UM),
        "units": ("µm", "µm"),
        "axis_labels": ("y", "x"),
    }
    return [(_noisy_cells(seed=seed), looks, "image")]
