"""A prediction as it was ordered: what of which image, how the model goes over it, where to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from careamist.compute import free_memory
from careamist.config.prediction import PredictionConfig
from careamist.dataset.sources import guess_data_type
from careamist.gui.data.region import Ranges, cut
from careamist.prediction.writers.overview import is_large

if TYPE_CHECKING:
    from careamist.config.data import DataConfig
    from careamist.gui.data.data_source import DataChoice
    from careamist.prediction.disk_sink import Overwrite

MEMORY_SHARE = 4  # a result may take a quarter of what is free


class Use(NamedTuple):
    """How a model goes over an image.

    Parameters
    ----------
    axes : str
        What the model is told: each axis that it knows nothing of is one of S and T.
    words : str
        That, in a sentence.
    problem : str
        Why it cannot.
    """

    axes: str
    words: str = ""
    problem: str = ""


def use_of(trained: DataConfig, choice: DataChoice) -> Use:
    """Return how a model goes over an image.

    Parameters
    ----------
    trained : DataConfig
        Of the model.
    choice : DataChoice
        The image, with known axes.
    """
    axes = choice.array_axes
    sizes = dict(zip(axes, choice.shape, strict=True))
    is_fixed = choice.data_type == "czi"  # the format says which axes there are
    works_on, own = trained.spatial_axes.replace("T", "Z"), []
    if len(works_on) == 3 and "Z" not in axes:
        return Use(
            axes,
            problem=f"The model works on 3D images, but axes {axes} are 2D. "
            "Say which axis is depth (Z), or choose a 2D model.",
        )
    if len(works_on) == 2 and "Z" in axes:
        free = _free(axes)
        if is_fixed or not free:
            return Use(
                axes,
                problem=f"The model works on 2D images, but axes {choice.axes} are 3D. "
                "Change the axes or the model.",
            )
        axes = axes.replace("Z", free)
        own.append("Z")
    there, expected = sizes.get("C", 1), trained.n_channels or 1
    used = trained.channels if "C" in axes else None
    if used is not None and max(used) < there:
        there = len(used)
    if there != expected:
        free = _free(axes)
        if expected != 1 or is_fixed or not free:
            return Use(
                axes,
                problem=f"The model works on {_count(expected, 'channel')}, the image has {there}. "
                "Choose an image with as many, or split it into its channels.",
            )
        axes = axes.replace("C", free)
        own.append("C")
    return Use(axes, _in_words(works_on, choice.array_axes, sizes, own))


def _free(axes: str) -> str:
    return next((letter for letter in "ST" if letter not in axes), "")


def _in_words(works_on: str, axes: str, sizes: Mapping[str, int], own: Sequence[str]) -> str:
    """Say what is denoised on its own; nothing where that is the image as it is."""
    alone = [axis for axis in axes if axis in ("S", "T", *own) and sizes[axis] > 1]
    if not alone:
        return ""
    if len(alone) == 1:
        noun = {"C": "channels", "S": "samples"}.get(alone[0], f"{alone[0]} slices")
        each = f"{sizes[alone[0]]} {noun}"
    else:
        each = f"{' × '.join(f'{sizes[axis]} {axis}' for axis in alone)} slices"
    return f"The model works on {works_on}: each of the {each} is denoised on its own."


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"


@dataclass(frozen=True)
class PredictionOrder:
    """What is predicted, how, and where to.

    Parameters
    ----------
    choice : DataChoice
        The image.
    axes : str
        Its axes as the model is told, see `use_of`.
    options : PredictionConfig
        How it is restored.
    ranges : mapping
        First and one past the last slice of some axes of a layer; the others are whole.
    output : {"layer", "files"}
        Where results go.
    name : str
        Of the new layer, of several the first part of it; made from the source when empty.
    folder : Path, optional
        Of the files, and of layers that are too large for memory.
    write_type : str
        How files are written.
    overwrite : {"error", "skip", "replace"}
        What happens where a file is there.
    only : tuple of str
        Of several files, those that are wanted; all when empty.
    region : str
        Which part the model was trained on, in words.
    """

    choice: DataChoice
    axes: str
    options: PredictionConfig = field(default_factory=PredictionConfig)
    ranges: Ranges = field(default_factory=dict)
    output: Literal["layer", "files"] = "layer"
    name: str = ""
    folder: Path | None = None
    write_type: str = "tiff"
    overwrite: Overwrite = "error"
    only: tuple[str, ...] = ()
    region: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the image is left out."""
        return all(self._range(axis) == (0, n) for axis, n in self._sizes)

    @property
    def offset(self) -> list[int]:
        """The first pixel, one number per axis of the image."""
        return [self._range(axis)[0] for axis, _ in self._sizes]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is read, in the axes of the image."""
        spans = [self._range(axis) for axis, _ in self._sizes]
        return tuple(stop - start for start, stop in spans)

    @property
    def data_type(self) -> str:
        """What is read: an array, or the format of the files."""
        if self.choice.layer is not None:
            return "array"
        return self.choice.data_type or guess_data_type(self.choice.path)

    @property
    def is_color(self) -> bool:
        """Whether the image is a layer of whole numbers that are shown as colours."""
        layer = self.choice.layer
        return layer is not None and bool(layer.rgb) and np.dtype(layer.dtype).kind in "ui"

    def data(self) -> Any:
        """Return what is predicted: an array that is cut but not copied, or paths."""
        if self.only:
            return list(self.only)
        if self.choice.layer is None or self.is_whole:
            return self.choice.source
        spans = [self._range(axis) for axis, _ in self._sizes]
        return cut(self.choice.source, [slice(*span) for span in spans])

    def settings(self) -> PredictionConfig:
        """Return the options with what follows from the image."""
        axes = self._told
        update: dict[str, Any] = {"axes": axes, "data_type": self.data_type}
        if self.is_color:  # what is shown as colours is either bytes or from 0 to 1
            update["dtype"] = "input"
        return self.options.model_copy(update=update)

    def result_axes(self, axes: str) -> str:
        """Return the axes of a result in the letters of the image."""
        back = dict(zip(self._told, self.choice.array_axes, strict=True))
        return "".join(back.get(letter, letter) for letter in axes)

    def result_shape(self, n_channels: int) -> tuple[str, tuple[int, ...]]:
        """Return axes and shape of the result of the image, from a model of so many channels."""
        axes, shape = self.choice.array_axes, self.shape
        by_itself = self._told[axes.index("C")] != "C" if "C" in axes else False
        if "C" in axes and not by_itself:
            shape = tuple(
                n_channels if axis == "C" else n for axis, n in zip(axes, shape, strict=True)
            )
        elif n_channels > 1:
            axes, shape = f"C{axes}", (n_channels, *shape)
        return axes, shape

    def is_too_large(self, n_channels: int) -> bool:
        """Return whether the result is kept on the disk and shown from there."""
        axes, shape = self.result_shape(n_channels)
        n_bytes = math.prod(shape) * self._itemsize()
        several = self.choice.images
        if self.choice.layer is None and len(several) > 1:
            n_bytes = sum(math.prod(info.shape) for info in several) * self._itemsize()
        return is_large(shape, axes) or n_bytes * MEMORY_SHARE > free_memory()

    @property
    def _told(self) -> str:
        """The axes as the model is told, in the letters of the file where it fixes them."""
        return self.choice.axes if self.data_type == "czi" else self.axes

    @property
    def _sizes(self) -> list[tuple[str, int]]:
        return list(zip(self.choice.axes, self.choice.shape, strict=True))

    def _range(self, axis: str) -> tuple[int, int]:
        whole = (0, self.choice.shape[self.choice.axes.index(axis)])
        return self.ranges.get(axis, whole) if self.choice.layer is not None else whole

    def _itemsize(self) -> int:
        if self.options.dtype == "float32":
            return 4
        if self.choice.layer is not None:
            return int(np.dtype(self.choice.source.dtype).itemsize)
        known = [np.dtype(info.dtype).itemsize for info in self.choice.images]
        return max(known, default=4)
