"""Flips and turns: they undo themselves, and follow from those of the training."""

from __future__ import annotations

import itertools

import pytest
import torch

from careamist.dataset.augmentation import XYFlip, XYRandomRotate90
from careamist.dataset.symmetry import ALL, IDENTITY, symmetries

IMAGE = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("symmetry", ALL)
def test_each_undoes_itself(symmetry):
    assert torch.equal(symmetry.undo(symmetry.apply(IMAGE)), IMAGE)
    assert torch.equal(symmetry.apply(symmetry.undo(IMAGE)), IMAGE)


def test_all_eight_differ():
    square = torch.arange(9).reshape(3, 3)
    seen = {tuple(symmetry.apply(square).flatten().tolist()) for symmetry in ALL}
    assert len(seen) == len(ALL) == 8


@pytest.mark.parametrize(
    ("trained", "count"),
    [
        ([], 1),
        ([XYFlip(flip_y=False)], 2),
        ([XYFlip(flip_x=False)], 2),
        ([XYFlip()], 4),
        ([XYRandomRotate90()], 4),
        ([XYRandomRotate90(), XYFlip(flip_x=False)], 8),
        ([XYRandomRotate90(p=0), XYFlip(p=0)], 1),
    ],
)
def test_those_of_the_training_are_what_its_augmentations_lead_to(trained, count):
    found = symmetries("trained", trained)
    assert len(found) == count
    assert found[0] == IDENTITY
    # whatever the augmentations do to an image, one after the other, is among them
    square = torch.arange(9).reshape(1, 1, 3, 3)
    expected = {tuple(one.apply(square).flatten().tolist()) for one in found}
    reached = {tuple(square.flatten().tolist())}
    for keys in itertools.product(range(60)):
        images = square
        for augmentation in trained:
            images = augmentation.apply(images, torch.tensor(keys))
        reached.add(tuple(images.flatten().tolist()))
    assert reached <= expected


def test_none_and_all():
    assert symmetries("none", [XYFlip()]) == (IDENTITY,)
    assert symmetries("all") == ALL
