"""What is asked of every way to write: tiles in any order, broken off once, read as they were."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from written import PIXEL_SIZE, RECIPE, UNITS, mixed, nothing, output_of, pixels_of, write

from careamist.dataset.image_stack import FORMATS
from careamist.errors import SettingsError, UnreadableError
from careamist.prediction.writers import WRITERS, writer_of
from careamist.prediction.writers.protocol import WriteOptions
from careamist.utils.reshape_array import AxesTransform

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 5, "Y": 29, "X": 34}
ORDERS = ["YX", "XY", "TYX", "STYX", "CYX", "YXC", "ZYX", "XZY", "TZCYX", "STCZYX", "XCTYZS"]
DTYPES = ["float32", "uint8", "uint16", "float16", "bool", "int32", "float64"]
OPTIONS = WriteOptions()
READERS = {"tiff": "tiff", "zarr": "zarr", "ome-zarr": "zarr"}
# Axes whose pixel size is always read again: TIFF has a place for that of Z and T only in the
# dialects of ImageJ and OME.
SAID = {"tiff": "YX", "zarr": "TZYX", "ome-zarr": "TZYX"}


def refuses(name, axes):
    return name == "ome-zarr" and {"S", "C"} <= set(axes)


def cases():
    orders = [(name, axes, "float32") for name in WRITERS for axes in ORDERS]
    dtypes = [(name, "ZYX", dtype) for name in WRITERS for dtype in DTYPES[1:]]
    return [case for case in orders + dtypes if not refuses(*case[:2])]


def raw(name, path):
    """The pixels as the library of the format reads them, and the axes it says they have."""
    if name == "tiff":
        with tifffile.TiffFile(path) as file:
            return file.series[0].asarray(), file.series[0].axes
    array = zarr.open_array(path / "0" if name == "ome-zarr" else path, mode="r")
    return array[...], "".join(array.metadata.dimension_names).upper()


def in_order(pixels, axes, order):
    """Bring pixels to another order of axes; those of length one may be gone or named otherwise."""
    kept = [axis for axis in order if axis in axes]
    return pixels.transpose([axes.index(axis) for axis in kept])


@pytest.mark.parametrize(("name", "axes", "dtype"), cases())
def test_what_is_written_is_read_as_it_was(tmp_path, name, axes, dtype):
    image = pixels_of([SIZES[axis] for axis in axes], dtype)
    output, writer = output_of(image, axes), writer_of(name)
    path = tmp_path / f"image{writer.EXTENSION}"
    numbers = mixed(output)
    first = writer.create(path, output, OPTIONS)
    write(first, output, image, numbers[::2])
    first.close()
    second = writer.reopen(path, output, OPTIONS)
    write(second, output, image, numbers[1::2])
    second.complete(nothing)

    (info,) = FORMATS[READERS[name]].inspect(path)
    (stack,) = FORMATS[READERS[name]].load(path, info.axes or axes)
    n_samples, _, *spatial = stack.data_shape
    read = stack.extract_block(range(n_samples), [0] * len(spatial), spatial)
    np.testing.assert_array_equal(read, AxesTransform(axes, image.shape).transform(image))
    assert read.dtype == image.dtype
    assert set(info.axes or axes) == set(axes)
    assert {axis for axis in SAID[name] if axis in axes} <= set(info.pixel_size)
    expected = {axis: PIXEL_SIZE[axis] for axis in info.pixel_size}
    assert dict(info.pixel_size) == pytest.approx(expected)
    assert dict(info.units) == {axis: UNITS[axis] for axis in expected}

    pixels, stored = raw(name, path)
    assert pixels.dtype == image.dtype or name == "tiff"
    if set(stored) == set(axes):
        np.testing.assert_array_equal(pixels, in_order(image, axes, stored))
    else:  # S of TIFF is a name for colours there
        assert pixels.size == image.size


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_seen_at_once_in_the_axes_of_the_result(tmp_path, name):
    image = pixels_of([SIZES[axis] for axis in "YXZ"], "uint16") + 1
    output, writer = output_of(image, "YXZ"), writer_of(name)
    file = writer.create(tmp_path / "part", output, OPTIONS)
    numbers = mixed(output)
    write(file, output, image, numbers[:5])
    seen = file.view()
    assert (tuple(seen.shape), seen.ndim, seen.size) == (image.shape, image.ndim, image.size)
    assert seen.dtype == image.dtype
    expected = np.zeros_like(image)
    for number in numbers[:5]:
        box = output.box(output.tiles[int(number)])
        expected[box] = image[box]
    np.testing.assert_array_equal(np.asarray(seen[...]), expected)
    np.testing.assert_array_equal(np.asarray(seen[:, :, 2]), expected[:, :, 2])
    np.testing.assert_array_equal(np.asarray(seen[3, 4:20]), expected[3, 4:20])
    file.close()


@pytest.mark.parametrize("name", WRITERS)
def test_completing_that_was_broken_off_is_begun_again(tmp_path, name):
    def stop():
        raise KeyError

    image = pixels_of((1100, 600))
    output, writer = output_of(image, "YX", tile=256), writer_of(name)
    path = tmp_path / f"image{writer.EXTENSION}"
    file = writer.create(path, output, OPTIONS)
    write(file, output, image, mixed(output))
    try:
        file.complete(stop)
    except KeyError:
        file.close()
    again = writer.reopen(path, output, OPTIONS)
    again.complete(nothing)
    (info,) = FORMATS[READERS[name]].inspect(path)
    (stack,) = FORMATS[READERS[name]].load(path, "YX")
    np.testing.assert_array_equal(stack.extract_patch(0, None, (0, 0), (1100, 600))[0], image)
    assert info.shape == image.shape


@pytest.mark.parametrize("name", WRITERS)
def test_what_does_not_fit_is_not_gone_on_with(tmp_path, name):
    writer = writer_of(name)
    begun = output_of(pixels_of((40, 50)), "YX")
    writer.create(tmp_path / "part", begun, OPTIONS).close()
    other = output_of(pixels_of((50, 40)), "YX")
    with pytest.raises(UnreadableError):
        writer.reopen(tmp_path / "part", other, OPTIONS)
    with pytest.raises(UnreadableError):
        writer.reopen(tmp_path / "nowhere", begun, OPTIONS)


@pytest.mark.parametrize("name", WRITERS)
def test_an_unknown_compression_is_told_with_those_that_are_known(tmp_path, name):
    output = output_of(pixels_of((40, 50)), "YX")
    with pytest.raises(SettingsError, match="zlib"):
        writer_of(name).create(tmp_path / "part", output, WriteOptions("papyrus"))
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
def test_each_compression_keeps_every_pixel(tmp_path, name, compression):
    image = pixels_of((40, 50))
    output, writer = output_of(image, "YX", recipe=RECIPE), writer_of(name)
    path = tmp_path / f"image{writer.EXTENSION}"
    file = writer.create(path, output, WriteOptions(compression))
    write(file, output, image, mixed(output))
    file.complete(nothing)
    np.testing.assert_array_equal(raw(name, path)[0], image)
