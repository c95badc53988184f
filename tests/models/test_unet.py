"""The U-Net: its shape, and how far it looks, proven by changing what it must not see."""

from __future__ import annotations

import copy

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


@pytest.mark.parametrize(("upsampling", "depth"), CASES)
def test_halo_is_exact_and_one_grid_step_less_is_not(upsampling, depth):
    network = calibrated(UNet(depth=depth, num_channels_init=4, upsampling=upsampling), 2)
    halo = HALOS[upsampling][depth]
    assert change_of_core(network, 2, halo) == 0
    assert change_of_core(network, 2, halo - 2**depth) > 0


@pytest.mark.parametrize(("upsampling", "depth"), [("linear", 1), ("nearest", 1)])
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
    network = UNet(depth=1, num_channels_init=4).build(2, 2, 2, filter_per_channel=True).eval()
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


def test_a_linear_path_may_lead_from_all_channels_to_each():
    network = UNet(depth=1, num_channels_init=4).build(2, 2, 3).eval()
    image = noise(1, 2, 16, 16).float()
    weights = torch.zeros(3, 2, 7, 7)
    weights[0, 1, 3, 3] = 1
    weights[2, 0, 3, 3], weights[2, 1, 3, 3] = 2, -1
    network.set_filter(weights)
    expected = torch.stack([image[0, 1], 0 * image[0, 0], 2 * image[0, 0] - image[0, 1]])
    torch.testing.assert_close(network(image)[0], expected)


@pytest.mark.parametrize("setting", ["independent_channels", "residual"])
def test_what_pairs_channels_needs_as_many_of_them(setting):
    form = UNet(linear_path=False, **{setting: True})
    with pytest.raises(SettingsError, match=f"{setting}=True .* not 3 and 2"):
        form.build(2, 2, 3)


def test_filters_of_single_channels_need_as_many_of_them():
    with pytest.raises(SettingsError, match=r"filter_per_channel=True .* not 3 and 2"):
        UNet().build(2, 2, 3, filter_per_channel=True)
    UNet(linear_path=False).build(2, 2, 3, filter_per_channel=True)


def test_a_residual_network_adds_its_input():
    form = UNet(num_channels_init=4, linear_path=False, residual=True)
    network, image = calibrated(form, 2), noise(1, 1, 32, 32)
    network.residual = False
    alone = network(image)
    network.residual = True
    assert torch.equal(network(image), alone + image)


def test_residual_and_linear_path_exclude_each_other():
    with pytest.raises(ValueError, match="choose one"):
        UNet(residual=True)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n2v2", [False, True])
@torch.no_grad()
def test_channels_apart_do_not_see_each_other(dims, n2v2):
    form = UNet(depth=2, num_channels_init=4, n2v2=n2v2, independent_channels=True)
    network = form.build(dims, 3, 3).double()
    torch.nn.init.normal_(network.linear_filter)
    image = noise(2, 3, *(8,) * dims)
    for training in (True, False):
        network.train(training)
        before = network(image)
        for channel in range(3):
            changed = image.clone()
            changed[:, channel] += 1
            moved = (network(changed) != before).flatten(2).any(2).any(0)
            assert moved.tolist() == [channel == other for other in range(3)]


@torch.no_grad()
def test_a_channel_apart_is_a_network_of_its_own():
    """The weights of one group, put into a network of one channel, give the same."""
    both = UNet(depth=2, num_channels_init=4, independent_channels=True).build(2, 2, 2).eval()
    torch.nn.init.normal_(both.linear_filter)
    image = noise(1, 2, 16, 16).float()
    for channel in range(2):
        alone = UNet(depth=2, num_channels_init=4).build(2, 1, 1).eval()
        state = {
            name: value.chunk(2)[channel] if value.ndim else value
            for name, value in both.state_dict().items()
        }
        alone.load_state_dict(state)
        part = slice(channel, channel + 1)
        torch.testing.assert_close(alone(image[:, part]), both(image)[:, part])


def test_channels_together_see_each_other():
    network = calibrated(UNet(num_channels_init=4, linear_path=False), 2)
    assert network.groups == 1
    network = UNet(num_channels_init=4).build(2, 2, 2).eval()
    image = noise(1, 2, 16, 16).float()
    with torch.no_grad():
        changed = network(image + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)) - network(image)
    assert (changed[:, 0] != 0).any()


@pytest.mark.parametrize("dims", [2, 3])
def test_blur_pooling_is_a_maximum_a_blur_and_every_second_pixel(dims):
    network = UNet(depth=1, num_channels_init=4, n2v2=True).build(dims, 1, 1)
    image = noise(1, 2, *(6, 8, 10)[:dims])
    expected = image.numpy()
    for axis in range(2, 2 + dims):
        first, second = np.delete(expected, -1, axis), np.delete(expected, 0, axis)
        expected = np.maximum(first, second)
    for axis in range(2, 2 + dims):
        width = [(0, 0)] * (2 + dims)
        width[axis] = (1, 2)  # the maximum made it one pixel shorter
        padded = np.pad(expected, width)
        blurred = np.apply_along_axis(np.convolve, axis, padded, [0.25, 0.5, 0.25], "valid")
        expected = blurred.take(np.arange(0, image.shape[axis], 2), axis)
    np.testing.assert_allclose(network.pool(image).numpy(), expected, atol=1e-12)


def test_the_n2v2_network_has_no_skip_at_the_top():
    network = UNet(depth=2, num_channels_init=16, n2v2=True).build(2, 1, 1)
    assert [block[0].in_channels for block in network.decoder] == [32 + 64, 32]
    assert not any(isinstance(m, nn.MaxPool2d) and m.stride != 1 for m in network.modules())
    plain = UNet(depth=2, num_channels_init=16).build(2, 1, 1)
    assert network.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("n2v2", [False, True])
@pytest.mark.parametrize("planes", [1, 3, 5])
def test_volumes_that_are_not_pooled_along_z_may_have_any_number_of_planes(planes, n2v2):
    form = UNet(depth=2, num_channels_init=4, pool_z=False, n2v2=n2v2, upsampling="linear")
    assert form.build(3, 1, 1)(torch.zeros(1, 1, planes, 8, 12)).shape == (1, 1, planes, 8, 12)


def test_pool_z_means_nothing_to_a_flat_image():
    assert UNet(pool_z=False).build(2, 1, 1).grid == (4, 4)


ALL_KINDS = [
    {},
    {"n2v2": True, "upsampling": "linear"},
    {"independent_channels": True, "pool_z": False},
    {"residual": True, "linear_path": False, "use_batch_norm": False},
]


@pytest.mark.parametrize("settings", ALL_KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_networks_are_copied_and_saved_whole(settings, dims):
    form = UNet(depth=1, num_channels_init=4, **settings)
    network, other = form.build(dims, 2, 2).eval(), form.build(dims, 2, 2).eval()
    image = noise(1, 2, *(8,) * dims).float()
    with torch.no_grad():
        expected = network(image)
        assert torch.equal(copy.deepcopy(network)(image), expected)
        assert not torch.equal(other(image), expected)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(image), expected)


def test_names_of_weights_stay_those_of_saved_models():
    names = UNet(depth=1, num_channels_init=4).build(2, 2, 2, filter_per_channel=True).state_dict()
    assert names["linear_filter"].shape == (2, 1, 7, 7)
    tensors = {name.rpartition(".")[0] for name in names}
    assert tensors == {
        "",
        *(f"{part}.{i}" for part in ("encoder.0", "bottleneck", "decoder.0") for i in (0, 1, 3, 4)),
        "head",
    }


@pytest.mark.parametrize("size", [(30, 32), (32, 34)])
def test_sizes_off_the_grid_do_not_pass_silently(size):
    with pytest.raises(RuntimeError, match="size"):
        UNet(depth=2, num_channels_init=4).build(2, 1, 1)(torch.zeros(1, 1, *size))
