"""What is kept out of training: few patches, apart from each other; a share; whole files."""

from __future__ import annotations

import numpy as np
import pytest

from careamist.dataset.validation import validation_files, validation_patches, validation_share
from careamist.errors import SettingsError

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


@pytest.mark.parametrize("wanted", [0, 1, 8, 1000])
@every_layout
def test_validation_patches_are_few_apart_and_on_the_grid(shapes, patch, wanted):
    kept = validation_patches(shapes, patch, wanted, seed=2)
    cells = sum(
        shape[0] * np.prod([n // p for n, p in zip(shape[2:], patch, strict=True)])
        for shape in shapes
    )
    assert len(kept) <= min(wanted, cells // 10)
    if 0 < wanted <= 8:
        assert len(kept) == min(wanted, cells // 10)
    for spec in kept:
        assert spec["patch_size"] == patch
        for start, size, n in zip(spec["coords"], patch, shapes[spec["data_idx"]][2:], strict=True):
            last = n // size - 1  # moved to the end of the image
            assert start in {*range(0, last * size, size), n - size}
    for i, a in enumerate(kept):
        for b in kept[:i]:
            if (a["data_idx"], a["sample_idx"]) == (b["data_idx"], b["sample_idx"]):
                distances = np.abs(np.subtract(a["coords"], b["coords"])) / patch
                assert distances.max() >= 2


def test_validation_patches_follow_from_the_seed():
    shapes, patch = [(1, 1, 512, 512)], (32, 32)
    assert validation_patches(shapes, patch, 8, 1) == validation_patches(shapes, patch, 8, 1)
    assert validation_patches(shapes, patch, 8, 1) != validation_patches(shapes, patch, 8, 2)


def test_validation_patches_come_from_all_images():
    shapes = [(2, 1, 128, 128)] * 3
    seen = {
        (spec["data_idx"], spec["sample_idx"])
        for seed in range(10)
        for spec in validation_patches(shapes, (32, 32), 8, seed)
    }
    assert len(seen) == 6


def test_a_share_of_the_patches_leaves_some_of_each_sample():
    shapes = [(2, 1, 64, 64), (1, 1, 32, 96)]
    kept = validation_share(shapes, (32, 32), 0.5, 1, seed=0)
    assert len(kept) == round(0.5 * (4 + 4 + 3))
    places = {(s["data_idx"], s["sample_idx"], *s["coords"]) for s in kept}
    assert len(places) == len(kept)
    for seed in range(20):
        kept = validation_share(shapes, (32, 32), 0.7, 1, seed)
        taken = [(s["data_idx"], s["sample_idx"]) for s in kept]
        assert all(taken.count((0, sample)) < 4 for sample in range(2))
        assert taken.count((1, 0)) < 3


def test_at_least_so_many_patches_or_files_are_kept():
    assert len(validation_share([(1, 1, 64, 64)], (16, 16), 0.1, 5, seed=0)) == 5
    assert len(validation_files(100, 0.01, 5, seed=0)) == 5


def test_a_share_of_the_files_is_chosen_by_the_seed():
    runs = [validation_files(50, 0.2, 1, seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert [len(set(run)) for run in runs] == [10, 10, 10]
    assert runs[0] == sorted(runs[0])


@pytest.mark.parametrize(
    ("choose", "told"),
    [
        (lambda: validation_files(5, 0.1, 5, 0), "5 of 5 images would be kept"),
        (lambda: validation_share([(1, 1, 64, 64)], (32, 32), 0.9, 1, 0), "4 of 4 patches"),
    ],
)
def test_validation_that_takes_everything_is_refused(choose, told):
    with pytest.raises(SettingsError, match=told):
        choose()
