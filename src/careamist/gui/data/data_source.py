"""What is known of an image without reading its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

import numpy as np

__all__ = [
    "DataChoice",
    "SourceInfo",
    "clean_path",
    "describe",
    "in_times",
    "layer_info",
    "level_geometry",
    "levels_of",
    "path_problem",
]


class SourceInfo(NamedTuple):
    """Shape, type and axes of a layer, a file, or the first of several images."""

    shape: tuple[int, ...]  # empty: only a part of it can be used
    dtype: str
    axes: str | None  # None: the file does not say
    pixel_size: str  # in words, "0.32 µm", or empty
    data_type: str = "array"
    several: str = ""  # of several images, in words: "12 TIFF files"
    warnings: tuple[str, ...] = ()
    problem: str = ""  # why it cannot be used as a whole
    parts: tuple[tuple[str, str], ...] = ()  # of several: words, and the path of one
    layouts: Mapping[str, tuple[int, ...]] = {}  # axes that the format fixes, and their shapes
    images: tuple[Any, ...] = ()  # the `ImageInfo` of each


@dataclass(frozen=True)
class DataChoice:
    """The image that was chosen: a layer of the viewer, or a path."""

    layer: Any  # a napari Image layer, or None
    path: str | None
    axes: str
    shape: tuple[int, ...]
    data_type: str = "array"
    level: int = 0  # of a multiscale layer
    images: tuple[Any, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The layer's name, or the last part of the path."""
        if self.layer is not None:
            return str(self.layer.name)
        path = (self.path or "").rstrip("/\\")
        return path.replace("\\", "/").rsplit("/", 1)[-1]

    @property
    def source(self) -> Any:
        """What is opened: the path, or the array of the layer, of a pyramid the chosen level."""
        if self.layer is None:
            return self.path
        return self.layer.data[self.level] if self.layer.multiscale else self.layer.data

    @property
    def array_axes(self) -> str:
        """The axes as the stacks have them: in a CZI, time that is chosen as depth is called Z."""
        is_depth = (self.data_type, self.axes) == ("czi", "SCTYX")
        return self.axes.replace("T", "Z") if is_depth else self.axes

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size in (Z)YX."""
        axes = self.array_axes
        return tuple(self.shape[axes.index(axis)] for axis in "ZYX" if axis in axes)


def layer_info(layer: Any, level: int = 0) -> SourceInfo:
    """Read shape, type and pixel size of an Image layer, of a pyramid those of one level."""
    data = layer.data[level] if layer.multiscale else layer.data
    scale = level_geometry(layer, level)["scale"] if level else layer.scale
    return SourceInfo(
        tuple(int(size) for size in data.shape),
        np.dtype(data.dtype).name,
        None,
        _pixel_size(scale[-2:], layer.units[-2:]),
    )


def levels_of(layer: Any) -> list[tuple[str, int]]:
    """Return the levels of a multiscale layer, in words and as numbers; of others nothing."""
    if layer is None or not layer.multiscale:
        return []
    return [
        (f"Level {level} · {in_times(data.shape)}", level) for level, data in enumerate(layer.data)
    ]


def level_geometry(layer: Any, level: int) -> dict[str, tuple[float, ...]]:
    """Return scale and translation of a level of a multiscale layer: its centre stays."""
    full, coarse = layer.data[0].shape, layer.data[level].shape
    pairs = zip(layer.scale, layer.translate, full, coarse, strict=False)  # RGB has no scale
    moved = [(s * n / m, t + s * (n / m - 1) / 2) for s, t, n, m in pairs]
    scale, translate = zip(*moved, strict=True)
    return {"scale": tuple(map(float, scale)), "translate": tuple(map(float, translate))}


def describe(info: SourceInfo) -> str:
    """Say it in a line: "12 TIFF files, first 512 × 512 · uint16 · 0.32 µm"."""
    shape = in_times(info.shape)
    if info.several:
        shape = f"{info.several}, first {shape}" if shape else info.several
    return " · ".join(part for part in (shape, info.dtype, info.pixel_size) if part)


def in_times(shape: Any) -> str:
    """Return a shape as "12 × 512 × 512"."""
    return " × ".join(str(int(size)) for size in shape)


def clean_path(text: str) -> str:
    """Turn what was typed, pasted or dropped into a path; nothing stays nothing."""
    text = text.strip().strip("\"'").strip()
    if text.startswith("file:"):
        parts = urlparse(text)
        host = "" if parts.netloc in ("", "localhost") else f"//{parts.netloc}"
        return host + url2pathname(unquote(parts.path))
    return str(Path(text).expanduser()) if text.startswith("~") else text


def path_problem(path: str) -> str:
    """Say that no path is given; whether it can be read is found out in the background."""
    return "" if path else "No file is chosen. Type a path or use the folder button."


def _pixel_size(scale: Any, units: Any) -> str:
    sizes = [f"{float(size):.4g}" for size in scale]
    names = [f"{unit:~P}" if hasattr(unit, "dimensionality") else str(unit) for unit in units]
    if not names or any(name in ("", "px", "pixel", "pix") for name in names):
        return ""
    if len(set(names)) > 1:
        return " × ".join(f"{size} {name}" for size, name in zip(sizes, names, strict=True))
    return f"{' × '.join(sizes if len(set(sizes)) > 1 else sizes[:1])} {names[0]}"
