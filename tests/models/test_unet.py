"""The U-Net: its shape, and how far it looks, proven by changing what it must not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from careamist.errors import SettingsError
from careamist.models.network import UNet

HALOS = {"linear": {2: 28, 3: 56, 4: 112}, "nearest": {2: 24, 3: 48, 4: 96}}
CASES = [(upsampling, depth) for upsampling in HALOS for depth in HALOS[upsampling]]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def calibrated(model: UNet, dims: int) -> nn.Module:
    """Build a network in float64 whose batch statistics were measured on noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = model.build(dims, 1, 1).double().train()
        size = (4 * 2**model.depth,) * dims
        with torch.no_grad():
            for _ in range(10):
                network(torch.randn(2, 1, *size, dtype=torch.float64))
    return network.eval()


@torch.no_grad()
def change_of_core(network: nn.Module, dims: int, halo: int) -> float:
    """Return how much an aligned core changes when all beyond core + `halo` pixels does."""
    grid = 2**network.depth
    margin = network.halo[0] + grid
    first, second = noise(2, 1, *(2 * margin + grid,) * dims)[:, None]
    inside = (..., *(slice(margin - halo, margin + grid + halo),) * dims)
    second = 100 * second
    second[inside] = first[inside]
    core = (..., *(slice(margin, margin + grid),) * dims)
    return float((network(first)[core] - network(second)[core]).abs().max())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("upsampling", "depth"), CASES)
def test_halo_is_stated_per_axis(upsampling, depth, dims):
    network = UNet(depth=depth, num_channels_init=4, upsampling=upsampling).build(dims, 1, 1)
    assert network.halo == (HALOS[upsampling][depth],) * dims
    assert network.grid == (2**depth,) * dims


@pytest.mark.parametrize(("upsampling", "depth"), CASES)
def test_halo_is_exact_and_one_grid_step_less_is_not(upsampling, depth):
    network = calibrated(UNet(depth=depth, num_channels_init=4, upsampling=upsampling), 2)
    halo = HALOS[upsampling][depth]
    assert change_of_core(network, 2, halo) == 0
    assert change_of_core(network, 2, halo - 2**depth) > 0


@pytest.mark.parametrize(("upsampling", "depth"), [("linear", 1), ("nearest", 2)])
def test_halo_is_exact_in_3d(upsampling, depth):
    network = calibrated(UNet(depth=depth, num_channels_init=4, upsampling=upsampling), 3)
    assert change_of_core(network, 3, network.halo[0]) == 0
    assert change_of_core(network, 3, network.halo[0] - 2**depth) > 0


@pytest.mark.parametrize("upsampling", HALOS)
def test_gradients_end_at_the_halo(upsampling):
    network = calibrated(UNet(num_channels_init=8, upsampling=upsampling), 2)
    margin = network.halo[0] + 4
    image = noise(1, 1, *(2 * margin + 4,) * 2).requires_grad_()
    network(image)[..., margin : margin + 4, margin : margin + 4].square().sum().backward()
    seen = image.grad[0, 0].numpy() != 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    for places in (rows, columns):
        assert margin - network.halo[0] <= places[0] < margin - network.halo[0] + 4
        assert margin + network.halo[0] <= places[-1] < margin + network.halo[0] + 4


@pytest.mark.parametrize("dims", [2, 3])
def test_moving_the_image_by_the_grid_moves_the_result(dims):
    network = calibrated(UNet(depth=1, num_channels_init=4), dims)
    halo, grid = network.halo[0], network.grid[0]
    image = noise(1, 1, *(4 * halo,) * dims)
    inner = (..., *(slice(halo + grid, -halo - grid),) * dims)

    def difference(shift):
        moved = network(image.roll((shift,) * dims, dims=tuple(range(-dims, 0))))
        return float(
            (moved.roll((-shift,) * dims, tuple(range(-dims, 0))) - network(image))[inner]
            .abs()
            .max()
        )

    with torch.no_grad():
        assert difference(grid) < 1e-12
        assert difference(grid - 1) > 1e-6


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("depth", [1, 3])
def test_output_has_the_size_of_the_input_and_its_own_channels(dims, depth):
    network = UNet(depth=depth, num_channels_init=4, linear_path=False).build(dims, 2, 3)
    size = (2**depth, 2 * 2**depth, 3 * 2**depth)[-dims:]
    assert network(torch.zeros(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_of_the_convolutions_follow_the_paper(dims):
    form = UNet(depth=2, num_channels_init=16, use_batch_norm=False, linear_path=False)
    network = form.build(dims, 3, 2)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    shapes = [tuple(layer.weight.shape) for layer in convolutions]
    three = (3,) * dims
    assert shapes == [
        (16, 3, *three),
        (16, 16, *three),
        (32, 16, *three),
        (32, 32, *three),
        (64, 32, *three),  # bottleneck
        (64, 64, *three),
        (32, 32 + 64, *three),  # decoder: skip and what comes from below
        (32, 32, *three),
        (16, 16 + 32, *three),
        (16, 16, *three),
        (2, 16, *(1,) * dims),
    ]


def test_batch_norm_follows_every_convolution_but_the_last():
    network = UNet(depth=2).build(2, 1, 1)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [16, 16, 32, 32, 64, 64, 32, 32, 16, 16]
    without = UNet(depth=2, use_batch_norm=False).build(2, 1, 1)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in without.modules())


def test_skips_carry_full_resolution():
    network = calibrated(UNet(depth=2, num_channels_init=4), 2)
    image = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = network(image)
        image[..., 32, 32] = 50
        changed = (network(image) - before)[0, 0]
    assert len(changed[30:35, 30:35].unique()) > 20  # not blocks of 4 pixels


def test_a_network_with_a_linear_path_starts_as_the_filter():
    network = UNet(depth=1, num_channels_init=4).build(2, 2, 2).eval()
    image = noise(1, 2, 16, 16).float()
    weights = torch.zeros(2, 1, 7, 7)
    weights[0, 0, 3, 4] = 2  # twice the pixel to the right
    weights[1, 0, 0, 3] = -1  # minus the pixel three above
    before = network(image)
    network.set_filter(weights)
    expected = torch.zeros(1, 2, 16, 16)
    expected[:, 0, :, :-1] = 2 * image[:, 0, :, 1:]
    expected[:, 1, 3:] = -image[:, 1, :-3]
    assert torch.equal(network(image), expected)
    assert not torch.equal(before, expected)
    assert "linear_filter" in network.state_dict()
    assert "linear_filter" not in dict(network.named_parameters())


def test_a_linear_path_needs_equal_channels():
    with pytest.raises(SettingsError, match="not 3 and 2"):
        UNet().build(2, 2, 3)


@pytest.mark.parametrize("size", [(30, 32), (32, 34)])
def test_sizes_off_the_grid_do_not_pass_silently(size):
    with pytest.raises(RuntimeError, match="size"):
        UNet(depth=2, num_channels_init=4).build(2, 1, 1)(torch.zeros(1, 1, *size))
