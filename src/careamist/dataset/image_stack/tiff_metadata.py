"""What a TIFF file proposes: axes, pixel sizes, names of channels, and what to be careful with."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from careamist.dataset.image_stack.file_utils import in_words
from careamist.utils.reshape_array import AXES

if TYPE_CHECKING:
    import tifffile

_MICROMETRE = ("micron", "microns", "micrometer", "micrometre", "um", "\\u00B5m", "\u03bcm", "µm")
_UNITS = dict.fromkeys(_MICROMETRE, "µm") | {
    unit: unit for unit in ("pm", "nm", "mm", "cm", "m", "Å", "inch", "s", "ms", "min", "h")
}
_UNITS |= {"nanometer": "nm", "nanometre": "nm", "angstrom": "Å", "in": "inch", "sec": "s"}
_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # micrometres in an inch, in a centimetre
# Coarser resolutions are those of prints and screens, which programs write without being asked.
_FINEST_PRINT = 25_400.0 / 600
_MOST_PLANES = 10_000_000
_PLANE_NUMBERS = ("PlaneCount", "NumPlanes", "IFD", "FirstZ", "FirstC", "FirstT")


def known_axes(tif: tifffile.TiffFile) -> str | None:
    """Return the axes of the first series in letters of STCZYX, None if the file does not say."""
    series = tif.series[0]
    axes = str(series.axes)
    if series.keyframe.samplesperpixel > 1:
        axes = axes.replace("S", "C")  # tifffile's S: the samples of a pixel; ours: of a set
    unknown = [axis for axis in axes if axis not in AXES]
    if len(unknown) == 1 and "T" not in axes and _frame_interval(tif):
        axes = axes.replace(unknown[0], "T")
    known = set(axes) <= set(AXES) and len(set(axes)) == len(axes)  # Q, I: never guessed
    return axes if known and {"Y", "X"} <= set(axes) else None


def check_ome_size(tif: tifffile.TiffFile) -> None:
    """Raise if OME-XML claims more planes than any file has: tifffile makes a list of them."""
    text = tif.ome_metadata if tif.is_ome else None
    page = max(tif.pages.first.imagewidth * tif.pages.first.imagelength, 1)
    for tag in re.findall(r"<(?:\w+:)?(?:Pixels|TiffData)\b[^>]*", text or ""):
        numbers = dict(re.findall(r"(\w+)\s*=\s*[\"']\s*\+?(\d+)\s*[\"']", tag))
        planes = math.prod(int(numbers.get(f"Size{axis}", 1)) for axis in "XYZCT") // page
        others = [int(numbers.get(name, 0)) for name in _PLANE_NUMBERS]
        if max(planes, *others) > _MOST_PLANES:
            raise ValueError(f"its OME-XML claims more than {_MOST_PLANES} planes")


def pixel_sizes(
    tif: tifffile.TiffFile, ome: ElementTree.Element | None, axes: str | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the distances of pixels and their units along the axes; empty if there are none."""
    if ome is not None:
        found = _ome_sizes(ome.attrib)
    elif tif.is_imagej:
        found = _imagej_sizes(tif)
    else:  # our own results say it in the words of OME, where axes are in an order of their own
        found = _resolution(tif) | _ome_sizes((tif.shaped_metadata or ({},))[0])
    sizes, units = {}, {}
    for axis, (size, unit) in found.items():
        wanted = axes is None or axis in axes
        if wanted and unit in _UNITS and math.isfinite(size) and size > 0:
            sizes[axis], units[axis] = size, _UNITS[unit]
    return sizes, units


def channel_names(ome: ElementTree.Element | None, n_channels: int) -> tuple[str, ...]:
    """Return one name per channel from OME-XML, or nothing."""
    channels = [] if ome is None else [child for child in ome if _name(child) == "Channel"]
    names = tuple(channel.get("Name", "") for channel in channels)
    return names if len(names) == n_channels and all(names) else ()


def warnings_of(tif: tifffile.TiffFile, missing: int, empty: int) -> tuple[str, ...]:
    """Return what a careful person would want to know.

    `missing` pages, and `empty` strips or tiles, read as zeros.
    """
    series, warnings = tif.series[0], []
    if len(tif.series) > 1:
        warnings.append(f"It holds {len(tif.series)} images; the first is read.")
    if len(series.levels) > 1:
        warnings.append(f"It holds {len(series.levels)} resolutions; the finest is read.")
    described = (tif.shaped_metadata or ({},))[0].get("shape", ())
    if math.prod(described) > math.prod(series.shape):
        warnings.append(f"Its description tells of an image of {in_words(described)}.")
    if missing:
        warnings.append(f"{missing} of its {len(series)} planes are missing and read as zeros.")
    if empty:
        warnings.append(f"{empty} of its strips or tiles are empty and read as zeros.")
    timed = _frame_interval(tif) and "spacing" not in (tif.imagej_metadata or {})
    if "Z" in series.axes and "T" not in series.axes and timed:
        warnings.append("It has slices (Z) but also a frame interval: perhaps Z is really time.")
    photometric = getattr(series.keyframe.photometric, "name", "")
    if photometric == "PALETTE" and not tif.is_imagej:  # ImageJ only stores how it is shown
        warnings.append("Its pixels are numbers of colours in a palette, not intensities.")
    if photometric == "MINISWHITE":
        warnings.append("Small values mean white: the image looks inverted.")
    return tuple(warnings)


def missing_files(tif: tifffile.TiffFile) -> list[str]:
    """Return the names of files of an OME set that are not beside this one."""
    names = set(re.findall(r'FileName="([^"]+)"', tif.ome_metadata or ""))
    folder = Path(tif.filehandle.dirname)
    return sorted(name for name in names if not (folder / name).is_file())


def ome_pixels(tif: tifffile.TiffFile) -> ElementTree.Element | None:
    """Return the Pixels element of OME-XML that describes the first series."""
    if not tif.is_ome or not tif.ome_metadata:
        return None
    frame = tif.series[0].keyframe
    size = (str(frame.imagewidth), str(frame.imagelength))
    try:
        elements = list(ElementTree.fromstring(tif.ome_metadata).iter())
    except ElementTree.ParseError:
        return None
    pixels = [element for element in elements if _name(element) == "Pixels"]
    return next((p for p in pixels if (p.get("SizeX"), p.get("SizeY")) == size), None)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _ome_sizes(attributes: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    names = {axis: f"PhysicalSize{axis}" for axis in "ZYX"} | {"T": "TimeIncrement"}
    defaults = {"T": "s"}
    return {
        axis: (
            _number(attributes[name]),
            str(attributes.get(f"{name}Unit", defaults.get(axis, "µm"))),
        )
        for axis, name in names.items()
        if name in attributes
    }


def _imagej_sizes(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    found = {axis: (1 / density, unit) for axis, density in _densities(tif).items()}
    if found and "spacing" in metadata:
        # Fiji stores it negative where a volume was turned over
        found["Z"] = (abs(_number(metadata["spacing"])), str(metadata.get("zunit", unit)))
    if interval := _frame_interval(tif):
        found["T"] = (interval, str(metadata.get("tunit", "s")))
    return found


def _resolution(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    tags = tif.pages.first.tags
    scale = _PER_UNIT.get(int(tags.valueof("ResolutionUnit", 2)))
    sizes = {axis: scale / density for axis, density in _densities(tif).items()} if scale else {}
    fine = len(sizes) == 2 and max(sizes.values()) < _FINEST_PRINT * 0.999
    return {axis: (size, "µm") for axis, size in sizes.items()} if fine else {}


def _densities(tif: tifffile.TiffFile) -> dict[str, float]:
    """Return the pixels per unit along Y and X that the resolution tags declare, or nothing."""
    values = [tif.pages.first.tags.valueof(f"{axis}Resolution") for axis in "YX"]
    if any(value is None or not all(value) for value in values):
        return {}
    return {axis: n / d for axis, (n, d) in zip("YX", values, strict=True)}


def _frame_interval(tif: tifffile.TiffFile) -> float:
    """Return the seconds between two frames that ImageJ stored, 0 if it did not."""
    metadata: Mapping[str, Any] = (tif.imagej_metadata if tif.is_imagej else None) or {}
    interval = _number(metadata.get("finterval", 0))
    rate = _number(metadata.get("fps", 0))
    if math.isfinite(interval) and interval > 0:
        return interval
    return 1 / rate if math.isfinite(rate) and rate > 0 else 0.0


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
