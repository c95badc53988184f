"""Test-time augmentation: the same window flipped and turned, and the predictions averaged.

A window is padded to the grid of the network first and then flipped or turned, so that its core
lies on the grid in every orientation: tiles stay exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from careamist.dataset.augmentation import XYFlip, XYRandomRotate90

if TYPE_CHECKING:
    import torch

    from careamist.dataset.augmentation import Augmentation

Which = Literal["none", "trained", "all"]


class Symmetry(NamedTuple):
    """Quarter turns in the YX plane, after a flip along X or not."""

    turns: int = 0
    flip: bool = False

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Flip and turn images (..., Y, X)."""
        flipped = images.flip(-1) if self.flip else images
        return flipped.rot90(self.turns, (-2, -1)) if self.turns else flipped

    def undo(self, images: torch.Tensor) -> torch.Tensor:
        """Bring images back."""
        turned = images.rot90(-self.turns, (-2, -1)) if self.turns else images
        return turned.flip(-1) if self.flip else turned


IDENTITY = Symmetry()
ALL = tuple(Symmetry(turns, flip) for flip in (False, True) for turns in range(4))


def symmetries(which: Which, trained: Iterable[Augmentation] = ()) -> tuple[Symmetry, ...]:
    """Return the orientations that are averaged.

    Parameters
    ----------
    which : {"none", "trained", "all"}
        None; those that the augmentations of the training lead to; all eight.
    trained : iterable of Augmentation
        The augmentations of the training.
    """
    if which == "none":
        return (IDENTITY,)
    if which == "all":
        return ALL
    steps = []
    for augmentation in trained:
        if augmentation.p > 0 and isinstance(augmentation, XYFlip):
            steps += [Symmetry(0, True)] * augmentation.flip_x
            steps += [Symmetry(2, True)] * augmentation.flip_y
        elif augmentation.p > 0 and isinstance(augmentation, XYRandomRotate90):
            steps.append(Symmetry(1, False))
    found = {IDENTITY}
    while more := {_after(one, step) for one in found for step in steps} - found:
        found |= more
    return tuple(one for one in ALL if one in found)


def _after(first: Symmetry, then: Symmetry) -> Symmetry:
    """Return two of them as one: a flip turns the sense of the turns before it around."""
    turns = -first.turns if then.flip else first.turns
    return Symmetry((turns + then.turns) % 4, first.flip != then.flip)
