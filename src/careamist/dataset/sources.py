"""The door: whatever names images becomes a list of image stacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from careamist.dataset.image_stack import FORMATS, ImageStack
from careamist.errors import DataError, SettingsError, SourceNotFoundError


def open_stacks(data: Any, data_type: str, axes: str) -> list[ImageStack]:
    """Open arrays, files or folders as image stacks.

    Parameters
    ----------
    data : array-like, path, or list of these
        A folder stands for all files of the format in it, sub-folders included, hidden files
        not, sorted by name.
    data_type : str
        ``"array"`` or the name of a file format.
    axes : str
        Axes of every image.

    Returns
    -------
    list of ImageStack
        At least one.

    Raises
    ------
    SettingsError
        If the kind of data does not fit `data_type`.
    SourceNotFoundError
        If a path does not exist or a folder holds no file of the format.
    """
    if data_type not in FORMATS:
        raise SettingsError(
            f"data_type='{data_type}' is not known:", f"expected one of {', '.join(FORMATS)}."
        )
    items = list(data) if isinstance(data, (list, tuple)) else [data]
    if not items:
        raise SourceNotFoundError("No images were given.", "Give an array, a file or a folder.")
    if data_type == "array":
        sources = [_as_array(item) for item in items]
    else:
        sources = [file for item in items for file in open_files(item, data_type)]
    return [stack for source in sources for stack in FORMATS[data_type].load(source, axes)]


def is_path(data: Any) -> bool:
    """Return whether `data` is a path or a list of paths."""
    first = data[0] if isinstance(data, (list, tuple)) and data else data
    return isinstance(first, (str, Path))


def guess_data_type(data: Any) -> str:
    """Return the data type that fits `data`: by extension for paths, else ``"array"``."""
    return "tiff" if is_path(data) else "array"


def check_dtypes(stacks: Sequence[ImageStack]) -> None:
    """Raise `DataError` for pixels that are not real numbers."""
    for stack in stacks:
        dtype = np.dtype(stack.data_dtype)
        if dtype.kind not in "biuf":
            raise DataError(
                f"{stack.source} holds {dtype} pixels; real numbers are needed.",
                "Take the magnitude or the real part first.",
            )


def _as_array(item: Any) -> Any:
    if isinstance(item, (str, Path)):
        raise SettingsError(
            f"data_type='array' was chosen but a path was given ({item}).",
            "Choose the format of the file, for example data_type='tiff'.",
        )
    if not (hasattr(item, "shape") and hasattr(item, "dtype")):
        raise SettingsError(
            f"An image of type {type(item).__name__} was given;",
            "expected an array, or a path with the data_type of its format.",
        )
    return item


def open_files(item: Any, data_type: str) -> list[Path]:
    """Return the files that a path stands for: itself, or those of the format in a folder."""
    if not isinstance(item, (str, Path)):
        raise SettingsError(
            f"data_type='{data_type}' was chosen but {type(item).__name__} was given.",
            "Give paths, or choose data_type='array'.",
        )
    if not str(item).strip():
        raise SourceNotFoundError("An empty path was given.", "Give a file or a folder.")
    path, extensions = Path(item).expanduser(), FORMATS[data_type].EXTENSIONS
    if not path.exists():
        raise SourceNotFoundError(f"There is no file or folder {path}.", "Check the path.")
    if path.is_file():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in extensions and file.name[0] != "." and file.is_file()
    )
    if not files:
        raise SourceNotFoundError(
            f"The folder {path} holds no {data_type} files ({', '.join(extensions)}).",
            "Choose another folder or format.",
        )
    return files
