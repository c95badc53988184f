"""Filters measure what they say, on images of every kind, once, and epochs follow them."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from chunked import chunked_stack
from pydantic import TypeAdapter, ValidationError

from careamist.config import (
    Configuration,
    DataConfig,
    MaskFilter,
    MaxFilter,
    MeanStdFilter,
    Random,
    ShannonFilter,
    create_advanced_n2v_config,
    load_configuration,
    save_configuration,
)
from careamist.dataset.blocks import lay_out
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.patch_dataset import PatchDataset
from careamist.dataset.patch_filter import AnyFilter, open_masks
from careamist.dataset.patching import StratifiedPatching
from careamist.dataset.validation import validation_patches
from careamist.errors import DataError, SettingsError, ShapeError
from careamist.lightning import TrainDataModule

FILTERS = {
    "max": MaxFilter(threshold=300),
    "mean_std": MeanStdFilter(mean_threshold=150, std_threshold=5),
    "shannon": ShannonFilter(threshold=3),
    "mask": MaskFilter(),
}
every_filter = pytest.mark.parametrize("chosen", FILTERS.values(), ids=FILTERS)


def half_bright(*shape, dtype=np.uint16):
    """Noise around 100 on the left, around 1000 on the right."""
    pixels = np.random.default_rng(0).normal(100, 3, shape)
    pixels[..., shape[-1] // 2 :] *= 10
    return pixels.astype(dtype)


def maximum_around(patch, size):
    """Return the greatest value in a window of `size` around each pixel, written plainly."""
    greatest = np.empty_like(patch)
    for at in np.ndindex(patch.shape):
        window = tuple(
            slice(max(i - n // 2, 0), i + n - n // 2) for i, n in zip(at, size, strict=True)
        )
        greatest[at] = patch[window].max()
    return greatest


# -- what is measured ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 16), (9, 14), (4, 8, 8), (1, 6, 6)])
@pytest.mark.parametrize("coverage", [None, 0.01, 0.5, 1])
def test_max_measures_the_threshold_that_a_share_of_the_maxima_is_above(shape, coverage):
    patches = np.random.default_rng(0).integers(0, 500, (3, *shape)).astype(np.uint16)
    values = MaxFilter(threshold=0, coverage=coverage).measure(patches)
    assert values.shape == (1, 3)
    share = 0.5 ** len(shape) if coverage is None else coverage
    for patch, value in zip(patches, values[0], strict=True):
        greatest = maximum_around(patch, [max(n // 2, 1) for n in shape])
        assert (greatest > value - 1).mean() >= share
        assert (greatest > value).mean() < share


@pytest.mark.parametrize("shape", [(16, 16), (8, 16, 16)])
def test_one_bright_pixel_inside_a_patch_is_enough_for_max(shape):
    patches = np.zeros((2, *shape), np.uint8)
    patches[(1, *(n // 2 for n in shape))] = 200
    values = MaxFilter(threshold=0).measure(patches)
    assert values.tolist() == [[0, 200]]


def test_mean_std_measures_mean_and_standard_deviation():
    patches = np.random.default_rng(0).normal(50, 9, (4, 3, 8, 8)).astype(np.float32)
    values = MeanStdFilter(mean_threshold=0).measure(patches)
    np.testing.assert_allclose(values[0], patches.mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(values[1], patches.std((1, 2, 3)), rtol=1e-5)


def test_mean_std_of_large_values():
    values = MeanStdFilter(mean_threshold=0).measure(np.full((1, 64, 64), 2**16 - 1, np.uint16))
    assert values.tolist() == [[2**16 - 1], [0]]


def test_shannon_measures_the_entropy_in_bits():
    skimage = pytest.importorskip("skimage.measure")
    patches = np.random.default_rng(0).poisson(4, (5, 16, 16)).astype(np.uint8)
    patches[1], patches[2] = 7, np.arange(256).reshape(16, 16)
    (values,) = ShannonFilter(threshold=0).measure(patches)
    expected = [skimage.shannon_entropy(patch) for patch in patches]
    np.testing.assert_allclose(values, expected, atol=1e-12)
    assert values[1:3].tolist() == [0, 8]


def test_mask_measures_what_is_not_zero():
    masks = np.zeros((3, 8, 8), np.int16)
    masks[1, :2], masks[2] = -3, 1
    assert MaskFilter().measure(masks).tolist() == [[0, 0.25, 1]]
    assert MaskFilter().measure(masks != 0).tolist() == [[0, 0.25, 1]]


@every_filter
@pytest.mark.parametrize("dtype", [">u2", "i4", "f2", "f8", "u1"])
def test_any_numeric_type_is_measured(chosen, dtype):
    patches = np.random.default_rng(0).integers(0, 100, (2, 8, 8))
    patches[0] = 0
    values = chosen.measure(patches.astype(dtype))
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, chosen.measure(patches), rtol=1e-6)


@every_filter
@pytest.mark.parametrize("shape", [(8, 8), (4, 8, 8)])
def test_nan_pixels_do_not_count(chosen, shape):
    patches = np.random.default_rng(0).integers(1, 100, (3, *shape)).astype(np.float32)
    patches[0, ..., :2], patches[1] = np.nan, np.nan
    patches[2, ..., 0] = np.inf
    values = chosen.measure(patches)
    known = np.concatenate([patches[:1, ..., 2:], patches[:1, ..., 2:]])
    if chosen.name == "mask":
        assert values[0, :2].tolist() == [0.75, 0]
        return
    assert np.isnan(values[:, 1]).all()
    assert np.isfinite(values[:, [0, 2]]).all()
    assert not chosen.keeps(values[:, 1].reshape(-1, 1, *(1,) * len(shape))).any()
    if chosen.name != "max":
        np.testing.assert_allclose(values[:, 0], chosen.measure(known)[:, 0], rtol=1e-6)


# -- maps to look at -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "shape", "patch", "grid"),
    [
        ("YX", (64, 96), (16, 16), (1, 4, 6)),
        ("YX", (65, 90), (16, 32), (1, 5, 3)),
        ("ZYX", (9, 40, 64), (4, 16, 16), (1, 3, 3, 4)),
        ("TYX", (3, 40, 64), (16, 16), (3, 3, 4)),
        ("CYX", (2, 32, 64), (16, 16), (1, 2, 4)),
        ("STCZYX", (2, 2, 2, 4, 32, 64), (4, 16, 16), (4, 1, 2, 4)),
    ],
)
@every_filter
def test_a_map_has_a_value_for_each_patch_of_a_grid(chosen, axes, shape, patch, grid):
    image = half_bright(*shape)
    values = chosen.filter_map(image, axes, patch)
    assert values.shape == (2 if chosen.name == "mean_std" else 1, *grid)
    kept = chosen.keeps(values)
    assert kept.shape == grid
    if chosen.name in ("max", "mean_std"):
        assert kept[..., -1].all()
        assert not kept[..., 0].any()


def test_a_map_shows_where_things_are():
    image = np.zeros((2, 40, 50), np.float32)
    image[1, 10:14, 33:37] = 5
    values = MeanStdFilter(mean_threshold=0).filter_map(image, "TYX", (8, 16))
    expected = np.zeros((2, 5, 4))
    expected[1, 1, 2] = 5 * 16 / 128
    expected[1, 1, 3] = 5 * 4 * 3 / 128  # the last patch is moved inside, to 34
    np.testing.assert_allclose(values[0], expected)


def test_thresholds_are_tried_without_measuring_again():
    values = MaxFilter(threshold=0).filter_map(half_bright(64, 64), "YX", (16, 16))
    shares = [MaxFilter(threshold=t).keeps(values).mean() for t in (0, 300, 2000)]
    assert shares == [1, 0.5, 0]


def test_the_channel_that_is_looked_at():
    image = np.stack([np.zeros((32, 32)), np.full((32, 32), 7.0)])
    chosen = MeanStdFilter(mean_threshold=1, ref_channel=1)
    assert chosen.filter_map(image, "CYX", (16, 16))[0].min() == 7
    with pytest.raises(SettingsError, match="ref_channel=2 is not in array, which has 2 channels"):
        MeanStdFilter(mean_threshold=1, ref_channel=2).filter_map(image, "CYX", (16, 16))


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="smaller than the patch"):
        MaxFilter(threshold=0).filter_map(np.zeros((8, 32)), "YX", (16, 16))


# -- the pass over the images --------------------------------------------------------------

CHUNKED = {
    "2D": ((300, 257), (64, 50), "YX", (32, 32)),
    "chunks smaller than patches": ((200, 190), (16, 20), "YX", (32, 32)),
    "3D": ((33, 130, 127), (8, 32, 32), "ZYX", (8, 16, 16)),
    "10 frames in a chunk": ((45, 100, 120), (10, 48, 48), "TYX", (16, 16)),
    "channels": ((3, 100, 90), (1, 32, 32), "CYX", (16, 16)),
}


@pytest.mark.parametrize(("shape", "chunks", "axes", "patch"), CHUNKED.values(), ids=CHUNKED)
@pytest.mark.parametrize("pool_bytes", [2**14, 2**27])
def test_each_chunk_is_read_once(shape, chunks, axes, patch, pool_bytes):
    stack, array = chunked_stack(shape, chunks, axes)
    chosen = MeanStdFilter(mean_threshold=0)
    thinning = chosen.thinning([stack], lay_out([stack], patch, pool_bytes=pool_bytes), patch)
    assert array.reads_per_chunk() == (1, 1)
    assert thinning.kept.all()


@every_filter
@pytest.mark.parametrize("pool_bytes", [2**14, 2**27])
def test_chunks_do_not_change_what_is_measured(chosen, pool_bytes):
    pixels = half_bright(3, 130, 127)
    pixels[:, :40] = 0
    patch = (16, 16)
    plain = ArrayStack(pixels, "TYX")
    stack, array = chunked_stack(pixels.shape, (1, 32, 48), "TYX")
    array.pixels = pixels
    layout = lay_out([stack], patch, pool_bytes=pool_bytes)
    once, again = (chosen.thinning([s], layout, patch) for s in (stack, plain))
    np.testing.assert_array_equal(once.kept, again.kept)
    assert 0 < once.kept.mean() < 1
    assert once.share == 0.1


def test_the_pass_can_be_ended():
    def end():
        raise KeyError("asked to")

    stack = ArrayStack(half_bright(64, 64), "YX")
    with pytest.raises(KeyError):
        FILTERS["max"].thinning([stack], lay_out([stack], (16, 16)), (16, 16), end)


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (MaxFilter(threshold=2000), "the largest maximum is 812, threshold=2000"),
        (
            MeanStdFilter(mean_threshold=900, std_threshold=5),
            "the largest mean is 12.6875, mean_threshold=900; the largest std is 100.7",
        ),
        (MeanStdFilter(mean_threshold=900), "largest mean is 12.6875, mean_threshold=900. Lower"),
        (ShannonFilter(threshold=7), "the largest entropy is 0.116115, threshold=7"),
        (MaskFilter(), "the largest marked share is 0.015625, coverage=0.25"),
    ],
)
def test_a_filter_that_keeps_nothing_tells_what_it_found(chosen, told):
    pixels = np.zeros((16, 16), np.uint16)
    pixels[4, 4] = 812
    stack = ArrayStack(pixels, "YX")
    with pytest.raises(DataError) as caught:
        chosen.thinning([stack], lay_out([stack], (8, 8)), (8, 8))
    assert "rejects all 9 parts" in str(caught.value)
    assert told in str(caught.value)


# -- what an epoch holds -------------------------------------------------------------------


def test_epochs_hold_background_rarely():
    pixels = half_bright(512, 512)
    stack = ArrayStack(pixels, "YX")
    layout = lay_out([stack], (32, 32))
    thinning = MeanStdFilter(mean_threshold=300).thinning([stack], layout, (32, 32))
    ground = ([stack.data_shape], (32, 32), 0, (), layout)
    n_epochs, seen = 20, []
    for patching in (StratifiedPatching(*ground), StratifiedPatching(*ground, thinning)):
        counts = np.zeros(pixels.shape)
        for k in range(n_epochs * patching.n_patches):
            counts[tuple(slice(at, at + 32) for at in patching.specs(k)["coords"])] += 1 / n_epochs
        seen.append(counts)
    shares = seen[1] / np.maximum(seen[0], 1e-9)
    assert shares[:, 320:].min() == shares[:, 320:].max() == 1
    assert shares[:, :192].mean() == pytest.approx(0.1, rel=0.2)
    assert seen[1][:, :192].max() < 0.6  # of any place once in ten epochs


@pytest.mark.parametrize("pool_bytes", [2**17, 2**27])
def test_chunks_are_read_once_an_epoch_with_a_filter(pool_bytes):
    pixels = half_bright(1024, 1024)
    stack, array = chunked_stack(pixels.shape, (64, 64))
    array.pixels, patch = pixels, (32, 32)
    layout = lay_out([stack], patch, pool_bytes=pool_bytes)
    thinning = MaxFilter(threshold=500).thinning([stack], layout, patch)
    kept_out = validation_patches([stack.data_shape], patch, 8, 0)
    patching = StratifiedPatching([stack.data_shape], patch, 0, kept_out, layout, thinning)
    dataset = PatchDataset([stack], patching.specs, patching.n_patches, 0, layout=layout)
    assert (layout.n_groups > 1) == (pool_bytes == 2**17)
    touched = np.zeros(pixels.shape, bool)
    for number in range(2):
        array.reads.clear()
        for k in range(number * len(dataset), (number + 1) * len(dataset)):
            spec = dataset[k].region_spec
            touched[tuple(slice(at, at + 32) for at in spec["coords"])] = True
        if layout.n_groups > 1 or number == 0:
            assert array.reads_per_chunk()[1] == 1
        else:
            assert not array.reads  # all blocks are still there
    for spec in kept_out:
        assert not touched[tuple(slice(at, at + 32) for at in spec["coords"])].any()


# -- in a training -------------------------------------------------------------------------


def ready(image, chosen, **options):
    config = DataConfig(
        patch_size=(16, 16), batch_size=4, patch_filter=chosen, **options.pop("config", {})
    )
    module = TrainDataModule(config, image, **options)
    module.setup()
    return module


def columns(module):
    specs = [module.train_dataset._specs(k) for k in range(len(module.train_dataset))]
    return np.asarray([spec["coords"][1] for spec in specs])


def test_a_training_with_a_filter_sees_what_it_keeps():
    image = half_bright(128, 128)
    module = ready(image, MaxFilter(threshold=500, filtered_patch_prob=0))
    assert columns(module).min() > 64 - 2 * 16
    assert any("The patch filter keeps" in notice for notice in module.notices)
    target = ready(image, MaxFilter(threshold=500), train_data_target=-image.astype(np.int32))
    batch = next(iter(target.train_dataloader()))
    assert (batch.targets == -batch.inputs).all()


@pytest.mark.parametrize("name", ["train_data_mask", "filtering_mask"])
def test_a_mask_says_where_patches_are_taken_from(name):
    image, mask = half_bright(128, 128), np.zeros((128, 128), bool)
    mask[:, 96:] = True
    chosen = MaskFilter(filtered_patch_prob=0)
    module = ready(image, chosen, **{name: mask})
    assert columns(module).min() > 96 - 2 * 16


def test_masks_are_paired_with_images_and_split_with_them(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(6):
            pixels = np.full((32, 32), number if folder == "masks" else 100 + number, np.float32)
            np.save(tmp_path / folder / f"{number}.npy", pixels)
    images = [tmp_path / "images" / f"{number}.npy" for number in range(6)]
    masks = [tmp_path / "masks" / f"{number}.npy" for number in range(5, -1, -1)]
    found = open_masks(images, masks, "image", "YX")
    values = [stack.extract_patch(0, None, (0, 0), (1, 1)).item() for stack in found]
    assert values == [0, 1, 2, 3, 4, 5]
    module = ready(
        tmp_path / "images",
        MaskFilter(filtered_patch_prob=0),
        train_data_mask=tmp_path / "masks",
        val_percentage=0.3,
        val_minimum_split=1,
        use_in_memory=False,
        config={"data_type": "image"},
    )
    assert len(module.train_masks) == len(module.train_stacks) == 4
    names = [
        [str(s.source)[-5] for s in both] for both in (module.train_masks, module.train_stacks)
    ]
    assert names[0] == names[1]


def test_masks_that_do_not_fit_are_refused():
    image = half_bright(64, 64)
    with pytest.raises(DataError, match="The masks, which go with the images as targets do"):
        ready(image, MaskFilter(), train_data_mask=np.ones((64, 32)))
    for chosen, mask in ((MaskFilter(), None), (None, np.ones((64, 64)))):
        with pytest.raises(SettingsError, match="a MaskFilter go together"):
            ready(image, chosen, train_data_mask=mask)


def test_a_zarr_is_filtered_and_trained_on(tmp_path):
    array = zarr.create_array(
        tmp_path / "image.zarr", shape=(256, 256), chunks=(64, 64), dtype="uint16"
    )
    array[:] = half_bright(256, 256)
    chosen = ShannonFilter(threshold=5.5)
    module = ready(tmp_path / "image.zarr", chosen, config={"data_type": "zarr"})
    assert (columns(module) > 128 - 32).mean() > 0.8


# -- as a setting --------------------------------------------------------------------------


@every_filter
def test_a_filter_survives_yaml(chosen, tmp_path):
    config = Configuration(data_config=DataConfig(patch_filter=chosen))
    save_configuration(config, tmp_path / "config.yml")
    assert load_configuration(tmp_path / "config.yml") == config
    assert TypeAdapter(AnyFilter).validate_python(chosen.model_dump()) == chosen


def test_the_shortcut_takes_a_filter_or_its_settings():
    given = {"name": "max", "threshold": 5, "coverage": 0.1}
    for chosen in (given, MaxFilter(threshold=5, coverage=0.1)):
        config = create_advanced_n2v_config(
            "test", "array", "YX", (64, 64), 8, patch_filter_config=chosen
        )
        assert config.data_config.patch_filter == MaxFilter(threshold=5, coverage=0.1)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "max"},
        {"name": "other", "threshold": 1},
        {"name": "max", "threshold": 1, "coverage": 0},
        {"name": "max", "threshold": 1, "filtered_patch_prob": 1.1},
        {"name": "mask", "threshold": 1},
        {"name": "shannon", "threshold": 1, "ref_channel": -1},
    ],
)
def test_other_settings_are_refused(given):
    with pytest.raises(ValidationError):
        DataConfig(patch_filter=given)


def test_a_filter_needs_the_stratified_grid():
    with pytest.raises(ValidationError, match="'max' needs patching 'stratified', got 'random'"):
        DataConfig(patching=Random(), patch_filter=MaxFilter(threshold=1))
