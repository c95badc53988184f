"""Tiles with the stated halo equal the whole, for every kind of network; with less they do not."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from careamist.dataset.tiling import Tiling
from careamist.models.network import UNet

if TYPE_CHECKING:
    from careamist.models.unet import UNetModel

# per axis in YX: (upsampling, n2v2, depth) -> halo
HALOS = {
    ("nearest", False): {2: 24, 3: 48, 4: 96},
    ("linear", False): {2: 28, 3: 56, 4: 112},
    ("nearest", True): {2: 28, 3: 56, 4: 112},
    ("linear", True): {2: 32, 3: 64, 4: 128},
}
KINDS = [(*kind, depth) for kind, halos in HALOS.items() for depth in halos]
BLURRED = [kind for kind in KINDS if kind[1]]  # those without a blur: tests/prediction

# small networks in 3D: (settings, halo)
VOLUMES = [
    ({"depth": 1}, (8, 8, 8)),
    ({"depth": 1, "n2v2": True}, (10, 10, 10)),
    ({"depth": 1, "n2v2": True, "upsampling": "linear"}, (12, 12, 12)),
    ({"depth": 1, "pool_z": False}, (6, 8, 8)),
    ({"depth": 1, "pool_z": False, "n2v2": True, "upsampling": "linear"}, (6, 12, 12)),
    ({"depth": 2, "pool_z": False, "upsampling": "linear"}, (10, 28, 28)),
]


def calibrated(form: UNet, dims: int, n_channels: int = 1) -> UNetModel:
    """Return a random network in float64 whose batch statistics were measured on noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(form.depth)
        model = form.build(dims, n_channels, n_channels).double()
        if model.linear_filter is not None:
            torch.nn.init.normal_(model.linear_filter, std=0.05)
        size = [max(4 * step, 4) for step in model.grid]
        model.train()
        with torch.no_grad():
            for _ in range(5):
                model(torch.randn(2, n_channels, *size, dtype=torch.float64))
    return model.eval()


def form(**settings) -> UNet:
    return UNet(**{"num_channels_init": 4, **settings})


def picture(*shape: int) -> torch.Tensor:
    """Return noise with outliers: a maximum passes on what is largest."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, *shape)) ** 5)


@torch.no_grad()
def largest_difference(model: UNetModel, image: torch.Tensor, tiling: Tiling) -> float:
    """Return how much tiles differ from one pass over the whole, in its standard deviations."""
    whole = model(image)
    stitched = torch.full_like(whole, torch.nan)
    tiles = tiling.specs(0, tuple(image.shape))
    assert len(tiles) > 1
    for tile in tiles:
        window, core, place = (
            (..., *(slice(a, a + n) for a, n in zip(tile[start], tile[size], strict=True)))
            for start, size in (
                ("coords", "patch_size"),
                ("crop_coords", "crop_size"),
                ("stitch_coords", "crop_size"),
            )
        )
        stitched[place] = model(image[window])[core]
    return float((stitched - whole).abs().max() / whole.std())


def tiling_of(model: UNetModel, less: tuple[int, ...] | None = None) -> Tiling:
    """Cut cores of two grid steps, with the stated halo or with `less` of it."""
    halo = tuple(h - n for h, n in zip(model.halo, less or (0,) * model.dims, strict=True))
    sizes = tuple(2 * h + 2 * step for h, step in zip(halo, model.grid, strict=True))
    return Tiling(model.grid, halo, sizes)


@pytest.mark.parametrize(("upsampling", "n2v2", "depth"), KINDS)
def test_halo_is_stated_per_axis(upsampling: str, n2v2: bool, depth: int) -> None:
    kind = form(depth=depth, upsampling=upsampling, n2v2=n2v2)
    halo = HALOS[upsampling, n2v2][depth]
    assert kind.build(2, 1, 1).halo == (halo,) * 2
    assert kind.build(3, 1, 1).halo == (halo,) * 3
    flat = kind.model_copy(update={"pool_z": False}).build(3, 1, 1)
    assert flat.halo == (4 * depth + 2, halo, halo)
    assert flat.grid == (1, 2**depth, 2**depth)


@pytest.mark.parametrize(("upsampling", "n2v2", "depth"), BLURRED)
def test_tiles_of_the_n2v2_network_equal_the_whole_and_with_less_halo_differ(
    upsampling: str, n2v2: bool, depth: int
) -> None:
    model = calibrated(form(depth=depth, upsampling=upsampling, n2v2=n2v2), 2)
    halo, step = model.halo[0], 2**depth
    # inner tiles and those at either border; deep networks, which look far, are cut in X only
    image = picture(3 * step if depth > 2 else 2 * halo + 5 * step, 2 * halo + 5 * step)
    assert largest_difference(model, image, tiling_of(model)) < 1e-10
    assert largest_difference(model, image, tiling_of(model, (step, step))) > 1e-10


@pytest.mark.parametrize(("settings", "halo"), VOLUMES)
def test_tiles_of_volumes_equal_the_whole_and_with_less_halo_differ(
    settings: dict[str, object], halo: tuple[int, ...]
) -> None:
    model = calibrated(form(**settings), 3)
    assert model.halo == halo
    small = [3 * step for step in model.grid]
    for axis, step in enumerate(model.grid):  # cut one axis at a time: volumes grow fast
        shape = [*small]
        shape[axis] = 2 * halo[axis] + 5 * step
        less = tuple(step if a == axis else 0 for a in range(3))
        assert largest_difference(model, picture(*shape), tiling_of(model)) < 1e-10
        assert largest_difference(model, picture(*shape), tiling_of(model, less)) > 1e-10


def test_tiles_equal_the_whole_with_residual_and_channels_apart() -> None:
    kind = form(residual=True, linear_path=False, independent_channels=True, n2v2=True)
    model = calibrated(kind, 2, n_channels=2)
    image = picture(80, 100).expand(1, 2, 80, 100) + torch.arange(2.0).view(1, 2, 1, 1)
    assert largest_difference(model, image, tiling_of(model)) < 1e-10


def test_the_grid_of_the_form_is_the_grid_of_the_network() -> None:
    for dims, pool_z, depth in product((2, 3), (True, False), (1, 3)):
        kind = form(pool_z=pool_z, depth=depth)
        assert kind.grid_for(dims) == kind.build(dims, 1, 1).grid
        assert kind.grid_for(dims)[-1] == kind.grid == 2**depth
        assert kind.grid_for(3)[0] == (2**depth if pool_z else 1)
