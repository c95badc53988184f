"""The masks of Noise2Void: which pixels, replaced by what, and the loss that follows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from careamist.algorithms.n2v import N2V
from careamist.stream import hashed

RADIUS = 2  # of the default window of 5 pixels


def keys_of(n, first=0):
    return hashed(torch.arange(first, first + n, dtype=torch.int64))


def numbered(n, *shape):
    """Make images in which the value of a pixel is its flat index."""
    pixels = torch.arange(float(np.prod(shape)), dtype=torch.float64)
    return pixels.view(1, 1, *shape).expand(n, 1, *shape)


def random_images(n, channels, *shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, channels, *shape, generator=generator)


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def replacements_at(point, shape, n_keys, **settings):
    """Return what the pixel at `point` was replaced by, as offsets, wherever it was."""
    n2v = N2V(masked_pixel_percentage=25, **settings)
    flat = int(np.ravel_multi_index(point, shape))
    found = []
    for first in range(0, n_keys, 20_000):
        masked = n2v.mask(numbered(20_000, *shape), keys_of(20_000, first))
        values = masked.inputs.flatten(1)[:, flat]
        hit = ((masked.places[:, 0] == flat) & (masked.weights[:, 0] > 0)).any(dim=1)
        assert (values[~hit] == flat).all()
        found.append(values[hit].long().numpy())
    sources = np.stack(np.unravel_index(np.concatenate(found), shape), axis=1)
    return sources - np.asarray(point)


SHAPE = (8, 8)
POINTS = {"interior": (4, 3), "edge": (4, 0), "next to the edge": (1, 5), "corner": (7, 7)}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_replacement_is_uniform_over_the_window_inside_the_patch_without_its_centre(point):
    offsets = replacements_at(point, SHAPE, 120_000)
    window = {
        (dy, dx)
        for dy in range(-RADIUS, RADIUS + 1)
        for dx in range(-RADIUS, RADIUS + 1)
        if 0 <= point[0] + dy < SHAPE[0] and 0 <= point[1] + dx < SHAPE[1] and (dy, dx) != (0, 0)
    }
    drawn, counts = np.unique(offsets, axis=0, return_counts=True)
    assert {(int(y), int(x)) for y, x in drawn} == window  # own row and column, never itself
    assert counts.sum() > 15_000
    freedom = len(counts) - 1
    assert chi_square(counts) < freedom + 4 * (2 * freedom) ** 0.5


def test_no_offset_is_drawn_twice_as_often():
    """The offset +1 was, in a widespread implementation; own row and column were left out."""
    offsets = replacements_at((8, 8), (16, 16), 60_000, roi_size=11)
    for axis in (0, 1):
        shares = np.bincount(offsets[:, axis] + 5, minlength=11) / len(offsets)
        expected = np.full(11, 11 / 120)
        expected[5] = 10 / 120  # the centre is missing from its own row and column
        np.testing.assert_allclose(shares, expected, atol=5 * (0.09 / len(offsets)) ** 0.5)


def test_replacement_is_uniform_in_3d():
    shape, point = (4, 6, 6), (2, 0, 3)
    offsets = replacements_at(point, shape, 120_000, roi_size=3)
    drawn, counts = np.unique(offsets, axis=0, return_counts=True)
    assert len(drawn) == 3 * 2 * 3 - 1
    freedom = len(counts) - 1
    assert chi_square(counts) < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("percentage", [0.2, 2.0, 11.0, 25.0])
@pytest.mark.parametrize("shape", [(64, 64), (40, 100), (16, 32, 32)])
def test_density_is_the_one_asked_for(percentage, shape):
    n2v, n = N2V(masked_pixel_percentage=percentage), 400
    masked = n2v.mask(random_images(n, 1, *shape), keys_of(n))
    share = 100 * float(masked.weights.sum()) / (n * np.prod(shape))
    assert share == pytest.approx(percentage, rel=0.03)


def test_every_pixel_is_replaced_equally_often():
    n2v, n, size = N2V(masked_pixel_percentage=11.0), 20_000, 16
    masked = n2v.mask(numbered(n, size, size), keys_of(n))
    counts = np.bincount(masked.places[masked.weights > 0].numpy(), minlength=size * size)
    # stratified draws vary less than independent ones: 5 standard deviations of the latter
    expected = n * 0.11
    np.testing.assert_allclose(counts, expected, atol=5 * (expected * 0.89) ** 0.5)


@pytest.mark.parametrize("shape", [(64, 64), (16, 32, 24)])
def test_all_other_pixels_are_untouched(shape):
    images = random_images(8, 2, *shape)
    before = images.clone()
    masked = N2V().mask(images, keys_of(8))
    assert torch.equal(images, before)
    assert masked.inputs.shape == images.shape
    changed = (masked.inputs != images).flatten(2)
    chosen = torch.zeros_like(changed)
    index = torch.where(masked.weights > 0, masked.places, -1)
    for sample in range(8):
        for channel in range(2):
            chosen[sample, channel, index[sample, channel][index[sample, channel] >= 0]] = True
    assert torch.equal(changed, chosen)  # all values differ, so each replacement shows


def test_replacements_come_from_the_image_as_it_was_and_from_the_same_channel():
    images = random_images(4, 3, 32, 32)
    masked = N2V(masked_pixel_percentage=25).mask(images, keys_of(4))
    for sample in range(4):
        for channel in range(3):
            assert torch.isin(masked.inputs[sample, channel], images[sample, channel]).all()


def test_channels_are_masked_apart():
    images = random_images(1, 1, 64, 64).expand(1, 2, 64, 64)
    masked = N2V().mask(images, keys_of(1))
    first, second = (masked.inputs[0] != images[0]).flatten(1)
    both = float((first & second).sum())
    expected = 0.11 * float(first.sum())
    assert abs(both - expected) < 5 * expected**0.5


def test_the_mask_of_a_sample_does_not_depend_on_its_batch():
    images, keys = random_images(6, 2, 32, 32), keys_of(6)
    together = N2V().mask(images, keys)
    for order in ([5, 2, 0], [3], [1, 1]):
        part = N2V().mask(images[order], keys[order])
        for of_part, of_all in zip(part, together, strict=True):
            assert torch.equal(of_part, of_all[order])


def test_other_keys_make_other_masks():
    images = random_images(1, 1, 64, 64).expand(50, 1, 64, 64)
    masked = N2V().mask(images, keys_of(50)).inputs
    assert len(masked.flatten(1).unique(dim=0)) == 50


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2)])
def test_tiny_patches_never_lose_their_own_place(shape):
    masked = N2V(masked_pixel_percentage=25).mask(numbered(500, *shape), keys_of(500))
    values = masked.inputs.flatten(1)
    assert ((values >= 0) & (values < np.prod(shape))).all()
    if shape == (1, 1):
        assert masked.weights.sum() == 0  # there is nothing to replace it by


class Doubled(nn.Module):
    """A network that gives twice what it is given."""

    def forward(self, x):
        return 2 * x


def test_loss_is_the_mean_square_at_the_replaced_pixels():
    n2v, images, keys = N2V(), random_images(3, 2, 32, 32), keys_of(3)
    masked = n2v.mask(images, keys)
    total = count = 0.0
    for sample in range(3):
        for channel in range(2):
            given, wanted = (
                masked.inputs[sample, channel].flatten(),
                images[sample, channel].flatten(),
            )
            for place, weight in zip(
                masked.places[sample, channel].tolist(),
                masked.weights[sample, channel].tolist(),
                strict=True,
            ):
                total += weight * float(2 * given[place] - wanted[place]) ** 2
                count += weight
    assert float(n2v.loss(Doubled(), images, keys)) == pytest.approx(total / count, rel=1e-5)


def test_the_network_learns_from_the_replaced_pixels_only():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(32, 32))

        def forward(self, x):
            return x + self.shift

    n2v, network, images, keys = N2V(), Shifted(), random_images(1, 1, 32, 32), keys_of(1)
    n2v.loss(network, images, keys).backward()
    replaced = n2v.mask(images, keys).inputs != images
    assert torch.equal(network.shift.grad != 0, replaced[0, 0])


def test_a_batch_without_replaced_pixels_has_no_loss_and_is_a_number():
    images = random_images(1, 1, 1, 1)
    assert float(N2V().loss(Doubled(), images, keys_of(1))) == 0


def test_masks_are_the_same_in_both_precisions():
    images, keys = random_images(4, 1, 48, 48), keys_of(4)
    single, double = N2V().mask(images, keys), N2V().mask(images.double(), keys)
    assert torch.equal(single.places, double.places)
    assert torch.equal(single.inputs.double(), double.inputs)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"roi_size": 4}, "must be odd"),
        ({"roi_size": 1}, "greater than or equal to 3"),
        ({"roi_size": 23}, "less than or equal to 21"),
        ({"masked_pixel_percentage": 0.01}, r"greater than or equal to 0\.05"),
        ({"masked_pixel_percentage": 50}, "less than or equal to 25"),
        ({"mask_percentage": 5}, "Extra inputs are not permitted"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        N2V(**settings)
