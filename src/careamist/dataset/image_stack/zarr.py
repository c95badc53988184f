"""Zarr and OME-Zarr as image stacks: folders, zip files and URLs, read chunk by chunk.

A source is a store, a group or an array. Of a store or a group, the arrays directly in it are the
images; of an OME-Zarr image its finest level, of a plate or a series all of their images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack import ome_zarr
from careamist.dataset.image_stack.base import SlicedStack, read_box
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.dataset.image_stack.zarr_chunks import broken, missing, stored_as
from careamist.dataset.image_stack.zarr_places import Node, Place, natural, place_of, reason
from careamist.errors import CareamistError, DataError, SourceNotFoundError, UnreadableError

if TYPE_CHECKING:
    import zarr

EXTENSIONS = (".zarr",)
FOLDERS = True

_UP = 4  # how many folders above an array its pyramid may be


class ZarrStack(SlicedStack):
    """One Zarr array as an image stack; it is opened at the first use, anew in each process.

    Parameters
    ----------
    info : ImageInfo
        As `inspect` returns it; its source is the URI of the array.
    axes : str
        Axes of the array.
    """

    def __init__(self, info: ImageInfo, axes: str) -> None:
        super().__init__(info, axes)
        self._opened: tuple[zarr.Array[Any], Node] | None = None

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        with _told(self.source):
            if self._opened is None:
                self._opened = _open(place_of(self.source))
            array, node = self._opened
            try:
                return read_box(array, slices)
            except MemoryError:
                raise
            except Exception as error:
                spans = [
                    slice(min(entry), max(entry) + 1) if isinstance(entry, list) else entry
                    for entry in slices
                ]
                raise broken(array, node, self.source, spans, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def inspect(source: str | Path) -> list[ImageInfo]:
    """Return what is known of the images that `load` would open, without reading pixels.

    Parameters
    ----------
    source : str or path
        A path or a URI, of a store, a group or an array: ``x.zarr``, ``x.zarr/group``,
        ``file://x.zarr/group/array`` as ``str(array.store_path)`` prints it, ``x.zarr.zip``, or
        a URL (http, https, s3, gs, ...).

    Returns
    -------
    list of ImageInfo
        At least one, in the natural order of the names. `warnings` tell of chunks that are not in
        the store, of pyramid levels other than the finest, and of metadata that are not followed.

    Raises
    ------
    SourceNotFoundError
        If there is nothing, or no image at this level; the hint lists what is there.
    UnreadableError
        If something cannot be read or reached.
    DataError
        If an array does not hold numbers or has no pixels.
    SettingsError
        If `source` is not a path or a URI.
    """
    with _told(source):
        return list(_images(_entrance(source)))


def load(source: str | Path, axes: str) -> list[ZarrStack]:
    """Return the stacks of the images that a source stands for; see `inspect`.

    Raises
    ------
    AxesError
        If the axes do not fit the shape of an array.
    """
    return [ZarrStack(info, axes) for info in inspect(source)]


def list_images(source: str | Path, limit: int = 10_000) -> list[ImageInfo]:
    """Return every image that could be chosen below a source: all groups, fields and levels.

    Arrays that cannot be images, or not be opened, are left out, as are labels. Chunks are not
    counted.

    Parameters
    ----------
    source : str or path
        As for `inspect`.
    limit : int
        How many at most.

    Returns
    -------
    list of ImageInfo
        Perhaps none. Each `source` can be given to `inspect` and `load`.

    Raises
    ------
    SourceNotFoundError, UnreadableError, SettingsError
        As `inspect`, of the source itself.
    """
    with _told(source):
        place = _entrance(source)
        if place.node is None and not place.names():
            raise _nothing(place)
        if place.node is not None and place.node.kind == "array":
            return [_describe_in_pyramid(place, count=False)]
        return list(itertools.islice(_walk(place), limit))


def _entrance(source: str | Path) -> Place:
    """Return the place of a source; of a zip file made from outside, the folder in it."""
    place = place_of(source)
    if place.uri.startswith("zip://") and place.parent is None and place.node is None:
        names = [name for name in place.names() or [] if name != "__MACOSX"]
        return place.child(names[0]) if len(names) == 1 else place
    return place


def _images(place: Place) -> Iterator[ImageInfo]:
    node = place.node
    if node is not None and node.kind == "array":
        yield _describe_in_pyramid(place)
    elif node is not None and ome_zarr.has_pyramids(node.attributes):
        yield from _finest(place, node)
    elif parts := _parts(place):
        yield from _of_parts(place, parts)
    else:
        yield from _arrays(place)


def _finest(place: Place, node: Node) -> Iterator[ImageInfo]:
    pyramids = ome_zarr.pyramids(node.attributes)
    for pyramid in pyramids:
        array = place.child(pyramid.paths[0])
        if array.node is None or array.node.kind != "array":
            raise UnreadableError(
                f"{place.uri} names its level 0 '{pyramid.paths[0]}', but no array is there.",
                "Copy the image again from where it was made, or give another of its arrays.",
            )
        yield pyramid.describe(_describe(array), 0)
    if not pyramids:
        raise UnreadableError(
            f"{place.uri} says that it is an OME-Zarr image, but names none of its levels.",
            f"Give the array itself: {_choices(place)}.",
        )


def _parts(place: Place) -> list[str]:
    """Return the groups that are images of this one: wells, fields, series."""
    attributes = place.node.attributes if place.node else {}
    if ome_zarr.has_pyramids(attributes):
        return []
    if named := ome_zarr.members(attributes):
        return natural(named)
    if not ome_zarr.is_series(attributes):
        return []
    around = place.child("OME").node
    if named := ome_zarr.series(around.attributes if around else {}):
        return named
    names = place.names()
    if names is None:  # series are numbered without gaps
        numbers = map(str, itertools.count())
        return list(itertools.takewhile(lambda name: place.child(name).node, numbers))
    return [name for name in names if name.isdecimal()]


def _of_parts(place: Place, parts: Sequence[str]) -> Iterator[ImageInfo]:
    there = [part for part in map(place.child, parts) if part.node is not None]
    if not there:
        raise SourceNotFoundError(
            f"{place.uri} names {len(parts)} groups with images, but none of them is there.",
            "Copy the store again from where it was made.",
        )
    missing = len(parts) - len(there)
    told = f"{missing} of {len(parts)} groups with images that {place.uri} names are not there."
    for info in itertools.chain.from_iterable(map(_images, there)):
        yield replace(info, warnings=(*info.warnings, told)) if missing else info
        missing = 0  # once is enough


def _arrays(place: Place) -> Iterator[ImageInfo]:
    names = place.names()
    if names is None and place.node is not None:
        raise UnreadableError(
            f"{place.uri} is a group on a server that does not list what is in it.",
            f"Give the URL of the array, for example {place.uri}/0, "
            "or consolidate the metadata of the store.",
        )
    children = [place.child(name) for name in names or []]
    arrays = [child for child in children if child.node and child.node.kind == "array"]
    images = [array for array in arrays if _n_dims(array) >= 2]  # the others are coordinates
    if not images:
        raise _nothing(place)
    yield from map(_describe, images)


def _walk(place: Place, may_lack: bool = True) -> Iterator[ImageInfo]:
    """Yield what can be opened here and below; unreadable parts are passed over.

    One folder without metadata is looked into, not two in a row: that is no store.
    """
    try:
        node = place.node
        if node is None and not may_lack:
            return
        if node is not None and node.kind == "array":
            yield _describe_in_pyramid(place, count=False)
            return
        attributes = node.attributes if node else {}
        if ome_zarr.lists_labels(attributes):
            return
        pyramids = ome_zarr.pyramids(attributes)
        if any(pyramid.is_labels for pyramid in pyramids):
            return
        names = place.names()
        if names is None:
            names = _parts(place) + [path for pyramid in pyramids for path in pyramid.paths]
    except Exception:  # whatever a file can break: the others can still be chosen
        return
    for name in names:
        yield from _walk(place.child(name), may_lack=node is not None)


def _describe_in_pyramid(place: Place, count: bool = True) -> ImageInfo:
    info, path = _describe(place, count), _name(place)
    outer = place.parent
    for _ in range(_UP):
        if outer is None:
            break
        for pyramid in ome_zarr.pyramids(outer.node.attributes if outer.node else {}):
            if path in pyramid.paths:
                return pyramid.describe(info, pyramid.paths.index(path))
        path = f"{_name(outer)}/{path}"
        outer = outer.parent
    return info


def _describe(place: Place, count: bool = True) -> ImageInfo:
    array, node = _open(place)
    shape, chunks = tuple(map(int, array.shape)), tuple(map(int, array.chunks))
    if len(shape) < 2 or 0 in shape:
        raise DataError(
            f"{place.uri} has the shape {shape};",
            "an image has at least the dimensions Y and X, and at least one pixel.",
        )
    names = node.metadata.get("dimension_names") or node.attributes.get("_ARRAY_DIMENSIONS")
    axes = ome_zarr.dimension_axes(names)
    return ImageInfo(
        source=place.uri,
        shape=shape,
        dtype=np.dtype(array.dtype),
        axes=axes if axes and len(axes) == len(shape) else None,
        stored_as=stored_as(array),
        **_sizes(node.attributes, axes or ""),
        chunk_shape=tuple(map(min, zip(chunks, shape, strict=True))),
        warnings=tuple(missing(place, node, array)) if count else (),
    )


def _sizes(attributes: Mapping[str, Any], axes: str) -> dict[str, Any]:
    """Return the pixel sizes that plain results of ours carry in their attributes."""
    sizes, units = attributes.get("pixel_size"), attributes.get("units")
    if not isinstance(sizes, Mapping) or not isinstance(units, Mapping):
        return {}
    known = {
        name.upper(): float(size)
        for name, size in sizes.items()
        if str(name).upper() in axes and isinstance(size, (int, float)) and size > 0
    }
    named = {axis: str(units[axis.lower()]) for axis in known if axis.lower() in units}
    return {"pixel_size": {axis: known[axis] for axis in named}, "units": named}


def _open(place: Place) -> tuple[zarr.Array[Any], Node]:
    node = place.node
    if node is None or node.kind != "array":
        raise SourceNotFoundError(f"There is no Zarr array at {place.uri}.", "Was it moved?")
    _refuse_dtype(place, node)
    return place.open_array(), node


def _refuse_dtype(place: Place, node: Node) -> None:
    """Raise for text, structures and the like, before zarr warns of some of them."""
    given = node.metadata.get("dtype" if node.zarr_format == 2 else "data_type")
    try:
        if np.dtype(given).kind in "biufc":
            return
    except (TypeError, ValueError):  # a name or a structure that numpy does not know
        pass
    raise DataError(
        f"{place.uri} holds {given!r};",
        "expected pixels that are numbers. Of a group, the arrays can be given one by one.",
    )


def _nothing(place: Place) -> SourceNotFoundError:
    if place.node is None and not place.names():
        in_memory = place.uri.startswith("memory://")  # so zarr prints arrays without a store
        hint = "Pass an array in memory itself, with data_type='array'." if in_memory else ""
        return SourceNotFoundError(
            f"There is no Zarr store at {place.uri}.", hint or "Check the address."
        )
    what = "is no Zarr group and holds" if place.node is None else "holds"
    there = _choices(place)
    return SourceNotFoundError(
        f"{place.uri} {what} no image directly in it.",
        f"Choose one of the groups in it: {there}." if there else "Nothing else is there either.",
    )


def _choices(place: Place) -> str:
    names = place.names() or []
    more = ", …" if len(names) > 10 else ""
    return ", ".join(place.child(name).uri for name in names[:10]) + more


def _n_dims(place: Place) -> int:
    shape = place.node.metadata.get("shape") if place.node else None
    return len(shape) if isinstance(shape, list) else 2  # a broken one is told when it is opened


def _name(place: Place) -> str:
    return place.uri.rpartition("/")[2]


@contextmanager
def _told(source: Any) -> Iterator[None]:
    """Turn whatever happens into one of our errors."""
    try:
        yield
    except (CareamistError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableError(
            f"{source} cannot be read as Zarr ({reason(error)}).",
            "Check that it is a Zarr store of version 2 or 3 and that you may read it.",
        ) from error
