"""Numbers about images."""

from careamist.analysis.metrics import (
    BestBlur,
    best_gaussian,
    gaussian_blur,
    psnr,
    scale_invariant_psnr,
)

__all__ = [
    "BestBlur",
    "best_gaussian",
    "gaussian_blur",
    "psnr",
    "scale_invariant_psnr",
]
