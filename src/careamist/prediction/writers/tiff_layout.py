"""How a result becomes a TIFF file that other programs open with the right axes and pixel size."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from careamist.prediction.output import Output

RANGE_WIDTH = 22
"""Letters of a number in the range that ImageJ shows: ``+1.234567890123456e+00``."""

_IMAGEJ_ORDER = "TZCYX"
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_OME_TYPES = (*_IMAGEJ_TYPES, "int8", "int16", "int32", "uint32", "float64", "bool")
_CLASSIC_LIMIT = 2**32 - 2**20
_PAGE_BYTES = 400  # of its directory, at most
_MICROMETRES = {"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_MICROMETRES |= {"inch": 25_400.0}
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_IMAGEJ_UNITS = {"µm": "um", "Å": "angstrom"}
_OME_UNITS = {"inch": "in"}


def layout(output: Output, shown: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return what tifffile is given: as ImageJ writes, as OME-TIFF, or in words of its own.

    Parameters
    ----------
    output : Output
        The result. What its image says of pixel sizes and channels is carried over.
    shown : tuple of float, optional
        Lowest and highest value, for ImageJ; zeros hold their place where they are not known.
    """
    axes, dtype, sizes = _stored_axes(output), output.dtype.name, _known_sizes(output)
    options: dict[str, Any] = {"photometric": "minisblack", "software": "careamist"}
    options["shape"] = _lengths(output, axes)
    if _has_samples(output):
        options["planarconfig"] = "contig"
        if dtype == "uint8" and axes.endswith("YXC") and output.n_channels in (3, 4):
            options["photometric"] = "rgb"
            options |= {"extrasamples": ("unassalpha",)} if output.n_channels == 4 else {}
    planes = math.prod(output.shape) // math.prod(page_shape(output))
    is_large = output.n_bytes + planes * _PAGE_BYTES > _CLASSIC_LIMIT
    options["bigtiff"] = is_large
    in_order = axes == "".join(axis for axis in _IMAGEJ_ORDER if axis in axes)
    tells_sizes = {"Y", "X"} <= set(sizes) or not set(sizes) & set("ZYX")
    if in_order and dtype in _IMAGEJ_TYPES and not is_large and tells_sizes:
        return options | _imagej(output, axes, sizes, shown or (0.0, 0.0))
    if {"Y", "X"} <= set(sizes):
        per_cm = [1e4 / _in_micrometres(*sizes[axis]) for axis in "XY"]
        options |= {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
    names, metadata = _channel_names(output), {"axes": axes} | _ome_attributes(sizes)
    if axes.endswith("YX") and "S" not in axes and dtype in _OME_TYPES:
        metadata |= {"Creator": "careamist", "UUID": str(_identity(output))}
        metadata |= {"Channel": {"Name": names}} if names else {}
        return options | {"ome": True, "metadata": metadata}
    metadata |= {"ChannelNames": names} if names else {}
    if not axes.endswith(("YX", "XY")) and not _has_samples(output):
        options["truncate"] = True  # a directory per pair of last axes would help nobody
    return options | {"metadata": metadata}


def page_shape(output: Output) -> tuple[int, ...]:
    """Return the part of a result that is one page: its last two axes, and C behind them."""
    shape = _lengths(output, _stored_axes(output))
    return shape[-3:] if _has_samples(output) else shape[-2:]


def _stored_axes(output: Output) -> str:
    """Return the axes without S and C of length one: others know none where these may stand."""
    lengths = zip(output.axes, output.shape, strict=True)
    return "".join(axis for axis, n in lengths if axis not in "SC" or n > 1)


def _has_samples(output: Output) -> bool:
    """Return whether channels are stored pixel by pixel, as samples; tifffile has no such bits."""
    is_last = _stored_axes(output).endswith(("YXC", "XYC"))
    return is_last and output.dtype.kind != "b"


def range_text(low: float, high: float) -> bytes:
    """Return what ImageJ is told of the range of the pixels; nothing if there is none."""
    if low > high:
        return b" " * len(range_text(0, 0))
    return f"min={low:+.15e}\nmax={high:+.15e}".encode()


def _imagej(
    output: Output, axes: str, sizes: Mapping[str, tuple[float, str]], shown: tuple[float, float]
) -> dict[str, Any]:
    low, high = shown
    options: dict[str, Any] = {"imagej": True}
    metadata: dict[str, Any] = {"axes": axes}
    if low <= high:
        metadata |= {"min": f"{low:+.15e}", "max": f"{high:+.15e}"}
    if {"Y", "X"} <= set(sizes):
        unit = sizes["X"][1]  # there is but one
        metadata["unit"] = _IMAGEJ_UNITS.get(unit, unit)
        in_unit = {
            axis: _in_micrometres(*sizes[axis]) / _MICROMETRES[unit]
            for axis in "ZYX"
            if axis in sizes
        }
        options["resolution"] = (1 / in_unit["X"], 1 / in_unit["Y"])
        if "Z" in in_unit:
            metadata["spacing"] = in_unit["Z"]
    if "T" in sizes:
        interval, unit = sizes["T"]
        metadata["finterval"] = interval * _SECONDS[unit]
    if "C" in axes and (names := _channel_names(output)):  # one for each plane
        planes = _lengths(output, axes[:-2])
        channels = np.indices(planes)[axes.index("C")].ravel()
        metadata["Labels"] = [names[channel] for channel in channels]
    return options | {"metadata": metadata}


def _lengths(output: Output, axes: str) -> tuple[int, ...]:
    lengths = dict(zip(output.axes, output.shape, strict=True))
    return tuple(lengths[axis] for axis in axes)


def _known_sizes(output: Output) -> dict[str, tuple[float, str]]:
    """Return the distances of pixels whose units are understood, in the order ZYXT."""
    if output.info is None:
        return {}
    sizes, units = output.info.pixel_size, output.info.units
    known = {}
    for axis in "ZYXT":
        size, unit = sizes.get(axis, math.nan), units.get(axis, "")
        understood = unit in (_SECONDS if axis == "T" else _MICROMETRES)
        if axis in output.axes and understood and math.isfinite(size) and size > 0:
            known[axis] = (float(size), unit)
    return known


def _channel_names(output: Output) -> list[str]:
    names = list(output.info.channel_names) if output.info is not None else []
    return names if "C" in output.axes and len(names) == output.n_channels else []


def _ome_attributes(sizes: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axis, (size, unit) in sizes.items():
        name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        found |= {name: size, f"{name}Unit": _OME_UNITS.get(unit, unit)}
    return found


def _in_micrometres(size: float, unit: str) -> float:
    return size * _MICROMETRES[unit]


def _identity(output: Output) -> uuid.UUID:
    """Return the name of a result among all: the same for what is made in the same way."""
    made = json.dumps(dict(output.recipe), sort_keys=True, default=str)
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{output.source} {output.shape} {output.dtype} {made}")
