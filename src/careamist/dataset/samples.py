"""An offline sample: a fluorescence micrograph computed from a physical model, with its truth.

Nothing is downloaded and nothing is shipped: the picture is drawn by code. Cells with textured
nuclei, filaments and puncta lie on an uneven background; the optics blur them; the camera counts
photons (Poisson), multiplies by its gain, adds read noise (Gaussian) and an offset, and rounds:

    counts = round(GAIN * Poisson(photons) + OFFSET + Normal(0, READ_NOISE))
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from careamist.errors import SettingsError

PIXEL_SIZE_UM = 0.1
"""Side of a pixel in the specimen, in micrometres."""
OFFSET = 100.0
"""What the camera reads without light, in counts."""
GAIN = 1.5
"""Counts per detected photon."""
READ_NOISE = 2.0
"""Standard deviation of the read noise, in counts."""
PSF_SIGMA = 0.9
"""Width (standard deviation) of the optical blur, in pixels."""

# Drawn around the picture and cut off, so that the blur sees what lies beyond the border.
_MARGIN = 8
# Distance between cells, in pixels (20 µm).
_PITCH = 200
# Half axes of a nucleus, in pixels; the cell body is about twice as large.
_NUCLEUS = (34.0, 48.0)
# Per cell.
_FILAMENTS = 51
_PUNCTA = 240
# Own widths (standard deviations) of filaments and puncta before the optics, in pixels: with the
# optics they are 2.2 to 3.2 pixels wide at half height.
_WIDTHS = (0.3, 0.5, 1.0)
# Photons per pixel.
_BACKGROUND = 10.0
_CYTOPLASM = 7.0
_NUCLEOPLASM = 24.0
_FILAMENT_PEAK = (12.0, 44.0)
_PUNCTUM_PEAK = (14.0, 46.0)
# Distance between the points that a filament is drawn with, in pixels.
_STEP = 0.5

_Floats = NDArray[np.float64]


def clean_cells(size: int = 512, seed: int = 0) -> NDArray[np.float32]:
    """Draw the noise-free twin of `noisy_cells`: the expected value of every pixel.

    Parameters
    ----------
    size : int
        Height and width in pixels; the scene gets larger with it, not finer.
    seed : int
        Number of the scene, 0 or more; the same size and seed give the same scene.

    Returns
    -------
    numpy.ndarray
        Camera counts, ``GAIN * photons + OFFSET``, shape (`size`, `size`), axes YX, float32.

    Raises
    ------
    SettingsError
        Also a ValueError: `size` is below 1, or `seed` below 0.
    """
    if size < 1:
        raise SettingsError(
            f"size is {size}; expected a number of pixels, 1 or more.", "The usual size is 512."
        )
    if seed < 0:
        raise SettingsError(f"seed is {seed}; expected a number, 0 or more.", "The usual one is 0.")
    rng = np.random.default_rng([seed, 0])
    side = size + 2 * _MARGIN
    centres = _cell_centres(rng, side)
    photons = _soft_structures(rng, side, centres) + _fine_structures(rng, side, centres)
    inside = slice(_MARGIN, _MARGIN + size)
    return (GAIN * _blur(photons, PSF_SIGMA)[inside, inside] + OFFSET).astype(np.float32)


def noisy_cells(size: int = 512, seed: int = 0) -> NDArray[np.uint16]:
    """Take one noisy picture of the scene that `clean_cells` draws for the same arguments.

    The noise is independent from pixel to pixel. Its variance is
    ``GAIN * (clean - OFFSET) + READ_NOISE**2`` counts², plus 1/12 from rounding to whole counts.

    Parameters
    ----------
    size : int
        Height and width in pixels.
    seed : int
        Number of the scene and of its noise, 0 or more; both come from separate generators.

    Returns
    -------
    numpy.ndarray
        Camera counts, shape (`size`, `size`), axes YX, uint16.

    Raises
    ------
    SettingsError
        Also a ValueError: `size` is below 1, or `seed` below 0.
    """
    photons = (clean_cells(size, seed).astype(np.float64) - OFFSET) / GAIN
    rng = np.random.default_rng([seed, 1])
    counts = GAIN * rng.poisson(photons) + rng.normal(OFFSET, READ_NOISE, photons.shape)
    limits = np.iinfo(np.uint16)
    return np.clip(np.rint(counts), limits.min, limits.max).astype(np.uint16)


# A jittered grid with a random origin that reaches past every border.
def _cell_centres(rng: np.random.Generator, side: int) -> _Floats:
    ticks = _PITCH * np.arange(math.ceil(side / _PITCH) + 1) - rng.uniform(0, _PITCH)
    grid = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid + rng.uniform(-0.25 * _PITCH, 0.25 * _PITCH, grid.shape)


# Background, cell bodies and nuclei, in photons before the optics.
def _soft_structures(rng: np.random.Generator, side: int, centres: _Floats) -> _Floats:
    outline = _distance(rng, side, centres) + 0.12 * _noise(rng, side, 24.0)
    nucleus = 1 / (1 + np.exp(np.clip(22 * (outline - 1), -50, 50)))
    body = 1 / (1 + np.clip(outline / 2, 0, None) ** 6)
    chromatin = np.exp(0.28 * _noise(rng, side, 1.2) + 0.3 * _noise(rng, side, 4.0))
    granules = np.exp(0.25 * _noise(rng, side, 1.5) + 0.2 * _noise(rng, side, 8.0))
    uneven = 1 + 0.15 * _noise(rng, side, 60.0)
    light = _BACKGROUND * np.clip(uneven, 0.4, None)
    return light + _CYTOPLASM * body * granules + _NUCLEOPLASM * nucleus * chromatin


# How far each pixel is from the nearest nucleus, 1 on its (elliptic) rim.
def _distance(rng: np.random.Generator, side: int, centres: _Floats) -> _Floats:
    y, x = np.ogrid[:side, :side]
    nearest = np.full((side, side), np.inf)
    for cy, cx in centres:
        (a, b), turn = rng.uniform(*_NUCLEUS, 2), rng.uniform(0, math.pi)
        u = math.cos(turn) * (y - cy) + math.sin(turn) * (x - cx)
        v = math.cos(turn) * (x - cx) - math.sin(turn) * (y - cy)
        np.minimum(nearest, (u / a) ** 2 + (v / b) ** 2, out=nearest)
    distance: _Floats = np.sqrt(nearest)
    return distance


# Filaments and puncta, in photons before the optics, one canvas for each width.
def _fine_structures(rng: np.random.Generator, side: int, centres: _Floats) -> _Floats:
    total = np.zeros((side, side))
    for width in _WIDTHS:
        canvas = np.zeros((side, side))
        sigma = math.hypot(width, PSF_SIGMA)
        for draw, count in ((_filaments, _FILAMENTS), (_puncta, _PUNCTA)):
            owners = np.repeat(centres, count // len(_WIDTHS), axis=0)
            canvas += _splat(side, *draw(rng, owners, sigma))
        total += _blur(canvas, width)
    return total


# Smooth random curves that start around a nucleus and wander outwards: y, x, photons per point.
def _filaments(
    rng: np.random.Generator, starts: _Floats, sigma: float
) -> tuple[_Floats, _Floats, _Floats]:
    n = len(starts)
    along = np.arange(0, 220, _STEP)
    outwards = rng.uniform(0, 2 * math.pi, (n, 1))
    heading = outwards + rng.normal(0, 0.6, (n, 1))
    for wavelength in (400, 170, 70):
        phase = rng.uniform(0, 2 * math.pi, (n, 1))
        bend = rng.normal(0, 0.8 * wavelength / 400, (n, 1))
        heading = heading + bend * np.sin(2 * math.pi * along / wavelength + phase)
    radius = rng.uniform(20, 70, (n, 1))
    y = starts[:, :1] + radius * np.sin(outwards) + _STEP * np.cumsum(np.sin(heading), axis=1)
    x = starts[:, 1:] + radius * np.cos(outwards) + _STEP * np.cumsum(np.cos(heading), axis=1)
    # A line of this many photons per pixel of length has the wanted peak after the optics.
    line = rng.uniform(*_FILAMENT_PEAK, (n, 1)) * math.sqrt(2 * math.pi) * sigma
    focus = 0.75 + 0.25 * np.sin(2 * math.pi * along / 90 + rng.uniform(0, 2 * math.pi, (n, 1)))
    alive = along < rng.uniform(60, 220, (n, 1))
    return y[alive], x[alive], (_STEP * line * focus)[alive]


def _puncta(
    rng: np.random.Generator, owners: _Floats, sigma: float
) -> tuple[_Floats, _Floats, _Floats]:
    n = len(owners)
    turn, radius = rng.uniform(0, 2 * math.pi, n), 30 + rng.gamma(2.0, 22.0, n)
    # Many dim ones, few bright ones.
    low, high = _PUNCTUM_PEAK
    peak = low + (high - low) * rng.uniform(0, 1, n) ** 3
    y, x = owners[:, 0] + radius * np.sin(turn), owners[:, 1] + radius * np.cos(turn)
    return y, x, peak * 2 * math.pi * sigma**2


# Shares every point among the four pixels around it.
def _splat(side: int, y: _Floats, x: _Floats, weight: _Floats) -> _Floats:
    inside = (y >= 0) & (y < side - 1) & (x >= 0) & (x < side - 1)
    y, x, weight = y[inside], x[inside], weight[inside]
    row, column = y.astype(np.intp), x.astype(np.intp)
    fy, fx = y - row, x - column
    canvas = np.zeros(side * side)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = weight * (fy if down else 1 - fy) * (fx if right else 1 - fx)
        place = (row + down) * side + column + right
        canvas += np.bincount(place, weights=share, minlength=side * side)
    return canvas.reshape(side, side)


# Smooth random field of mean 0 and standard deviation 1, with structures of `scale` pixels.
def _noise(rng: np.random.Generator, side: int, scale: float) -> _Floats:
    # White noise blurred by a Gaussian has 1 / (4 π scale²) of its variance left.
    return _blur(rng.normal(0, 2 * math.sqrt(math.pi) * scale, (side, side)), scale)


# Separable, mirrored at the border; `dataset` and `analysis` do not import each other.
def _blur(image: _Floats, sigma: float) -> _Floats:
    radius = math.ceil(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for _ in range(2):
        padded = np.pad(image, ((0, 0), (radius, radius)), mode="symmetric")
        image = np.array([np.convolve(row, kernel, mode="valid") for row in padded]).T
    return image
