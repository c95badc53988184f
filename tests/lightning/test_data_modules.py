"""The data of a training: what is opened, kept for validation, and refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from torch.utils.data import DataLoader

from careamist import ImageStackLoading, ReadFuncLoading
from careamist.config import DataConfig
from careamist.dataset import sources
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.views import HeldStack
from careamist.errors import DataError, SettingsError, ShapeError, SourceNotFoundError
from careamist.lightning import TrainDataModule


def config(**given):
    return DataConfig(**{"patch_size": (16, 16), "batch_size": 4, **given})


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def ready(data_config, train_data, **options):
    module = TrainDataModule(data_config, train_data, **options)
    module.prepare_data()
    module.setup()
    return module


@pytest.fixture
def files(tmp_path):
    """Twelve compressed TIFFs of four patches each."""
    (tmp_path / "noisy").mkdir()
    for number in range(12):
        path = tmp_path / "noisy" / f"{number:02}.tif"
        tifffile.imwrite(path, np.full((32, 32), number, np.float32), compression="zlib")
    return tmp_path / "noisy"


def batches(module):
    return list(module.train_dataloader())


def places(dataset):
    """Return where the patches of an epoch lie."""
    specs = [dataset._specs(k) for k in range(len(dataset))]
    return [(s["data_idx"], s["sample_idx"], *s["coords"]) for s in specs]


# -- what comes out ------------------------------------------------------------------------


def test_an_epoch_of_batches():
    image = noise(64, 64)
    module = ready(config(n_val_patches=0), image)
    assert (module.n_channels, module.n_channels_out) == (1, 1)
    loaded = batches(module)
    assert len(loaded) == -(-len(module.train_dataset) // 4)
    for batch in loaded:
        assert batch.inputs.shape == (4, 1, 16, 16)
        assert batch.inputs.dtype == torch.float32
        assert batch.targets is None
    windows = np.lib.stride_tricks.sliding_window_view(image, (16, 16))
    first = loaded[0].inputs[0, 0].numpy()
    assert (windows == first).all(axis=(2, 3)).any()


def test_patches_keep_clear_of_those_of_validation():
    module = ready(config(), noise(128, 128))
    kept = places(module.val_dataset)
    assert 1 <= len(kept) <= 8
    for _, _, y, x in places(module.train_dataset):
        assert all(abs(y - v) >= 16 or abs(x - u) >= 16 for _, _, v, u in kept)
    assert module.val_dataset.stacks == module.train_dataset.stacks


def test_what_is_planned_is_delivered():
    module = ready(config(), noise(64, 64))
    module.plan(first_sample=100, n_steps=3)
    planned = batches(module)
    assert len(planned) == 3
    expected = module.train_dataset.__getitems__([104, 105, 106, 107])
    assert torch.equal(planned[1].inputs, expected.inputs)
    assert torch.equal(planned[1].keys, expected.keys)


def test_validation_batches_hold_each_patch_once():
    module = ready(config(), noise(64, 64), val_data=noise(48, 32, seed=1))
    loaded = list(module.val_batches())
    assert [len(batch.inputs) for batch in loaded] == [4, 2]


def test_it_is_set_up_once():
    module = ready(config(), noise(64, 64))
    dataset = module.train_dataset
    module.setup("fit")
    assert module.train_dataset is dataset


# -- targets -------------------------------------------------------------------------------


def test_targets_are_cut_where_their_images_are():
    image = noise(3, 64, 64)
    module = ready(config(axes="TYX"), image, train_data_target=2 * image + 1)
    for batch in batches(module):
        torch.testing.assert_close(batch.targets, 2 * batch.inputs + 1)
    for batch in module.val_batches():
        torch.testing.assert_close(batch.targets, 2 * batch.inputs + 1)


def test_targets_may_have_axes_and_channels_of_their_own():
    image = noise(64, 64)
    target = np.stack([image + 1, image + 2, image + 3], axis=-1)
    module = ready(config(target_axes="YXC"), image, train_data_target=target)
    assert (module.n_channels, module.n_channels_out) == (1, 3)
    (batch, *_) = batches(module)
    torch.testing.assert_close(batch.targets, batch.inputs + torch.tensor([1, 2, 3]).view(3, 1, 1))
    resolved = module.resolved()
    assert (resolved.n_channels, resolved.n_channels_out) == (1, 3)


def test_separate_validation_has_its_own_targets(files):
    val = noise(32, 48, seed=1)
    module = ready(
        config(),
        noise(64, 64),
        val_data=val,
        train_data_target=noise(64, 64, seed=2),
        val_data_target=-val,
    )
    assert len(module.val_dataset) == 6
    for batch in module.val_batches():
        torch.testing.assert_close(batch.targets, -batch.inputs)


def test_files_and_their_targets_are_paired_by_name(files):
    clean = files.parent / "clean"
    clean.mkdir()
    for path in files.iterdir():
        tifffile.imwrite(clean / path.name, tifffile.imread(path) + 100)
    backwards = sorted(clean.iterdir(), reverse=True)
    module = ready(config(data_type="tiff"), files, train_data_target=backwards)
    for batch in batches(module):
        torch.testing.assert_close(batch.targets, batch.inputs + 100)
    with pytest.raises(DataError, match="00: no target"):
        ready(config(data_type="tiff"), files, train_data_target=backwards[:-1])


def test_the_four_fit_together():
    image = noise(64, 64)
    for options in (
        {"val_data_target": image},
        {"val_data": image, "val_data_target": image},
        {"val_data": image, "train_data_target": image},
        {"train_data_target": image, "val_data_target": image},
    ):
        with pytest.raises(SettingsError, match="exactly where training has them"):
            TrainDataModule(config(), image, **options)


# -- validation split --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percentage", "minimum", "kept"),
    [(0.1, 5, 6), (0.1, 7, 7), (0.1, 1, 6), (0.25, 5, 16), (0.0, 3, 3), (0.9, 5, 58)],
)
def test_a_share_of_the_patches_is_kept(percentage, minimum, kept):
    """64 patches: max(round(p·64), minimum) of them."""
    module = ready(config(), noise(128, 128), val_percentage=percentage, val_minimum_split=minimum)
    chosen = places(module.val_dataset)
    assert len(set(chosen)) == len(chosen) == kept
    for _, _, y, x in places(module.train_dataset):
        assert all(abs(y - v) >= 16 or abs(x - u) >= 16 for _, _, v, u in chosen)


def test_the_patches_of_a_share_are_spread_over_the_samples():
    module = ready(config(axes="TYX"), noise(20, 16, 32), val_percentage=0.5)
    chosen = places(module.val_dataset)
    assert len(chosen) == 20
    assert {sample for _, sample, *_ in chosen} == set(range(20))
    assert len(batches(module)) > 0  # each has room for training


def test_files_that_fit_into_memory_are_split_by_patches(files):
    module = ready(config(data_type="tiff"), files, val_percentage=0.25)
    assert len(module.val_dataset) == 12  # of 48 patches
    assert all(isinstance(stack, HeldStack) for stack in module.train_stacks)


def test_files_on_disk_are_split_by_files(files):
    module = ready(
        config(data_type="tiff"),
        files,
        val_percentage=0.25,
        val_minimum_split=1,
        use_in_memory=False,
    )
    assert len(module.train_stacks) == 9
    assert len(module.val_dataset) == 3 * 4
    kept = {stack.source for stack in module.val_dataset.stacks}
    assert len(kept) == 3
    assert kept.isdisjoint(stack.source for stack in module.train_stacks)
    assert not any(isinstance(stack, HeldStack) for stack in module.train_stacks)
    with_targets = ready(
        config(data_type="tiff"),
        files,
        train_data_target=files,
        val_percentage=0.1,
        use_in_memory=False,
    )
    assert len(with_targets.train_stacks) == 12 - 5  # the minimum
    for batch in (*batches(with_targets), *with_targets.val_batches()):
        torch.testing.assert_close(batch.targets, batch.inputs)


@pytest.mark.parametrize("targets", [False, True])
def test_all_images_together_must_fit_into_memory(files, monkeypatch, targets):
    one = 32 * 32 * 4
    monkeypatch.setattr(sources, "free_memory", lambda: 20 * one)
    options = {"train_data_target": files} if targets else {}
    module = ready(config(data_type="tiff"), files, val_percentage=0.5, **options)
    by_files = len(module.train_stacks) < 12
    assert by_files == targets  # 12 images fit into 16, 24 do not
    assert isinstance(module.train_stacks[0], HeldStack) != targets


def test_too_few_to_split(files):
    few = sorted(files.iterdir())[:4]
    with pytest.raises(SettingsError, match="5 of 4 images would be kept for validation"):
        ready(config(data_type="tiff"), few, val_percentage=0.1, use_in_memory=False)
    with pytest.raises(SettingsError, match="5 of 4 patches would be kept for validation"):
        ready(config(), noise(32, 32), val_percentage=0.1)
    with pytest.raises(ShapeError, match="smaller than the patch"):
        ready(config(), noise(12, 32))
    for share in (-0.1, 1, 7):
        with pytest.raises(SettingsError, match="is not a share"):
            TrainDataModule(config(), noise(32, 32), val_percentage=share)


def test_without_a_share_the_configured_number_is_kept():
    module = ready(config(n_val_patches=3), noise(128, 128))
    assert len(module.val_dataset) == 3
    assert module.notices == []
    module = ready(config(n_val_patches=0), noise(128, 128))
    assert len(module.val_dataset) == 0
    module = ready(config(n_val_patches=500), noise(128, 128))
    (notice,) = module.notices
    assert f"{len(module.val_dataset)} instead of 500" in notice


# -- in memory --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "given", "kept"),
    [
        ("auto", None, True),
        ("auto", False, False),
        (True, None, True),
        (True, False, False),
        (False, None, False),
        (False, True, True),
    ],
)
def test_files_are_kept_as_ordered(files, configured, given, kept):
    module = ready(config(data_type="tiff", in_memory=configured), files, use_in_memory=given)
    assert all(isinstance(stack, HeldStack) is kept for stack in module.train_stacks)


def test_arrays_are_what_they_are():
    image = noise(64, 64)
    module = ready(config(in_memory=True), image, use_in_memory=True)
    assert np.shares_memory(module.train_stacks[0].extract_patch(0, None, (0, 0), (4, 4)), image)


# -- channels ---------------------------------------------------------------------------------


def test_some_channels_are_used():
    image = noise(3, 64, 64)
    module = ready(config(axes="CYX", channels=[1]), image)
    assert (module.n_channels, module.n_channels_out) == (1, 1)
    only = ready(config(), image[1])
    for batch, expected in zip(batches(module), batches(only), strict=True):
        assert torch.equal(batch.inputs, expected.inputs)
    assert module.resolved().normalization == only.resolved().normalization
    swapped = ready(config(axes="CYX", channels=[2, 0]), image)
    patch = swapped.train_stacks[0].extract_patch(0, None, (0, 0), (64, 64))
    np.testing.assert_array_equal(patch, image[[2, 0]])


def test_channels_that_are_not_there_are_refused():
    with pytest.raises(SettingsError, match=r"channels=\[3\] were chosen, but array has 3"):
        ready(config(axes="CYX", channels=[3]), noise(3, 64, 64))


def test_images_must_agree_on_channels():
    with pytest.raises(SettingsError, match=r"same number of channels: \[2, 3\]"):
        ready(config(axes="CYX"), [noise(3, 64, 64), noise(2, 64, 64)])
    with pytest.raises(SettingsError, match=r"\[2, 3\] \(configured: 2\)"):
        ready(config(axes="CYX", n_channels=2), noise(3, 64, 64))
    with pytest.raises(SettingsError, match=r"\[1, 3\]"):
        ready(config(axes="CYX"), noise(3, 64, 64), val_data=noise(1, 64, 64))


# -- custom data and refusals ---------------------------------------------------------------------


def read_npy(path, *args, **kwargs):
    return np.load(path)


@pytest.mark.parametrize("way", ["older", "newer"])
def test_files_that_a_function_reads(tmp_path, way):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", noise(32, 32))
    (tmp_path / "notes.txt").touch()
    options = {"read_source_func": read_npy, "extension_filter": "*.npy"}
    if way == "newer":
        options = {"loading": ReadFuncLoading(read_npy, extension_filter="*.npy")}
    module = ready(config(data_type="custom"), tmp_path, **options)
    assert [stack.source for stack in module.train_stacks] == [
        str(tmp_path / "a.npy"),
        str(tmp_path / "b.npy"),
    ]
    np.testing.assert_array_equal(
        module.train_stacks[1].extract_patch(0, None, (0, 0), (32, 32))[0], noise(32, 32)
    )
    assert module.train_dataset[0][0].shape == (1, 16, 16)


def test_whatever_a_loader_understands():
    loading = ImageStackLoading(lambda seeds, axes: [ArrayStack(noise(32, 32), axes)] * len(seeds))
    module = ready(config(data_type="custom"), {1, 2, 3}, val_data={4}, loading=loading)
    assert len(module.train_stacks) == 3
    assert len(module.val_dataset) == 4


@pytest.mark.parametrize(
    ("given", "data", "error", "told"),
    [
        ({}, [noise(32, 32), "a.tif"], SettingsError, "a path was given"),
        ({"data_type": "tiff"}, ["a.tif", noise(32, 32)], Exception, r"a\.tif|ndarray"),
        ({"data_type": "custom"}, "a.npy", SettingsError, "needs a way to read the data"),
        ({"data_type": "tiff"}, noise(32, 32), SettingsError, "ndarray was given"),
        ({}, "a.tif", SettingsError, "data_type='array' was chosen but a path was given"),
        ({"data_type": "tiff"}, "gone.tif", SourceNotFoundError, "no file or folder"),
        ({}, noise(32, 32).astype(complex), DataError, "real numbers are needed"),
        ({}, noise(2, 32, 32), ValueError, "names 2 axes but the image has 3"),
    ],
)
def test_data_of_another_kind_than_configured_are_refused(given, data, error, told):
    module = TrainDataModule(config(**given), data)
    with pytest.raises(error, match=told):
        module.setup()


def test_val_data_of_another_kind_are_refused():
    with pytest.raises(SettingsError, match="a path was given"):
        ready(config(), noise(32, 32), val_data="a.tif")


# -- one's own -----------------------------------------------------------------------------------


def test_a_subclass_may_have_datasets_of_its_own():
    class Mine(TrainDataModule):
        def setup(self, stage=None):
            super().setup(stage)
            self.called = stage
            dataset = self.train_dataset
            dataset.stacks = [ArrayStack(np.ones((64, 64), np.float32), "YX")]

    module = Mine(config(), noise(64, 64))
    module.setup("fit")
    assert module.called == "fit"
    assert isinstance(module.train_dataloader(), DataLoader)
    assert all((batch.inputs == 1).all() for batch in module.train_dataloader())


# -- other processes -------------------------------------------------------------------------------


@pytest.mark.slow
def test_other_processes_read_the_same(files):
    alone, helped = (
        ready(config(data_type="tiff", num_workers=n, in_memory=False), files) for n in (0, 2)
    )
    assert helped.num_workers == 2
    assert helped.notices == alone.notices
    for a, b in zip(batches(alone), batches(helped), strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.keys, b.keys)


def test_what_cannot_be_sent_to_other_processes_is_read_in_this_one(tmp_path):
    np.save(tmp_path / "a.npy", noise(32, 32))
    module = ready(
        config(data_type="custom", num_workers=2),
        tmp_path / "a.npy",
        read_source_func=lambda path: np.load(path),
    )
    assert module.num_workers == 0
    assert any("a.npy cannot be sent to other processes" in notice for notice in module.notices)
    assert len(batches(module)) > 0
