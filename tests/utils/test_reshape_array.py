"""Axes algebra against arrays whose pixels spell their own coordinates."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamist.errors import AxesError, ShapeError
from careamist.utils.reshape_array import (
    AxesTransform,
    check_axes,
    get_patch_slices,
    reshape_patch,
    restore_patch,
    spatial_axes,
)

SIZES = {"S": 2, "T": 3, "C": 4, "Z": 5, "Y": 6, "X": 7}
DIGITS = {"S": 10**5, "T": 10**4, "C": 10**3, "Z": 10**2, "Y": 10, "X": 1}

EVERY_ORDER = [
    "".join(order)
    for n in range(5)
    for others in combinations("STCZ", n)
    for order in permutations((*others, "Y", "X"))
]
SOME_ORDERS = ["YX", "XY", "TYX", "YXC", "ZYX", "XYZ", "STCZYX", "XYZCTS", "YTXSC", "CZTYX", "TSYX"]


def spelled(axes):
    """Make an image in `axes`: each pixel is the sum of its indices times `DIGITS`."""
    image = np.zeros((1,) * len(axes), dtype=np.int64)
    for place, axis in enumerate(axes):
        shape = [1] * len(axes)
        shape[place] = SIZES[axis]
        image = image + (np.arange(SIZES[axis]) * DIGITS[axis]).reshape(shape)
    return image


def spelled_inside(axes):
    """Make the same image in SC(Z)YX, T running fastest on the sample axis."""
    samples = [
        s * DIGITS["S"] + t * DIGITS["T"]
        for s in range(SIZES["S"] if "S" in axes else 1)
        for t in range(SIZES["T"] if "T" in axes else 1)
    ]
    image = np.asarray(samples)
    for axis in "C" + spatial_axes(axes):
        steps = np.arange(SIZES[axis] if axis in axes else 1) * DIGITS[axis]
        image = image[..., None] + steps
    return image


def test_all_orders_are_there():
    assert len(EVERY_ORDER) == 2 + 4 * 6 + 6 * 24 + 4 * 120 + 720


def test_transform_puts_every_pixel_in_its_place_in_every_order():
    for axes in EVERY_ORDER:
        image, expected = spelled(axes), spelled_inside(axes)
        layout = AxesTransform(axes, image.shape)
        assert layout.transformed_shape == expected.shape, axes
        assert len(layout.transformed_axes) == expected.ndim, axes
        np.testing.assert_array_equal(layout.transform(image), expected, err_msg=axes)


def test_restore_undoes_transform_in_every_order():
    for axes in EVERY_ORDER:
        image = spelled(axes)
        layout = AxesTransform(axes, image.shape)
        restored = layout.restore(spelled_inside(axes))
        np.testing.assert_array_equal(restored, image, err_msg=axes)
        n_channels = SIZES["C"] if "C" in axes else 1
        assert layout.restored_axes(n_channels) == axes
        assert layout.restored_shape(n_channels) == image.shape


def test_the_documented_example():
    assert AxesTransform("YXC", (512, 620, 2)).transformed_shape == (1, 2, 512, 620)


@pytest.mark.parametrize(
    ("axes", "n_channels", "out_axes", "out_shape"),
    [
        ("YX", 1, "YX", (6, 7)),
        ("YX", 2, "CYX", (2, 6, 7)),
        ("TYX", 2, "TCYX", (3, 2, 6, 7)),
        ("XYT", 2, "CXYT", (2, 7, 6, 3)),
        ("SZYX", 3, "SCZYX", (2, 3, 5, 6, 7)),
        ("YXC", 1, "YXC", (6, 7, 1)),
        ("CYX", 2, "CYX", (2, 6, 7)),
    ],
)
def test_restore_with_another_number_of_channels(axes, n_channels, out_axes, out_shape):
    layout = AxesTransform(axes, [SIZES[axis] for axis in axes])
    assert layout.restored_axes(n_channels) == out_axes
    assert layout.restored_shape(n_channels) == out_shape
    inside = np.arange(n_channels).reshape(1, -1, *(1,) * len(spatial_axes(axes)))
    samples, _, *spatial = layout.transformed_shape
    restored = layout.restore(np.broadcast_to(inside, (samples, n_channels, *spatial)))
    assert restored.shape == out_shape
    if "C" in out_axes:
        moved = np.moveaxis(restored, out_axes.index("C"), 0)
        for channel in range(n_channels):
            assert (moved[channel] == channel).all()


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ("YXQ", "unknown letters Q"),
        ("YXX", "names an axis twice"),
        ("TZX", "lacks Y or X"),
        ("", "lacks Y or X"),
    ],
)
def test_bad_axes_are_named_in_the_error(axes, told):
    with pytest.raises(AxesError, match=told) as caught:
        check_axes(axes)
    assert f"axes='{axes}'" in str(caught.value)


def test_axes_that_do_not_fit_the_image_are_refused():
    with pytest.raises(AxesError, match=r"'YX' names 2 axes but the image has 3"):
        AxesTransform("YX", (3, 4, 5))


def test_small_letters_are_capitals():
    assert AxesTransform("tyx", (2, 3, 4)).original_axes == "TYX"


@pytest.mark.parametrize("axes", SOME_ORDERS)
def test_slices_and_reshape_read_what_the_transform_has(axes):
    image, inside = spelled(axes), spelled_inside(axes)
    rng = np.random.default_rng(0)
    spatial = inside.shape[2:]
    for _ in range(10):
        sample = int(rng.integers(inside.shape[0]))
        coords = [int(rng.integers(n)) for n in spatial]
        size = [int(rng.integers(1, n - c + 1)) for n, c in zip(spatial, coords, strict=True)]
        slices = get_patch_slices(axes, image.shape, sample, None, coords, size)
        patch = reshape_patch(image[slices], axes)
        window = tuple(slice(c, c + n) for c, n in zip(coords, size, strict=True))
        np.testing.assert_array_equal(patch, inside[(sample, slice(None), *window)])


@pytest.mark.parametrize("channels", [[0], [3], [1, 2], [3, 0], [2, 2]])
@pytest.mark.parametrize("axes", ["CYX", "YXC", "YCXT", "XCZY"])
def test_channels_come_in_the_order_asked_for(axes, channels):
    image, inside = spelled(axes), spelled_inside(axes)
    n = len(spatial_axes(axes))
    slices = get_patch_slices(axes, image.shape, 0, channels, (1,) * n, (3,) * n)
    patch = reshape_patch(image[slices], axes)
    window = (slice(1, 4),) * n
    np.testing.assert_array_equal(patch, inside[0][channels][(slice(None), *window)])


def test_a_run_of_channels_is_a_slice():
    assert get_patch_slices("CYX", (4, 6, 7), 0, [1, 2], (0, 0), (6, 7))[0] == slice(1, 3)


@pytest.mark.parametrize(
    ("coords", "size", "expected"),
    [
        ((-2, 0), (4, 7), (slice(0, 2), slice(0, 7))),
        ((4, 5), (8, 8), (slice(4, 6), slice(5, 7))),
        ((-9, 0), (4, 7), (slice(0, 0), slice(0, 7))),
        ((9, 0), (4, 7), (slice(6, 6), slice(0, 7))),
    ],
)
def test_slices_leave_out_what_is_outside_the_image(coords, size, expected):
    assert get_patch_slices("YX", (6, 7), 0, None, coords, size) == expected


@pytest.mark.parametrize(
    ("sample", "channels"), [(6, None), (-1, None), (0, [4]), (0, [-1]), (0, [0, 9])]
)
def test_samples_and_channels_out_of_range_are_refused(sample, channels):
    with pytest.raises(IndexError, match="out of range"):
        get_patch_slices("STCYX", (2, 3, 4, 6, 7), sample, channels, (0, 0), (2, 2))


def test_coords_of_another_dimension_are_refused():
    with pytest.raises(AxesError, match="expected 3 entries each, in the order ZYX"):
        get_patch_slices("ZYX", (5, 6, 7), 0, None, (0, 0), (2, 2))


def test_reshape_patch_takes_patches_without_sample_axes():
    patch = spelled("YCX")
    with_t = patch[:, None]
    expected = spelled_inside("YCX")[0]
    np.testing.assert_array_equal(reshape_patch(patch, "YTCX"), expected)
    np.testing.assert_array_equal(reshape_patch(with_t, "YTCX"), expected)


@pytest.mark.parametrize(
    ("shape", "axes", "told"),
    [((2, 6, 7), "TYX", "has 2 samples"), ((6,), "TYX", "expected 3 dimensions, or 2")],
)
def test_reshape_patch_refuses_what_is_not_one_sample(shape, axes, told):
    with pytest.raises(ShapeError, match=told):
        reshape_patch(np.zeros(shape), axes)


@pytest.mark.parametrize("axes", SOME_ORDERS)
def test_restore_patch_fits_where_the_patch_was_read(axes):
    image = spelled(axes)
    spatial = spatial_axes(axes)
    samples = AxesTransform(axes, image.shape).transformed_shape[0]
    copied = np.zeros_like(image)
    for sample in range(samples):
        slices = get_patch_slices(
            axes, image.shape, sample, None, (0,) * len(spatial), [SIZES[a] for a in spatial]
        )
        copied[slices] = restore_patch(reshape_patch(image[slices], axes), axes)
    np.testing.assert_array_equal(copied, image)


# -- any order, any size --------------------------------------------------------------------------


@st.composite
def images(draw):
    """Draw axes in any order and an image of any size in them, each pixel another number."""
    others = draw(st.lists(st.sampled_from("STCZ"), unique=True))
    axes = "".join(draw(st.permutations([*others, "Y", "X"])))
    shape = [draw(st.integers(1, 5), label=axis) for axis in axes]
    return axes, np.arange(np.prod(shape)).reshape(shape)


@st.composite
def windows(draw, sizes, outside=0):
    """Draw first pixel and size of a window, perhaps partly outside of the image."""
    coords = [draw(st.integers(-outside, n - 1 + outside)) for n in sizes]
    ends = [
        draw(st.integers(c + 1, n + outside)) if c < n + outside else c + 1
        for c, n in zip(coords, sizes, strict=True)
    ]
    return coords, [end - c for c, end in zip(coords, ends, strict=True)]


every_image = given(image=images(), data=st.data())


@settings(deadline=None)
@every_image
def test_there_and_back_is_the_same(image, data):
    axes, pixels = image
    layout = AxesTransform(axes, pixels.shape)
    inside = layout.transform(pixels)
    assert inside.shape == layout.transformed_shape
    np.testing.assert_array_equal(layout.restore(inside), pixels)
    places = [data.draw(st.integers(0, n - 1)) for n in inside.shape]
    where = layout.sample_position(places[0]) | dict(
        zip("C" + spatial_axes(axes), places[1:], strict=True)
    )
    assert inside[tuple(places)] == pixels[tuple(where[axis] for axis in axes)]


@settings(deadline=None)
@every_image
def test_any_patch_is_read_and_written_back(image, data):
    axes, pixels = image
    inside = AxesTransform(axes, pixels.shape).transform(pixels)
    sample = data.draw(st.integers(0, inside.shape[0] - 1))
    coords, size = data.draw(windows(inside.shape[2:], outside=2))
    numbers = st.lists(st.integers(0, inside.shape[1] - 1), min_size=1, max_size=4)
    channels = data.draw(st.none() | (numbers if "C" in axes else st.just([0])))
    slices = get_patch_slices(axes, pixels.shape, sample, channels, coords, size)
    patch = reshape_patch(pixels[slices], axes)
    window = tuple(slice(max(c, 0), max(c + n, 0)) for c, n in zip(coords, size, strict=True))
    picked = slice(None) if channels is None else channels
    np.testing.assert_array_equal(patch, inside[sample][picked][(slice(None), *window)])
    np.testing.assert_array_equal(restore_patch(patch, axes), pixels[slices])


@settings(deadline=None)
@every_image
def test_boxes_hold_the_samples_in_their_order(image, data):
    axes, pixels = image
    layout = AxesTransform(axes, pixels.shape)
    inside = layout.transform(pixels)
    first = data.draw(st.integers(0, inside.shape[0] - 1))
    samples = range(first, data.draw(st.integers(first + 1, inside.shape[0])))
    coords, size = data.draw(windows(inside.shape[2:]))
    boxes = layout.boxes(samples, coords, size)
    parts = [AxesTransform(axes, pixels[box].shape).transform(pixels[box]) for box in boxes]
    window = tuple(slice(c, c + n) for c, n in zip(coords, size, strict=True))
    expected = inside[(slice(samples.start, samples.stop), slice(None), *window)]
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    whole_s = first % layout.size("T") == 0 and samples.stop % layout.size("T") == 0
    assert len(boxes) == 1 or not whole_s  # read at once where it can be
    assert len(boxes) <= len(samples)
