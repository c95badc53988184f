"""Numbers about images."""

from careamist.analysis.metrics import (
    BestBlur,
    best_gaussian,
    gaussian_blur,
    psnr,
    scale_invariant_psnr,
    ssim,
)

__all__ = [
    "BestBlur",
    "best_gaussian",
    "gaussian_blur",
    "psnr",
    "scale_invariant_psnr",
    "ssim",
]
