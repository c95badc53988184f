"""What is known of an image without reading its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

import numpy as np

__all__ = ["DataChoice", "SourceInfo", "clean_path", "describe", "layer_info", "path_problem"]


class SourceInfo(NamedTuple):
    """Shape, type and axes of a file, or of a folder of files."""

    shape: tuple[int, ...]
    dtype: str
    axes: str | None  # None: the file does not say
    pixel_size: str  # in words, "0.32 µm", or empty


@dataclass(frozen=True)
class DataChoice:
    """The image that was chosen: a layer of the viewer, or a path."""

    layer: Any  # a napari Image layer, or None
    path: str | None
    axes: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layer's name, or the last part of the path."""
        if self.layer is not None:
            return str(self.layer.name)
        path = (self.path or "").rstrip("/\\")
        return path.replace("\\", "/").rsplit("/", 1)[-1]


def layer_info(layer: Any) -> SourceInfo:
    """Read shape, type and pixel size of an Image layer; of a pyramid, of its finest level."""
    data = layer.data[0] if layer.multiscale else layer.data
    return SourceInfo(
        tuple(int(size) for size in data.shape),
        np.dtype(data.dtype).name,
        None,
        _pixel_size(layer.scale[-2:], layer.units[-2:]),
    )


def describe(info: SourceInfo) -> str:
    """Say it in a line: "12 × 512 × 512 · uint16 · 0.32 µm"."""
    shape = " × ".join(str(size) for size in info.shape)
    return " · ".join(part for part in (shape, info.dtype, info.pixel_size) if part)


def clean_path(text: str) -> str:
    """Turn what was typed, pasted or dropped into a path; nothing stays nothing."""
    text = text.strip().strip("\"'").strip()
    if text.startswith("file:"):
        parts = urlparse(text)
        host = "" if parts.netloc in ("", "localhost") else f"//{parts.netloc}"
        return host + url2pathname(unquote(parts.path))
    return str(Path(text).expanduser()) if text.startswith("~") else text


def path_problem(path: str) -> str:
    """Say why a path cannot be read; addresses are only known when they are opened."""
    if not path:
        return "No file is chosen. Type a path or use the folder button."
    if "://" not in path and not Path(path).exists():
        return f"“{path}” does not exist. Check the spelling or choose a file."
    return ""


def _pixel_size(scale: Any, units: Any) -> str:
    sizes = [f"{float(size):.4g}" for size in scale]
    names = [f"{unit:~P}" if hasattr(unit, "dimensionality") else str(unit) for unit in units]
    if not names or any(name in ("", "px", "pixel", "pix") for name in names):
        return ""
    if len(set(names)) > 1:
        return " × ".join(f"{size} {name}" for size, name in zip(sizes, names, strict=True))
    return f"{' × '.join(sizes if len(set(sizes)) > 1 else sizes[:1])} {names[0]}"
