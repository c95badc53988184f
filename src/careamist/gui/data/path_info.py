"""What a path stands for: files of any format, what can be chosen in them, what to mind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist.dataset.image_stack import FORMATS, czi
from careamist.dataset.report import format_name, list_choices, sentence
from careamist.dataset.sources import find_sources, guess_data_type
from careamist.errors import CareamistError, SourceNotFoundError
from careamist.gui.data.data_source import SourceInfo, clean_path, in_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from careamist.dataset.image_stack import ImageInfo

_FILES = 200  # of a folder, so many are looked at
_PARTS = 500  # so many are offered
_WARNINGS = 3  # so many are shown


def inspect_path(path: str, *, tolerant: bool = False) -> SourceInfo:
    """Return what a file, a folder or an address holds, without reading pixels.

    Parameters
    ----------
    path : str
        The file, folder or address.
    tolerant : bool
        Leave out files that cannot be read, with a warning, as long as there are others.

    Raises
    ------
    CareamistError
        If it cannot be read.
    """
    data_type = guess_data_type(path)
    sources = find_sources(path, data_type)
    module = FORMATS[data_type]
    is_container = len(sources) == 1 and data_type in ("zarr", "czi")
    choices = list_choices(sources[0], data_type) if is_container else []
    try:
        images, broken = _look(module, sources[:_FILES], tolerant and len(sources) > 1)
    except SourceNotFoundError:
        if not choices:
            raise
        count = "No image directly in it" if len(choices) > 1 else "1 image below it"
        parts = (("Choose one", path), *_parts(choices))
        problem = f"“{Path(path).name}” holds groups of images. Choose one of its parts."
        return SourceInfo((), "", None, "", data_type, count, (), problem, parts)
    first = images[0]
    size = f"{first.pixel_size['X']:.3g} {first.units['X']}" if "X" in first.pixel_size else ""
    return SourceInfo(
        first.shape,
        str(first.dtype),
        first.axes,
        size,
        data_type,
        _count(sources, images, data_type),
        (*broken, *_warnings(images, len(sources))),
        _problem(images),
        _offered(path, images, choices),
        _layouts(sources[0]) if data_type == "czi" else {},
        tuple(images),
    )


def _look(
    module: Any, sources: Sequence[Any], tolerant: bool
) -> tuple[list[ImageInfo], tuple[str, ...]]:
    """Return what files say of themselves, and a warning if some of them cannot be read."""
    images: list[ImageInfo] = []
    failed: list[tuple[Any, CareamistError]] = []
    for source in sources:
        try:
            images += module.inspect(source)
        except CareamistError as error:
            if not tolerant:
                raise
            failed.append((source, error))
    if failed and not images:
        raise failed[0][1]
    if not failed:
        return images, ()
    name = Path(str(failed[0][0])).name
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return images, (f"{name}{more} cannot be read.",)


def _layouts(source: Any) -> dict[str, tuple[int, ...]]:
    """Return the axes that a CZI file can be read in, and the shape of its first scene in each."""
    shapes = {axes: czi.load(source, axes)[0].info.shape for axes in czi.AXES}
    return {axes: tuple(shape) for axes, shape in shapes.items() if len(shape) == 4 or shape[2] > 1}


def _count(sources: Sequence[Any], images: Sequence[ImageInfo], data_type: str) -> str:
    if len(sources) > 1:
        names = {format_name(data_type, str(source)) for source in sources}
        return f"{len(sources)} {names.pop() if len(names) == 1 else 'image'} files"
    return f"{len(images)} images" if len(images) > 1 else ""


def _offered(
    path: str, images: Sequence[ImageInfo], choices: Sequence[ImageInfo]
) -> tuple[tuple[str, str], ...]:
    """Return what can be chosen: all of it first; nothing where there is only that."""
    alone = images[0] if len(images) == 1 else None
    others = [info for info in choices if alone is None or info.source != alone.source]
    if not others:
        return ()
    whole = f"All {len(images)} images"
    if alone is not None:
        name = f"Level {alone.level}" if alone.n_levels > 1 else _names([alone])[0]
        whole = f"{name} · {in_times(alone.shape)}"
    return (whole, path), *_parts(others)


def _parts(choices: Sequence[ImageInfo]) -> list[tuple[str, str]]:
    parts = []
    for name, info in zip(_names(choices), choices[:_PARTS], strict=False):
        level = f" · level {info.level}" if info.level else ""
        parts.append((f"{name} · {in_times(info.shape)}{level}", clean_path(info.source)))
    return parts


def _names(choices: Sequence[ImageInfo]) -> list[str]:
    """Return the names without what all begin with; scenes of a CZI by their numbers."""
    paths = [clean_path(info.source) for info in choices]
    if all(".czi@" in path.lower() for path in paths):
        return [f"Scene {path.rpartition('@')[2]}" for path in paths]
    folders = [path.split("/")[:-1] for path in paths]
    common = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common += 1
    return ["/".join(path.split("/")[common:]) for path in paths]


def _warnings(images: Sequence[ImageInfo], n_sources: int) -> tuple[str, ...]:
    first = images[0]
    told = []
    if other := next((info for info in images if info.shape != first.shape), None):
        told.append(f"Shapes differ: {_of(first)}, {_of(other)}.")
    if n_sources > _FILES:
        told.append(f"Only the first {_FILES} of the files were looked at.")
    for info in images:
        name = f"{_last(info)}: " if len(images) > 1 else ""
        told += [sentence(name + text) for text in info.warnings]
    told = list(dict.fromkeys(told))
    more = [f"And {len(told) - _WARNINGS} more."] if len(told) > _WARNINGS else []
    return (*told[:_WARNINGS], *more)


def _problem(images: Sequence[ImageInfo]) -> str:
    """Say why the images cannot be read with the same axes, or nothing."""
    first = images[0]
    other = next((info for info in images if len(info.shape) != len(first.shape)), None)
    if other is None:
        return ""
    return f"{_of(first)} and {_of(other)} differ in their axes. Choose one of them."


def _of(info: ImageInfo) -> str:
    return f"{_last(info)} ({in_times(info.shape)})"


def _last(info: ImageInfo) -> str:
    return info.source.replace("\\", "/").rpartition("/")[2]
