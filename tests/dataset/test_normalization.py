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
from careamist.dataset.normalization import MeanStd, MinMax, NoNormalization, Quantile
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


# -- the four, against numpy -----------------------------------------------------------------------


def quantiles(pixels, low, high):
    return [np.quantile(pixels, share, method="lower") for share in (low, high)]


def affine_of(kind, pixels, low=0.01, high=0.99):
    """Return offset and scale as numpy says."""
    if kind is MeanStd:
        return pixels.mean(), pixels.std()
    if kind is NoNormalization:
        return 0.0, 1.0
    a, b = (pixels.min(), pixels.max()) if kind is MinMax else quantiles(pixels, low, high)
    return a, b - a


ALL = [MeanStd, MinMax, Quantile, NoNormalization]
every_kind = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


@every_kind
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_the_formula_is_that_of_numpy(kind, per_channel, dtype):
    image = np.stack([noise(90, 80, offset=120, scale=30), noise(90, 80, scale=12, seed=1)])
    image = image.clip(0, 255).astype(dtype)
    fitted = kind(per_channel=per_channel).fit(stacks_of(image, axes="CYX"))
    applied = fitted.apply(image[None].astype(np.float64))[0]
    undone = fitted.undo(applied[None])[0]
    for channel, result, back in zip(image, applied, undone, strict=True):
        pixels = (channel if per_channel else image).astype(np.float64)
        offset, scale = affine_of(kind, pixels)
        tolerance = {Quantile: 2e-4}.get(kind, 1e-12)  # a bin of 65 536, of the range
        np.testing.assert_allclose(result, (channel - offset) / scale, rtol=0, atol=tolerance)
        np.testing.assert_allclose(back, channel, rtol=1e-12)


@every_kind
def test_targets_are_measured_apart_and_results_are_in_their_units(kind):
    image, target = noise(40, 40), noise(40, 40, offset=-7, scale=0.5, seed=3)
    fitted = kind().fit(stacks_of(image, axes="YX"), targets=stacks_of(target, axes="YX"))
    for apply, pixels in ((fitted.apply, image), (fitted.apply_target, target)):
        offset, scale = affine_of(kind, pixels)
        expected = (pixels - offset) / scale
        np.testing.assert_allclose(apply(pixels[None, None])[0, 0], expected, atol=3e-4)
    back = fitted.undo(fitted.apply_target(target[None, None]))
    np.testing.assert_allclose(back[0, 0], target, rtol=1e-12)


@every_kind
def test_without_targets_results_are_in_the_units_of_the_images(kind):
    image = noise(40, 40)
    fitted = kind().fit(stacks_of(image, axes="YX"))
    np.testing.assert_allclose(fitted.undo(fitted.apply(image[None, None]))[0, 0], image)
    np.testing.assert_array_equal(
        fitted.apply_target(image[None, None]), fitted.apply(image[None, None])
    )


@every_kind
def test_targets_may_be_left_as_they_are(kind):
    image, target = noise(40, 40), noise(40, 40, offset=-7, seed=3)
    fitted = kind(skip_target=True).fit(
        stacks_of(image, axes="YX"), targets=stacks_of(target, axes="YX")
    )
    np.testing.assert_array_equal(fitted.apply_target(target[None, None])[0, 0], target)
    np.testing.assert_array_equal(fitted.undo(target[None, None])[0, 0], target)
    offset, scale = affine_of(kind, image)
    expected = (image - offset) / scale
    np.testing.assert_allclose(fitted.apply(image[None, None])[0, 0], expected, atol=3e-4)


@every_kind
def test_without_targets_there_is_nothing_to_leave(kind):
    image = noise(40, 40)
    fitted = kind(skip_target=True).fit(stacks_of(image, axes="YX"))
    np.testing.assert_allclose(fitted.undo(fitted.apply(image[None, None]))[0, 0], image)


GIVEN = {
    MeanStd: {"input_means": (10.0, 20.0), "input_stds": (2.0, 4.0)},
    MinMax: {"input_mins": (8.0, 16.0), "input_maxes": (12.0, 24.0)},
    Quantile: {
        "input_lower_quantile_values": (8.0, 16.0),
        "input_upper_quantile_values": (12.0, 24.0),
    },
}
each_given = pytest.mark.parametrize(
    ("kind", "values"), GIVEN.items(), ids=[kind.__name__ for kind in GIVEN]
)


@each_given
def test_given_values_are_kept_and_those_of_targets_are_still_measured(kind, values):
    given = kind(**values)
    assert given.is_fitted
    assert given.fit([None]) is given
    target = noise(2, 40, 40, offset=3, scale=0.1)
    fitted = given.fit([None], targets=stacks_of(target, axes="CYX"))
    for name, value in values.items():
        assert getattr(fitted, name) == value
    alone = kind().fit(stacks_of(target, axes="CYX"))
    for name in values:
        measured = getattr(fitted, name.replace("input", "target"))
        assert measured == getattr(alone, name)
    pixels = np.full((1, 2, 3, 3), 12.0)
    expected = {MeanStd: (1.0, -2.0)}.get(kind, (1.0, -0.5))
    np.testing.assert_allclose(fitted.apply(pixels)[0, :, 0, 0], expected)


@each_given
def test_wrong_lengths_are_refused_and_named(kind, values):
    first, second = values
    with pytest.raises(ValueError, match=rf"{first}=.* and {second}=.* must have equal lengths"):
        kind(**{first: values[first]})
    with pytest.raises(ValueError, match="must have equal lengths"):
        kind(**{first: (1.0,), second: values[second]})
    target_first = first.replace("input", "target")
    with pytest.raises(ValueError, match=f"{target_first}="):
        kind(**values, **{target_first: (1.0,)})
    with pytest.raises(SettingsError, match="fitted on 2 channels, the image has 3"):
        kind(**values).apply(np.zeros((1, 3, 4, 4)))
    one = {name: value[:1] for name, value in values.items()}  # one for all channels
    assert kind(**one).apply(np.zeros((1, 3, 4, 4))).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (MeanStd, ((1.0,), (0.0,))),
        (MeanStd, ((1.0,), (-1.0,))),
        (MeanStd, ((float("nan"),), (1.0,))),
        (MeanStd, ((1.0,), (float("inf"),))),
        (MeanStd, ((), ())),
        (MinMax, ((3.0,), (3.0,))),
        (MinMax, ((3.0, 0.0), (4.0, -1.0))),
        (Quantile, ((0.5,), (0.5,))),
    ],
)
def test_values_that_nothing_can_be_divided_by_are_refused(kind, values):
    names = GIVEN[kind]
    with pytest.raises(ValueError, match="must be numbers, the second ones"):
        kind(**dict(zip(names, values, strict=True)))


@pytest.mark.parametrize("kind", [MeanStd, MinMax, Quantile])
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e4, 3e3), (-5.0, 1e-3), (1e-9, 1e-8)])
def test_undoing_brings_single_precision_back(kind, offset, scale):
    image = noise(1, 1, 64, 64, offset=offset, scale=scale).astype(np.float32)
    fitted = kind().fit(stacks_of(image[0, 0], axes="YX"))
    for given in (image, torch.from_numpy(image)):
        back = np.asarray(fitted.undo(fitted.apply(given)))
        largest = np.abs(image).max()
        assert np.abs(back - image).max() <= 1e-6 * largest


# -- quantiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        np.arange(10_000).reshape(100, 100) % 251,
        np.random.default_rng(0).poisson(3, (100, 100)).astype(np.uint8),
        np.random.default_rng(0).integers(-(2**40), 2**40, (100, 100)),
        np.random.default_rng(0).exponential(size=(100, 100)),
    ],
    ids=["steps", "few values", "int64", "long tail"],
)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.01, 0.99), (0.25, 0.5), (0.5, 0.999)])
def test_quantiles_are_those_of_numpy_to_within_a_bin(image, low, high):
    fitted = Quantile(lower_quantiles=(low,), upper_quantiles=(high,)).fit(
        stacks_of(image, axes="YX")
    )
    expected = quantiles(image, low, high)
    found = (*fitted.input_lower_quantile_values, *fitted.input_upper_quantile_values)
    tolerance = (float(image.max()) - float(image.min())) / 65535
    assert found == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("outlier", [1e4, 1e7, 1e12])
def test_a_few_extreme_pixels_do_not_matter(outlier):
    image = noise(128, 128, offset=0, scale=1)
    expected = quantiles(image, 0.01, 0.99)
    image[::50, ::50] = outlier
    image[1, 1] = -outlier
    fitted = Quantile().fit(stacks_of(image, axes="YX"))
    found = (*fitted.input_lower_quantile_values, *fitted.input_upper_quantile_values)
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_where_nearly_all_pixels_are_equal_the_whole_range_is_taken(dtype):
    image = np.full((64, 64), 7, dtype)
    image[3, 4], image[5, 6] = 1, 200
    fitted = Quantile().fit(stacks_of(image, axes="YX"))
    assert fitted.input_lower_quantile_values == (1.0,)
    assert fitted.input_upper_quantile_values == (200.0,)


def test_channels_may_have_quantiles_of_their_own():
    image = np.stack([noise(64, 64), noise(64, 64, seed=1)])
    kind = Quantile(lower_quantiles=(0.1, 0.2), upper_quantiles=(0.8, 0.9))
    fitted = kind.fit(stacks_of(image, axes="CYX"))
    for channel, low, high, a, b in zip(
        image,
        kind.lower_quantiles,
        kind.upper_quantiles,
        fitted.input_lower_quantile_values,
        fitted.input_upper_quantile_values,
        strict=True,
    ):
        assert (a, b) == pytest.approx(quantiles(channel, low, high), abs=1e-3)
    with pytest.raises(SettingsError, match="2 quantiles were given for 3 channels"):
        kind.fit(stacks_of(noise(3, 32, 32), axes="CYX"))


@pytest.mark.parametrize(
    ("low", "high"), [((0.9,), (0.1,)), ((0.5,), (0.5,)), ((-0.1,), (1,)), ((0,), (1.1,))]
)
def test_quantiles_must_be_shares_in_order(low, high):
    with pytest.raises(ValueError, match="0 <= lower < upper <= 1"):
        Quantile(lower_quantiles=low, upper_quantiles=high)
    with pytest.raises(ValueError, match="must have equal lengths"):
        Quantile(lower_quantiles=(0.1, 0.1))


@every_kind
@pytest.mark.parametrize("bad", ["constant", "nan"])
def test_every_kind_refuses_what_nothing_can_be_learnt_from(kind, bad):
    image = np.full((16, 16), 3.0)
    if bad == "nan":
        image[3, 3] = np.nan
    with pytest.raises(DataError, match={"constant": "constant", "nan": "NaN"}[bad]):
        kind().fit(stacks_of(image, axes="YX"))
    good = stacks_of(noise(16, 16), axes="YX")
    with pytest.raises(DataError):
        kind().fit(good, targets=stacks_of(image, axes="YX"))
