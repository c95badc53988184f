"""The linear path: the best blind filter, found again where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from careamist.models.linear import apply_filter, filter_shape, fit_filter


def blind(dims):
    free = torch.ones(filter_shape(dims), dtype=torch.bool)
    free[centre(dims)] = False
    return free


def centre(dims):
    return tuple(n // 2 for n in filter_shape(dims))


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def smooth_noise(*shape):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=shape)
    spectrum = np.fft.fftn(noise, axes=range(2, noise.ndim))
    radius = sum(
        np.fft.fftfreq(n).reshape([-1 if i == axis else 1 for i in range(len(shape) - 2)]) ** 2
        for axis, n in enumerate(shape[2:])
    )
    signal = np.fft.ifftn(spectrum * np.exp(-100 * radius), axes=range(2, noise.ndim)).real
    return torch.from_numpy(signal / signal.std()).float()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_blind_filter_does_not_see_its_own_pixel(dims):
    images = noise(2, 2, *(24 // (dims - 1),) * dims)
    weights = fit_filter(images, blind(dims))
    assert weights.shape == (2, 1, *filter_shape(dims))
    assert (weights[(..., *centre(dims))] == 0).all()
    assert (weights != 0).sum() == 2 * (weights[0, 0].numel() - 1)


def test_the_filter_has_the_symmetries_of_the_free_coefficients():
    weights = fit_filter(noise(1, 1, 64, 64), blind(2))[0, 0]
    for same in (weights.flip(0), weights.flip(1), weights.T):
        torch.testing.assert_close(weights, same)
    along_rows = torch.zeros_like(blind(2))
    along_rows[centre(2)[0]] = True
    along_rows[centre(2)] = False
    weights = fit_filter(noise(1, 1, 64, 64), along_rows)[0, 0]
    assert (weights[~along_rows] == 0).all()
    torch.testing.assert_close(weights, weights.flip(1))
    assert not torch.allclose(weights, weights.T)


def test_noise_of_its_own_cannot_be_predicted():
    weights = fit_filter(noise(4, 1, 128, 128), blind(2))
    assert float(weights.abs().max()) < 0.03


def test_the_filter_removes_noise_from_a_smooth_image():
    clean = smooth_noise(2, 1, 96, 96)
    noisy = clean + noise(*clean.shape)
    restored = apply_filter(noisy, fit_filter(noisy, blind(2)))
    inner = (..., slice(8, -8), slice(8, -8))
    assert float(((restored - clean)[inner] ** 2).mean()) < 0.15  # the noise had 1


def test_every_channel_has_its_own_filter():
    images = torch.cat([smooth_noise(1, 1, 64, 64), noise(1, 1, 64, 64)], dim=1)
    both = fit_filter(images, blind(2))
    for channel in range(2):
        alone = fit_filter(images[:, channel : channel + 1], blind(2))
        torch.testing.assert_close(both[channel], alone[0])


@pytest.mark.parametrize("dims", [2, 3])
def test_apply_is_a_correlation_with_zeros_outside(dims):
    shape = filter_shape(dims)
    reach = shape[-1] // 2
    weights = torch.zeros(1, 1, *shape)
    weights[(0, 0, *centre(dims)[:-1], -1)] = 1
    image = noise(1, 1, *(9,) * dims)
    filtered = apply_filter(image, weights)
    assert torch.equal(filtered[..., :-reach], image[..., reach:])
    assert (filtered[..., -reach:] == 0).all()
