"""Patches of an epoch cover the data, avoid validation, and follow from (seed, k) alone."""

from __future__ import annotations

import numpy as np
import pytest
from chunked import chunked_stack

from careamist.dataset.blocks import lay_out
from careamist.dataset.patching import (
    StratifiedPatching,
    check_patch_size,
    grid_patches,
)
from careamist.dataset.validation import validation_patches
from careamist.errors import ShapeError

# SC(Z)YX shapes of the stacks, patch size
LAYOUTS = {
    "multiple of the patch": ([(1, 1, 256, 320)], (64, 64)),
    "no multiple": ([(1, 1, 301, 517)], (64, 64)),
    "one more": ([(1, 1, 257, 129)], (32, 32)),
    "one less": ([(1, 1, 255, 127)], (32, 32)),
    "as large as the patch": ([(1, 2, 64, 64)], (64, 64)),
    "long": ([(1, 1, 32, 1000)], (32, 32)),
    "rectangular patch": ([(1, 1, 200, 300)], (16, 48)),
    "3D": ([(1, 1, 16, 161, 170)], (16, 32, 32)),
    "3D with few planes": ([(2, 1, 38, 100, 90)], (4, 16, 16)),
    "several": ([(3, 2, 160, 160), (1, 2, 100, 333), (2, 2, 32, 32)], (32, 32)),
}
every_layout = pytest.mark.parametrize(("shapes", "patch"), LAYOUTS.values(), ids=LAYOUTS)


def window(spec):
    return tuple(
        slice(start, start + size)
        for start, size in zip(spec["coords"], spec["patch_size"], strict=True)
    )


def coverage(shapes, specs):
    """Count for every pixel of every sample the patches that hold it."""
    counts = [np.zeros((shape[0], *shape[2:]), dtype=int) for shape in shapes]
    for spec in specs:
        counts[spec["data_idx"]][(spec["sample_idx"], *window(spec))] += 1
    return counts


def epoch(patching, number):
    first = number * patching.n_patches
    return [patching.specs(k) for k in range(first, first + patching.n_patches)]


def flat(spec):
    return (spec["data_idx"], spec["sample_idx"], *spec["coords"])


@every_layout
def test_an_epoch_covers_every_pixel_about_once(shapes, patch):
    patching = StratifiedPatching(shapes, patch, seed=3)
    for number in range(4):
        counts = coverage(shapes, epoch(patching, number))
        assert min(count.min() for count in counts) >= 1
        pixels = sum(count.size for count in counts)
        assert sum(count.sum() for count in counts) / pixels < 1.6


@every_layout
def test_patches_have_the_size_asked_for_and_lie_inside(shapes, patch):
    patching = StratifiedPatching(shapes, patch, seed=4)
    for spec in epoch(patching, 0):
        assert spec["patch_size"] == patch
        shape = shapes[spec["data_idx"]]
        assert 0 <= spec["sample_idx"] < shape[0]
        for start, size, n in zip(spec["coords"], patch, shape[2:], strict=True):
            assert 0 <= start <= n - size


@pytest.mark.parametrize("size", [128, 150, 161])
def test_no_grid_is_trained_on_again_and_again(size):
    patching = StratifiedPatching([(1, 1, size, size)], (32, 32), seed=0)
    rows = {spec["coords"][0] for number in range(100) for spec in epoch(patching, number)}
    assert len(rows) > 0.8 * (size - 31)


def test_long_runs_see_inner_pixels_equally_often():
    patching = StratifiedPatching([(1, 1, 128, 128)], (32, 32), seed=1)
    n_epochs = 300
    specs = (spec for number in range(n_epochs) for spec in epoch(patching, number))
    (counts,) = coverage([(1, 1, 128, 128)], specs)
    inner = counts[0, 32:-32, 32:-32] / n_epochs
    np.testing.assert_allclose(inner, 1, atol=0.05)


@every_layout
def test_specs_follow_from_seed_and_number_in_any_order(shapes, patch):
    patching = StratifiedPatching(shapes, patch, seed=5)
    ks = np.arange(3 * patching.n_patches)
    forth = [flat(patching.specs(int(k))) for k in ks]
    back = [flat(patching.specs(int(k))) for k in ks[::-1]][::-1]
    mixed = np.random.default_rng(0).permutation(ks)[:50]
    afresh = StratifiedPatching(shapes, patch, seed=5)
    assert back == forth
    assert [flat(afresh.specs(int(k))) for k in mixed] == [forth[k] for k in mixed]


def test_seeds_and_epochs_differ():
    shapes = [(1, 1, 256, 256)]
    one, other = (StratifiedPatching(shapes, (32, 32), seed) for seed in (1, 2))
    runs = [[flat(s) for s in e] for e in (epoch(one, 0), epoch(one, 1), epoch(other, 0))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.mean([x == y for x, y in zip(runs[a], runs[b], strict=True)]) < 0.1
        assert set(runs[a]) != set(runs[b])


def test_images_come_mixed_and_in_proportion():
    shapes = [(1, 1, 320, 320), (4, 1, 100, 100)]
    patching = StratifiedPatching(shapes, (32, 32), seed=0)
    places = [(spec["data_idx"], spec["sample_idx"]) for spec in epoch(patching, 0)]
    per_image = [places.count((0, 0)), *(places.count((1, sample)) for sample in range(4))]
    assert per_image == [11 * 11] + [4 * 4] * 4
    assert len(set(places[: len(places) // 3])) == 5


@pytest.mark.parametrize(
    ("shapes", "patch"),
    [
        ([(1, 1, 256, 256)], (32, 32)),
        ([(2, 1, 250, 203)], (32, 32)),
        ([(1, 1, 200, 200), (3, 1, 100, 161)], (16, 16)),
        ([(1, 1, 32, 96, 96)], (8, 16, 16)),
        ([(1, 1, 128, 96)], (32, 32)),
    ],
)
def test_no_training_patch_ever_touches_a_validation_patch(shapes, patch):
    kept = validation_patches(shapes, patch, 8, seed=7)
    assert kept
    patching = StratifiedPatching(shapes, patch, 7, kept)
    specs = [spec for number in range(30) for spec in epoch(patching, number)]
    counts = coverage(shapes, specs)
    for spec in kept:
        assert counts[spec["data_idx"]][(spec["sample_idx"], *window(spec))].max() == 0


@pytest.mark.parametrize("size", [(256, 256), (250, 203), (300, 255)])
@pytest.mark.parametrize("seed", [3, 7])
def test_all_but_validation_is_still_trained_on(size, seed):
    shapes, patch = [(2, 1, *size)], (32, 32)
    kept = validation_patches(shapes, patch, 10, seed)
    assert len(kept) > 6
    patching = StratifiedPatching(shapes, patch, 7, kept)
    (counts,) = coverage(shapes, [s for number in range(30) for s in epoch(patching, number)])
    for spec in kept:
        counts[(spec["sample_idx"], *window(spec))] = 1
    assert counts.min() >= 1


@pytest.mark.parametrize("chunk", [32, 48, 100])
def test_no_training_patch_of_any_block_touches_a_validation_patch(chunk):
    shape, patch = (2, 1, 256, 256), (32, 32)
    stack, _ = chunked_stack((2, 256, 256), (1, chunk, chunk), "TYX")
    layout = lay_out([stack], patch, pool_bytes=2**14)
    assert layout.n_groups > 3
    kept = validation_patches([shape], patch, 12, seed=7)
    patching = StratifiedPatching([shape], patch, 7, kept, layout)
    specs = [spec for number in range(10) for spec in epoch(patching, number)]
    (counts,) = coverage([shape], specs)
    for spec in kept:
        place = (spec["sample_idx"], *window(spec))
        assert counts[place].max() == 0
        counts[place] = 1
    assert (counts > 0).mean() > 0.9  # strips between validation and a block's end are lost
    grid = layout.grids[0]
    assert all(grid.box_around(s["sample_idx"], s["coords"], patch) for s in specs)


def test_thousands_of_validation_patches_cost_little():
    shapes, patch = [(1, 1, 8192, 8192)], (32, 32)
    kept = validation_patches(shapes, patch, 4000, seed=0)
    assert len(kept) == 4000
    patching = StratifiedPatching(shapes, patch, 0, kept)
    specs = [patching.specs(k) for k in range(2000)]
    counts = coverage(shapes, specs)[0]
    assert all(counts[(0, *window(spec))].max() == 0 for spec in kept)


def test_validation_that_leaves_no_room_is_refused():
    kept = grid_patches([(1, 1, 64, 64)], (32, 32))
    patching = StratifiedPatching([(1, 1, 64, 64)], (32, 32), 0, kept)
    with pytest.raises(ShapeError, match="leave no room"):
        patching.specs(0)


@every_layout
def test_grid_patches_cover_every_pixel(shapes, patch):
    specs = grid_patches(shapes, patch)
    assert all(count.min() >= 1 for count in coverage(shapes, specs))
    least = [
        shape[0] * np.prod([-(-n // p) for n, p in zip(shape[2:], patch, strict=True)])
        for shape in shapes
    ]
    assert len(specs) == sum(least)
    assert {spec["patch_size"] for spec in specs} == {patch}
    assert specs[-1] == specs[len(specs) - 1] == list(specs)[-1]
    assert specs[1:4] == list(specs)[1:4]
    with pytest.raises(IndexError):
        specs[len(specs)]


def test_grid_patches_of_huge_images_are_counted_without_a_list():
    specs = grid_patches([(1000, 1, 10**6, 10**6)], (64, 64))
    assert len(specs) == 1000 * 15625**2
    assert specs[len(specs) - 1]["coords"] == (10**6 - 64, 10**6 - 64)


@pytest.mark.parametrize(
    "act", [check_patch_size, grid_patches, lambda s, p: StratifiedPatching(s, p, 0)]
)
def test_an_image_smaller_than_the_patch_is_refused(act):
    shapes = [(1, 1, 64, 64), (1, 1, 64, 31)]
    with pytest.raises(ShapeError, match=r"\(64, 31\) pixels is smaller than the patch \(32, 32\)"):
        act(shapes, (32, 32))


def test_a_patch_of_another_dimension_is_refused():
    with pytest.raises(ShapeError, match="does not fit an image of 3 spatial axes"):
        check_patch_size([(1, 1, 8, 64, 64)], (32, 32))
