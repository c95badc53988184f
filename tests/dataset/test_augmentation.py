"""Flips and turns: exact symmetries, drawn from the key of each sample and nothing else."""

from __future__ import annotations

import pytest
import torch

from careamist.dataset.augmentation import XYFlip, XYRandomRotate90
from careamist.stream import hashed

N = 4000
KEYS = hashed(torch.arange(N, dtype=torch.int64))

FLIPS = {
    "none": lambda image: image,
    "x": lambda image: image.flip(-1),
    "y": lambda image: image.flip(-2),
}
TURNS = {str(turns): lambda image, turns=turns: image.rot90(turns, (-2, -1)) for turns in range(4)}


def patch(dims=2, channels=2):
    """Make an image that no symmetry maps onto itself."""
    shape = (channels, *(3, 4, 4)[-dims:])
    return torch.arange(float(torch.Size(shape).numel())).view(shape)


def outcomes(augmentation, symmetries, image=None, keys=KEYS):
    """Count which symmetry each sample got; fail on anything else."""
    image = patch() if image is None else image
    results = augmentation.apply(image.expand(len(keys), *image.shape), keys)
    masks = {
        name: (results == symmetry(image)).flatten(1).all(dim=1)
        for name, symmetry in symmetries.items()
    }
    assert torch.stack(list(masks.values())).sum(dim=0).eq(1).all()
    return {name: int(mask.sum()) for name, mask in masks.items()}


def close(count, probability):
    """Tell whether a count is within 4 standard deviations of what is expected."""
    return abs(count - N * probability) <= 4 * (N * probability * (1 - probability)) ** 0.5


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("flip_x", "flip_y"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_flips_are_as_likely_as_stated(p, flip_x, flip_y):
    counts = outcomes(XYFlip(p=p, flip_x=flip_x, flip_y=flip_y), FLIPS)
    allowed = flip_x + flip_y
    each = p / allowed if allowed else 0
    assert close(counts["x"], each if flip_x else 0)
    assert close(counts["y"], each if flip_y else 0)
    assert close(counts["none"], 1 - each * allowed)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_turns_are_as_likely_as_stated(p):
    counts = outcomes(XYRandomRotate90(p=p), TURNS)
    assert close(counts["0"], 1 - p)
    for turns in "123":
        assert close(counts[turns], p / 3)


def test_flips_and_turns_are_drawn_apart():
    image = patch()
    both = {
        f"{flip} {turns}": lambda image, f=FLIPS[flip], t=TURNS[turns]: t(f(image))
        for flip in ("none", "x")
        for turns in TURNS
    }

    class Both:
        def apply(self, images, keys):
            flipped = XYFlip(flip_y=False).apply(images, keys)
            return XYRandomRotate90(p=0.75).apply(flipped, keys)

    counts = outcomes(Both(), both, image)
    assert all(close(count, 1 / 8) for count in counts.values()), counts


@pytest.mark.parametrize("augmentation", [XYFlip(), XYRandomRotate90()])
def test_z_and_channels_stay_in_order(augmentation):
    image = patch(dims=3, channels=2)
    symmetries = FLIPS if isinstance(augmentation, XYFlip) else TURNS
    assert all(outcomes(augmentation, symmetries, image, KEYS[:200]).values())


@pytest.mark.parametrize("augmentation", [XYFlip(), XYRandomRotate90()])
def test_a_sample_does_not_depend_on_its_batch(augmentation):
    images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    keys = KEYS[:64]
    together = augmentation.apply(images, keys)
    again = augmentation.apply(images, keys)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    shuffled = augmentation.apply(images[order], keys[order])
    alone = torch.cat([augmentation.apply(images[k : k + 1], keys[k : k + 1]) for k in range(64)])
    assert torch.equal(together, again)
    assert torch.equal(together[order], shuffled)
    assert torch.equal(together, alone)
    assert not torch.equal(together, images)


@pytest.mark.parametrize("augmentation", [XYFlip(), XYRandomRotate90()])
def test_the_input_is_left_as_it_was(augmentation):
    images = patch().expand(16, 2, 4, 4).clone()
    before = images.clone()
    augmentation.apply(images, KEYS[:16])
    assert torch.equal(images, before)


def test_rectangles_may_be_flipped():
    image = torch.arange(24.0).view(1, 4, 6)
    assert all(outcomes(XYFlip(), FLIPS, image, KEYS[:200]).values())
