"""Each way to choose patches: how many, where, never on validation, and to YAML and back."""

from __future__ import annotations

import numpy as np
import pytest
from chunked import chunked_stack
from pydantic import TypeAdapter, ValidationError

from careamist.config import (
    Configuration,
    DataConfig,
    Fixed,
    PatchPlace,
    Random,
    Sequential,
    Stratified,
    load_configuration,
    save_configuration,
)
from careamist.dataset.blocks import lay_out
from careamist.dataset.patch_choices import AnyPatching, Ground
from careamist.dataset.patch_dataset import PatchDataset
from careamist.dataset.patching import StratifiedPatching, grid_patches
from careamist.dataset.validation import validation_patches
from careamist.errors import SettingsError, ShapeError
from careamist.lightning import TrainDataModule

SHAPES, PATCH = [(2, 1, 250, 203), (1, 1, 300, 255)], (32, 32)
GIVEN = tuple(
    PatchPlace(data_idx=spec["data_idx"], sample_idx=spec["sample_idx"], coords=spec["coords"])
    for spec in grid_patches(SHAPES, PATCH)[::3]
)
CHOICES = {
    "stratified": Stratified(),
    "random": Random(),
    "sequential": Sequential(),
    "fixed": Fixed(patches=GIVEN),
}
every_choice = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)


def flat(spec):
    return (spec["data_idx"], spec["sample_idx"], *spec["coords"])


def places(patching, ks):
    return [flat(patching.specs(int(k))) for k in ks]


@every_choice
def test_patches_lie_inside_and_follow_from_the_number_alone(choice):
    patching = choice.patching(Ground(SHAPES, PATCH, 3))
    ks = np.random.default_rng(0).integers(0, 3 * patching.n_patches, 300)
    found = places(patching, ks)
    assert places(choice.patching(Ground(SHAPES, PATCH, 3)), ks[::-1])[::-1] == found
    for data_idx, sample_idx, *coords in found:
        n_samples, _, *sizes = SHAPES[data_idx]
        assert 0 <= sample_idx < n_samples
        assert all(0 <= at <= n - 32 for at, n in zip(coords, sizes, strict=True))
    assert patching.specs(0)["patch_size"] == PATCH


@every_choice
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_training_patch_touches_a_validation_patch(choice, seed):
    kept = validation_patches(SHAPES, PATCH, 12, seed)
    assert len(kept) > 8
    patching = choice.patching(Ground(SHAPES, PATCH, seed, kept))
    for data_idx, sample_idx, *coords in places(patching, range(5 * patching.n_patches)):
        for spec in kept:
            if (data_idx, sample_idx) == flat(spec)[:2]:
                assert np.abs(np.subtract(coords, spec["coords"])).max() >= 32


def test_stratified_is_the_default():
    ground = Ground(SHAPES, PATCH, 5)
    patching = DataConfig().patching.patching(ground)
    plain = StratifiedPatching(SHAPES, PATCH, 5)
    assert places(patching, range(200)) == places(plain, range(200))


def test_random_patches_are_anywhere_in_each_sample():
    patching = Random().patching(Ground(SHAPES, PATCH, 1))
    per_sample = [8 * 7, 8 * 7, 10 * 8]
    assert patching.n_patches == sum(per_sample)
    n_epochs = 60
    found = places(patching, range(n_epochs * patching.n_patches))
    for number in range(3):
        epoch = found[number * patching.n_patches : (number + 1) * patching.n_patches]
        samples = [place[:2] for place in epoch]
        assert [samples.count(sample) for sample in ((0, 0), (0, 1), (1, 0))] == per_sample
    rows = np.asarray([y for data_idx, _, y, _ in found if data_idx == 0])
    counts = np.bincount(rows, minlength=219)
    assert len(counts) == 219
    assert counts.min() > 0.4 * counts.mean()
    assert counts.max() < 1.8 * counts.mean()
    assert len(set(found)) > 0.95 * len(found)


@pytest.mark.parametrize("pool_bytes", [2**16, 2**27])
def test_random_patches_read_each_chunk_once_an_epoch(pool_bytes):
    stack, array = chunked_stack((600, 570), (64, 64))
    layout = lay_out([stack], PATCH, pool_bytes=pool_bytes)
    kept = validation_patches([stack.data_shape], PATCH, 4, 0)
    patching = Random().patching(Ground([stack.data_shape], PATCH, 0, kept, layout))
    assert 0.8 < patching.n_patches / (19 * 18) < 1.6
    dataset = PatchDataset([stack], patching.specs, patching.n_patches, 0, layout=layout)
    for k in range(len(dataset)):
        dataset[k]
    mean, most = array.reads_per_chunk()
    assert most == 1
    assert mean == pytest.approx(1, abs=0.1)


def test_sequential_patches_come_in_the_order_of_the_grid():
    patching = Sequential().patching(Ground(SHAPES, PATCH, 0))
    grid = [flat(spec) for spec in grid_patches(SHAPES, PATCH)]
    assert patching.n_patches == len(grid)
    assert places(patching, range(2 * len(grid))) == grid * 2


def test_sequential_patches_leave_out_those_on_validation():
    kept = validation_patches(SHAPES, PATCH, 12, 4)
    patching = Sequential().patching(Ground(SHAPES, PATCH, 0, kept))
    grid = [flat(spec) for spec in grid_patches(SHAPES, PATCH)]
    free = [
        place
        for place in grid
        if not any(
            place[:2] == flat(spec)[:2]
            and np.abs(np.subtract(place[2:], spec["coords"])).max() < 32
            for spec in kept
        )
    ]
    assert places(patching, range(patching.n_patches)) == free
    with pytest.raises(ShapeError, match="touch all 4 patches of the grid"):
        Sequential().patching(
            Ground([(1, 1, 64, 64)], PATCH, 0, grid_patches([(1, 1, 64, 64)], PATCH))
        )


def test_fixed_patches_come_as_given():
    patching = CHOICES["fixed"].patching(Ground(SHAPES, PATCH, 0))
    given = [(p.data_idx, p.sample_idx, *p.coords) for p in GIVEN]
    assert places(patching, range(2 * len(given))) == given * 2


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"data_idx": 2, "coords": (0, 0)}, "there are 2 images"),
        ({"sample_idx": 2, "coords": (0, 0)}, "the image has 2 samples"),
        ({"coords": (219, 0)}, r"of \(32, 32\) pixels is not inside the image of \(250, 203\)"),
        ({"coords": (0, 0, 0)}, "is not inside the image"),
    ],
)
def test_fixed_patches_outside_the_images_are_refused(place, told):
    choice = Fixed(patches=[PatchPlace(coords=(218, 171)), place])
    with pytest.raises(SettingsError, match=r"Patch 1 .*" + told):
        choice.patching(Ground(SHAPES, PATCH, 0))


def test_fixed_patches_that_are_all_on_validation_are_refused():
    kept = validation_patches(SHAPES, PATCH, 1, 0)
    place = PatchPlace(data_idx=kept[0]["data_idx"], coords=kept[0]["coords"])
    place = place.model_copy(update={"sample_idx": kept[0]["sample_idx"]})
    with pytest.raises(SettingsError, match="touch all 1 given patches"):
        Fixed(patches=[place]).patching(Ground(SHAPES, PATCH, 0, kept))


@every_choice
def test_patches_larger_than_the_image_are_refused(choice):
    with pytest.raises(ShapeError, match="smaller than the patch"):
        choice.patching(Ground(SHAPES, (256, 32), 0))


@every_choice
def test_a_choice_survives_yaml(choice, tmp_path):
    config = Configuration(data_config=DataConfig(patching=choice))
    save_configuration(config, tmp_path / "config.yml")
    assert load_configuration(tmp_path / "config.yml") == config
    assert TypeAdapter(AnyPatching).validate_python(choice.model_dump()) == choice


@pytest.mark.parametrize(
    "given", [{"name": "tiled"}, {"name": "fixed"}, {"name": "fixed", "patches": []}]
)
def test_other_choices_are_refused(given):
    with pytest.raises(ValidationError):
        DataConfig(patching=given)


@every_choice
def test_a_data_module_trains_on_the_chosen_patches(choice):
    images = [np.random.default_rng(0).random(shape, np.float32) for shape in SHAPES]
    config = DataConfig(axes="SCYX", patch_size=PATCH, patching=choice, n_val_patches=4)
    module = TrainDataModule(config, images)
    module.setup()
    kept = [module.val_dataset._specs(k) for k in range(4)]
    patching = choice.patching(Ground(SHAPES, PATCH, config.seed, kept))
    assert len(module.train_dataset) == patching.n_patches
    batch = next(iter(module.train_dataloader()))
    for k, pixels in enumerate(batch.inputs.numpy()):
        data_idx, sample_idx, y, x = flat(patching.specs(k))
        np.testing.assert_array_equal(
            pixels, images[data_idx][sample_idx, :, y : y + 32, x : x + 32]
        )
