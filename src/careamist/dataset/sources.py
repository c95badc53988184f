"""The door: whatever names images becomes a list of image stacks."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from careamist.compute import free_memory
from careamist.dataset.blocks import POOL_BYTES
from careamist.dataset.image_stack import FORMATS, ImageInfo, ImageStack
from careamist.dataset.image_stack.custom import ImageStackLoading, Loading, ReadFuncLoading
from careamist.dataset.image_stack.views import HeldStack
from careamist.errors import DataError, SettingsError, SourceNotFoundError, UnreadableError


def open_stacks(
    data: Any, data_type: str, axes: str, loading: Loading | None = None
) -> list[ImageStack]:
    """Open arrays, files or folders as image stacks.

    Parameters
    ----------
    data : array-like, path, URI, or list of these
        A folder stands for all files of the format in it, sub-folders included, hidden files
        not, sorted by name.
    data_type : str
        ``"array"``, the name of a file format, or ``"custom"``.
    axes : str
        Axes of every image.
    loading : ReadFuncLoading or ImageStackLoading, optional
        How custom data are read.

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
    UnreadableError
        If a file is not what it claims to be.
    """
    return [stack for group in open_groups(data, data_type, axes, loading) for stack in group]


def open_groups(
    data: Any,
    data_type: str,
    axes: str,
    loading: Loading | None = None,
    *,
    check: Callable[[Sequence[ImageStack]], None] | None = None,
    failures: dict[str, Exception] | None = None,
) -> list[list[ImageStack]]:
    """Open images as `open_stacks` does, and keep apart what comes from different sources.

    Parameters
    ----------
    data, data_type, axes, loading
        As for `open_stacks`.
    check : callable, optional
        Called with the stacks of each source; raises if they are not wanted.
    failures : dict of str to Exception, optional
        Given, sources that cannot be opened or are not wanted are put here and left out, as long
        as there are others.
    """
    _check_type(data_type, loading)
    if isinstance(loading, ImageStackLoading):
        stacks = loading.load(data, axes)
        if not stacks:
            raise SourceNotFoundError("The loader returned no images.", "Check what it was given.")
        if check is not None:
            check(stacks)
        return [stacks]
    sources = find_sources(data, data_type, loading)
    reader: Any = loading if data_type == "custom" else FORMATS[data_type]
    groups, failed = [], {}
    for number, source in enumerate(sources):
        try:
            group = list(reader.load(source, axes))
            if check is not None:
                check(group)
            groups.append(group)
        except Exception as error:
            if failures is None:
                raise
            failed[str(source) if is_path(source) else f"array {number}"] = error
    if failed and not groups:
        raise next(iter(failed.values()))
    if failures is not None:
        failures.update(failed)
    return groups


def keep_in_memory(
    stacks: Sequence[ImageStack], in_memory: bool | str, data_type: str
) -> list[ImageStack]:
    """Return stacks that read their pixels once and keep them, where that is asked for.

    Parameters
    ----------
    stacks : sequence of ImageStack
        The images.
    in_memory : bool or "auto"
        ``"auto"`` keeps files that must be decoded as a whole or in large parts, if all of them
        take less than 80 % of the free memory. Zarr and CZI, which are made to be read in parts,
        are kept where they are small: the same pixels then train the same model in any format.
    data_type : str
        Their format.
    """
    if in_memory == "auto":
        whole = bytes_of(stacks) <= POOL_BYTES or (
            data_type in _READ_WHOLE and fit_in_memory(stacks)
        )
        chunked = [getattr(stack, "chunk_shape", None) is not None for stack in stacks]
        keep = [whole and data_type != "array" and cut for cut in chunked]
    else:
        keep = [bool(in_memory) and data_type != "array"] * len(stacks)
    return [HeldStack(s) if kept else s for s, kept in zip(stacks, keep, strict=True)]


def fit_in_memory(stacks: Sequence[ImageStack]) -> bool:
    """Return whether the pixels of all images take less than 80 % of the free memory."""
    return bytes_of(stacks) < _MEMORY_SHARE * free_memory()


def bytes_of(stacks: Sequence[ImageStack]) -> int:
    """Return the bytes of all pixels, as stored."""
    return sum(math.prod(s.data_shape) * np.dtype(s.data_dtype).itemsize for s in stacks)


def inspect(data: Any, data_type: str | None = None) -> list[ImageInfo]:
    """Return what images say about themselves, without their pixels.

    Parameters are those of `open_stacks`; the data type is guessed when not given.
    """
    data_type = data_type or guess_data_type(data)
    return [
        info
        for source in find_sources(data, data_type)
        for info in FORMATS[data_type].inspect(source)
    ]


def find_sources(data: Any, data_type: str, loading: Loading | None = None) -> list[Any]:
    """Return the arrays, files and URIs that `data` stands for: folders are searched."""
    _check_type(data_type, loading)
    items = list(data) if isinstance(data, (list, tuple)) else [data]
    if not items:
        raise SourceNotFoundError("No images were given.", "Give an array, a file or a folder.")
    if data_type == "array":
        return [_as_array(item) for item in items]
    uris = [is_uri(item) for item in items]
    if any(uris) and not all(uris):
        raise SettingsError(
            f"Paths and URIs were given together ({items[uris.index(False)]}, "
            f"{items[uris.index(True)]}):",
            "give only paths or only URIs.",
        )
    pattern = loading.extension_filter if isinstance(loading, ReadFuncLoading) else ""
    return [source for item in items for source in open_files(item, data_type, pattern)]


def open_files(item: Any, data_type: str, pattern: str = "") -> list[Any]:
    """Return the files that a path stands for: itself, or those of the format in a folder."""
    if not isinstance(item, (str, os.PathLike)):
        raise SettingsError(
            f"data_type='{data_type}' was chosen but {type(item).__name__} was given.",
            "Give paths, or choose data_type='array'.",
        )
    if not str(item).strip():
        raise SourceNotFoundError("An empty path was given.", "Give a file or a folder.")
    if is_uri(item):
        return [str(item)]
    path = Path(item).expanduser()
    if not _exists(path):
        if data_type in _INSIDE and _INSIDE[data_type] in str(path):
            return [str(path)]  # a place inside a file, known only to its format
        raise SourceNotFoundError(f"There is no file or folder {path}.", "Check the path.")
    if path.is_file() or (data_type == "zarr" and is_store(path)):
        return [path]
    files = sorted(_matching(path, data_type, pattern), key=lambda file: file.as_posix())
    if not files:
        endings = () if data_type == "custom" else FORMATS[data_type].EXTENSIONS
        wanted = pattern or ", ".join(endings) or "any"
        raise SourceNotFoundError(
            f"The folder {path} holds no {data_type} files ({wanted}).",
            "Choose another folder or format.",
        )
    return files


def guess_data_type(data: Any) -> str:
    """Return the data type that fits `data`: by extension for paths, else ``"array"``.

    Raises
    ------
    SettingsError
        If files of several formats are meant, or of none that is known.
    """
    if not is_path(data):
        return "array"
    items = list(data) if isinstance(data, (list, tuple)) else [data]
    found = Counter(name for item in items for name in _types_of(item))
    if len(found) == 1:
        return next(iter(found))
    if not found:
        known = ", ".join(ending for module in FORMATS.values() for ending in module.EXTENSIONS)
        is_folder = Path(items[0]).expanduser().is_dir()
        raise SettingsError(
            f"{items[0]} {'holds no file of a' if is_folder else 'is of no'} format that is known "
            f"({known}).",
            "Choose another file, or read it with data_type='custom' and a function of yours.",
        )
    counts = ", ".join(f"{n} {name}" for name, n in found.most_common())
    given = f"{items[0]} holds files" if len(items) == 1 else "The files are"
    raise SettingsError(
        f"{given} of several formats ({counts}).", "Say which with data_type=..., or choose files."
    )


def is_path(data: Any) -> bool:
    """Return whether `data` is a path, a URI, or a list of these."""
    first = data[0] if isinstance(data, (list, tuple)) and data else data
    return isinstance(first, (str, os.PathLike))


def root_of(data: Any) -> Path | None:
    """Return the folder that stands for the images, None if they were named one by one."""
    if not is_path(data) or isinstance(data, (list, tuple)) or is_uri(data):
        return None
    path = Path(data).expanduser()
    return path if path.is_dir() and not is_store(path) else None


def is_uri(item: Any) -> bool:
    """Return whether `item` names its protocol: ``file://``, ``https://``, ``s3://``."""
    return isinstance(item, str) and "://" in item


def is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store, or a group or an array inside of one."""
    return any(_is_named_zarr(folder) for folder in (path, *path.absolute().parents)) or any(
        (path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")
    )


def warnings_of(stacks: Sequence[ImageStack], most: int = 5) -> list[str]:
    """Return what the files of some images warn about, a sentence each."""
    told = [
        f"{stack.source}: {warning}"
        for stack in stacks
        for warning in getattr(getattr(stack, "info", None), "warnings", ())
    ]
    more = [f"{len(told) - most} more warnings about the images."] if len(told) > most else []
    return told[:most] + more


def check_channels(stacks: Sequence[ImageStack], channels: Sequence[int]) -> None:
    """Raise `SettingsError` if an image does not have all of some channels."""
    for stack in stacks:
        there = stack.data_shape[1]
        if any(not 0 <= channel < there for channel in channels):
            raise SettingsError(
                f"channels={list(channels)} were chosen, but {stack.source} has {there}.",
                f"Choose among 0 to {there - 1}.",
            )


def check_dtypes(stacks: Sequence[ImageStack]) -> None:
    """Raise `DataError` for pixels that are not real numbers."""
    for stack in stacks:
        dtype = np.dtype(stack.data_dtype)
        if dtype.kind not in "biuf":
            raise DataError(
                f"{stack.source} holds {dtype} pixels; real numbers are needed.",
                "Take the magnitude or the real part first.",
            )


_READ_WHOLE = ("tiff", "image", "custom")
_MEMORY_SHARE = 0.8
_INSIDE = {"czi": ".czi@", "zarr": ".zarr"}  # formats whose files have places inside


def _check_type(data_type: str, loading: Loading | None) -> None:
    known = (*FORMATS, "custom")
    if data_type not in known:
        raise SettingsError(
            f"data_type='{data_type}' is not known:", f"expected one of {', '.join(known)}."
        )
    if data_type == "custom" and loading is None:
        raise SettingsError(
            "data_type='custom' needs a way to read the data:",
            "give loading=ReadFuncLoading(...), or read_source_func=....",
        )
    if data_type != "custom" and loading is not None:
        raise SettingsError(
            f"A way to read the data was given, but data_type='{data_type}'.",
            "Choose data_type='custom', or leave it out.",
        )


def _as_array(item: Any) -> Any:
    if is_path(item):
        raise SettingsError(
            f"data_type='array' was chosen but a path was given ({item}).",
            "Choose the format of the file, for example data_type='tiff'.",
        )
    return item


def _matching(folder: Path, data_type: str, pattern: str = "") -> Iterator[Path]:
    """Yield what is of a format below a folder; stores are not searched themselves."""
    if data_type == "custom":
        for file in folder.rglob(pattern or "*"):
            parts = file.relative_to(folder).parts
            hidden = any(part[0] == "." for part in parts)
            in_store = any(map(_is_named_zarr, map(Path, parts[:-1])))
            if file.is_file() and not hidden and not in_store:
                yield file
        return
    module = FORMATS[data_type]
    folders = getattr(module, "FOLDERS", False)
    for here, names, files in os.walk(folder):
        stores = [name for name in names if _is_named_zarr(Path(name))]
        names[:] = [name for name in names if name not in stores and name[0] != "."]
        for name in (*files, *(stores if folders else ())):
            if name[0] != "." and Path(name).suffix.lower() in module.EXTENSIONS:
                yield Path(here, name)


def _is_named_zarr(path: Path) -> bool:
    return path.suffix.lower() == ".zarr"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UnreadableError(
            f"{str(path)[:200]} cannot be looked for ({error.strerror}).", "Check the path."
        ) from error


def _types_of(item: Any) -> list[str]:
    """Return the formats of a path, once for each file of a folder."""
    if not is_path(item):
        raise SettingsError(
            f"Paths and {type(item).__name__} were given together.", "Give only one of them."
        )
    if is_uri(item):
        return ["zarr"]
    path = Path(item).expanduser()
    if not _exists(path):
        if inside := [name for name, mark in _INSIDE.items() if mark in str(path)]:
            return inside[:1]
        raise SourceNotFoundError(f"There is no file or folder {path}.", "Check the path.")
    if path.is_dir():
        if is_store(path):
            return ["zarr"]
        return [name for name in FORMATS for _ in _matching(path, name)]
    ending = path.suffix.lower()
    if ending == ".zip":
        return ["zarr"]
    return [name for name, module in FORMATS.items() if ending in module.EXTENSIONS]
