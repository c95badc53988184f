"""Which file each result is written to: named after its source, and never after another one."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from careamist.dataset.image_stack import FORMATS
from careamist.errors import OutputExistsError

# of formats that custom readers read
_OTHERS = (".h5", ".hdf5", ".npz", ".mat", ".mrc", ".nrrd", ".nii", ".nd2", ".lif", ".lsm", ".n5")
_STORE = re.compile(r"[^/]\.(zarr|n5|zip)$", re.IGNORECASE)
_INSIDE = re.compile(r"(?P<outer>.+\.\w+)#/?(?P<inner>.+)")  # of HDF5: file.h5#/group/dataset
_SCENE = re.compile(r"(?P<outer>.+\.czi)@(?P<inner>\d+)", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # in the names of files, on Windows
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class _Source:
    """What an image is called, taken apart: folders, the file or store, the path inside it."""

    folders: tuple[str, ...]
    outer: str
    inner: tuple[str, ...] = ()
    path: Path | None = None  # of the file or store, where it is on this machine

    def name(self, extension: str) -> str:
        """Return the name of the result, without its ending."""
        return "_".join((_stem(self.outer, extension), *self.inner))

    @property
    def whole(self) -> str:
        """The name with the ending of the source, where that is needed to tell two apart."""
        return "_".join((self.outer, *self.inner))


@dataclass
class _Place:
    """Where a result goes: folders below that of the results, and a name without its ending."""

    folders: tuple[str, ...]
    name: str

    @property
    def key(self) -> tuple[str, ...]:
        """The same for places that are one file, on some system."""
        return tuple(part.casefold() for part in (*self.folders, self.name))


def output_paths(
    folder: Path, sources: Sequence[str], extension: str, root: Path | None = None
) -> list[Path]:
    """Return a file for each source, no two alike: not even where case does not count.

    A result is called like its source: ``a.b.tif`` → ``a.b.tiff``; of an image inside of a file the
    whole path counts, ``x.zarr/group/array`` → ``x_group_array.tiff``. Where two would be one file,
    folders in which the sources differ are repeated, then their endings are kept (``x.tif.tiff``),
    then they are numbered.

    Parameters
    ----------
    folder : Path
        Where results go.
    sources : sequence of str
        What the images are called: paths, URIs, ``array``, anything.
    extension : str
        Ending of the results, with the dot.
    root : Path, optional
        Folder of the sources: their places below it are repeated below `folder`.

    Raises
    ------
    OutputExistsError
        If a result would be one of the sources.
    """
    parsed = [_parse(source) for source in sources]
    places = []
    for index, (text, source) in enumerate(zip(sources, parsed, strict=True)):
        name = f"array_{index}" if text == "array" else source.name(extension)
        places.append(_Place(_below(source, root), _allowed(name)))
    for tell_apart in (_by_folder, _by_ending, _by_number):
        for group in _alike(places):
            tell_apart(group, places, parsed)
    taken: set[tuple[str, ...]] = set()
    for index, place in enumerate(places):  # a name that was made may be that of another source
        while place.key in taken:
            place.name += f"_{index}"
        taken.add(place.key)
    targets = [folder.joinpath(*place.folders, place.name + extension) for place in places]
    _refuse_sources(targets, parsed)
    return targets


def create_write_file_path(
    dirpath: Path, file_path: Path, write_extension: str, postfix: str = ""
) -> Path:
    """Return the file for the result of one image.

    Parameters
    ----------
    dirpath : Path
        Where results go.
    file_path : Path
        The image. If it is relative, its folders are repeated below `dirpath`.
    write_extension : str
        Ending of the result, with the dot.
    postfix : str
        Goes between the name and the ending.

    Returns
    -------
    Path
        Dots in the name of the image survive: ``a.b.tiff`` → ``a.b.npy``.
    """
    text = str(file_path)
    source = _parse(text)
    is_inside = not file_path.is_absolute() and "://" not in text and ".." not in file_path.parts
    depth = len(file_path.parent.parts) - len(source.inner) if is_inside else 0
    folders = source.folders[len(source.folders) - depth :] if depth > 0 else ()
    name = _allowed(source.name(write_extension) + postfix)
    return Path(dirpath).joinpath(*map(_allowed, folders), name + write_extension)


def _parse(source: str) -> _Source:
    if found := _SCENE.fullmatch(source) or _INSIDE.fullmatch(source):
        outer, inner = _parse(found["outer"]), PurePosixPath(found["inner"]).parts
        return _Source(outer.folders, outer.outer, (*outer.inner, *inner), outer.path)
    scheme = re.match(r"([a-z][a-z0-9+]+)://", source, re.IGNORECASE)
    kind = scheme[1].lower() if scheme else ""
    if kind in ("", "file", "zip"):
        text = source[scheme.end() :] if scheme else source
        text = unquote(text) if kind == "file" else text
        path = Path(os.path.abspath(re.sub(r"^/(?=[a-zA-Z]:)", "", text))) if text else Path()
        parts = _folders(path)
        end = _end(parts)
        rest = len(parts) - end - 1
        home = path.parents[rest - 1] if rest > 0 else path
        return _Source(parts[:end], "".join(parts[end : end + 1]), parts[end + 1 :], home)
    split = urlsplit(source)
    inside = PurePosixPath(unquote(split.path).lstrip("/")).parts
    parts = (split.netloc, *inside)
    end = _end(parts)
    return _Source(parts[:end], parts[end], parts[end + 1 :])


def _folders(path: Path) -> tuple[str, ...]:
    """Return the parts of a path without the root; of a drive, its letter stays."""
    drive = path.anchor.strip("\\/")
    return (*filter(None, [drive]), *path.parts[bool(path.anchor) :])


def _end(parts: Sequence[str]) -> int:
    """Return which part is the file, or the store that what follows lies in."""
    stores = (number for number, part in enumerate(parts) if _STORE.search(part))
    return next(stores, max(len(parts) - 1, 0))


@cache
def _known_endings() -> frozenset[str]:
    readers = {ending for reader in FORMATS.values() for ending in reader.EXTENSIONS}
    return frozenset({*readers, *_OTHERS})


def _stem(name: str, extension: str) -> str:
    """Return the name of a file or store without the ending of an image format."""
    stem, ending = os.path.splitext(name)
    if ending.lower() == ".zip":
        stem, ending = os.path.splitext(stem)
    if ending.lower() not in _known_endings():
        return stem + ending
    # an ending of two parts stays one if the result is a TIFF too: plate.ome.tif → plate.ome.tiff
    tiffs = FORMATS["tiff"].EXTENSIONS
    if not (ending.lower() in tiffs and extension in tiffs):
        stem = re.sub(r"(?<=.)\.ome$", "", stem, flags=re.IGNORECASE)
    return stem


def _below(source: _Source, root: Path | None) -> tuple[str, ...]:
    """Return the folders of a source below `root`; none if it is elsewhere."""
    start = _folders(Path(os.path.abspath(root))) if root is not None else None
    if start is None or source.path is None or source.folders[: len(start)] != start:
        return ()
    return tuple(map(_allowed, source.folders[len(start) :]))


def _alike(places: Sequence[_Place]) -> list[list[int]]:
    """Return the numbers of those that would be one file."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, place in enumerate(places):
        groups.setdefault(place.key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _by_folder(group: Sequence[int], places: Sequence[_Place], parsed: Sequence[_Source]) -> None:
    paths = [parsed[index].folders for index in group]
    levels = enumerate(zip(*paths, strict=False))
    common = next((n for n, parts in levels if len(set(parts)) > 1), min(map(len, paths)))
    for index in group:
        places[index].folders += tuple(map(_allowed, parsed[index].folders[common:]))


def _by_ending(group: Sequence[int], places: Sequence[_Place], parsed: Sequence[_Source]) -> None:
    wholes = Counter(parsed[index].whole.casefold() for index in group)
    for index in group:
        if len(wholes) > 1:
            places[index].name = _allowed(parsed[index].whole)


def _by_number(group: Sequence[int], places: Sequence[_Place], parsed: Sequence[_Source]) -> None:
    for index in group:
        places[index].name += f"_{index}"


def _allowed(name: str) -> str:
    """Return a name that every system takes, as equal to `name` as that allows."""
    name = _FORBIDDEN.sub("_", name).rstrip(". ") or "_"
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def _refuse_sources(targets: Sequence[Path], parsed: Sequence[_Source]) -> None:
    """Raise if a result would be the file, or the store, that an image is in."""
    homes: dict[str, list[Path]] = {}
    for home in {source.path for source in parsed if source.path is not None}:
        homes.setdefault(home.name.casefold(), []).append(home)
    for target in targets:
        for home in homes.get(target.name.casefold(), []):
            if target.resolve() == home.resolve() or (
                target.exists() and home.exists() and os.path.samefile(target, home)
            ):
                raise OutputExistsError(
                    f"{target} is the image that is restored.",
                    "Choose another folder for the results.",
                )
