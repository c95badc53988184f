"""The chunks of a Zarr array: which are not in the store, and which cannot be read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from careamist.dataset.image_stack.zarr_places import Node, Place, reason
from careamist.errors import UnreadableError

if TYPE_CHECKING:
    import zarr

MAX_COUNTED = 200_000  # counting more of them would be felt


def stored_as(array: zarr.Array[Any]) -> str:
    """Return how an array is stored, for a person."""
    codecs = [type(codec).__name__.removesuffix("Codec").lower() for codec in array.compressors]
    packed = " and ".join(codec for codec in codecs if codec != "crc32c") or "not compressed"
    shards = f" in shards of {_times(array.shards)}" if array.shards else ""
    return f"chunks of {_times(array.chunks)}{shards}, {packed}"


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def missing(place: Place, node: Node, array: zarr.Array[Any]) -> Iterator[str]:
    """Say how many chunks (or shards) are not in the store: zarr fills them in silently."""
    unit = array.shards or array.chunks
    grid = [math.ceil(n / size) for n, size in zip(array.shape, unit, strict=True)]
    files, n_chunks = place.files(), math.prod(grid)
    if files is None or n_chunks > MAX_COUNTED:
        return
    places = itertools.product(*map(range, grid))
    n_there = len({_key(node, at) for at in places}.intersection(files))
    kind, fill = "shards" if array.shards else "chunks", array.fill_value or 0
    if n_there == 0:
        yield f"None of its {n_chunks} {kind} is in the store: all pixels read as {fill}."
    elif n_there < n_chunks:
        yield f"{n_chunks - n_there} of {n_chunks} {kind} are not in the store and read as {fill}."


def _key(node: Node, at: Sequence[int]) -> str:
    """Return the file of a chunk (or shard) inside the folder of its array."""
    metadata = node.metadata
    if node.zarr_format == 2:
        return str(metadata.get("dimension_separator", ".")).join(map(str, at))
    encoding = metadata.get("chunk_key_encoding") or {}
    is_v2 = encoding.get("name") == "v2"
    separator = (encoding.get("configuration") or {}).get("separator", "." if is_v2 else "/")
    return str(separator).join([*([] if is_v2 else ["c"]), *map(str, at)])


def broken(
    array: zarr.Array[Any], node: Node, source: str, spans: Sequence[slice], error: Exception
) -> UnreadableError:
    """Return the error of a box that cannot be read, with the chunk that is to blame."""
    unit = array.shards or array.chunks
    ranges = []
    for span, n, size in zip(spans, array.shape, unit, strict=True):
        start, stop, _ = span.indices(n)
        ranges.append(range(start // size, math.ceil(stop / size)))
    blamed, why = "A chunk", error
    for at in itertools.islice(itertools.product(*ranges), 1000):
        box = tuple(slice(i * size, (i + 1) * size) for i, size in zip(at, unit, strict=True))
        try:
            array[box]
        except Exception as found:
            blamed, why = f"The chunk {_key(node, at)}", found
            break
    return UnreadableError(
        f"{blamed} of {source} cannot be read ({reason(why)}).",
        "Copy the store again from where it was made, or leave this image out.",
    )
