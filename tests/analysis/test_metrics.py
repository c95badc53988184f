"""Scores by hand, invariances, and the blur against SciPy's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from careamist.analysis import (
    BestBlur,
    best_gaussian,
    gaussian_blur,
    psnr,
    scale_invariant_psnr,
    ssim,
)
from careamist.analysis.metrics import DEFAULT_SIGMAS
from careamist.errors import DataError, SettingsError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture
def picture() -> NDArray[np.float64]:
    """Draw a smooth picture of unequal sides with values from about 0 to 200."""
    y, x = np.arange(48.0)[:, None], np.arange(61.0)
    drawn: NDArray[np.float64] = 100 + 60 * np.sin(y / 6) * np.cos(x / 9) + 0.5 * x
    return drawn


def _noisy(picture: NDArray[np.float64], std: float = 12.0) -> NDArray[np.float64]:
    return picture + np.random.default_rng(1).normal(0, std, picture.shape)


def test_psnr_by_hand() -> None:
    """Range 10, every pixel off by 1: 10 log10(100 / 1) = 20 dB."""
    gt = np.array([[0.0, 10.0], [5.0, 5.0]])
    assert psnr(gt, gt + 1) == pytest.approx(20.0)
    assert psnr(gt, gt + np.array([[2.0, 0.0], [0.0, 0.0]])) == pytest.approx(20.0)
    assert psnr(gt, gt - 0.1) == pytest.approx(40.0)


def test_psnr_range_of_the_truth_not_of_the_format() -> None:
    """An explicit range shifts the score by 20 log10 of the ratio; the default is max - min."""
    gt = np.array([100, 110, 105, 105], dtype=np.uint8)
    pred = gt + np.uint8(1)
    assert psnr(gt, pred) == pytest.approx(20.0)
    assert psnr(gt, pred, data_range=255) == pytest.approx(20 * math.log10(255))
    assert psnr(gt, pred, data_range=255) - psnr(gt, pred) == pytest.approx(
        20 * math.log10(255 / 10)
    )


def test_unsigned_counts_do_not_wrap() -> None:
    """In uint16, 0 - 300 would be 65236, and 300² too large to hold."""
    dark, bright = np.array([0, 3000], dtype=np.uint16), np.array([300, 3300], dtype=np.uint16)
    assert psnr(dark, bright) == pytest.approx(20.0)
    assert psnr(bright, dark) == pytest.approx(20.0)


def test_psnr_of_identical_nan_and_infinite_images(picture: NDArray[np.float64]) -> None:
    """No error is infinitely good, a NaN is not hidden, an infinite pixel is infinitely bad."""
    assert psnr(picture, picture) == math.inf
    broken = picture.copy()
    broken[3, 4] = np.nan
    assert math.isnan(psnr(picture, broken))
    broken[3, 4] = np.inf
    assert psnr(picture, broken) == -math.inf


def test_scores_take_any_number_of_axes(picture: NDArray[np.float64]) -> None:
    """A volume scores as the same pixels laid flat."""
    volume = np.stack([picture, 2 * picture, picture - 7])
    other = _noisy(volume)
    for metric in (psnr, scale_invariant_psnr):
        assert metric(volume, other) == pytest.approx(metric(volume.ravel(), other.ravel()))


def test_scale_invariant_psnr_by_hand() -> None:
    """Truth ±1 (std 1, range 2); the error is orthogonal to the truth, gain 1/2, error² 1/2."""
    gt = np.array([-1.0, -1.0, 1.0, 1.0])
    pred = gt + np.array([-1.0, 1.0, -1.0, 1.0])
    # pred = (-2, 0, 0, 2), gain = 4 / 8, gain * pred = (-1, 0, 0, 1): the errors are 0, 1, 1, 0.
    assert scale_invariant_psnr(gt, pred) == pytest.approx(10 * math.log10(4 / 0.5))


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (3.5, 0), (1, 1000), (0.01, -40), (-2, 5)])
def test_scale_invariant_psnr_ignores_gain_and_offset(
    picture: NDArray[np.float64], gain: float, offset: float
) -> None:
    """Of the prediction and of the truth alike, where plain PSNR changes."""
    noisy = _noisy(picture)
    expected = scale_invariant_psnr(picture, noisy)
    assert scale_invariant_psnr(picture, gain * noisy + offset) == pytest.approx(expected)
    assert scale_invariant_psnr(gain * picture + offset, noisy) == pytest.approx(expected)
    if (gain, offset) != (1, 0):
        assert abs(psnr(picture, gain * noisy + offset) - psnr(picture, noisy)) > 1


def test_scale_invariant_psnr_is_the_best_affine_psnr(picture: NDArray[np.float64]) -> None:
    """NumPy's own straight-line fit gives the same number, and no other line a higher one."""
    noisy = 0.4 * _noisy(picture) + 3
    slope, intercept = np.polyfit(noisy.ravel(), picture.ravel(), 1)
    best = psnr(picture, slope * noisy + intercept)
    assert scale_invariant_psnr(picture, noisy) == pytest.approx(best)
    assert psnr(picture, 1.02 * slope * noisy + intercept) < best


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1])
def test_scale_invariant_psnr_of_a_constant_prediction(
    picture: NDArray[np.float64], value: float
) -> None:
    """Nothing fits better than the mean of the truth: the error is its variance."""
    flat = np.full_like(picture, value)
    expected = 20 * math.log10(np.ptp(picture) / picture.std())
    assert scale_invariant_psnr(picture, flat) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(37,), (48, 61), (5, 20, 23), (3, 2)])
@pytest.mark.parametrize("sigma", [0, 0.1, 0.3, 0.9, 1.7, 5.0])
def test_blur_is_that_of_scipy(shape: tuple[int, ...], sigma: float) -> None:
    """Also where the kernel is longer than the image."""
    ndimage = pytest.importorskip("scipy.ndimage")
    image = np.random.default_rng(2).normal(50, 10, shape)
    before = image.copy()
    expected = ndimage.gaussian_filter(image, sigma, mode="reflect", truncate=4.0)
    blurred = gaussian_blur(image, sigma)
    np.testing.assert_allclose(blurred, expected, rtol=1e-12)
    assert blurred.dtype == np.float64
    assert not np.shares_memory(blurred, image)
    np.testing.assert_array_equal(image, before)


def test_blur_by_hand() -> None:
    """A point becomes the sampled Gaussian; light is kept; integers are not truncated."""
    image = np.zeros((21, 21), dtype=np.uint16)
    image[10, 10] = 1000
    blurred = gaussian_blur(image, 1.0)
    assert blurred[10, 10] == pytest.approx(1000 / (2 * math.pi), rel=1e-3)
    assert blurred[10, 12] / blurred[10, 10] == pytest.approx(math.exp(-2))
    assert blurred.sum() == pytest.approx(1000)
    np.testing.assert_allclose(gaussian_blur(np.full((5, 6), 3), 2.0), 3.0)


def test_best_gaussian_finds_the_highest_score(picture: NDArray[np.float64]) -> None:
    """It is the maximum over all widths asked for, and lies between none and too much."""
    noisy = _noisy(picture)
    best = best_gaussian(picture, noisy)
    scores = [psnr(picture, gaussian_blur(noisy, sigma)) for sigma in DEFAULT_SIGMAS]
    assert isinstance(best, BestBlur)
    assert best.score == max(scores)
    assert best.sigma == DEFAULT_SIGMAS[int(np.argmax(scores))]
    assert 0.5 < best.sigma < 4.0
    assert best.score > psnr(picture, noisy) + 3
    np.testing.assert_array_equal(best.image, gaussian_blur(noisy, best.sigma))


def test_best_gaussian_without_noise_blurs_nothing(picture: NDArray[np.float64]) -> None:
    """The narrowest width leaves the picture as it is."""
    best = best_gaussian(picture, picture)
    assert (best.sigma, best.score) == (0.1, math.inf)


def test_best_gaussian_asks_the_metric_given(picture: NDArray[np.float64]) -> None:
    """A metric of the caller decides, and its number is returned."""
    noisy = _noisy(picture)

    def smoothness(gt: NDArray[Any], image: NDArray[Any]) -> float:
        return -float(image.std())

    assert best_gaussian(picture, noisy, smoothness, sigmas=(1.0, 2.0, 3.0)).sigma == 3.0
    affine = best_gaussian(picture, 5 * noisy + 9, scale_invariant_psnr, sigmas=(0.1, 1.5))
    plain = best_gaussian(picture, noisy, scale_invariant_psnr, sigmas=(0.1, 1.5))
    assert affine.score == pytest.approx(plain.score)


def test_default_widths() -> None:
    """0.1 to 5.0 in tenths, without rounding dust."""
    assert len(DEFAULT_SIGMAS) == 50
    assert DEFAULT_SIGMAS[0] == 0.1
    assert DEFAULT_SIGMAS[2] == 0.3
    assert DEFAULT_SIGMAS[-1] == 5.0


@pytest.mark.parametrize("metric", [psnr, scale_invariant_psnr, best_gaussian])
def test_unfit_images_are_refused(metric: Any, picture: NDArray[np.float64]) -> None:
    """The message says what was given and what was expected; the error is a ValueError."""
    with pytest.raises(ShapeError, match=r"\(48, 61\).*\(61, 48\).*expected equal shapes"):
        metric(picture, picture.T)
    with pytest.raises(ValueError, match=r"from 4\.0 to 4\.0; expected finite values"):
        metric(np.full((5, 5), 4.0), picture[:5, :5])
    with pytest.raises(DataError, match="empty"):
        metric(np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(DataError, match="from nan to nan"):
        metric(np.full((4, 4), np.nan), picture[:4, :4])
    with pytest.raises(DataError, match="complex128"):
        metric(picture, picture * 1j)


@pytest.mark.parametrize("data_range", [0, -1, math.nan, math.inf])
def test_unfit_ranges_are_refused(picture: NDArray[np.float64], data_range: float) -> None:
    """A range must be a positive number; given one, a constant truth is no obstacle."""
    with pytest.raises(SettingsError, match="data_range is"):
        psnr(picture, picture, data_range=data_range)
    assert psnr(np.zeros(4), np.ones(4), data_range=10) == pytest.approx(20.0)


def test_unfit_widths_are_refused(picture: NDArray[np.float64]) -> None:
    """Negative and NaN widths, and none at all."""
    for sigma in (-0.1, math.nan, math.inf):
        with pytest.raises(SettingsError, match="sigma is"):
            gaussian_blur(picture, sigma)
    with pytest.raises(SettingsError, match="at least one width"):
        best_gaussian(picture, picture, sigmas=())
    with pytest.raises(DataError, match="empty"):
        gaussian_blur(np.zeros((0, 3)), 1.0)


@pytest.mark.parametrize("shape", [(60, 71), (14, 40, 33)])
def test_ssim_is_that_of_scikit_image(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    truth = gaussian_blur(rng.normal(size=shape), 2) * 100 + 50
    other = truth + rng.normal(size=shape) * 5
    options: Any = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(truth, other, data_range=np.ptp(truth), **options)
    assert ssim(truth, other) == pytest.approx(expected, abs=2e-3)
    assert ssim(truth, truth) == pytest.approx(1)
    assert ssim(truth, other) < ssim(truth, (truth + other) / 2)


def test_ssim_depends_on_the_range(picture: NDArray[np.float64]) -> None:
    noisy = picture + np.random.default_rng(0).normal(size=picture.shape)
    assert ssim(picture, noisy, data_range=1000) > ssim(picture, noisy)
    with pytest.raises(SettingsError, match="data_range"):
        ssim(picture, noisy, data_range=0)
