"""Predictions of whole samples, in batches of any size: one file per image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from careamist.dataset.region import ImageRegionData, PatchSpecs
from careamist.errors import ShapeError
from careamist.prediction import writers
from careamist.prediction.writers import (
    ImageWriteStrategy,
    WriteFunc,
    WriteImage,
    WriteStrategy,
    combine_samples,
)
from careamist.utils.reshape_array import AxesTransform

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 4, "Y": 9, "X": 8}
ORDERS = ["YX", "XY", "SYX", "TYX", "STYX", "YXS", "YXT", "CYX", "YXC", "ZYX", "STCZYX", "XCTYZS"]


def image_of(axes):
    return np.random.default_rng(0).random([SIZES[axis] for axis in axes], dtype=np.float32)


def samples_of(image, axes, data_idx=0, source="/data/a.b.tiff", n_channels=None):
    """Return an image as predictions; with `n_channels`, its first channel several times."""
    layout = AxesTransform(axes, image.shape)
    pixels = layout.transform(image)
    if n_channels:
        pixels = np.repeat(pixels[:, :1], n_channels, axis=1)
    return [
        ImageRegionData(
            data=sample,
            source=source,
            data_shape=layout.transformed_shape,
            dtype="float32",
            axes=axes,
            original_data_shape=image.shape,
            region_spec=PatchSpecs(
                data_idx=data_idx,
                sample_idx=index,
                coords=(0,) * (sample.ndim - 1),
                patch_size=sample.shape[1:],
            ),
        )
        for index, sample in enumerate(pixels)
    ]


def save(file_path: Path, img, *args, **kwargs) -> None:
    np.save(file_path, img, *args, **kwargs)


def writing(**kwargs):
    return WriteImage(write_func=save, write_extension=".npy", write_func_kwargs=kwargs)


def found(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.npy"))


# -- S3-01, S3-02 ---------------------------------------------------------------------------------


def test_it_is_made_of_a_function_an_ending_and_arguments():
    kwargs = {"allow_pickle": False}
    strategy: WriteStrategy = WriteImage(save, ".npy", kwargs)
    function: WriteFunc = strategy.write_func
    assert function is save
    assert strategy.write_extension == ".npy"
    assert strategy.write_func_kwargs is kwargs
    assert strategy.image_cache == {}
    assert issubclass(WriteImage, WriteStrategy)
    assert ImageWriteStrategy is WriteImage
    assert writers.WriteImage is WriteImage


# -- S3-03, S3-05 ---------------------------------------------------------------------------------


def test_predictions_are_kept_by_image_until_all_are_there(tmp_path):
    strategy, image = writing(), image_of("SYX")
    one, two = samples_of(image, "SYX", data_idx=4), samples_of(image, "SYX", data_idx=7)
    strategy.write_batch(tmp_path, [one[0], two[1]])
    assert set(strategy.image_cache) == {4, 7}
    assert strategy.image_cache[4] == [one[0]]
    assert found(tmp_path) == []
    strategy.write_batch(tmp_path, [one[1]])
    assert set(strategy.image_cache) == {7}
    assert found(tmp_path) == ["a.b.npy"]


def test_too_many_predictions_are_refused(tmp_path):
    strategy, samples = writing(), samples_of(image_of("SYX"), "SYX", data_idx=5)
    with pytest.raises(ValueError, match=r"data_idx 5.* expected 2, found 3"):
        strategy.write_batch(tmp_path, [*samples, samples[0]])
    assert found(tmp_path) == []


# -- S3-04: samples are S·T, whatever the order of the axes ---------------------------------------


@pytest.mark.parametrize("axes", ORDERS)
def test_the_image_is_restored_in_its_own_axes(axes, tmp_path):
    strategy, image = writing(), image_of(axes)
    samples = samples_of(image, axes)
    strategy.write_batch(tmp_path, samples[:-1])
    assert found(tmp_path) == []
    strategy.write_batch(tmp_path, samples[-1:])
    written = np.load(tmp_path / "a.b.npy")
    np.testing.assert_array_equal(written, image)
    assert written.dtype == image.dtype
    assert strategy.image_cache == {}


# -- S3-06, S3-07 ---------------------------------------------------------------------------------


def test_the_function_is_called_by_name(tmp_path):
    calls = []

    def keep(*args, **kwargs):
        calls.append((args, kwargs))

    image = image_of("TYX")
    strategy = WriteImage(keep, ".npy", {"level": 3})
    strategy.write_batch(tmp_path / "deep" / "down", samples_of(image, "TYX"))
    ((args, kwargs),) = calls
    assert args == ()
    assert kwargs.pop("level") == 3
    assert kwargs.pop("file_path") == tmp_path / "deep" / "down" / "a.b.npy"
    np.testing.assert_array_equal(kwargs.pop("img"), image)
    assert kwargs == {}
    assert (tmp_path / "deep" / "down").is_dir()


def test_arrays_are_told_apart_by_their_number(tmp_path):
    strategy, image = writing(allow_pickle=False), image_of("YX")
    samples = [samples_of(image, "YX", index, "array")[0] for index in (0, 3)]
    strategy.write_batch(tmp_path, samples)
    assert found(tmp_path) == ["array_0.npy", "array_3.npy"]


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path):
    strategy = writing()
    for index, folder in enumerate(("one", "two")):
        image = np.full((9, 8), index, np.float32)
        strategy.write_batch(tmp_path, samples_of(image, "YX", index, f"/data/{folder}/a.tif"))
    assert found(tmp_path) == ["a.npy", "a_1.npy"]
    assert np.load(tmp_path / "a_1.npy").max() == 1


def test_folders_of_relative_sources_are_repeated(tmp_path):
    strategy, image = writing(), image_of("YX")
    strategy.write_batch(tmp_path, samples_of(image, "YX", source="day 1/a.tif"))
    assert found(tmp_path) == ["day 1/a.npy"]


# -- S3-08, S3-09 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 7, 100])
def test_any_grouping_of_batches_gives_the_same_files(batch_size, tmp_path):
    strategy = writing()
    images = [image_of("STYX") + index for index in range(3)]
    samples = [
        sample
        for index, image in enumerate(images)
        for sample in samples_of(image, "STYX", index, f"/data/{index}.tif")
    ]
    for start in range(0, len(samples), batch_size):
        strategy.write_batch(tmp_path, samples[start : start + batch_size])
    assert found(tmp_path) == ["0.npy", "1.npy", "2.npy"]
    for index, image in enumerate(images):
        np.testing.assert_array_equal(np.load(tmp_path / f"{index}.npy"), image)
    assert strategy.image_cache == {}


# -- combine_samples ------------------------------------------------------------------------------


def test_samples_are_combined_in_their_order_and_image_by_image():
    first, second = image_of("STYX"), image_of("YXS")
    samples = samples_of(second, "YXS", 9, "b") + samples_of(first, "STYX", 2, "a")
    images, sources = combine_samples(samples[::-1])
    assert sources == ["a", "b"]
    np.testing.assert_array_equal(images[0], first)
    np.testing.assert_array_equal(images[1], second)
    assert all(image.flags.c_contiguous for image in images)


def test_several_channels_get_an_axis_where_the_image_had_none():
    image = image_of("TYX")
    ((combined,), _) = combine_samples(samples_of(image, "TYX", n_channels=3))
    assert combined.shape == (3, 3, 9, 8)
    for channel in range(3):
        np.testing.assert_array_equal(combined[:, channel], image)


@pytest.mark.parametrize(
    ("chosen", "said"), [([0, 2], r"\[0, 2\]"), ([0, 1, 1], r"\[0, 1, 1\]"), ([1, 2, 0, 0], "0, 0")]
)
def test_samples_that_are_missing_or_there_twice_are_refused(chosen, said):
    samples = samples_of(image_of("TYX"), "TYX")
    with pytest.raises(ShapeError, match=said):
        combine_samples([samples[index] for index in chosen])


def test_a_part_of_an_image_is_refused():
    (sample,) = samples_of(image_of("YX"), "YX")
    with pytest.raises(ShapeError, match=r"\(1, 9, 4\).* whole image"):
        combine_samples([sample._replace(data=sample.data[:, :, :4])])


def test_nothing_makes_nothing():
    assert combine_samples([]) == ([], [])
