"""Results as files: named after layers, told one by one, and opened again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from careamist.dataset.image_stack import ImageInfo
from careamist.dataset.sources import inspect, root_of
from careamist.gui.data.data_source import clean_path, level_geometry
from careamist.prediction.disk_sink import DiskSink
from careamist.prediction.output import Output
from careamist.prediction.writers import writer_of
from careamist.prediction.writers.zarr_array import Transposed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from careamist.dataset.region import TileSpecs
    from careamist.gui.predicting.predict_order import PredictionOrder

_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s", "meter": "m"}
_UNITS |= {"centimeter": "cm", "angstrom": "Å", "millisecond": "ms", "minute": "min"}


@dataclass(frozen=True)
class NamedOutput(Output):
    """A result in the axes of its image, also where the model was told other ones.

    Parameters
    ----------
    name : str
        What the image is called; as its stack says when empty.
    letters : mapping of str to str
        For axes as the model was told, what they are.
    told : ImageInfo or None
        What is known of the image, where its stack knows nothing.
    """

    name: str = ""
    letters: Mapping[str, str] | None = None
    told: ImageInfo | None = None

    @property
    def source(self) -> str:
        """What the image is called."""
        return self.name or super().source

    @property
    def info(self) -> ImageInfo | None:
        """What is known of pixel sizes, units and channels."""
        return self.told if self.told is not None else super().info

    @property
    def axes(self) -> str:
        """Axes of the result."""
        axes = super().axes
        return "".join((self.letters or {}).get(axis, axis) for axis in axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result: what is called C may be what the model took for samples."""
        return self._plain.shape

    def pixels(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return a region, C(Z)YX, in `axes`."""
        return self._plain.pixels(data)

    def box(self, specs: TileSpecs) -> tuple[slice, ...]:
        """Return what to index the result with to reach the core of a tile."""
        return self._plain.box(specs)

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Parts to store the result in."""
        return self._plain.chunk_shape

    @property
    def shard_shape(self) -> tuple[int, ...]:
        """The part that one tile owns."""
        return self._plain.shard_shape

    @property
    def _plain(self) -> Output:
        return Output(**{entry.name: getattr(self, entry.name) for entry in fields(Output)})


class OrderedSink(DiskSink):
    """Writes what was ordered into a folder.

    Parameters
    ----------
    order : PredictionOrder
        Which image; where to, and how.
    folder : Path
        Where the files go.
    check : callable
        Called while results are completed; may raise to end that.

    Attributes
    ----------
    sources : list of str
        The images, in their order, once they are known.
    """

    def __init__(self, order: PredictionOrder, folder: Path, write_type: str, check: Any) -> None:
        source = order.choice.path
        super().__init__(
            folder,
            writer_of(write_type),
            overwrite=order.overwrite,
            root=root_of(source) if order.choice.layer is None else None,
            check=check,
        )
        self._order = order
        self._done: dict[int, str] = {}
        self._axes: dict[int, str] = {}
        self._views: dict[int, Any] = {}
        self.sources: list[str] = []

    def check(self, outputs: Sequence[Output]) -> None:
        """Make sure that every file can be written."""
        self.sources = [output.source for output in outputs]
        super().check([self._named(output) for output in outputs])

    def start(self, output: Output) -> NDArray[np.intp]:
        """Begin the file."""
        named = self._named(output)
        self._axes[output.index] = named.axes
        missing = super().start(named)
        if self._order.output == "layer" and len(missing):
            # the screen asks later, perhaps when the file is just getting its name
            self._views[output.index] = super().view(output.index)
        return missing

    def finish(self, index: int) -> str | None:
        """Give the file its name."""
        path = super().finish(index)
        if path is not None:
            self._done[index] = path
        return path

    def view(self, index: int) -> Any:
        """Return what is there of an image; what shows it takes the file when that is complete."""
        if index in self._views:
            return self._views[index]
        levels = open_levels(self._done.get(index, self.paths[index]), self._axes[index])
        return levels[0] if isinstance(levels, list) and len(levels) == 1 else levels

    def _named(self, output: Output) -> Output:
        order, choice = self._order, self._order.choice
        given = {entry.name: getattr(output, entry.name) for entry in fields(Output)}
        letters = dict(zip(order.settings().axes or "", choice.axes, strict=True))
        letters = {told: axis for told, axis in letters.items() if told != axis}
        if "C" in letters.values() and choice.axes.find("C") > choice.axes.find("Y"):
            letters = {}  # channels of a pixel lie beside each other: only whole ones are written
        if choice.layer is None:
            return NamedOutput(**given, letters=letters)
        return NamedOutput(
            **given, name=order.name or choice.name, letters=letters, told=layer_about(choice)
        )


def layer_about(choice: Any) -> ImageInfo:
    """Return what a layer tells of its image: pixel sizes and units."""
    layer = choice.layer
    scale = level_geometry(layer, choice.level)["scale"] if choice.level else layer.scale
    sizes, units = {}, {}
    for axis, size, unit in zip(choice.array_axes, scale, layer.units, strict=False):
        name = _UNITS.get(str(unit), str(unit))
        if axis in "TZYX" and name not in ("pixel", ""):
            sizes[axis], units[axis] = float(size), name
    data = choice.source
    shape = tuple(int(n) for n in data.shape)
    return ImageInfo(str(layer.name), shape, np.dtype(data.dtype), choice.axes, sizes, units)


def open_levels(path: str | Path, axes: str = "") -> Any:
    """Return the pixels of a result: the levels of a pyramid, or one array; not yet read.

    Parameters
    ----------
    path : path
        The file or the store.
    axes : str
        The axes that are wanted, where the store may have them in another order.
    """
    path = Path(path)
    if path.name.endswith(".zarr"):
        import zarr

        found = zarr.open(str(path), mode="r")
        if isinstance(found, zarr.Array):
            return found
        about: Any = found.attrs["ome"]
        image = about["multiscales"][0]
        stored = "".join(axis["name"].upper() for axis in image["axes"])
        levels: list[Any] = [found[entry["path"]] for entry in image["datasets"]]
        if axes and axes != stored:
            order = [stored.index(axis) for axis in axes]
            levels = [Transposed(level, order) for level in levels]
        return levels
    import tifffile

    try:
        return tifffile.memmap(path, mode="r")
    except ValueError:  # it is compressed
        return tifffile.imread(path)


def open_result(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """Return what napari needs to show a result.

    Returns
    -------
    levels : array or list of arrays
    options : dict
        For `viewer.add_image`.
    """
    levels, info = open_levels(path), inspect(clean_path(str(path)))[0]
    options: dict[str, Any] = {"name": Path(path).name, "multiscale": isinstance(levels, list)}
    first = levels[0] if isinstance(levels, list) else levels
    if info.axes and len(info.axes) == first.ndim:
        options["rgb"] = info.axes.endswith("C") and first.dtype == np.uint8
        axes = info.axes[:-1] if options["rgb"] else info.axes
        options["axis_labels"] = tuple(axis.lower() for axis in axes)
        if info.pixel_size:
            options["scale"] = tuple(info.pixel_size.get(axis, 1.0) for axis in axes)
            options["units"] = tuple(info.units.get(axis, "pixel") for axis in axes)
    return levels, options
