"""Masks: which pixels are chosen, what they are replaced by, and what a pattern hides."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from careamist.algorithms.masking import choose, struct_pattern
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


def test_masks_are_the_same_in_both_precisions():
    images, keys = random_images(4, 1, 48, 48), keys_of(4)
    single, double = N2V().mask(images, keys), N2V().mask(images.double(), keys)
    assert torch.equal(single.places, double.places)
    assert torch.equal(single.inputs.double(), double.inputs)


def chosen_points(shape, percentage, n):
    """Return the flat places of each sample's chosen pixels in one channel."""
    centres = choose((n, 1, *shape), percentage, keys_of(n))
    flat = torch.zeros_like(centres.draws)
    for point, size in zip(centres.points, shape, strict=True):
        flat = flat * size + point
    places = torch.where(centres.valid, flat, -1)[:, 0]
    return [sample[sample >= 0].tolist() for sample in places]


@pytest.mark.parametrize("percentage", [25, 20, 11, 7.3, 2, 0.2])
@pytest.mark.parametrize("shape", [(64, 64), (37, 50), (9, 20, 22)])
def test_no_pixel_is_chosen_twice(shape, percentage):
    for places in chosen_points(shape, percentage, 200):
        assert len(set(places)) == len(places)


@pytest.mark.parametrize("percentage", [25, 20, 11, 7.3])
@pytest.mark.parametrize("shape", [(7, 10), (3, 5, 7)])
def test_boxes_of_any_size_choose_each_pixel_equally_often(shape, percentage):
    n, n_pixels = 20_000, int(np.prod(shape))
    places = np.concatenate(chosen_points(shape, percentage, n))
    counts = np.bincount(places, minlength=n_pixels)
    share = percentage / 100
    np.testing.assert_allclose(counts / n, share, atol=5 * (share * (1 - share) / n) ** 0.5)
    assert counts.sum() / n / n_pixels == pytest.approx(share, rel=0.01)


def test_choices_are_spread_evenly():
    """Numbers per patch vary less than those of independent choices."""
    counts = np.array([len(places) for places in chosen_points((64, 64), 11, 500)])
    assert counts.var() < 0.3 * 4096 * 0.11 * 0.89


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_with_the_centre_the_whole_window_is_equally_likely(point):
    """Where the pixel was drawn itself, its value tells nothing: ask for the places instead."""
    n2v = N2V(masked_pixel_percentage=25, include_centre=True)
    n, flat = 100_000, int(np.ravel_multi_index(point, SHAPE))
    masked = n2v.mask(numbered(n, *SHAPE), keys_of(n))
    hit = ((masked.places[:, 0] == flat) & (masked.weights[:, 0] > 0)).any(dim=1)
    counts = np.bincount(masked.inputs.flatten(1)[hit, flat].long().numpy(), minlength=64)
    rows, columns = np.unravel_index(np.arange(64), SHAPE)
    window = (abs(rows - point[0]) <= RADIUS) & (abs(columns - point[1]) <= RADIUS)
    assert counts[flat] > 0
    assert (counts[~window] == 0).all()
    freedom = window.sum() - 1
    assert chi_square(counts[window]) < freedom + 4 * (2 * freedom) ** 0.5


def brute_force_median(image, point, roi_size, without):
    """Return the lower median of a window whose coordinates are clamped to the image."""
    radius, values = roi_size // 2, []
    for offset in product(range(-radius, radius + 1), repeat=image.ndim):
        if offset in without:
            continue
        place = [
            np.clip(p + o, 0, n - 1) for p, o, n in zip(point, offset, image.shape, strict=True)
        ]
        values.append(image[tuple(place)])
    return sorted(values)[(len(values) - 1) // 2]


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((12, 9), {}),
        ((12, 9), {"include_centre": True}),
        ((12, 9), {"roi_size": 7}),
        ((12, 9), {"struct_axes": "horizontal"}),
        ((3, 2), {"roi_size": 11}),
        ((4, 6, 5), {"roi_size": 3}),
        ((4, 6, 5), {"roi_size": 5, "struct_axes": "cross", "struct_span": 3}),
    ],
)
def test_median_is_that_of_the_window_clamped_to_the_patch(shape, settings):
    n2v = N2V(strategy="median", masked_pixel_percentage=25, **settings)
    images = random_images(20, 2, *shape)
    masked = n2v.mask(images, keys_of(20))
    without = {(0,) * len(shape)} if not n2v.include_centre else set()
    if n2v.pattern is not None:
        span = len(n2v.pattern) // 2
        without |= {
            ((0,) * (len(shape) - 2) + (int(y) - span, int(x) - span))
            for y, x in np.argwhere(n2v.pattern)
        }
    seen = set()
    for sample, channel in product(range(20), range(2)):
        image, result = images[sample, channel].numpy(), masked.inputs[sample, channel].numpy()
        for place, weight in zip(
            masked.places[sample, channel].tolist(),
            masked.weights[sample, channel].tolist(),
            strict=True,
        ):
            if weight:
                point = np.unravel_index(place, shape)
                seen.add(place)
                assert result[point] == brute_force_median(image, point, n2v.roi_size, without)
    assert len(seen) == np.prod(shape)  # each pixel had its turn: borders and corners too


def test_medians_of_large_windows_are_taken_in_parts(monkeypatch):
    n2v, images = N2V(strategy="median", roi_size=7), random_images(3, 2, 32, 32)
    at_once = n2v.mask(images, keys_of(3)).inputs
    monkeypatch.setattr("careamist.algorithms.masking._MAX_VALUES", 3 * 2 * 48 * 10)
    assert torch.equal(n2v.mask(images, keys_of(3)).inputs, at_once)


PATTERNS = {
    "horizontal": {(0, x) for x in range(-2, 3)},
    "vertical": {(y, 0) for y in range(-2, 3)},
    "cross": {(0, x) for x in range(-2, 3)} | {(y, 0) for y in range(-2, 3)},
    "square": set(product(range(-2, 3), repeat=2)),
}


@pytest.mark.parametrize("axes", PATTERNS)
def test_presets_have_their_span_as_total_length(axes):
    pattern = struct_pattern(axes, 5)
    offsets = {(int(y) - 2, int(x) - 2) for y, x in np.argwhere(pattern)}
    assert offsets == PATTERNS[axes] - {(0, 0)}
    assert not struct_pattern("none", 5).any()


ANY_2D = ((0, 1, 1), (0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 0, 1))
ANY_3D = (((0, 1, 0),) * 3, ((1, 0, 1),) * 3, ((0, 0, 0),) * 3)
STRUCTURED = {
    **{name: ({"struct_axes": name}, offsets) for name, offsets in PATTERNS.items()},
    "any": ({"struct_mask": ANY_2D}, {(-2, 0), (-2, 1), (0, -1), (2, 1), (0, 0)}),
}


def expected_change(points, offsets, shape):
    """Return which pixels the pattern around these points covers."""
    covered = np.zeros(shape, dtype=bool)
    for point in points:
        for offset in offsets:
            place = tuple(p + o for p, o in zip(point, offset, strict=True))
            if all(0 <= p < n for p, n in zip(place, shape, strict=True)):
                covered[place] = True
    return covered


@pytest.mark.parametrize("shape", [(24, 20), (6, 16, 12)])
@pytest.mark.parametrize("name", STRUCTURED)
def test_the_input_changes_in_the_pattern_around_each_centre_and_nowhere_else(name, shape):
    settings, offsets = STRUCTURED[name]
    n2v, images = N2V(masked_pixel_percentage=2, **settings), random_images(6, 2, *shape)
    masked = n2v.mask(images, keys_of(6))
    offsets = {((0,) * (len(shape) - 2) + offset) for offset in offsets}  # of a volume: in YX
    for sample, channel in product(range(6), range(2)):
        places = masked.places[sample, channel][masked.weights[sample, channel] > 0]
        points = list(zip(*np.unravel_index(places.numpy(), shape), strict=True))
        changed = (masked.inputs != images)[sample, channel].numpy()
        np.testing.assert_array_equal(changed, expected_change(points, offsets, shape))
    assert (masked.inputs != images).any()


def test_a_pattern_may_be_a_volume():
    shape, offsets = (7, 9, 9), {(-1, y, 0) for y in (-1, 0, 1)}
    offsets |= {(0, y, x) for y in (-1, 0, 1) for x in (-1, 1)} | {(0, 0, 0)}
    n2v, images = N2V(struct_mask=ANY_3D), random_images(5, 1, *shape)
    masked = n2v.mask(images, keys_of(5))
    for sample in range(5):
        places = masked.places[sample, 0][masked.weights[sample, 0] > 0]
        points = list(zip(*np.unravel_index(places.numpy(), shape), strict=True))
        changed = (masked.inputs != images)[sample, 0].numpy()
        np.testing.assert_array_equal(changed, expected_change(points, offsets, shape))


def test_hidden_pixels_are_uniform_between_the_extremes_of_their_patch_and_channel():
    images = random_images(200, 2, 16, 16)
    images[:, 1] = 100 + 10 * images[:, 1]
    n2v = N2V(struct_axes="square", masked_pixel_percentage=2)
    masked = n2v.mask(images, keys_of(200))
    hidden = masked.inputs != images
    counted = torch.where(masked.weights > 0, masked.places, 256)
    centres = torch.zeros(200, 2, 257).scatter(2, counted, 1.0)[..., :-1].bool()
    low, high = images.flatten(2).aminmax(dim=2, keepdim=True)
    share = ((masked.inputs.flatten(2) - low) / (high - low))[hidden.flatten(2) & ~centres]
    assert len(share) > 10_000
    assert 0 <= float(share.min()) < 0.01
    assert 0.99 < float(share.max()) <= 1
    counts = np.histogram(share.numpy(), bins=20, range=(0, 1))[0]
    assert chi_square(counts) < 19 + 4 * (2 * 19) ** 0.5


def test_a_centre_in_the_pattern_of_another_keeps_its_replacement_and_counts():
    n2v = N2V(struct_axes="square", struct_span=9, masked_pixel_percentage=10, roi_size=3)
    images, keys = numbered(50, 24, 24), keys_of(50)
    alone = N2V(masked_pixel_percentage=10, roi_size=3).mask(images, keys)
    masked = n2v.mask(images, keys)
    assert torch.equal(masked.places, alone.places)
    assert torch.equal(masked.weights, alone.weights)
    written, expected = (m.inputs.flatten(2).gather(2, m.places) for m in (masked, alone))
    counted = masked.weights > 0
    assert torch.equal(written[counted], expected[counted])
    overwritten = (masked.inputs != alone.inputs).float().mean()
    assert overwritten > 0.5  # so that many centres lie in the pattern of another


@pytest.mark.parametrize("settings", [{"strategy": "median"}, {"struct_axes": "cross"}])
@pytest.mark.parametrize("shape", [(20, 24), (5, 12, 10)])
def test_masks_of_all_kinds_depend_on_the_key_only(settings, shape):
    n2v, images, keys = N2V(**settings), random_images(4, 2, *shape), keys_of(4)
    together = n2v.mask(images, keys)
    for order in ([3, 1], [2]):
        part = n2v.mask(images[order], keys[order])
        for of_part, of_all in zip(part, together, strict=True):
            assert torch.equal(of_part, of_all[order])
