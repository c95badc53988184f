"""The pictures of the quality benchmark, their noise, and what is said of a restored one.

Every picture ships with scikit-image, is grey, float32 and in 0..255; the noise is Gaussian, of
sigma 25, drawn anew for each seed and not clipped. The upper half is for training with targets,
scores are taken on the lower half:

* Noise2Void and N2V2 learn from the whole noisy picture, as their users let them;
* Noise2Noise learns from the noisy upper half and a second noisy one of it;
* CARE learns from the noisy upper half and the clean one;
* all of them restore the whole noisy picture, the lower half of which is compared.

PSNR255 is ``20 log10(255 / rmse)``. SI-PSNR is the PSNR, with the range of the clean picture, after
the best gain and offset (``careamist.analysis.scale_invariant_psnr``).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGMA = 25.0
PICTURES = ("camera", "coins", "motorcycle", "phantom")
HELD_OUT = ("motorcycle", "phantom")
"""Named before the first run of this benchmark: no default may be chosen with them."""
GRID = 16  # sizes are multiples of it, so that every network takes whole pictures and halves
WITH_TARGETS = ("n2n", "care")
REFERENCES = ("noisy", "best Gaussian", "NLM")


def clean_picture(name: str) -> NDArray[np.float32]:
    """Return a picture, float32 (Y, X) in 0..255, sizes cut to multiples of 16."""
    from skimage import color, data

    if name == "motorcycle":
        picture = 255 * color.rgb2gray(data.stereo_motorcycle()[0])
    elif name == "phantom":
        picture = 255 * data.shepp_logan_phantom()
    else:
        picture = getattr(data, name)()
    height, width = (size // (2 * GRID) * 2 * GRID for size in picture.shape)
    return np.ascontiguousarray(picture[:height, :width], dtype=np.float32)


def with_noise(clean: NDArray[np.float32], name: str, seed: int, draw: int) -> NDArray[np.float32]:
    """Return one of the noisy pictures of a seed; each `draw` is independent of the others."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), draw])
    return clean + rng.normal(0, SIGMA, clean.shape).astype(np.float32)


def images_for(algorithm: str, name: str, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return what a library is given: ``train``, perhaps ``target``, and ``test``."""
    clean = clean_picture(name)
    noisy = with_noise(clean, name, seed, 0)
    images = {"train": noisy, "test": noisy}
    if algorithm in WITH_TARGETS:
        target = clean if algorithm == "care" else with_noise(clean, name, seed, 1)
        half = len(clean) // 2
        images |= {"train": noisy[:half].copy(), "target": target[:half].copy()}
    return images


def scores(clean: NDArray[np.float32], restored: NDArray[np.float32]) -> dict[str, float]:
    """Return PSNR255 and SI-PSNR of the lower half."""
    from careamist.analysis import psnr, scale_invariant_psnr

    if restored.shape != clean.shape:
        raise ValueError(f"restored has shape {restored.shape}; expected {clean.shape}.")
    half = len(clean) // 2
    truth, guess = clean[half:], restored[half:]
    return {
        "psnr255": psnr(truth, guess, data_range=255),
        "si_psnr": scale_invariant_psnr(truth, guess),
    }


def reference_scores(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the scores of the noisy picture, the best Gaussian blur and non-local means.

    The blur is an oracle: its width is the one with the highest PSNR255. Non-local means knows
    sigma; its patches, distance and strength are those recommended in scikit-image's example.
    """
    from skimage.restoration import denoise_nl_means

    from careamist.analysis import best_gaussian

    clean = clean_picture(name)
    noisy = with_noise(clean, name, seed, 0)
    blur = best_gaussian(clean, noisy, lambda truth, image: scores(truth, image)["psnr255"])
    means = denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=0.8 * SIGMA, sigma=SIGMA, fast_mode=True
    )
    found = (noisy, blur.image, means)
    return {row: scores(clean, image) for row, image in zip(REFERENCES, found, strict=True)}
