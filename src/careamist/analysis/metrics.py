"""Numbers that say how close a restored image is to the truth, and the best plain blur to beat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from careamist.errors import DataError, SettingsError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

DEFAULT_SIGMAS: tuple[float, ...] = tuple(step / 10 for step in range(1, 51))
"""The widths, in pixels, that `best_gaussian` tries: 0.1 to 5.0 in steps of 0.1."""

# A kernel is cut at this many sigmas, as `scipy.ndimage.gaussian_filter` does by default.
_TRUNCATE = 4.0
_SSIM_SIGMA = 1.5


class BestBlur(NamedTuple):
    """The Gaussian blur that scored highest.

    Attributes
    ----------
    sigma : float
        Width of the blur in pixels.
    score : float
        What the metric said of the blurred image.
    image : numpy.ndarray
        The blurred image, float64, of the shape of the noisy one.
    """

    sigma: float
    score: float
    image: NDArray[np.float64]


def psnr(gt: ArrayLike, pred: ArrayLike, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB: ``10 log10(data_range² / mean((gt - pred)²))``.

    The default range is ``max(gt) - min(gt)``, the span that the image really uses. The textbook
    range for 8-bit photographs is 255, the span that the *format* allows; for camera counts that
    number means nothing, and a dim 16-bit image would get a flattering score with 65535. Scores
    with different ranges differ by ``20 log10(range_1 / range_2)`` dB and must not be compared;
    pass ``data_range=255`` to compare with tables that were made so.

    Parameters
    ----------
    gt : array_like
        Ground truth, any shape and real dtype (computed in float64).
    pred : array_like
        The image to judge, same shape and units as `gt`.
    data_range : float or None
        The peak, in the units of `gt`; None takes ``max(gt) - min(gt)``.

    Returns
    -------
    float
        PSNR in dB, higher is better; infinity for identical images, NaN if `pred` holds NaN.

    Raises
    ------
    ShapeError, DataError, SettingsError
        All of them ValueErrors: shapes differ; an image is empty or complex, or `gt` is constant
        or not finite (without `data_range`); `data_range` is not a positive number.
    """
    truth, guess = _pair(gt, pred)
    return _psnr(truth, guess, _range_of(truth) if data_range is None else _positive(data_range))


def scale_invariant_psnr(gt: ArrayLike, pred: ArrayLike) -> float:
    """PSNR in dB that ignores the gain and the offset of the prediction.

    The truth is made zero-mean and divided by its standard deviation, the prediction is made
    zero-mean and multiplied by the gain that fits it best to that truth (least squares), and the
    PSNR is taken with the range ``(max(gt) - min(gt)) / std(gt)``. The idea of comparing after an
    affine fit is that of Weigert et al., "Content-aware image restoration: pushing the limits of
    fluorescence microscopy", Nature Methods 15, 1090-1097 (2018), doi:10.1038/s41592-018-0216-7.

    The fitted gain may be negative, so an inverted image scores as well as an upright one. A
    constant prediction carries no structure and is fitted with gain zero.

    Parameters
    ----------
    gt : array_like
        Ground truth, any shape and real dtype (computed in float64).
    pred : array_like
        The image to judge, same shape as `gt`, in any units.

    Returns
    -------
    float
        Scale-invariant PSNR in dB, higher is better.

    Raises
    ------
    ShapeError, DataError
        Both ValueErrors: shapes differ; an image is empty or complex, or `gt` is constant or not
        finite.
    """
    truth, guess = _pair(gt, pred)
    spread = float(truth.std())
    data_range = _range_of(truth) / spread
    truth = (truth - truth.mean()) / spread
    guess = guess - guess.mean()
    energy = float(np.sum(guess * guess))
    gain = 0.0 if energy == 0 else float(np.sum(truth * guess)) / energy
    return _psnr(truth, gain * guess, data_range)


def ssim(gt: ArrayLike, pred: ArrayLike, data_range: float | None = None) -> float:
    """Structural similarity, the mean over the image (Wang et al., IEEE TIP 13, 2004).

    Means, variances and the covariance at each pixel are weighted by a Gaussian of sigma 1.5;
    ``C1 = (0.01 data_range)²``, ``C2 = (0.03 data_range)²``. The five pixels at each border, where
    the window reaches outside, are left out if the image is larger than that.

    Parameters
    ----------
    gt : array_like
        Ground truth, 2D or 3D, any real dtype (computed in float64).
    pred : array_like
        The image to judge, same shape and units as `gt`.
    data_range : float or None
        The peak, in the units of `gt`; None takes ``max(gt) - min(gt)``. See `psnr`.

    Returns
    -------
    float
        1 for identical images; NaN if `pred` holds NaN.

    Raises
    ------
    ShapeError, DataError, SettingsError
        As for `psnr`.
    """
    truth, guess = _pair(gt, pred)
    peak = _range_of(truth) if data_range is None else _positive(data_range)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2

    def local(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return gaussian_blur(image, _SSIM_SIGMA)

    a, b = local(truth), local(guess)
    var_a, var_b = local(truth**2) - a**2, local(guess**2) - b**2
    covariance = local(truth * guess) - a * b
    similarity = (2 * a * b + c1) * (2 * covariance + c2)
    similarity /= (a**2 + b**2 + c1) * (var_a + var_b + c2)
    inside = tuple(slice(5, -5) if n > 10 else slice(None) for n in truth.shape)
    return float(similarity[inside].mean())


def gaussian_blur(image: ArrayLike, sigma: float) -> NDArray[np.float64]:
    """Blur every axis of an image with a Gaussian, mirrored at the borders.

    The border is mirrored with the edge pixel repeated (``d c b a | a b c d | d c b a``) and the
    kernel ends at four sigmas: the results are those of ``scipy.ndimage.gaussian_filter`` with
    ``mode="reflect"`` and ``truncate=4`` on float64, without needing SciPy.

    Parameters
    ----------
    image : array_like
        Any shape and real dtype; all axes are blurred, so pass one channel at a time.
    sigma : float
        Standard deviation of the Gaussian in pixels; 0 leaves the image as it is.

    Returns
    -------
    numpy.ndarray
        The blurred image, a new float64 array of the same shape.

    Raises
    ------
    SettingsError, DataError
        Both ValueErrors: `sigma` is negative or not finite; the image is empty or complex.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise SettingsError(f"sigma is {sigma}; expected a finite number of pixels, 0 or more.")
    blurred = _real(image).copy()
    if blurred.size == 0:
        raise DataError(f"The image is empty (shape {blurred.shape}); expected pixels.")
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return blurred
    kernel = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    kernel /= kernel[0] + 2 * kernel[1:].sum()
    for axis in range(blurred.ndim):
        blurred = _convolve(blurred, kernel, axis)
    return blurred


def best_gaussian(
    gt: ArrayLike,
    noisy: ArrayLike,
    metric: Callable[[NDArray[Any], NDArray[Any]], float] = psnr,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
) -> BestBlur:
    """Find the Gaussian blur of a noisy image that comes closest to the truth.

    This is the baseline that any restoration network has to beat: it is chosen with the truth in
    hand, so no plain Gaussian blur can do better on this image.

    Parameters
    ----------
    gt : array_like
        Ground truth, any shape and real dtype.
    noisy : array_like
        The noisy image, same shape and units as `gt`.
    metric : callable
        ``metric(gt, image) -> float``, higher is better; `psnr` unless told otherwise.
    sigmas : sequence of float
        The widths to try, in pixels; the first one wins a tie.

    Returns
    -------
    BestBlur
        The best width, its score and the blurred image (float64).

    Raises
    ------
    SettingsError, ShapeError, DataError
        All of them ValueErrors: no `sigmas`, or whatever `metric` and `gaussian_blur` refuse.
    """
    if len(sigmas) == 0:
        raise SettingsError("sigmas is empty; expected at least one width in pixels.")
    truth, image = _pair(gt, noisy)
    best: BestBlur | None = None
    for sigma in sigmas:
        blurred = gaussian_blur(image, sigma)
        score = metric(truth, blurred)
        if best is None or score > best.score:
            best = BestBlur(float(sigma), score, blurred)
    assert best is not None
    return best


# Unsigned camera counts would wrap around in a difference, hence float64 before anything else.
def _real(image: ArrayLike) -> NDArray[np.float64]:
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "biuf":
        raise DataError(
            f"The pixels are of type {pixels.dtype}; expected integers or real numbers.",
            "Of complex images, give the magnitude.",
        )
    return pixels.astype(np.float64, copy=False)


def _pair(gt: ArrayLike, pred: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, guess = _real(gt), _real(pred)
    if truth.shape != guess.shape:
        raise ShapeError(
            f"The truth has shape {truth.shape} and the other image {guess.shape}; "
            "expected equal shapes.",
            "Crop or transpose one of them.",
        )
    if truth.size == 0:
        raise DataError(f"The images are empty (shape {truth.shape}); expected pixels.")
    return truth, guess


def _range_of(truth: NDArray[np.float64]) -> float:
    low, high = float(truth.min()), float(truth.max())
    if not (math.isfinite(high - low) and high > low):
        raise DataError(
            f"The truth runs from {low} to {high}; expected finite values that are not all equal.",
            "Check that the right image was given as truth.",
        )
    return high - low


def _positive(data_range: float) -> float:
    if not (math.isfinite(data_range) and data_range > 0):
        raise SettingsError(f"data_range is {data_range}; expected a finite number above 0.")
    return float(data_range)


def _psnr(truth: NDArray[np.float64], guess: NDArray[np.float64], data_range: float) -> float:
    error = float(np.mean((truth - guess) ** 2))
    return math.inf if error == 0 else 20 * math.log10(data_range) - 10 * math.log10(error)


# `kernel` is the right half of a symmetric kernel, its centre first.
def _convolve(
    image: NDArray[np.float64], kernel: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    radius, length = len(kernel) - 1, image.shape[axis]
    pad = [(radius, radius) if a == axis else (0, 0) for a in range(image.ndim)]
    padded = np.moveaxis(np.pad(image, pad, mode="symmetric"), axis, 0)
    out = kernel[0] * padded[radius : radius + length]
    for step in range(1, radius + 1):
        left, right = radius - step, radius + step
        out += kernel[step] * (padded[left : left + length] + padded[right : right + length])
    return np.moveaxis(out, 0, axis)
