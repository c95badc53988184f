"""Writing TIFF files that other programs open with the right axes and pixel size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from careamist.dataset.image_stack import FORMATS, tiff
from careamist.errors import OutputExistsError

_IMAGEJ_ORDER = "TZCYX"
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_IMAGEJ_LIMIT = 2**32 - 2**20


def file_path(folder: Path, source: str, index: int, root: Path | None = None) -> Path:
    """Return the file for the result of `source`: same stem, ``.tiff``, dots in names survive."""
    path = Path(source)
    if source == "array":
        return folder / f"array_{index}.tiff"
    stem = path.stem if path.suffix.lower() in FORMATS["tiff"].EXTENSIONS else path.name
    below = path.parent.relative_to(root) if root and path.is_relative_to(root) else Path()
    return folder / below / f"{stem}.tiff"


def check_target(target: Path, source: str, *, replace: bool) -> None:
    """Raise `OutputExistsError` if the file is there and may not be replaced."""
    if target.resolve() == Path(source).resolve():
        raise OutputExistsError(
            f"{target} is the image that is restored.", "Choose another folder for the results."
        )
    if target.exists() and not replace:
        raise OutputExistsError(
            f"{target} is already there.",
            "Choose another folder, or replace it (overwrite='replace').",
        )


def write(target: Path, image: NDArray[Any], axes: str, source: str | None = None) -> None:
    """Write an image; the file appears under its name only when it is complete.

    Parameters
    ----------
    target : Path
        The file.
    image : numpy.ndarray
        In `axes`.
    axes : str
        Axes of the image.
    source : str, optional
        A TIFF whose pixel size is carried over.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        tifffile.imwrite(part, image, **_options(image, axes, source))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _options(image: NDArray[Any], axes: str, source: str | None) -> dict[str, Any]:
    in_order = axes == "".join(axis for axis in _IMAGEJ_ORDER if axis in axes)
    as_imagej = in_order and image.dtype.name in _IMAGEJ_TYPES and image.nbytes < _IMAGEJ_LIMIT
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": metadata}
    if as_imagej:
        options["imagej"] = True
        finite = image[np.isfinite(image)]
        if finite.size:  # else ImageJ opens float images with a range of its own choice
            metadata |= {"min": float(finite.min()), "max": float(finite.max())}
    is_tiff = source is not None and Path(source).suffix.lower() in FORMATS["tiff"].EXTENSIONS
    (info,) = tiff.inspect(source) if source is not None and is_tiff else [None]
    sizes, units = (info.pixel_size, info.units) if info is not None else ({}, {})
    if as_imagej and {"Y", "X"} <= set(sizes) and units["Y"] == units["X"]:
        options["resolution"] = (1 / sizes["X"], 1 / sizes["Y"])
        metadata["unit"] = "um" if units["X"] == "µm" else units["X"]
        if "Z" in axes and units.get("Z") == units["X"]:
            metadata["spacing"] = sizes["Z"]
        if "T" in axes and units.get("T") == "s":
            metadata["finterval"] = sizes["T"]
    return options
