"""Statistics against numpy, whatever the blocks; and what must be refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tifffile
import torch
from chunked import Chunked, chunked_stack

from careamist.dataset import pixel_pass, statistics
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.normalization import MeanStd
from careamist.dataset.sources import open_stacks
from careamist.errors import DataError, SettingsError
from careamist.stop import StopRequested


def stacks_of(*images, axes):
    return open_stacks(list(images), "array", axes)


def noise(*shape, offset=100.0, scale=3.0, seed=0):
    return np.random.default_rng(seed).normal(offset, scale, shape)


@pytest.fixture(params=[1, 7, 100, 2**22])
def block_bytes(request, monkeypatch):
    """Blocks, and parts of them, from one pixel to the whole image."""
    monkeypatch.setattr(pixel_pass, "_BLOCK_BYTES", request.param)
    monkeypatch.setattr(statistics, "_PART_PIXELS", max(request.param // 3, 1))


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(
    ("axes", "shape"), [("YX", (7, 9)), ("CYX", (3, 5, 7)), ("TZCYX", (2, 3, 2, 5, 4))]
)
def test_statistics_are_those_of_numpy_for_blocks_of_any_size(axes, shape):
    image = noise(*shape)
    if "C" in axes:  # channels that differ
        image = image * np.arange(1, shape[axes.index("C")] + 1).reshape(-1, 1, 1)
    fitted = MeanStd().fit(stacks_of(image, axes=axes))
    others = tuple(place for place, axis in enumerate(axes) if axis != "C")
    assert fitted.input_means == pytest.approx(np.ravel(image.mean(axis=others)), rel=1e-13)
    assert fitted.input_stds == pytest.approx(np.ravel(image.std(axis=others)), rel=1e-11)


def test_images_count_by_their_pixels():
    images = [noise(9, 11), noise(40, 3, offset=-5, seed=1), noise(2, 2, offset=1000, seed=2)]
    fitted = MeanStd().fit(stacks_of(*images, axes="YX"))
    together = np.concatenate([image.ravel() for image in images])
    assert fitted.input_means == pytest.approx([together.mean()], rel=1e-13)
    assert fitted.input_stds == pytest.approx([together.std()], rel=1e-13)


def test_several_files_are_measured_together(tmp_path):
    images = [np.full((4, 6), 7, np.uint8), np.full((4, 6), 9, np.uint8)]  # each one is constant
    for number, image in enumerate(images):
        tifffile.imwrite(tmp_path / f"{number}.tif", image)
    fitted = MeanStd().fit(open_stacks(tmp_path, "tiff", "YX"))
    assert (fitted.input_means, fitted.input_stds) == ((8.0,), (1.0,))


def test_a_large_offset_costs_no_precision():
    image = noise(64, 64, offset=1e9, scale=1.0)
    fitted = MeanStd().fit(stacks_of(image, axes="YX"))
    assert fitted.input_stds == pytest.approx([(image - 1e9).std()], rel=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "float16", "float32"])
def test_every_real_type_is_measured_in_float64(dtype):
    image = noise(16, 16, offset=60, scale=20).astype(dtype)
    image[0, 0] = 0
    fitted = MeanStd().fit(stacks_of(image, axes="YX"))
    assert fitted.input_means == pytest.approx([image.astype(np.float64).mean()], rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_pixel_that_is_no_number_is_refused_and_its_image_named(bad, tmp_path):
    for name in "ab":
        image = noise(16, 16).astype(np.float32)
        image[3, 5] = bad if name == "b" else 0
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    with pytest.raises(DataError, match=r"b\.tif contains NaN or Inf"):
        MeanStd().fit(open_stacks(tmp_path, "tiff", "YX"))


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("value", [0, 1000, 0.1, 1 / 3, -1e20])
def test_a_constant_image_is_refused(value):
    with pytest.raises(DataError, match=r"constant \(array\): every pixel is"):
        MeanStd().fit(stacks_of(np.full((31, 37), value), axes="YX"))


def test_one_constant_channel_is_refused():
    image = np.stack([noise(16, 16), np.full((16, 16), 0.3)])
    with pytest.raises(DataError, match=r"every pixel is 0\.3"):
        MeanStd().fit(stacks_of(image, axes="CYX"))


def test_given_statistics_are_kept_and_no_pixel_is_read():
    given = MeanStd(input_means=(1.0,), input_stds=(2.0,))
    assert given.fit([None]) is given


@pytest.mark.parametrize("seed", range(12))
def test_statistics_of_chunked_data_are_those_of_numpy_and_read_each_chunk_once(seed):
    rng = np.random.default_rng(seed)
    axes = ("YX", "TYX", "ZYX", "CYX", "YXC", "STYX")[seed % 6]
    shape = [int(rng.integers(3, 80)) if axis in "YX" else int(rng.integers(2, 9)) for axis in axes]
    chunks = [int(rng.integers(1, n + 1)) for n in shape]
    if axes == "STYX":
        chunks[0] = 1
    dtype = ("uint8", "int16", "float32", ">u2", "float64", "uint32")[int(rng.integers(6))]
    stack, array = chunked_stack(shape, chunks, axes, dtype, seed)
    fitted = MeanStd().fit([stack])
    others = tuple(place for place, axis in enumerate(axes) if axis != "C")
    pixels = array.pixels.astype(np.float64)
    assert fitted.input_means == pytest.approx(np.ravel(pixels.mean(axis=others)), rel=1e-13)
    assert fitted.input_stds == pytest.approx(np.ravel(pixels.std(axis=others)), rel=1e-12)
    assert array.reads_per_chunk() == (1, 1)


def test_memory_is_bounded_by_blocks():
    size = 2**27
    values = np.arange(2**20, dtype=np.uint16).reshape(1024, 1024)
    image = np.broadcast_to(values, (size // values.nbytes, 1024, 1024))
    tracemalloc.start()
    fitted = MeanStd().fit([ArrayStack(image, "TYX")])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25
    assert fitted.input_means == pytest.approx([values.mean()], rel=1e-12)


def test_a_budget_measures_a_part_and_says_which_share():
    rng = np.random.default_rng(0)
    rows = 1000 + np.arange(4000)[:, None] / 10 + rng.normal(0, 50, (4000, 1000))
    stack = ArrayStack(Chunked(rows.astype(np.uint16), (100, 1000)), "YX")
    shares = []
    whole = MeanStd().fit([stack], report=shares.append)
    some = MeanStd().fit([stack], budget=2_000_000, seed=1, report=shares.append)
    again = MeanStd().fit([stack], budget=2_000_000, seed=1)
    other = MeanStd().fit([stack], budget=2_000_000, seed=2)
    assert shares[0] == 1
    assert 0 < shares[1] <= 0.26
    assert some == again
    assert some != other != whole
    for fitted in (some, other):
        assert fitted.input_means == pytest.approx(whole.input_means, rel=0.1)
        assert fitted.input_stds == pytest.approx(whole.input_stds, rel=0.3)


def test_a_pass_can_be_stopped():
    stack, array = chunked_stack((4000, 4000), (500, 500))

    def check():
        if array.reads:
            raise StopRequested

    with pytest.raises(StopRequested):
        MeanStd().fit([stack], check)
    assert len(array.reads) < 64


FITTED = MeanStd(input_means=(100.5, -3.0), input_stds=(3.25, 0.5))


def example(dtype, dims):
    return np.stack([noise(2, *(6,) * dims), noise(2, *(6,) * dims, offset=10)], 1).astype(dtype)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 3e-7), ("float64", 1e-15), ("uint8", 3e-7)]
)
def test_apply_is_the_formula_and_undo_undoes_it(kind, dtype, tolerance, dims):
    pixels = example(dtype, dims)
    given = kind(pixels.copy())
    normalized = FITTED.apply(given)
    means, stds = (
        np.reshape(values, (1, 2) + (1,) * dims) for values in ((100.5, -3.0), (3.25, 0.5))
    )
    expected = (pixels.astype(np.float64) - means) / stds
    np.testing.assert_allclose(np.asarray(normalized), expected, rtol=1e-5, atol=1e-5)
    undone = np.asarray(FITTED.undo(normalized))
    np.testing.assert_allclose(undone, pixels, rtol=tolerance, atol=tolerance * 200)
    np.testing.assert_array_equal(np.asarray(given), pixels)  # the input is left as it was
    if dtype != "uint8":
        assert str(normalized.dtype).endswith(dtype)


def test_normalised_training_data_has_mean_0_and_std_1():
    image = noise(3, 32, 32)[None]
    fitted = MeanStd().fit(stacks_of(image, axes="SCYX"))
    normalized = fitted.apply(image)
    np.testing.assert_allclose(normalized.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(normalized.std(axis=(0, 2, 3)), 1, rtol=1e-12)


def test_another_number_of_channels_is_refused():
    with pytest.raises(SettingsError, match="fitted on 2 channels, the image has 1"):
        FITTED.apply(np.zeros((1, 1, 4, 4)))


def test_statistics_are_needed():
    with pytest.raises(SettingsError, match="no statistics yet"):
        MeanStd().apply(np.zeros((1, 1, 4, 4)))


@pytest.mark.parametrize(
    "values",
    [
        {"input_means": (1.0,)},
        {"input_stds": (1.0,)},
        {"input_means": (1.0, 2.0), "input_stds": (1.0,)},
    ],
)
def test_means_and_stds_come_in_pairs(values):
    with pytest.raises(ValueError, match="must have equal lengths"):
        MeanStd(**values)
