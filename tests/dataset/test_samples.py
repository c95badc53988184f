"""The offline sample is what its docstring says: a model of optics and camera, reproducible."""

from __future__ import annotations

import time
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from careamist.analysis import best_gaussian, psnr
from careamist.dataset import samples
from careamist.dataset.samples import GAIN, OFFSET, READ_NOISE, clean_cells, noisy_cells
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = (0, 1, 2)


@cache
def _pair(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return clean_cells(seed=seed).astype(np.float64), noisy_cells(seed=seed).astype(np.float64)


@pytest.mark.parametrize("size", [1, 17, 64, 250])
def test_shape_and_dtype(size: int) -> None:
    """Square pictures of any size, counts as a camera gives them."""
    noisy, clean = noisy_cells(size), clean_cells(size)
    assert noisy.shape == clean.shape == (size, size)
    assert noisy.dtype == np.dtype("uint16")
    assert clean.dtype == np.dtype("float32")
    assert clean.min() > OFFSET


def test_defaults() -> None:
    """512 pixels, scene 0, and a pixel size that a viewer can show."""
    assert noisy_cells().shape == clean_cells().shape == (512, 512)
    np.testing.assert_array_equal(noisy_cells(), noisy_cells(512, 0))
    assert samples.PIXEL_SIZE_UM > 0


def test_reproducible_bit_for_bit() -> None:
    """Whatever was drawn in between."""
    noisy, clean = noisy_cells(128, 3), clean_cells(128, 3)
    noisy_cells(128, 4)
    np.testing.assert_array_equal(noisy, noisy_cells(128, 3))
    np.testing.assert_array_equal(clean, clean_cells(128, 3))


def test_seeds_differ_in_scene_and_noise() -> None:
    """Neither the structures nor the noise of two seeds are related."""
    (clean_a, noisy_a), (clean_b, noisy_b) = _pair(0), _pair(1)
    assert abs(np.corrcoef(clean_a.ravel(), clean_b.ravel())[0, 1]) < 0.2
    noise_a, noise_b = noisy_a - clean_a, noisy_b - clean_b
    assert abs(np.corrcoef(noise_a.ravel(), noise_b.ravel())[0, 1]) < 5 / 512


def test_seeds_differ_in_noise_on_the_same_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise has a generator of its own for every seed."""
    flat = np.full((256, 256), 130, dtype=np.float32)
    monkeypatch.setattr(samples, "clean_cells", lambda size, seed: flat)
    a, b = noisy_cells(256, 0).ravel(), noisy_cells(256, 1).ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / 256


@pytest.mark.parametrize("seed", SEEDS)
def test_clean_is_the_expected_value_of_noisy(seed: int) -> None:
    """Five standard errors, in the whole picture and apart in its dark and bright pixels."""
    clean, noisy = _pair(seed)
    variance = GAIN * (clean - OFFSET) + READ_NOISE**2 + 1 / 12
    edges = np.quantile(clean, [0, 0.25, 0.5, 0.75, 1])
    parts = [(clean >= low) & (clean <= high) for low, high in pairwise(edges)]
    for part in (np.ones_like(clean, dtype=bool), *parts):
        error = np.sqrt(variance[part].sum()) / part.sum()
        assert abs((noisy - clean)[part].mean()) < 5 * error


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_that_of_the_camera_model(seed: int) -> None:
    """The variance follows gain * (clean - offset) + read noise², dark and bright, within 3 %."""
    clean, noisy = _pair(seed)
    predicted = GAIN * (clean - OFFSET) + READ_NOISE**2 + 1 / 12
    edges = np.quantile(clean, [0, 0.25, 0.5, 0.75, 1])
    for low, high in pairwise(edges):
        part = (clean >= low) & (clean <= high)
        measured = ((noisy - clean)[part] ** 2).mean()
        assert measured == pytest.approx(predicted[part].mean(), rel=0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_independent_between_neighbours(seed: int) -> None:
    """What blind-spot training assumes; 512² pixels give a standard error of 1/512."""
    clean, noisy = _pair(seed)
    noise = (noisy - clean) / np.sqrt(GAIN * (clean - OFFSET) + READ_NOISE**2)
    for a, b in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])):
        assert abs((a * b).mean()) < 5 / 512


@pytest.mark.parametrize("seed", SEEDS)
def test_light_levels(seed: int) -> None:
    """A dim background and bright structures, far from what a camera can hold."""
    clean, noisy = _pair(seed)
    photons = (clean - OFFSET) / GAIN
    assert 5 < np.quantile(photons, 0.05) < 15
    assert 60 < np.quantile(photons, 0.999) < 150
    assert noisy.max() < 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_blur_gains_three_to_eight_db(seed: int) -> None:
    """Noise is worth removing, and the detail is too fine for a blur to remove it well."""
    clean, noisy = _pair(seed)
    best = best_gaussian(clean, noisy)
    assert 3 < best.score - psnr(clean, noisy) < 8
    assert 0.3 < best.sigma < 2


def test_the_picture_stays_the_same() -> None:
    """Published figures were measured on scene 0: to change it is a decision, not an accident."""
    clean, noisy = _pair(0)
    best = best_gaussian(clean, noisy)
    assert psnr(clean, noisy) == pytest.approx(28.70, abs=0.01)
    assert best.score == pytest.approx(34.27, abs=0.01)
    assert best.sigma == 0.7


def test_optics_leave_no_single_pixels() -> None:
    """The truth is as smooth as its blur: little of it is finer than the optics resolve."""
    clean, _ = _pair(0)
    power = np.abs(np.fft.fft2((clean - clean.mean()) * np.outer(np.hanning(512), np.hanning(512))))
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512))
    share = (power[frequency > 0.4] ** 2).sum() / (power**2).sum()
    assert share < 1e-3


def test_drawn_in_a_moment() -> None:
    """A sample opens at once; the best of three, for machines that are busy."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        noisy_cells()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_impossible_requests_are_refused() -> None:
    """A ValueError that says what was given."""
    for draw in (noisy_cells, clean_cells):
        with pytest.raises(SettingsError, match="size is 0; expected"):
            draw(0)
        with pytest.raises(ValueError, match="seed is -1; expected"):
            draw(64, seed=-1)
