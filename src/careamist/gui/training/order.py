"""A training as it was ordered: the settings, the images, and which part of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from careamist.gui.data.data_source import in_times
from careamist.gui.data.region import Box, Ranges, cut, in_words, pick

if TYPE_CHECKING:
    from careamist.config import Configuration
    from careamist.gui.data.data_source import DataChoice


class Overlap(NamedTuple):
    """Where an image and its target lie over each other: for each axis, in pixels of the image."""

    ranges: Ranges
    offset: dict[str, int]  # of the target in the image
    is_placed: bool  # told by the layers; otherwise they begin together

    @property
    def words(self) -> str:
        """Their common size, "480 × 512"."""
        return in_times(stop - start for start, stop in self.ranges.values())


@dataclass(frozen=True)
class TrainingOrder:
    """Everything that a run of the Train dock needs.

    Parameters
    ----------
    config : Configuration
        What is trained.
    image, target, val_image, val_target : DataChoice
        On what; the last three may be None.
    boxes : tuple of Box
        Parts of the image, in Y and X; all of it when empty.
    overlap : Overlap, optional
        Both are cropped to it.
    ranges : mapping
        First and one past the last slice of some axes of layers; the others are whole. Which
        channels are used stands in the configuration, as it holds for files too.
    denoise : bool
        Whether the image is denoised when the training has ended.
    """

    config: Configuration
    image: DataChoice
    target: DataChoice | None = None
    val_image: DataChoice | None = None
    val_target: DataChoice | None = None
    boxes: tuple[Box, ...] = ()
    overlap: Overlap | None = field(default=None, compare=False)
    ranges: Ranges = field(default_factory=dict)
    denoise: bool = True

    @property
    def region(self) -> str:
        """What is trained on, in words; empty for all of the image."""
        return in_words(self.boxes, self._chosen, self.config.data_config.channels)

    @property
    def problem(self) -> str:
        """Why there is nothing to train on, or nothing."""
        for axis, (first, end) in self._common({}).items():
            if first >= end:
                return f"The target has none of the chosen slices along {axis}. Choose others."
        return ""

    def data(self) -> dict[str, Any]:
        """Return the images, as arguments of `CAREamist.train`."""
        given = {
            "train_data": self.image.source,
            "train_data_target": None if self.target is None else self.target.source,
            "val_data": None if self.val_image is None else self.val_image.source,
            "val_data_target": None if self.val_target is None else self.val_target.source,
        }
        for name, target in (
            ("train_data_target", self.target),
            ("val_data_target", self.val_target),
        ):
            if (channels := self._target_channels(target)) is not None:
                given[name] = pick(given[name], self._target_axes.index("C"), channels)
        if not self.boxes and self.overlap is None and not self._chosen:
            return given
        boxes: tuple[Box | None, ...] = self.boxes or (None,)
        axes, whole = self.config.data_config.axes, given["train_data"]
        given["train_data"] = [self._part(whole, box, axes, {}) for box in boxes]
        if self.target is not None:
            offset = self.overlap.offset if self.overlap else {}
            axes, whole = self._target_axes, given["train_data_target"]
            given["train_data_target"] = [self._part(whole, box, axes, offset) for box in boxes]
        return given

    def part(self) -> dict[str, Any]:
        """Return which part is trained on as JSON types, for `with_part` on another day."""
        return {
            "boxes": [[list(box.start), list(box.stop)] for box in self.boxes],
            "ranges": {axis: list(span) for axis, span in self.ranges.items()},
            "channels": self.config.data_config.channels,
        }

    def with_part(self, part: Mapping[str, Any]) -> TrainingOrder:
        """Return the order of a training on a part that `part` has told."""
        boxes = tuple(Box((y0, x0), (y1, x1)) for (y0, x0), (y1, x1) in part["boxes"])
        ranges = {axis: (first, end) for axis, (first, end) in part["ranges"].items()}
        data, config = self.config.data_config, self.config
        if channels := part["channels"]:
            update = {"channels": tuple(channels), "n_channels": len(channels)}
            config = config.model_copy(update={"data_config": data.model_copy(update=update)})
        return replace(self, config=config, boxes=boxes, ranges=ranges)

    def shown(self) -> Any:
        """Return the image of a layer with the channels that are trained on."""
        channels = self.config.data_config.channels
        if channels is None:
            return self.image.source
        return pick(self.image.source, self.image.axes.index("C"), channels)

    @property
    def _target_axes(self) -> str:
        return self.config.data_config.target_axes or self.config.data_config.axes

    @property
    def _chosen(self) -> Ranges:
        """The ranges that leave something out."""
        sizes = dict(zip(self.image.axes, self.image.shape, strict=False))
        return {axis: span for axis, span in self.ranges.items() if span != (0, sizes[axis])}

    def _target_channels(self, target: DataChoice | None) -> tuple[int, ...] | None:
        """Return which channels of a target layer are used: those of an image with as many."""
        channels, axes = self.config.data_config.channels, self._target_axes
        if target is None or target.layer is None or channels is None or "C" not in axes:
            return None
        there = self.image.shape[self.image.axes.index("C")]
        return channels if target.shape[axes.index("C")] == there else None

    def _common(self, ranges: Ranges) -> dict[str, tuple[int, int]]:
        """Return where all that was chosen overlaps, along the axes that it was chosen along."""
        common: dict[str, tuple[int, int]] = {}
        for spans in (ranges, self._chosen, self.overlap.ranges if self.overlap else {}):
            for axis, (start, stop) in spans.items():
                first, end = common.get(axis, (start, stop))
                common[axis] = (max(first, start), min(end, stop))
        return common

    def _part(self, array: Any, box: Box | None, axes: str, offset: dict[str, int]) -> Any:
        along = {} if box is None else dict(zip("YX", zip(*box, strict=True), strict=True))
        common, slices = self._common(along), []
        for axis in axes:
            part, moved = common.get(axis), offset.get(axis, 0)
            slices.append(slice(None) if part is None else slice(part[0] - moved, part[1] - moved))
        return cut(array, slices)


def target_axes(image: DataChoice, target: DataChoice) -> str | None:
    """Return the axes of a target, where they follow from those of the image; else None."""
    axes, more = image.axes, len(target.shape) - len(image.shape)
    is_color = target.layer is not None and bool(target.layer.rgb)
    if more == 0 and is_color == (axes.endswith("C") and "C" in axes and _is_color(image)):
        return axes
    if more == 1 and "C" not in axes and is_color:
        return f"{axes}C"
    if more == -1 and "C" in axes:
        return axes.replace("C", "")
    return axes if more == 0 and not is_color else None


def overlap_of(image: DataChoice, target: DataChoice, axes: str) -> Overlap | None:
    """Return where two images of different sizes lie over each other, None if they are as large.

    The places of layers count where the smaller one lies wholly in the larger one; otherwise they
    begin together.
    """
    sizes = dict(zip(image.axes, image.shape, strict=True))
    theirs = dict(zip(axes, target.shape, strict=True))
    letters = [letter for letter in image.axes if letter != "C"]
    if all(sizes[letter] == theirs[letter] for letter in letters):
        return None
    offset, is_placed = dict.fromkeys(letters, 0), False
    placed = _offset(image, target, axes)
    if placed and all(0 <= placed[x] <= sizes[x] - theirs[x] for x in letters):
        offset, is_placed = placed, True
    ranges = {
        letter: (offset[letter], min(sizes[letter], offset[letter] + theirs[letter]))
        for letter in letters
    }
    return Overlap(ranges, offset, is_placed)


def _offset(image: DataChoice, target: DataChoice, axes: str) -> dict[str, int] | None:
    """Return where layers of one scale lie to each other, in pixels."""
    one, other = image.layer, target.layer
    if one is None or other is None or one.ndim != other.ndim or axes != image.axes:
        return None
    if image.level or target.level or not np.allclose(one.scale, other.scale):
        return None
    start = one.world_to_data(other.data_to_world((0,) * other.ndim))
    letters = [letter for letter in axes if not (letter == "C" and one.rgb)]
    return dict(zip(letters, (round(float(n)) for n in start), strict=True))


def _is_color(choice: DataChoice) -> bool:
    return choice.layer is not None and bool(choice.layer.rgb)
