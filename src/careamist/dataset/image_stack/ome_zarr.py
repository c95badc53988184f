"""What OME-Zarr says about the images in a group: pyramids, axes, pixel sizes, wells, series.

Everything here works on the attributes of a group, a dict that was JSON: nothing is opened. It is
read by hand, not through a validating model: a file that breaks one rule still tells the rest, and
the versions 0.1 to 0.3, which no model covers, are read as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamist.dataset.image_stack.protocol import ImageInfo

_WITHOUT_AXES = ("0.1", "0.2", None)  # these versions are TCZYX and do not say so
_OF_TYPE = {"time": "T", "channel": "C"}
_OF_NAME = {letter.lower(): letter for letter in "STCZYX"}
_OF_NAME |= {"time": "T", "channel": "C", "sample": "S"}
_ORDER = {"T": 0, "C": 1, "S": 1, "Z": 2, "Y": 3, "X": 4}  # S is an axis of a custom type
_UNITS = {
    "meter": "m",
    "centimeter": "cm",
    "millimeter": "mm",
    "micrometer": "µm",
    "micron": "µm",
    "um": "µm",
    "\u03bcm": "µm",  # the Greek letter instead of the micro sign
    "nanometer": "nm",
    "picometer": "pm",
    "angstrom": "Å",
    "hour": "h",
    "minute": "min",
    "second": "s",
    "millisecond": "ms",
    "microsecond": "µs",
    "nanosecond": "ns",
}


@dataclass(frozen=True)
class Pyramid:
    """One image at several resolutions: an entry of ``multiscales``.

    Parameters
    ----------
    paths : tuple of str
        The arrays, relative to the group, finest first.
    entry : mapping
        The entry as it is in the file.
    version : str or None
        Of OME-Zarr.
    channel_names : tuple of str
        One per channel, or empty.
    is_labels : bool
        Whether the pixels are labels of objects.
    """

    paths: tuple[str, ...]
    entry: Mapping[str, Any]
    version: str | None = None
    channel_names: tuple[str, ...] = ()
    is_labels: bool = False

    def describe(self, info: ImageInfo, level: int) -> ImageInfo:
        """Return what is known of the array of a level, with what the pyramid says about it."""
        warnings = list(info.warnings)
        axes, problem = self._letters(len(info.shape))
        if problem:
            warnings.append(f"The OME metadata {problem}: the axes have to be given.")
        if level:
            warnings.append(
                f"This is level {level} of a pyramid of {len(self.paths)}: downscaling has made "
                "the noise of neighbouring pixels similar, which Noise2Void cannot remove. "
                "Train on level 0."
            )
        if self.is_labels:
            warnings.append("These are labels of objects, not intensities.")
        n_channels = info.shape[axes.index("C")] if axes and "C" in axes else 1
        sizes, units = self._pixel_size(axes or "", level)
        return replace(
            info,
            axes=axes,
            pixel_size=sizes,
            units=units,
            channel_names=self.channel_names if len(self.channel_names) == n_channels else (),
            level=level,
            n_levels=len(self.paths),
            warnings=tuple(warnings),
        )

    def _letters(self, n_dims: int) -> tuple[str | None, str]:
        """Return the axes, or None and what is wrong with them."""
        given = self.entry.get("axes")
        if given is None and self.version in _WITHOUT_AXES and n_dims == 5:
            return "TCZYX", ""
        if not isinstance(given, list):
            return None, f"(version {self.version or 'not given'}) has no axes that are understood"
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in given]
        names = ", ".join(str(axis.get("name")) for axis in axes)
        if len(axes) != n_dims:
            return None, f"names the axes {names}, but the array has {n_dims} dimensions"
        letters = [_letter(axis) for axis in axes]
        for axis, letter in zip(axes, letters, strict=True):
            if letter is None:
                kind = f" of type {axis['type']}" if "type" in axis else ""
                return None, f"names an axis {axis.get('name')}{kind}, which is not known"
        known = "".join(letter for letter in letters if letter)
        if len(set(known)) != n_dims or not {"Y", "X"} <= set(known):
            return None, f"names the axes {names}, which are not those of an image"
        if [*known] != sorted(known, key=_ORDER.__getitem__):
            return None, f"names the axes in the order {names}, which OME-Zarr does not allow"
        return known, ""

    def _pixel_size(self, axes: str, level: int) -> tuple[dict[str, float], dict[str, str]]:
        """Return the distance of two pixels and its unit, for the axes that have one."""
        of_level = _dicts(self.entry.get("datasets"))[level].get("coordinateTransformations")
        scales = [
            entry["scale"]
            for entry in [*_dicts(of_level), *_dicts(self.entry.get("coordinateTransformations"))]
            if isinstance(entry.get("scale"), list)
        ]
        sizes, units = {}, {}
        if any(len(scale) != len(axes) for scale in scales):
            return {}, {}
        for place, axis in enumerate(axes):
            size = math.prod(_number(scale[place]) for scale in scales)
            named = self.entry["axes"][place] if "axes" in self.entry else {}
            unit = named.get("unit") if isinstance(named, dict) else None
            says_nothing = not unit and size == 1
            if axis in "TZYX" and 0 < size < math.inf and scales and not says_nothing:
                sizes[axis] = size
                if unit:
                    units[axis] = _UNITS.get(str(unit).lower(), str(unit))
        return sizes, units


def has_pyramids(attributes: Mapping[str, Any]) -> bool:
    """Return whether a group says that it is an image, however badly."""
    return "multiscales" in _ome(attributes)


def pyramids(attributes: Mapping[str, Any]) -> list[Pyramid]:
    """Return the images of a group, without the entries that name no array."""
    ome = _ome(attributes)
    omero = ome.get("omero")
    channels = _dicts(omero.get("channels")) if isinstance(omero, dict) else []
    labels = [channel["label"] for channel in channels if channel.get("label")]
    found = []
    for entry in _dicts(ome.get("multiscales")):
        paths = _texts(entry.get("datasets"), "path")
        if paths and len(paths) == len(entry["datasets"]):
            version = entry.get("version", ome.get("version"))
            found.append(
                Pyramid(
                    paths=tuple(paths),
                    entry=entry,
                    version=None if version is None else str(version),
                    channel_names=tuple(map(str, labels)) if len(labels) == len(channels) else (),
                    is_labels="image-label" in ome,
                )
            )
    return found


def members(attributes: Mapping[str, Any]) -> list[str]:
    """Return the groups that a plate (its wells) or a well (its fields) names."""
    ome = _ome(attributes)
    for whole, parts in (("plate", "wells"), ("well", "images")):
        if isinstance(ome.get(whole), dict):
            return _texts(ome[whole].get(parts), "path")
    return []


def is_series(attributes: Mapping[str, Any]) -> bool:
    """Return whether a group holds several images as bioformats2raw lays them out."""
    return "bioformats2raw.layout" in _ome(attributes)


def series(attributes: Mapping[str, Any]) -> list[str]:
    """Return the images that the group ``OME`` of such a layout names, perhaps none."""
    named = _ome(attributes).get("series")
    return [str(path) for path in named] if isinstance(named, list) else []


def lists_labels(attributes: Mapping[str, Any]) -> bool:
    """Return whether a group holds labels of objects, which are no images to restore."""
    return isinstance(_ome(attributes).get("labels"), list)


def dimension_axes(names: Any) -> str | None:
    """Return the axes that the dimension names of a plain array stand for, if they do."""
    if not isinstance(names, Sequence) or isinstance(names, str):
        return None
    letters = [_OF_NAME.get(str(name).lower()) for name in names]
    axes = "".join(letter for letter in letters if letter)
    is_image = len(set(axes)) == len(names) and {"Y", "X"} <= set(axes)
    return axes if is_image else None


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where the metadata are: under ``ome`` since 0.5, before that among the rest."""
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _letter(axis: Mapping[str, Any]) -> str | None:
    kind, name = axis.get("type"), str(axis.get("name")).lower()
    if kind == "space":
        return name.upper() if name in ("z", "y", "x") else None
    if kind is None:
        return _OF_NAME.get(name)
    return _OF_TYPE.get(str(kind)) or {"s": "S", "sample": "S"}.get(name)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _texts(entries: Any, key: str) -> list[str]:
    found = [entry.get(key) for entry in _dicts(entries)]
    return [text for text in found if isinstance(text, str) and text]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
