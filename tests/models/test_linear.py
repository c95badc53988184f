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
    weights = fit_filter(images, blind(dims), per_channel=True)
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
    both = fit_filter(images, blind(2), per_channel=True)
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


def everything(dims):
    return torch.ones(filter_shape(dims), dtype=torch.bool)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_filter_that_made_the_targets_is_found_again(dims):
    """Three channels from two; all that is left of an error is the ridge."""
    images = noise(4, 2, *(40 // (dims - 1),) * dims)
    truth = torch.zeros(3, 2, *filter_shape(dims))
    truth[(0, 1, *centre(dims))] = 1
    truth[(1, 0, *centre(dims))] = -0.5
    *plane, row, column = centre(dims)
    for y, x in ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)):
        truth[(2, 1, *plane, y, x)] = 0.25  # as symmetric as the fit is made
    weights = fit_filter(images, everything(dims), apply_filter(images, truth))
    assert weights.shape == truth.shape
    torch.testing.assert_close(weights, truth, atol=5e-3, rtol=0)


def test_two_noisy_images_make_a_filter_that_sees_the_pixel_itself():
    clean = smooth_noise(2, 1, 96, 96)
    first, second = clean + noise(2, *clean.shape)
    weights = fit_filter(first, everything(2), second)
    assert float(weights[(0, 0, *centre(2))]) > 0.02
    error = ((apply_filter(first, weights) - clean)[..., 8:-8, 8:-8] ** 2).mean()
    blind_error = (
        (apply_filter(first, fit_filter(first, blind(2))) - clean)[..., 8:-8, 8:-8] ** 2
    ).mean()
    assert float(error) < float(blind_error) < 0.15


@pytest.mark.parametrize("shape", [(4, 4), (4, 30), (2, 4, 4), (1, 12, 12)])
def test_patches_smaller_than_the_filter_are_enough(shape):
    images = smooth_noise(200, 1, *shape)
    weights = fit_filter(images, blind(len(shape)))
    error = ((apply_filter(images, weights) - images) ** 2).mean()
    assert float(error) < 0.6 * float((images**2).mean())


def test_many_channels_do_not_need_much_memory():
    """Fewer windows are taken where each is large; a filter is found nevertheless."""
    images = noise(2, 16, 8, 24, 24)
    weights = fit_filter(images, everything(3), images[:, :1])
    expected = torch.zeros_like(weights)
    expected[(0, 0, *centre(3))] = 1
    torch.testing.assert_close(weights, expected, atol=0.02, rtol=0)
