"""CZI files of Zeiss microscopes as image stacks, one per scene, read lazily."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.base import SlicedStack
from careamist.dataset.image_stack.czi_file import CACHE_BYTES, CziFile, Scene, describe, scan
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.errors import AxesError, SourceNotFoundError

EXTENSIONS = (".czi",)
AXES = ("SCYX", "SCTYX", "SCZYX")

# All but the depth become samples, the first of them outermost.
PLANES = {
    "B": "blocks",
    "V": "views",
    "I": "illuminations",
    "R": "rotations",
    "H": "phases",
    "T": "time points",
    "Z": "planes",
}
COLOURS = ("red", "green", "blue")
COMPRESSIONS = {"UnCompressed": "not compressed", "Jpg": "JPEG", "JpgXr": "JPEG XR"}


class CziStack(SlicedStack):
    """One scene of a CZI file as an image stack; `load` makes them.

    Parameters
    ----------
    file : CziFile
        Where the pixels come from; the scenes of a file share it.
    scene : Scene
        What the scene holds.
    axes : str
        ``SCYX``, ``SCTYX`` or ``SCZYX``.
    info : ImageInfo
        What is known of the scene in these axes.
    """

    def __init__(self, file: CziFile, scene: Scene, axes: str, info: ImageInfo) -> None:
        # Time as depth is called Z here: everything that works on volumes then works on it.
        super().__init__(info, axes.replace("T", "Z"))
        self._file = file
        self._scene = scene
        self._depth = _depth(axes)

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        samples, channels, *depth, rows, columns = (
            range(size)[entry] if isinstance(entry, slice) else entry
            for entry, size in zip(slices, self.original_data_shape, strict=True)
        )
        steps = depth[0] if depth else range(1)
        shape = tuple(map(len, (samples, channels, steps, rows, columns)))
        box = np.empty(shape, dtype=self._scene.dtype)
        if box.size:
            left, top, *_ = self._scene.area
            area = (left + columns[0], top + rows[0], len(columns), len(rows))
            for i, sample in enumerate(samples):
                for k, step in enumerate(steps):
                    self._fill(box[i, :, k], channels, area, self._plane(sample, step))
        return box if depth else box[:, :, 0]

    def _fill(
        self,
        box: NDArray[Any],
        channels: Sequence[int],
        area: tuple[int, int, int, int],
        plane: dict[str, int],
    ) -> None:
        """Read an area of one plane into a box of (C, Y, X)."""
        scene, n_colours = self._scene, self._scene.n_colours
        for stored in sorted({channel // n_colours for channel in channels}):
            where = plane | ({"C": scene.places["C"][stored]} if "C" in scene.places else {})
            pixels = self._file.read(area, where, scene)[..., ::-1]  # BGR to RGB
            for layer, channel in zip(box, channels, strict=True):
                if channel // n_colours == stored:
                    layer[...] = pixels[..., channel % n_colours]

    def _plane(self, sample: int, step: int) -> dict[str, int]:
        """Return where in the file a plane is."""
        places = self._scene.places
        merged = _merged(self._scene, self._depth)
        at = np.unravel_index(sample, [len(places[name]) for name in merged])
        plane = {name: places[name][i] for name, i in zip(merged, at, strict=True)}
        if self._depth in places:
            plane[self._depth] = places[self._depth][step]
        return plane


def inspect(source: Any) -> list[ImageInfo]:
    """Return what is known of each scene of a file, without reading pixels.

    Parameters
    ----------
    source : path
        The file, or ``file.czi@2`` for one scene of it.

    Returns
    -------
    list of ImageInfo
        The proposed axes are ``SCZYX`` if there are several planes in Z, else ``SCYX``.

    Raises
    ------
    SourceNotFoundError
        If there is no such file or scene.
    UnreadableError
        If it cannot be read as a CZI.
    DataError
        If its pixels are of a type that is not supported, or of several types.
    """
    path, scenes, metadata = _scenes(source)
    return [
        _info(path, scene, "SCZYX" if scene.size("Z") > 1 else "SCYX", metadata) for scene in scenes
    ]


def load(source: Any, axes: str) -> list[CziStack]:
    """Return one stack per scene of a file.

    Parameters
    ----------
    source : path
        The file, or ``file.czi@2`` for one scene of it.
    axes : str
        ``SCYX``, or ``SCZYX`` or ``SCTYX`` to have Z or T as depth. All other dimensions
        become samples.

    Returns
    -------
    list of CziStack
        In SCYX or SCZYX.

    Raises
    ------
    AxesError
        If the axes are others.
    SourceNotFoundError, UnreadableError, DataError
        As `inspect`.
    """
    given, axes = axes, axes.upper()
    if axes not in AXES:
        raise AxesError(
            f"axes='{given}' do not fit a CZI file: expected one of {', '.join(AXES)}.",
            "Choose SCYX for flat images, SCZYX for volumes, SCTYX to have time as depth.",
        )
    path, scenes, metadata = _scenes(source)
    subblock = max(math.prod(s.tile) * s.n_colours * s.dtype.itemsize for s in scenes)
    file = CziFile(path, max(CACHE_BYTES, subblock))
    return [CziStack(file, scene, axes, _info(path, scene, axes, metadata)) for scene in scenes]


def _scenes(source: Any) -> tuple[Path, list[Scene], dict[str, Any] | None]:
    """Return the path, the scenes that a source names, and the metadata of the file."""
    path, wanted = Path(source), None
    named = re.fullmatch(r"(.+\.czi)@(\d+)", str(source), re.IGNORECASE)
    if named and not path.exists():
        path, wanted = Path(named[1]), int(named[2])
    blocks, metadata = scan(path)
    if wanted is not None:
        if wanted not in blocks:
            numbers = ", ".join(str(index) for index in sorted(blocks, key=_number))
            raise SourceNotFoundError(
                f"{path} has no scene {wanted}.",
                "Give the path alone." if None in blocks else f"Its scenes are {numbers}.",
            )
        blocks = {wanted: blocks[wanted]}
    scenes = [
        describe(index, blocks[index], _name(path, index)) for index in sorted(blocks, key=_number)
    ]
    return path, scenes, metadata


def _number(index: int | None) -> int:
    return -1 if index is None else index


def _name(path: Path, index: int | None) -> str:
    return str(path) if index is None else f"{path}@{index}"


def _depth(axes: str) -> str:
    return axes[2:-2]


def _merged(scene: Scene, depth: str) -> list[str]:
    """Return the dimensions that become samples."""
    return [name for name in PLANES if name in scene.places and name != depth]


def _info(path: Path, scene: Scene, axes: str, metadata: dict[str, Any] | None) -> ImageInfo:
    """Return what is known of a scene in one of `AXES`."""
    depth = _depth(axes)
    steps = (scene.size(depth),) if depth else ()
    samples = math.prod(scene.size(name) for name in _merged(scene, depth))
    *_, width, height = scene.area
    tile = tuple(map(min, scene.tile, (height, width)))
    pixel_size = {axis: size for axis, size in _pixel_size(metadata).items() if axis in axes}
    compression = COMPRESSIONS.get(scene.compression, scene.compression.rstrip("01").lower())
    return ImageInfo(
        source=_name(path, scene.index),
        shape=(samples, scene.size("C") * scene.n_colours, *steps, height, width),
        dtype=scene.dtype,
        axes=axes,
        pixel_size=pixel_size,
        units=dict.fromkeys(pixel_size, "µm"),
        channel_names=_channel_names(scene, metadata),
        stored_as=f"tiles of {tile[0]} × {tile[1]}, {compression}",
        chunk_shape=(1, scene.n_colours, *(1 for _ in steps), *tile),
        warnings=tuple(_warnings(scene, depth, metadata)),
    )


def _warnings(scene: Scene, depth: str, metadata: dict[str, Any] | None) -> list[str]:
    texts = []
    if scene.n_colours > 1:
        texts.append("colour image: its red, green and blue are read as three channels")
    texts += [
        f"its {scene.size(name)} {PLANES[name]} ({name}) are read as separate samples"
        for name in _merged(scene, depth)
        if scene.size(name) > 1 and name not in "TZ"
    ]
    if scene.covered < 0.9:
        texts.append(f"its tiles cover {scene.covered:.0%} of the image: the rest is read as 0")
    if scene.n_missing:
        texts.append(f"{scene.n_missing} of its planes were not recorded: they are read as 0")
    parameters = [
        str(image.get(f"{when}CompressionParameters"))
        for image in _find(metadata, "Information", "Image")
        for when in ("Original", "Current")
    ]
    if scene.compression == "Jpg" or any("Lossless: False" in text for text in parameters):
        texts.append("compressed with loss: the noise is no longer that of the camera")
    if metadata is None:
        texts.append("its metadata cannot be read: pixel size and channel names are not known")
    return texts


def _pixel_size(metadata: dict[str, Any] | None) -> dict[str, float]:
    """Return the pixel size along Z, Y, X in µm, as far as it is known."""
    sizes = {}
    for entry in _find(metadata, "Scaling", "Items", "Distance"):
        try:
            size = float(entry["Value"]) * 1e6
        except (KeyError, TypeError, ValueError):
            continue
        if entry.get("@Id") in ("Z", "Y", "X") and 0 < size < math.inf:
            sizes[str(entry["@Id"])] = size
    return sizes


def _channel_names(scene: Scene, metadata: dict[str, Any] | None) -> tuple[str, ...]:
    """Return one name per channel, none if one is not known."""
    entries = _find(metadata, "Information", "Image", "Dimensions", "Channels", "Channel")
    names = [str(entry.get("@Name") or "") for entry in entries]
    places = scene.places.get("C", (0,))
    if len(names) > max(places):
        names = [names[place] for place in places]
    if len(names) != len(places) or not all(names):
        names = [""] * len(places) if scene.n_colours > 1 and len(places) == 1 else []
    if scene.n_colours > 1:
        return tuple(f"{name} {colour}".strip() for name in names for colour in COLOURS)
    return tuple(names)


def _find(tree: Any, *path: str) -> list[dict[str, Any]]:
    """Return the entries at a path; XML that was parsed has a list only where there are several."""
    found = [tree]
    for name in path:
        under = [entry[name] for entry in found if isinstance(entry, dict) and name in entry]
        found = [entry for some in under for entry in (some if isinstance(some, list) else [some])]
    return [entry for entry in found if isinstance(entry, dict)]
