"""Writing OME-Zarr 0.5: a group with a pyramid, its axes, pixel sizes and channels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.errors import SettingsError, UnreadableError
from careamist.prediction.writers import zarr_array
from careamist.prediction.writers.levels import add_level, steps

if TYPE_CHECKING:
    import zarr

    from careamist.prediction.output import Output
    from careamist.prediction.writers.protocol import WriteOptions
    from careamist.prediction.writers.zarr_array import ZarrArray

EXTENSION = ".ome.zarr"
BY_TILES = True

_VERSION = "0.5"
_ORDER = "TCSZYX"  # time, then channels or an axis of no known type, then space
_TYPES = {"T": "time", "C": "channel"} | dict.fromkeys("ZYX", "space")
_UNITS = {
    "m": "meter",
    "cm": "centimeter",
    "mm": "millimeter",
    "µm": "micrometer",
    "nm": "nanometer",
    "pm": "picometer",
    "Å": "angstrom",
    "h": "hour",
    "min": "minute",
    "s": "second",
    "ms": "millisecond",
    "µs": "microsecond",
    "ns": "nanosecond",
}
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")  # of several channels
_SAMPLED_EDGE = 128  # pixels along Y and X that a display range is taken from


class OmeZarrFile:
    """A result as an OME-Zarr image: level 0 is written, the others are made of it in the end.

    Until they are, the metadata name level 0 alone: what is there is a valid image at any time.

    Parameters
    ----------
    base : ZarrArray
        Level 0.
    group : zarr.Group
        The image.
    """

    def __init__(self, base: ZarrArray, group: zarr.Group) -> None:
        self._base, self._group = base, group
        self.write, self.view, self.close = base.write, base.view, base.close

    def complete(self, check: Callable[[], None]) -> None:
        """Make the lower levels, and name them in the metadata; begun again, all are made anew."""
        base, output = self._base, self._base.output
        base.complete(check)
        shape = dict(zip(base.axes, base.array.shape, strict=True))
        level, levels = base.array, steps(shape, _comparable(output))
        for number, step in enumerate(levels, start=1):
            folder = base.folder.with_name(str(number))
            level = add_level(level, folder, base.axes, step, output, check)
        check()
        omero = {"channels": _channels(level, base.axes, output)}
        ome = _metadata(output, base.axes, levels) | {"omero": omero}
        self._group.update_attributes({"ome": ome})


def create(path: Path, output: Output, options: WriteOptions | None = None) -> OmeZarrFile:
    """Begin a result at a path where nothing is.

    Raises
    ------
    SettingsError
        If OME-Zarr has no place for the axes, or the compression is not known.
    """
    import zarr

    axes = _stored_axes(output)
    base = zarr_array.create(path / "0", output, options, axes)
    group = zarr.create_group(
        zarr.storage.LocalStore(path),
        attributes={"ome": _metadata(output, axes, []), "careamist": dict(output.recipe)},
        zarr_format=3,
    )
    return OmeZarrFile(base, group)


def reopen(path: Path, output: Output, options: WriteOptions | None = None) -> OmeZarrFile:
    """Open what `create` began, to write what is missing.

    Raises
    ------
    UnreadableError
        If it cannot be opened, or is not what would be begun.
    """
    import zarr

    base = zarr_array.reopen(path / "0", output, _stored_axes(output))
    try:
        group = zarr.open_group(zarr.storage.LocalStore(path), mode="r+", zarr_format=3)
    except Exception as error:  # whatever a broken file can raise
        raise UnreadableError(
            f"{path} cannot be gone on with ({' '.join(str(error).split())[:300]}).",
            "Remove it: the result is then made anew.",
        ) from error
    return OmeZarrFile(base, group)


def _stored_axes(output: Output) -> str:
    """Return the axes in the order that OME-Zarr asks for."""
    if {"S", "C"} <= set(output.axes):
        raise SettingsError(
            f"OME-Zarr has no place for samples and channels in one image (axes {output.axes}).",
            "Choose write_type='zarr'.",
        )
    return "".join(axis for axis in _ORDER if axis in output.axes)


def _metadata(output: Output, axes: str, levels: list[dict[str, int]]) -> dict[str, Any]:
    """Return what the group says about its arrays."""
    info = output.info
    sizes, units = (info.pixel_size, info.units) if info is not None else ({}, {})
    described = []
    for axis in axes:
        entry = {"name": axis.lower()}
        if axis in _TYPES:
            entry["type"] = _TYPES[axis]
        if axis in sizes and axis in units:
            entry["unit"] = _UNITS.get(units[axis], units[axis])
        described.append(entry)
    size = [float(sizes.get(axis, 1.0)) for axis in axes]
    factors, datasets = [1] * len(axes), []
    for number, step in enumerate([dict.fromkeys(axes, 1), *levels]):
        factors = [factor * step[axis] for factor, axis in zip(factors, axes, strict=True)]
        scale = [length * factor for length, factor in zip(size, factors, strict=True)]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if number:  # the centre of a coarse pixel is the mean of those it was made of
            centre = [length * (n - 1) / 2 for length, n in zip(size, factors, strict=True)]
            transformations.append({"type": "translation", "translation": centre})
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    name = Path(output.source).name
    multiscale = {"name": name, "axes": described, "datasets": datasets, "type": "mean"}
    return {"version": _VERSION, "multiscales": [multiscale]}


def _channels(level: zarr.Array[Any], axes: str, output: Output) -> list[dict[str, Any]]:
    """Return names, colours and display ranges, the latter from some planes of a coarse level."""
    n_channels = level.shape[axes.index("C")] if "C" in axes else 1
    places = [_sampled(axis, n) for axis, n in zip(axes, level.shape, strict=True)]
    pixels = []
    for at in itertools.product(*places):
        found = np.asarray(level[at])
        by_channel = np.moveaxis(found, axes.index("C"), 0) if "C" in axes else found
        pixels.append(by_channel.reshape(n_channels, -1))
    names = output.info.channel_names if output.info is not None else ()
    channels = []
    for number, values in enumerate(np.concatenate(pixels, axis=1)):
        color = _COLORS[number % len(_COLORS)] if n_channels > 1 else "FFFFFF"
        channel = {"color": color, "active": True, "window": _window(values)}
        if len(names) == n_channels:
            channel["label"] = names[number]
        channels.append(channel)
    return channels


def _sampled(axis: str, n: int) -> list[slice]:
    """Return what is looked at along an axis."""
    if axis == "C":
        return [slice(None)]
    if axis in "YX":
        return [slice(0, n, max(n // _SAMPLED_EDGE, 1))]
    return [slice(i, i + 1) for i in sorted({(n - 1) * part // 3 for part in range(4)})]


def _window(values: NDArray[Any]) -> dict[str, float]:
    """Return the range that pixels can have, and the one that shows them well."""
    finite = values[np.isfinite(values)].astype(np.float64)
    low, start, end, high = (
        np.percentile(finite, [0, 0.1, 99.9, 100]).tolist() if finite.size else (0.0, 0.0, 1.0, 1.0)
    )
    if values.dtype.kind in "iu":
        low, high = map(float, (np.iinfo(values.dtype).min, np.iinfo(values.dtype).max))
    if end <= start:  # a range of nothing cannot be shown
        end = start + 1.0
    return {"min": low, "max": max(high, end), "start": start, "end": end}


def _comparable(output: Output) -> Mapping[str, float]:
    """Return the pixel sizes along Z, Y and X if they are known in one unit, else nothing."""
    info = output.info
    if info is None or not {"Z", "Y", "X"} <= set(info.pixel_size):
        return {}
    same = len({info.units.get(axis) for axis in "ZYX"}) == 1
    return {axis: info.pixel_size[axis] for axis in "ZYX"} if same else {}
