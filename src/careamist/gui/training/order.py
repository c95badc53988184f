"""A training as it was ordered: the settings, the images, and which part of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from careamist.gui.data.data_source import in_times
from careamist.gui.data.region import Box, cut, in_words

if TYPE_CHECKING:
    from careamist.config import Configuration
    from careamist.gui.data.data_source import DataChoice

Ranges = dict[str, tuple[int, int]]


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
    denoise: bool = True

    @property
    def region(self) -> str:
        """What is trained on, in words; empty for all of the image."""
        return in_words(self.boxes) if self.boxes else ""

    def data(self) -> dict[str, Any]:
        """Return the images, as arguments of `CAREamist.train`."""
        given = {
            "train_data": self.image.source,
            "train_data_target": None if self.target is None else self.target.source,
            "val_data": None if self.val_image is None else self.val_image.source,
            "val_data_target": None if self.val_target is None else self.val_target.source,
        }
        if not self.boxes and self.overlap is None:
            return given
        boxes: tuple[Box | None, ...] = self.boxes or (None,)
        given["train_data"] = [self._part(self.image, box, {}) for box in boxes]
        if self.target is not None:
            offset = self.overlap.offset if self.overlap else {}
            axes = self.config.data_config.target_axes
            given["train_data_target"] = [
                self._part(self.target, box, offset, axes) for box in boxes
            ]
        return given

    def _part(
        self, choice: DataChoice, box: Box | None, offset: dict[str, int], axes: str | None = None
    ) -> Any:
        ranges = dict(self.overlap.ranges) if self.overlap else {}
        if box is not None:
            for letter, start, stop in zip("YX", box.start, box.stop, strict=True):
                first, last = ranges.get(letter, (start, stop))
                ranges[letter] = (max(first, start), min(last, stop))
        slices = []
        for letter in axes or self.config.data_config.axes:
            part, moved = ranges.get(letter), offset.get(letter, 0)
            slices.append(slice(None) if part is None else slice(part[0] - moved, part[1] - moved))
        return cut(choice.source, slices)


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
