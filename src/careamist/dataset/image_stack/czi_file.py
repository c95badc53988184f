"""What libCZI is asked: which scenes a CZI file holds, and the pixels of a region.

The scenes are taken from the directory of the subblocks (no pixels, 10 µs each), not from the
declared dimensions: these start at 0 and span all scenes, also where the file was cut out of
another one and holds time points 3 to 5, or scenes 1 and 7.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from careamist.errors import CareamistError, DataError, SourceNotFoundError, UnreadableError

# Data type, and how many numbers a pixel has.
PIXEL_TYPES = {
    "Gray8": ("uint8", 1),
    "Gray16": ("uint16", 1),
    "Gray32Float": ("float32", 1),
    "Bgr24": ("uint8", 3),
    "Bgr48": ("uint16", 3),
}
# Decompressed subblocks that a file keeps: patches of one subblock then cost 0.03 ms, not 13 ms.
CACHE_BYTES = 64 * 2**20
MAX_OPEN = 32

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """What one scene holds: where its pixels are, of which type, along which dimensions.

    Parameters
    ----------
    index : int or None
        Its number; None in a file without scenes.
    area : tuple of int
        (x, y, width, height) in pixels of the file; x and y may be negative.
    places : mapping
        The coordinates that occur, per dimension of the file but S, M, Y and X.
    pixel_type : str
        One of `PIXEL_TYPES`.
    tile : tuple of int
        Height and width of most subblocks.
    covered : float
        Share of the area that has pixels.
    n_missing : int
        Planes that have no pixels at all.
    compression : str
        As libCZI calls it.
    """

    index: int | None
    area: Rectangle
    places: Mapping[str, tuple[int, ...]]
    pixel_type: str
    tile: tuple[int, int]
    covered: float
    n_missing: int
    compression: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the stored numbers."""
        return np.dtype(PIXEL_TYPES[self.pixel_type][0])

    @property
    def n_colours(self) -> int:
        """How many numbers a pixel has: 3 in a colour image."""
        return PIXEL_TYPES[self.pixel_type][1]

    def size(self, dimension: str) -> int:
        """Return the length of a dimension, 1 if the scene does not have it."""
        return len(self.places.get(dimension, (0,)))


class CziFile:
    """A CZI file, opened at the first read, closed when nothing refers to it any more.

    Only the last `MAX_OPEN` stay open: a folder may hold more files than a process may open.
    Safe to be read from several threads; a pickled copy opens the file anew.

    Parameters
    ----------
    path : Path
        The file.
    cache_bytes : int
        Memory for decompressed subblocks; less than one subblock is none.
    """

    _opened: ClassVar[deque[ref[CziFile]]] = deque()

    def __init__(self, path: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = path
        self._cache_bytes = cache_bytes
        self._lock = Lock()
        self._reader: Any = None

    def read(self, area: Rectangle, plane: Mapping[str, int], scene: Scene) -> NDArray[Any]:
        """Return the pixels of an area of a plane as (Y, X, colour); colours in the order BGR.

        Raises
        ------
        SourceNotFoundError
            If the file is gone.
        UnreadableError
            If the pixels cannot be read.
        """
        with self._lock, _our_errors(self.path):
            if (reader := self._reader) is None:
                self._reader = reader = _open(self.path, self._cache_bytes)
                self._close_another()
            return np.asarray(
                reader.read(area, dict(plane), scene.index, pixel_type=scene.pixel_type)
            )

    def _close_another(self) -> None:
        self._opened.append(ref(self))
        if len(self._opened) > MAX_OPEN and (oldest := self._opened.popleft()()):
            oldest._reader = None  # a read that is under way still holds it

    def __reduce__(self) -> tuple[Any, ...]:
        return CziFile, (self.path, self._cache_bytes)


class _Block(NamedTuple):
    area: Rectangle
    plane: tuple[tuple[str, int], ...]
    pixel_type: str
    compression: str


def scan(path: Path) -> tuple[dict[int | None, list[_Block]], dict[str, Any] | None]:
    """Return the subblocks of each scene, and the metadata; None if they cannot be read.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    UnreadableError
        If it cannot be read as a CZI, or holds no image.
    """
    blocks: dict[int | None, list[_Block]] = {}

    def take(_: int, block: Any) -> bool:
        rect, plane = block.logicalRect, block.coordinate.to_dict()
        scene = blocks.setdefault(plane.pop("S", None), [])
        area, place = (rect.x, rect.y, rect.w, rect.h), tuple(sorted(plane.items()))
        compression = block.get_compression_mode().name
        scene.append(_Block(area, place, block.pixelType.name, compression))
        return True

    with _our_errors(path):
        reader = _open(path, CACHE_BYTES)
        reader.enumerate_subblocks_subset(take, only_layer0=True)  # not the smaller copies
        metadata = _metadata(reader)
    if not blocks:
        raise UnreadableError(f"{path} holds no image.", "Open it in ZEN and save it again.")
    return blocks, metadata


def describe(index: int | None, blocks: list[_Block], source: str) -> Scene:
    """Return what the subblocks of a scene tell.

    Raises
    ------
    DataError
        If the pixels are of a type that is not supported, or of several types.
    """
    areas = Counter(block.area for block in blocks)
    left, top = (min(area[i] for area in areas) for i in (0, 1))
    right, bottom = (max(area[i] + area[i + 2] for area in areas) for i in (0, 1))
    whole = (left, top, right - left, bottom - top)
    planes = {block.plane for block in blocks}
    places: dict[str, set[int]] = {}
    for name, place in {entry for plane in planes for entry in plane}:
        places.setdefault(name, set()).add(place)
    ((_, _, width, height), _), *_ = areas.most_common(1)
    return Scene(
        index=index,
        area=whole,
        places={name: tuple(sorted(found)) for name, found in places.items()},
        pixel_type=_one_pixel_type({block.pixel_type for block in blocks}, source),
        tile=(height, width),
        covered=_covered(areas, whole),
        n_missing=math.prod(map(len, places.values())) - len(planes),
        compression=Counter(block.compression for block in blocks).most_common(1)[0][0],
    )


def _one_pixel_type(found: set[str], source: str) -> str:
    if len(found) > 1:
        raise DataError(
            f"{source} has pixels of several types ({', '.join(sorted(found))}); expected one.",
            "Export the channels of each type to a file of their own.",
        )
    (pixel_type,) = found
    if pixel_type not in PIXEL_TYPES:
        raise DataError(
            f"{source} has pixels of type {pixel_type}; expected one of {', '.join(PIXEL_TYPES)}.",
            "Convert it in ZEN, for example to 16 bit.",
        )
    return pixel_type


def _covered(areas: Iterable[Rectangle], whole: Rectangle) -> float:
    """Return which share of an area others cover, to about a percent."""
    left, top, width, height = whole
    grid = np.zeros((256, 256), dtype=bool)
    for x, y, w, h in areas:
        first_x, last_x = (round((at - left) * 256 / width) for at in (x, x + w))
        first_y, last_y = (round((at - top) * 256 / height) for at in (y, y + h))
        grid[first_y:last_y, first_x:last_x] = True
    return float(grid.mean())


def _open(path: Path, cache_bytes: int) -> Any:
    """Return an open reader; it closes when it is no longer referred to."""
    if not path.is_file():
        raise SourceNotFoundError(f"There is no file {path}.", "Check the path.")
    from pylibCZIrw import czi  # takes 0.8 s

    return czi.CziReader(str(path), cache_options=czi.CacheOptions(max_memory_usage=cache_bytes))


def _metadata(reader: Any) -> dict[str, Any] | None:
    try:
        metadata = reader.metadata["ImageDocument"]["Metadata"]
    except Exception:  # absent, or no XML: the pixels can be read without
        return None
    return metadata if isinstance(metadata, dict) else None


@contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except CareamistError:
        raise
    except ImportError as error:
        raise UnreadableError(
            f"{path} is a CZI file: another package is needed to read it.",
            "Run: pip install pylibCZIrw (or save the image as TIFF).",
        ) from error
    except Exception as error:  # of libCZI: also MemoryError, where a size is nonsense
        raise UnreadableError(
            f"{path} cannot be read as a CZI ({str(error).rstrip('.') or type(error).__name__}).",
            "Copy the file again from where it was made, or save it again in ZEN.",
        ) from error
