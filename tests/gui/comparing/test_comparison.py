"""Which layers fit, lazy crops and differences, and the numbers that are told of them."""

from __future__ import annotations

import math

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from scipy.ndimage import map_coordinates

from careamist.analysis.metrics import psnr, ssim
from careamist.gui.comparing.comparison import (
    Difference,
    Leading,
    default_pair,
    figures,
    fitting,
    misfit,
    sample,
    to_pixel,
    to_world,
    windows,
)
from careamist.gui.comparing.measuring import Told, figures_question, profile_question

pytestmark = pytest.mark.gui


def no_check() -> None:
    pass


class Counting:
    """An array that knows how much of it was read."""

    def __init__(self, array):
        self.array, self.most = array, 0
        self.shape, self.dtype, self.ndim, self.size = (
            array.shape,
            array.dtype,
            array.ndim,
            array.size,
        )

    def __getitem__(self, key):
        found = self.array[key]
        self.most = max(self.most, np.size(found))
        return found


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "key",
    [
        (2, slice(None), slice(None)),
        (slice(None), 3, slice(None)),
        (0, slice(1, 4), slice(2, 5)),
        (1,),
        (Ellipsis, slice(0, 99)),
        Ellipsis,
        slice(None),
    ],
)
def test_leading_columns_are_those_of_the_array(rng, key):
    array = rng.random((3, 5, 8))
    cut = Leading(array, 2, 6)
    assert cut.shape == (3, 5, 6)
    assert (cut.ndim, cut.size, cut.dtype) == (3, 90, array.dtype)
    np.testing.assert_array_equal(cut[key], array[..., :6][key])


@pytest.mark.parametrize("shapes", [((4, 6), (4, 6)), ((3, 4, 6), (4, 6)), ((1, 4, 6), (3, 4, 6))])
def test_difference_is_that_of_whole_arrays(rng, shapes):
    raw = rng.integers(0, 60_000, shapes[0]).astype(np.uint16)
    restored = rng.random(shapes[1]).astype(np.float32) * 60_000
    removed = Difference(raw, restored)
    expected = raw.astype(np.float32) - restored
    assert removed.shape == expected.shape
    np.testing.assert_allclose(removed[...], expected)
    key = (*(0,) * (expected.ndim - 2), slice(1, 3), slice(2, None))
    np.testing.assert_allclose(removed[key], expected[key])


def test_difference_of_colours_is_that_of_their_means(rng):
    raw, restored = rng.integers(0, 255, (2, 4, 6, 3)).astype(np.uint8)
    removed = Difference(raw, restored, is_rgb=True)
    assert removed.shape == (4, 6)
    expected = raw.astype(np.float32).mean(-1) - restored.astype(np.float32).mean(-1)
    np.testing.assert_allclose(removed[...], expected, atol=1e-4)


def test_only_what_is_asked_for_is_read(rng):
    raw, restored = (Counting(rng.random((50, 8, 8))) for _ in range(2))
    assert Difference(raw, restored)[7, :, :].shape == (8, 8)
    Leading(raw, 2, 5)[7, :, :]
    assert raw.most == restored.most == 64


@pytest.mark.parametrize(
    ("raw", "restored", "words"),
    [
        ((8, 9), (8, 9), ""),
        ((3, 8, 9), (8, 9), ""),
        ((3, 8, 9), (1, 8, 9), ""),
        ((8, 9), (8, 8), "“a” is 8 × 9 and “b” is 8 × 8. Choose two images of one size."),
        ((3, 8, 9), (4, 8, 9), "“a” is 3 × 8 × 9 and “b” is 4 × 8 × 9."),
        ((8, 1), (8, 9), "“a” is 8 × 1 and “b” is 8 × 9."),
    ],
)
def test_misfit_names_both_shapes(raw, restored, words):
    a, b = Image(np.zeros(raw), name="a"), Image(np.zeros(restored), name="b")
    assert misfit(a, b).startswith(words)
    assert bool(misfit(a, b)) == bool(words)


def test_misfit_of_one_layer_and_of_colours():
    grey, colored = (
        Image(np.zeros((8, 9)), name="g"),
        Image(np.zeros((8, 9, 3)), name="c", rgb=True),
    )
    assert "chosen twice" in misfit(grey, grey)
    assert "“c” is in colour and “g” is grey" in misfit(grey, colored)
    assert "“c” is in colour and “g” is grey" in misfit(colored, grey)


def test_a_result_of_a_smaller_level_fits_that_level():
    levels = [np.zeros((32, 32)), np.zeros((16, 16))]
    raw = Image(levels, multiscale=True)
    restored = Image(np.zeros((16, 16)))
    ours, theirs = fitting(raw, restored)
    assert [level.shape for level in ours] == [(16, 16)]
    assert theirs[0].shape == (16, 16)


def test_the_newest_result_and_its_source_are_proposed():
    raw, other = Image(np.zeros((4, 4)), name="cells"), Image(np.zeros((4, 4)), name="x")
    first = Image(np.zeros((4, 4)), name="p", metadata={"careamist": {"source": "cells"}})
    by_name = Image(np.zeros((4, 4)), name="x (N2V)")
    orphan = Image(np.zeros((4, 4)), name="q (N2V)")
    assert default_pair([raw, other]) is None
    assert default_pair([]) is None
    assert default_pair([raw, first, other]) == (raw, first)
    assert default_pair([raw, first, other, by_name, orphan]) == (other, by_name)
    assert default_pair([first]) is None


def test_figures_are_those_of_the_metrics(rng):
    clean = rng.random((40, 50)) * 100
    raw, restored = clean + rng.normal(0, 20, (2, 40, 50)) * np.array([1, 0.2])[:, None, None]
    found = figures(raw, restored, clean)
    assert found.psnr == (psnr(clean, raw), psnr(clean, restored))
    assert found.ssim == (ssim(clean, raw), ssim(clean, restored))
    assert found.data_range == np.ptp(clean)
    assert found.mean == pytest.approx((raw - restored).mean())
    assert found.std == pytest.approx((raw - restored).std())
    assert np.mean(np.abs(raw - restored) <= found.spread) == pytest.approx(0.995, abs=0.001)


def test_figures_say_why_there_is_no_psnr(rng):
    raw = rng.random((12, 12))
    found = figures(raw, raw * 0.5, np.ones((12, 12)))
    assert found.psnr is None
    assert "not all equal" in found.problem
    assert found.std > 0


def test_missing_pixels_are_left_out(rng):
    raw, restored = rng.random((2, 12, 12))
    restored[:6] = np.nan
    found = figures(raw, restored)
    assert found.mean == pytest.approx((raw - restored)[6:].mean())
    assert math.isnan(figures(raw, np.full_like(raw, np.nan)).mean)


def test_words_hold_only_what_was_measured(rng):
    clean = rng.random((40, 50)) * 100
    raw, restored = clean + 10, clean + 1
    words = Told("Measured on the whole slice.", False, figures=figures(raw, restored)).words()
    assert words[0] == ""
    assert words[1] == "What was removed has mean 9.0 and standard deviation 0.0."
    assert words[2] == "Measured on the whole slice."
    full = Told("Here.", False, figures=figures(raw, restored, clean)).words()
    before, after = psnr(clean, raw), psnr(clean, restored)
    assert full[0].startswith(f"PSNR {before:.1f} → {after:.1f} dB · SSIM 0.")
    assert f"{np.ptp(clean):.1f}" in full[2]
    assert Told("Here.", False).words() == ("", "", "")
    assert Told("Here.", False, problem="disk gone").words()[1] == "disk gone"
    small = figures(rng.normal(0, 1e-3, (9, 9)), np.zeros((9, 9)))
    assert "deviation 0.00" in Told("", False, figures=small).words()[1]


def test_sample_is_linear_and_knows_the_border(rng):
    image = rng.random((10, 12))
    rows, columns = rng.uniform(0, 9, 50), rng.uniform(0, 11, 50)
    expected = map_coordinates(image, [rows, columns], order=1)
    np.testing.assert_allclose(sample(image, rows, columns), expected)
    assert np.isnan(sample(image, [-1, 0, 9.6], [0, 12, 3])).all()
    assert sample(image, -0.4, 0) == image[0, 0]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_windows_are_what_napari_shows(rng, order):
    viewer = ViewerModel()
    data = rng.random((4, 5, 6))
    layer = viewer.add_image(data, scale=(2, 0.5, 0.25), translate=(1, 2, 3))
    viewer.dims.order = order
    viewer.dims.set_current_step(0, 2)
    viewer.dims.set_current_step(1, 3)
    viewer.dims.set_current_step(2, 1)
    (window,) = windows(viewer, [data], layer)
    np.testing.assert_array_equal(window.read(), layer._slice.image.view)  # what is drawn
    pixel = to_pixel(viewer, layer, to_world(viewer, layer, (1.5, 2.25)))
    np.testing.assert_allclose(pixel, (1.5, 2.25))


def test_windows_of_an_image_with_fewer_axes(rng):
    viewer = ViewerModel()
    stack, flat = rng.random((4, 5, 6)), rng.random((5, 6))
    guide = viewer.add_image(stack)
    viewer.add_image(flat)
    viewer.dims.set_current_step(0, 3)
    a, b = windows(viewer, [stack, flat], guide, (1, 4, 2, 6))
    np.testing.assert_array_equal(a.read(), stack[3, 1:4, 2:6])
    np.testing.assert_array_equal(b.read(), flat[1:4, 2:6])
    viewer.dims.order = (1, 0, 2)
    assert windows(viewer, [flat], viewer.layers[1]) is None


def test_a_profile_reads_along_the_line(rng):
    viewer = ViewerModel()
    data = rng.random((3, 20, 30))
    kw = {"scale": (1, 0.5, 0.5), "translate": (0, 10, 20), "units": ("s", "µm", "µm")}
    raw = viewer.add_image(data, **kw)
    restored = viewer.add_image(data / 2, **kw)
    viewer.dims.set_current_step(0, 1)
    found = profile_question(viewer, raw, restored, [(12, 21), (12, 31)])(no_check)
    assert found.unit == "µm"
    assert found.distance[-1] == pytest.approx(10)
    np.testing.assert_allclose(found.raw, data[1, 4, 2:23])
    np.testing.assert_allclose(found.restored, found.raw / 2)
    middle = profile_question(viewer, raw, restored, None)(no_check)
    np.testing.assert_allclose(middle.raw, data[1, 10])
    outside = profile_question(viewer, raw, restored, [(0, 0), (0, 5)])(no_check)
    assert np.isnan(outside.raw).all()


def test_of_a_large_image_the_part_in_view_is_measured():
    viewer = ViewerModel()
    data = da.zeros((5000, 5000), chunks=1000, dtype=np.uint16)
    raw, restored = viewer.add_image(data), viewer.add_image(data.astype(np.float32) + 1)
    told, ask = figures_question(
        viewer, raw, restored, None, lambda *_: (100, 130, 200, 240), 4_000_000
    )
    assert told.is_part
    assert told.where == "Measured on the part in view, 30 × 40 pixels."
    assert ask(no_check).mean == -1
    told, _ = figures_question(viewer, raw, restored, None, None, 4_000_000)
    assert told.where == "Measured on the part in view, 2000 × 2000 pixels."


def test_a_clean_image_that_does_not_fit_is_named(rng):
    viewer = ViewerModel()
    raw, restored = (viewer.add_image(rng.random((8, 9))) for _ in range(2))
    clean = viewer.add_image(rng.random((8, 8)), name="truth")
    told, ask = figures_question(viewer, raw, restored, clean, None, 10_000)
    assert told.note == "“truth” has another shape."
    assert ask(no_check).psnr is None
    told, _ = figures_question(viewer, raw, restored, raw, None, 10_000)
    assert "one of the two" in told.note
