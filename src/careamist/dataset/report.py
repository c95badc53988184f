"""What images are and what their pixels look like, for a person who is about to use them."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from careamist.dataset.image_stack import FORMATS, ImageInfo, ImageStack, czi
from careamist.dataset.pixel_pass import PixelPass
from careamist.dataset.sources import (
    find_sources,
    guess_data_type,
    is_store,
    is_uri,
    open_files,
)
from careamist.dataset.tally import OFFSET, Tally
from careamist.errors import AxesError, CareamistError, SourceNotFoundError
from careamist.utils.reshape_array import AxesTransform, check_axes

BUDGET = 2**28
_SOME_AXES = {2: "YX", 3: "SYX", 4: "STYX", 5: "STZYX", 6: "STCZYX"}
_NAMES = {"tiff": "TIFF", "zarr": "Zarr", "czi": "CZI", "array": "array"}
_PICTURES = {".npy": "NumPy", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class ImageReport:
    """What is known of one image; what its pixels tell is None or zero where none were read.

    Parameters
    ----------
    info : ImageInfo
        What it says about itself.
    data_type : str
        ``"array"`` or its file format.
    share : float
        Share of the pixels that was read, from 0 to 1.
    low, high, mean : float or None
        Of the finite pixels; None if there are none.
    n_nan, n_inf : int
        Pixels that are not a number, and infinite ones, among those read.
    saturated : float
        Share of the pixels read that are at the end of the range of their type or camera.
    constant : bool
        Whether all pixels read are equal.
    findings : tuple of str
        What is unusual in the pixels and what to do about it, a sentence or two each.
    failure : str
        Why the pixels could not be read, or nothing.
    """

    info: ImageInfo
    data_type: str
    share: float = 0.0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    n_nan: int = 0
    n_inf: int = 0
    saturated: float = 0.0
    constant: bool = False
    findings: tuple[str, ...] = ()
    failure: str = ""


def report(
    data: Any,
    data_type: str | None = None,
    *,
    axes: str | None = None,
    pixels: bool = True,
    budget: int = BUDGET,
    check: Callable[[], None] = lambda: None,
) -> list[ImageReport]:
    """Return a report on each image, block by block: memory does not grow with the image.

    Parameters
    ----------
    data : array-like, path, URI, or list of these
        As for `open_stacks`.
    data_type : str, optional
        Guessed when not given.
    axes : str, optional
        Axes of the images; as they say themselves when not given.
    pixels : bool
        Whether pixels are read.
    budget : int
        Bytes, as stored, that are read at most, of all images together; where these hold more,
        blocks are read that are spread evenly over them.
    check : callable
        Called now and then; may raise to end it.

    Raises
    ------
    CareamistError
        As `sources.inspect`, and if the axes do not fit. Pixels that cannot be read are no
        error here: see `ImageReport.failure`.
    """
    data_type = data_type or guess_data_type(data)
    found: list[tuple[Any, ImageInfo]] = []
    for source in find_sources(data, data_type):
        check()
        for info in FORMATS[data_type].inspect(source):
            place = source if data_type == "array" else info.source
            found.append((place, _with_axes(info, place, data_type, axes) if axes else info))
    reports = []
    for place, info in found:
        known = ImageReport(info, data_type)
        reports.append(_measured(known, place, budget // len(found), check) if pixels else known)
    return reports


def list_choices(source: Any, data_type: str) -> list[ImageInfo]:
    """Return all images that could be chosen in a file or store: scenes, arrays, fields, levels.

    Each can be opened by its `source`.
    """
    module: Any = FORMATS[data_type]
    listed: list[ImageInfo] = getattr(module, "list_images", module.inspect)(source)
    return listed


def find_files(path: Any, data_type: str | None = None) -> list[tuple[Any, str]]:
    """Return the files that a path stands for, each with its format; a folder may mix formats.

    Raises
    ------
    CareamistError
        If there are none.
    """
    is_folder = not is_uri(path) and os.path.isdir(folder := Path(path).expanduser())
    if data_type or not is_folder or is_store(folder):
        data_type = data_type or guess_data_type(path)
        return [(source, data_type) for source in find_sources(path, data_type)]
    found: list[tuple[Any, str]] = []
    for name in FORMATS:
        try:
            found += [(file, name) for file in open_files(path, name)]
        except SourceNotFoundError:
            continue
    if not found:
        guess_data_type(path)  # says which formats are known
    return sorted(found, key=lambda item: str(item[0]))


def describe(found: ImageReport) -> list[tuple[str, str]]:
    """Return a report as (label, text); what needs attention comes last, a sentence or two each."""
    info = found.info
    rows = [
        ("Image", info.source),
        ("Format", format_name(found.data_type, info.source)),
        ("Shape", f"{_times(info.shape)} ({info.axes or 'axes not told'})"),
        ("Type", str(info.dtype)),
        ("Pixel size", pixel_size_in_words(info)),
        ("Channels", ", ".join(info.channel_names)),
        ("Level", f"level {info.level} of {info.n_levels}" if info.n_levels > 1 else ""),
        ("Read", info.stored_as),
        ("In memory", _bytes_in_words(math.prod(info.shape) * info.dtype.itemsize)),
    ]
    if found.low is not None and found.high is not None and found.mean is not None:
        part = f" ({_percent(found.share)} of the pixels read)" if found.share < 1 else ""
        span = f"{_number(found.low)} to {_number(found.high)}, mean {_number(found.mean)}"
        rows.append(("Intensity", span + part))
    if found.saturated and found.high is not None:
        at = f"{_percent(found.saturated)} of the pixels, at {_number(found.high)}"
        rows.append(("Saturated", at))
    if found.n_nan or found.n_inf:
        rows.append(("Not finite", f"{found.n_nan} NaN, {found.n_inf} Inf"))
    told = [*info.warnings, *found.findings, *([found.failure] if found.failure else [])]
    rows += [("Attention", sentence(text)) for text in told]
    return [(label, text) for label, text in rows if text]


def format_name(data_type: str, source: str = "") -> str:
    """Return what a format is called; of single pictures and arrays, what the file is."""
    return _NAMES.get(data_type) or _PICTURES.get(Path(source).suffix.lower(), data_type)


def pixel_size_in_words(info: ImageInfo) -> str:
    """Return it like "2 s (T), 1 × 0.25 × 0.25 µm (ZYX)", or nothing."""
    known = [axis for axis in "TZYX" if axis in info.pixel_size]
    parts = []
    for unit, group in itertools.groupby(known, lambda axis: info.units.get(axis, "")):
        axes = list(group)
        sizes = " × ".join(f"{info.pixel_size[axis]:.4g}" for axis in axes)
        parts.append(f"{sizes} {unit} ({''.join(axes)})".replace("  ", " "))
    return ", ".join(parts)


def sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "…", "!", "?")) else text + "."


def _with_axes(info: ImageInfo, place: Any, data_type: str, axes: str) -> ImageInfo:
    """Return what is known of an image in these axes; raise if they do not fit."""
    axes = check_axes(axes)
    try:
        if data_type == "czi":  # they decide how the file is read
            (stack,) = czi.load(place, axes)
            return stack.info
        AxesTransform(axes, info.shape)
    except AxesError as error:
        raise AxesError(f"{info.source}: {error.message}", error.hint) from error
    return replace(info, axes=axes)


def _measured(
    known: ImageReport, place: Any, budget: int, check: Callable[[], None]
) -> ImageReport:
    info, n_dims = known.info, len(known.info.shape)
    if info.dtype.kind not in "biuf":
        told = f"Its pixels are {info.dtype}; only real numbers can be learnt from."
        return replace(known, findings=(f"{told} Take the magnitude or the real part first.",))
    try:
        if n_dims not in _SOME_AXES:
            raise AxesError(
                f"It has {n_dims} axes.", "An image has two to six of them; choose a part of it."
            )
        (stack,) = FORMATS[known.data_type].load(place, info.axes or _SOME_AXES[n_dims])
        tally, share = _count_pixels(stack, budget, check)
    except CareamistError as error:
        return replace(known, failure=str(error))
    return _told(known, tally, share)


def _count_pixels(stack: ImageStack, budget: int, check: Callable[[], None]) -> tuple[Tally, float]:
    tally, blocks = Tally(), PixelPass([stack], budget)
    for _, pixels in blocks:
        check()
        tally.add(pixels.reshape(-1))
    return tally, blocks.share


def _told(known: ImageReport, tally: Tally, share: float) -> ImageReport:
    if not tally.n_finite:
        told = ("No pixel is a finite number. Check that the right image was chosen.",)
        return replace(known, share=share, n_nan=tally.n_nan, n_inf=tally.n_inf, findings=told)
    dtype, low, high = known.info.dtype, tally.low, tally.high
    saturated = tally.n_saturated(dtype) / tally.count
    findings = []
    for n, name in ((tally.n_nan, "NaN"), (tally.n_inf, "infinite")):
        if n:
            findings.append(
                f"{_count(n, 'pixel', 'pixels')} ({_percent(n / tally.count)}) "
                f"{'is' if n == 1 else 'are'} {name}: nothing can be learnt there. "
                "Replace such pixels or crop them away before training."
            )
    if low == high:
        findings.append(
            f"Every pixel is {_number(low)}: nothing can be learnt from a constant image. "
            "Check that the right image or channel was chosen."
        )
    elif tally.is_mask:
        findings.append(
            f"Its pixels have only two values, {_number(low)} and {_number(high)}: a mask? "
            "Check that the right image was chosen."
        )
    elif n := tally.n_hot():
        findings.append(
            f"{_count(n, 'pixel lies', 'pixels lie')} far above all others ({_number(high)}; the "
            f"others end at {_number(float(tally.top[n]))}): hot pixels? Replace them, or "
            "normalise by quantiles, so that they do not set the scale."
        )
    if dtype == np.uint16 and low >= OFFSET and low < high:
        bits = (int(high) - OFFSET).bit_length()
        findings.append(
            f"All values lie above {OFFSET}: {bits}-bit pixels with an offset of {OFFSET}, as of "
            "signed numbers saved as unsigned. Training works as it is; subtract the offset where "
            "absolute intensities matter."
        )
    if saturated:
        findings.append(
            f"{_percent(saturated)} of the pixels are saturated at {_number(high)}: what was "
            "brighter is lost, and no model brings it back. Record with less light or exposure."
        )
    return replace(
        known,
        share=share,
        low=low,
        high=high,
        mean=tally.mean,
        n_nan=tally.n_nan,
        n_inf=tally.n_inf,
        saturated=saturated,
        constant=low == high,
        findings=tuple(findings),
    )


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, (bool, int)) else f"{value:.5g}"


def _percent(share: float) -> str:
    if share < 1e-4:
        return "less than 0.01 %"
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.4g} %"


def _count(n: int, one: str, several: str) -> str:
    return f"{n} {one if n == 1 else several}"


def _bytes_in_words(n: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {'byte' if unit == 'bytes' and n == 1 else unit}"
        n /= 1000
    return f"{n:.3g} TB"
