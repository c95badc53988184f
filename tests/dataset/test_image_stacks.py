"""The contract of image stacks, for every format of the table of contents."""

from __future__ import annotations

import pickle
from itertools import permutations

import numpy as np
import pytest
import tifffile

from careamist.dataset.image_stack import FORMATS, ImageStack
from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.utils.reshape_array import AxesTransform

SIZES = {"S": 2, "T": 3, "C": 4, "Z": 5, "Y": 11, "X": 13}
ORDERS = [
    "YX",
    "XY",
    "SYX",
    "TYX",
    "XYT",
    "CYX",
    "YXC",
    "ZYX",
    "XZY",
    "STYX",
    "TSYX",
    "TZCYX",
    "STCZYX",
    *("".join(order) for order in list(permutations("STCZYX"))[5::137]),
]


def image_of(axes, dtype=np.uint16):
    shape = [SIZES[axis] for axis in axes]
    return np.random.default_rng(0).integers(1, 255, shape).astype(dtype)


def as_tiff(folder, image, axes):
    path = folder / "image.tif"
    tifffile.imwrite(path, image, photometric="minisblack", metadata={"axes": axes})
    return path


# one line for each format: makes a source of it
MAKERS = {"array": lambda folder, image, axes: image, "tiff": as_tiff}

every_format = pytest.mark.parametrize("name", FORMATS)


def opened(name, folder, image, axes):
    (stack,) = FORMATS[name].load(MAKERS[name](folder, image, axes), axes)
    return stack


def test_every_format_is_tested():
    assert set(MAKERS) == set(FORMATS)


@every_format
@pytest.mark.parametrize("axes", ORDERS)
def test_members_describe_the_image(name, axes, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    assert isinstance(stack, ImageStack)
    layout = AxesTransform(axes, image.shape)
    assert tuple(stack.data_shape) == layout.transformed_shape
    assert tuple(stack.original_data_shape) == image.shape
    assert stack.original_axes == axes
    assert np.dtype(stack.data_dtype) == np.uint16
    assert isinstance(stack.source, str)
    assert stack.source


@every_format
@pytest.mark.parametrize("axes", ORDERS)
def test_patches_are_slices_of_the_transformed_image(name, axes, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    inside = AxesTransform(axes, image.shape).transform(image)
    rng = np.random.default_rng(1)
    for _ in range(8):
        sample = int(rng.integers(inside.shape[0]))
        coords = [int(rng.integers(n)) for n in inside.shape[2:]]
        size = [
            int(rng.integers(1, n - c + 1)) for n, c in zip(inside.shape[2:], coords, strict=True)
        ]
        patch = stack.extract_patch(sample, None, coords, size)
        window = tuple(slice(c, c + n) for c, n in zip(coords, size, strict=True))
        np.testing.assert_array_equal(patch, inside[(sample, slice(None), *window)])
        assert patch.dtype == image.dtype


@every_format
@pytest.mark.parametrize("axes", ["YX", "XYS", "ZCYX", "YTXZ"])
def test_outside_of_the_image_is_zero(name, axes, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    inside = AxesTransform(axes, image.shape).transform(image)
    margin = 9
    surrounded = np.pad(inside, [(0, 0), (0, 0), *[(margin, margin)] * (inside.ndim - 2)])
    rng = np.random.default_rng(2)
    for _ in range(20):
        sample = int(rng.integers(inside.shape[0]))
        coords = [int(rng.integers(-margin, n + margin - 1)) for n in inside.shape[2:]]
        size = [
            int(rng.integers(1, n + margin - c + 1))
            for n, c in zip(inside.shape[2:], coords, strict=True)
        ]
        patch = stack.extract_patch(sample, None, coords, size)
        window = tuple(slice(c + margin, c + margin + n) for c, n in zip(coords, size, strict=True))
        np.testing.assert_array_equal(patch, surrounded[(sample, slice(None), *window)])


@every_format
@pytest.mark.parametrize("channels", [[0], [2, 3], [3, 0, 1]])
@pytest.mark.parametrize("axes", ["CYX", "YXC", "TYCX"])
def test_channels_are_chosen_in_order(name, axes, channels, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    inside = AxesTransform(axes, image.shape).transform(image)
    patch = stack.extract_patch(0, channels, (2, 3), (5, 6))
    np.testing.assert_array_equal(patch, inside[0, channels, 2:7, 3:9])


@every_format
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "float16", ">f4", "float64"])
def test_pixels_keep_their_type_and_value(name, dtype, tmp_path):
    image = (image_of("YX") % 2 if dtype == "bool" else image_of("YX")).astype(dtype)
    stack = opened(name, tmp_path, image, "YX")
    patch = stack.extract_patch(0, None, (0, 0), image.shape)
    np.testing.assert_array_equal(patch[0], image)
    assert np.dtype(stack.data_dtype).newbyteorder("=") == np.dtype(dtype).newbyteorder("=")


@every_format
def test_axes_that_do_not_fit_are_refused_at_opening(name, tmp_path):
    with pytest.raises(ValueError, match="'YX' names 2 axes but the image has 3"):
        FORMATS[name].load(MAKERS[name](tmp_path, image_of("ZYX"), "ZYX"), "YX")


@every_format
def test_stack_survives_pickling(name, tmp_path):
    image = image_of("TYX")
    stack = opened(name, tmp_path, image, "TYX")
    copy = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(copy.extract_patch(1, None, (0, 0), (11, 13))[0], image[1])
    assert copy.source == stack.source


def test_an_array_is_neither_copied_nor_read_before_it_is_asked():
    asked = []

    class Watched:
        shape, dtype = (2, 64, 64), np.dtype("int16")

        def __getitem__(self, key):
            asked.append(key)
            return np.ones(self.shape, self.dtype)[key]

    (stack,) = FORMATS["array"].load(Watched(), "TYX")
    assert asked == []
    stack.extract_patch(1, None, (3, 4), (8, 9))
    assert asked == [(slice(1, 2), slice(3, 11), slice(4, 13))]


def test_padding_nothing_returns_the_patch_itself():
    patch = np.ones((1, 3, 4))
    assert pad_patch((2, 2), (3, 4), (1, 1, 8, 8), patch) is patch
