"""Noise2Noise pairs can change places, all of a patch or pixel by pixel, if they are alike.

Where the noise of both images of a pair has the same distribution, neither of them is the input by
nature. A network that sees one fixed input with one fixed target learns the noise of the target by
heart after some hundred steps on a small image; with inputs mixed anew for each sample it cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from careamist.stream import integers, uniforms

if TYPE_CHECKING:
    import torch

Exchange = Literal["pixels", "patches", "none"]

_WHOLE, _FIRST_PIXEL = 5, 2**20  # counters of the sample's key, after those of the augmentation
_BITS = 32  # pixels that one number decides on
_ALIKE, _WHITE = 0.1, 0.1  # shares of the noise that may differ between images, and pixels
_GAIN = 0.02  # share of the variance that may differ


def find_exchange(images: torch.Tensor, targets: torch.Tensor) -> Exchange:
    """Return how far pairs can change places.

    The difference of a pair holds the noise of both and no signal, and second differences along the
    axes hold little else. Pairs are alike if means and variances agree, and the variances of their
    noise to a tenth; single pixels can change places if the noise of neighbours is unrelated, too.

    Parameters
    ----------
    images, targets : torch.Tensor
        Some pairs of patches, float (N, C, (Z), Y, X), normalised.
    """
    if images.shape != targets.shape:
        return "none"
    first, second = images.double(), targets.double()
    noise = first - second
    variance, total = _variance(noise), _variance(first) + _variance(second)
    limit = _ALIKE * variance / 2 + _GAIN * total / 2
    is_alike = (variance > 0) & (noise.mean(_sides(noise)) ** 2 <= limit)
    is_alike &= (_variance(first) - _variance(second)).abs() <= limit
    is_white = is_alike
    for axis in range(2, noise.ndim):
        rough = [pixels.diff(n=2, dim=axis) for pixels in (first, second, noise)]
        if rough[0].shape[axis]:
            levels = [_variance(pixels) for pixels in rough]
            is_alike &= (levels[0] - levels[1]).abs() <= _ALIKE * levels[2] / 2
            # a second difference of white noise has the weights 1, -2, 1 squared: 6 times as much
            is_white = is_white & ((levels[2] / (6 * variance) - 1).abs() <= _WHITE)
    if not bool(is_alike.all()):
        return "none"
    return "pixels" if bool(is_white.all()) else "patches"


def exchanged(
    images: torch.Tensor, targets: torch.Tensor, keys: torch.Tensor, exchange: Exchange
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pairs of which half have changed places, or half of their pixels.

    Parameters
    ----------
    images, targets : torch.Tensor
        (N, C, (Z), Y, X), both alike. All channels of a pixel go together.
    keys : torch.Tensor
        int64 (N,): what is drawn for each sample.
    exchange : {"pixels", "patches", "none"}
        What changes places.
    """
    import torch

    if exchange == "none":
        return images, targets
    shape = (len(images), 1, *(1,) * (images.ndim - 2))
    if exchange == "pixels":
        shape = (len(images), 1, *images.shape[2:])
        n = images[0, 0].numel()
        counters = torch.arange(-(-n // _BITS), device=keys.device) + _FIRST_PIXEL
        places = torch.arange(_BITS, device=keys.device)
        bits = (integers(keys[:, None], counters)[..., None] >> places) & 1
        swap = bits.view(len(images), -1)[:, :n] == 1
    else:
        swap = uniforms(keys, _WHOLE) < 0.5
    swap = swap.view(shape)
    return torch.where(swap, targets, images), torch.where(swap, images, targets)


def _sides(pixels: torch.Tensor) -> list[int]:
    return [axis for axis in range(pixels.ndim) if axis != 1]


def _variance(pixels: torch.Tensor) -> torch.Tensor:
    """Return the variance of each channel."""
    return pixels.var(_sides(pixels), correction=0)
