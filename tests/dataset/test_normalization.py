"""Statistics against numpy, whatever the blocks; and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from careamist.dataset import normalization
from careamist.dataset.normalization import MeanStd, blocks
from careamist.dataset.sources import open_stacks
from careamist.errors import DataError, SettingsError


def stacks_of(*images, axes):
    return open_stacks(list(images), "array", axes)


def noise(*shape, offset=100.0, scale=3.0, seed=0):
    return np.random.default_rng(seed).normal(offset, scale, shape)


@pytest.fixture(params=[1, 7, 100, 2**22])
def block_pixels(request, monkeypatch):
    """Blocks from one pixel to the whole image."""
    plain = blocks
    monkeypatch.setattr(normalization, "blocks", lambda stack: plain(stack, request.param))


@pytest.mark.usefixtures("block_pixels")
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


@pytest.mark.usefixtures("block_pixels")
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


@pytest.mark.parametrize("max_pixels", [1, 5, 12, 50, 10**6])
@pytest.mark.parametrize(
    ("axes", "shape"), [("YX", (7, 9)), ("SCYX", (2, 3, 4, 5)), ("CZYX", (2, 3, 4, 5))]
)
def test_blocks_hold_every_pixel_once_and_are_small(axes, shape, max_pixels):
    image = np.arange(np.prod(shape)).reshape(shape)
    (stack,) = stacks_of(image, axes=axes)
    pieces = list(blocks(stack, max_pixels))
    seen = np.concatenate([piece.ravel() for piece in pieces])
    np.testing.assert_array_equal(np.sort(seen), image.ravel())
    assert max(piece.size for piece in pieces) <= max(max_pixels, stack.data_shape[1])


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
