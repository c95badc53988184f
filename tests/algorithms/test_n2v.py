"""Noise2Void: its settings, its loss, and what its linear path may look at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from careamist.algorithms.n2v import N2V
from careamist.models.network import UNet
from careamist.stream import hashed


def keys_of(n):
    return hashed(torch.arange(n, dtype=torch.int64))


def random_images(n, channels, *shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, channels, *shape, generator=generator)


class Doubled(nn.Module):
    """A network that gives twice what it is given."""

    def forward(self, x):
        return 2 * x


def test_loss_is_the_mean_square_at_the_replaced_pixels():
    n2v, images, keys = N2V(), random_images(3, 2, 32, 32), keys_of(3)
    masked = n2v.mask(images, keys)
    total = count = 0.0
    for sample in range(3):
        for channel in range(2):
            given, wanted = (
                masked.inputs[sample, channel].flatten(),
                images[sample, channel].flatten(),
            )
            for place, weight in zip(
                masked.places[sample, channel].tolist(),
                masked.weights[sample, channel].tolist(),
                strict=True,
            ):
                total += weight * float(2 * given[place] - wanted[place]) ** 2
                count += weight
    assert float(n2v.loss(Doubled(), images, keys)) == pytest.approx(total / count, rel=1e-5)


def test_the_network_learns_from_the_replaced_pixels_only():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(32, 32))

        def forward(self, x):
            return x + self.shift

    n2v, network, images, keys = N2V(), Shifted(), random_images(1, 1, 32, 32), keys_of(1)
    n2v.loss(network, images, keys).backward()
    replaced = n2v.mask(images, keys).inputs != images
    assert torch.equal(network.shift.grad != 0, replaced[0, 0])


def test_a_batch_without_replaced_pixels_has_no_loss_and_is_a_number():
    images = random_images(1, 1, 1, 1)
    assert float(N2V().loss(Doubled(), images, keys_of(1))) == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"roi_size": 4}, "must be odd"),
        ({"roi_size": 1}, "greater than or equal to 3"),
        ({"roi_size": 23}, "less than or equal to 21"),
        ({"masked_pixel_percentage": 0.01}, r"greater than or equal to 0\.05"),
        ({"masked_pixel_percentage": 50}, "less than or equal to 25"),
        ({"mask_percentage": 5}, "Extra inputs are not permitted"),
        ({"struct_span": 4}, "must be odd"),
        ({"struct_span": 17}, "less than or equal to 15"),
        ({"struct_axes": "diagonal"}, "'horizontal', 'vertical', 'cross' or 'square'"),
        ({"struct_mask": ((1, 0, 1), (1, 0))}, "rows of equal length"),
        ({"struct_mask": ((1, 0), (0, 1))}, r"odd length, not \(2, 2\)"),
        ({"struct_mask": (1, 0, 1)}, r"odd length, not \(3,\)"),
        ({"struct_mask": ((2, 0, 1),)}, "0 and 1 only"),
        ({"struct_mask": ((0, 1, 0),)}, "beside its centre"),
        ({"struct_mask": ((1, 0, 1),), "struct_axes": "cross"}, "choose one"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        N2V(**settings)


def test_a_pattern_is_stored_without_its_centre_and_comes_back_from_json():
    n2v = N2V(struct_mask=np.ones((1, 5), dtype=bool))
    assert n2v.struct_mask == ((1, 1, 0, 1, 1),)
    assert N2V.model_validate_json(n2v.model_dump_json()) == n2v
    preset = N2V(struct_axes="horizontal").pattern
    np.testing.assert_array_equal(n2v.pattern, preset[2:3])


def test_settings_of_the_first_version_keep_their_meaning():
    old = {"algorithm": "n2v", "roi_size": 7, "masked_pixel_percentage": 0.2}
    old["model"] = {"depth": 3, "num_channels_init": 8, "linear_path": False}
    n2v = N2V.model_validate(old)
    assert (n2v.roi_size, n2v.percentage, n2v.strategy) == (7, 0.2, "uniform")
    assert n2v.pattern is None
    form = n2v.model
    assert form == UNet(depth=3, num_channels_init=8, linear_path=False, pool_z=True)
    assert not any((form.n2v2, form.residual, form.independent_channels))


@pytest.mark.parametrize(
    ("settings", "percentage"),
    [
        ({}, 11),
        ({"strategy": "median"}, 11),
        ({"struct_axes": "horizontal"}, 2),
        ({"struct_axes": "vertical", "struct_span": 11}, 2),
        ({"struct_axes": "square", "struct_span": 11}, 22 / 121),
        ({"struct_axes": "horizontal", "masked_pixel_percentage": 5}, 5),
    ],
)
def test_the_default_share_leaves_most_of_a_patch_to_learn_from(settings, percentage):
    n2v = N2V(**settings)
    assert n2v.percentage == pytest.approx(percentage)
    images = random_images(20, 1, 64, 64)
    changed = (n2v.mask(images, keys_of(20)).inputs != images).float().mean()
    assert changed < 0.25


@pytest.mark.parametrize(
    ("settings", "patch", "told"),
    [
        ({"masked_pixel_percentage": 0.05}, (32, 32), "less than one pixel"),
        ({"struct_axes": "square", "struct_span": 15}, (16, 16), "0.0977778 is less than one"),
        ({"struct_mask": (((1, 0, 1),),)}, (64, 64), "3 axes"),
        ({"strategy": "median", "struct_axes": "square"}, (64, 64), "no median is left"),
    ],
)
def test_patches_that_nothing_can_be_learnt_from_are_refused(settings, patch, told):
    with pytest.raises(ValueError, match=told):
        N2V(**settings).check_patch(patch)
    N2V(**settings).check_patch((16, 64, 64))  # the same is fine in a volume


@pytest.mark.parametrize(
    ("settings", "flip", "turn"),
    [
        ({}, True, True),
        ({"struct_axes": "horizontal"}, True, False),
        ({"struct_axes": "vertical"}, True, False),
        ({"struct_axes": "cross"}, True, True),
        ({"struct_axes": "square"}, True, True),
        ({"struct_mask": ((1, 0, 0), (0, 0, 0), (0, 0, 1))}, False, False),
    ],
)
def test_it_tells_which_augmentations_keep_the_pattern(settings, flip, turn):
    assert (N2V(**settings).may_flip, N2V(**settings).may_turn) == (flip, turn)


@pytest.mark.parametrize(
    ("settings", "variant", "n_references"),
    [
        ({}, "N2V", 1),
        ({"strategy": "median"}, "N2V2", 2),
        ({"model": UNet(n2v2=True)}, "N2V2", 2),
        ({"struct_axes": "cross"}, "structN2V", 2),
        ({"strategy": "median", "struct_axes": "cross"}, "structN2V2", 3),
    ],
)
def test_the_variant_has_its_name_and_its_references(settings, variant, n_references):
    assert N2V(**settings).variant == variant
    assert len(N2V(**settings).references) == n_references


class Around(nn.Module):
    """A network that sees a window, its centre included."""

    def __init__(self, dims):
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.layers = nn.Sequential(conv(1, 4, 5, padding=2), nn.Tanh(), conv(4, 1, 3, padding=1))
        self.double()

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("settings", [{}, {"strategy": "median"}, {"struct_axes": "cross"}])
@pytest.mark.parametrize("shape", [(24, 24), (6, 12, 12)])
def test_what_is_predicted_at_a_pixel_does_not_depend_on_its_own_value(settings, shape):
    """With one masked pixel per patch: no other one can be replaced by it."""
    share = 100 / np.prod(shape)
    n2v = N2V(masked_pixel_percentage=share, **settings)
    network, checked = Around(len(shape)), 0
    for number in range(12):
        image = random_images(1, 1, *shape).double().requires_grad_()
        masked = n2v.mask(image, keys_of(12)[number : number + 1])
        places = masked.places[masked.weights > 0]
        if len(places) != 1:
            continue
        predicted = network(masked.inputs).flatten()[places[0]]
        (gradient,) = torch.autograd.grad(predicted, image)
        assert gradient.flatten()[places[0]] == 0
        assert (gradient != 0).sum() > 20  # its neighbours do count
        checked += 1
    assert checked > 2


def test_targets_are_not_looked_at():
    images, keys = random_images(2, 1, 32, 32), keys_of(2)
    assert N2V().loss(Doubled(), images, keys, images * torch.nan) == N2V().loss(
        Doubled(), images, keys
    )


LINES = {"horizontal": (3, slice(None)), "vertical": (slice(None), 3)}


@pytest.mark.parametrize("axes", LINES)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_linear_path_is_blind_to_the_pattern(axes, dims):
    n2v = N2V(struct_axes=axes, struct_span=15, model=UNet(depth=1, num_channels_init=4))
    model = n2v.build_model(dims, 2, 2)
    n2v.prepare(model, random_images(4, 2, *(24,) * dims))
    plane = model.linear_filter if dims == 2 else model.linear_filter[:, :, 1]
    hidden = torch.zeros(7, 7, dtype=torch.bool)
    hidden[LINES[axes]] = True
    assert model.linear_filter.shape[:2] == (2, 1)
    assert (plane[..., hidden] == 0).all()
    assert (plane[..., ~hidden] != 0).all()
    torch.testing.assert_close(plane, plane.flip(-1))
    torch.testing.assert_close(plane, plane.flip(-2))
    assert not torch.allclose(plane, plane.transpose(-1, -2))
    if dims == 3:  # a pattern in YX hides nothing of the planes above and below
        assert (model.linear_filter[:, :, [0, 2]] != 0).all()


def test_the_linear_path_of_a_pattern_that_hides_all_stays_zero():
    n2v = N2V(struct_axes="square", struct_span=7, model=UNet(depth=1, num_channels_init=4))
    model = n2v.build_model(2, 1, 1)
    n2v.prepare(model, random_images(4, 1, 24, 24))
    assert (model.linear_filter == 0).all()
    assert any((p != 0).any() for p in model.head.parameters())  # nothing to start from


def test_the_linear_path_removes_noise_along_rows_only_where_it_is_blind_to_them():
    """Noise that is equal along a row can be predicted from the row: the plain filter does."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 1, 64, 1)) * np.ones((1, 1, 1, 64))
    images = torch.from_numpy(rows + 0.5 * rng.normal(size=rows.shape)).float()
    left = {}
    for axes in ("none", "horizontal"):
        n2v = N2V(struct_axes=axes, struct_span=7, model=UNet(depth=1, num_channels_init=4))
        model = n2v.build_model(2, 1, 1)
        n2v.prepare(model, images)
        with torch.no_grad():
            left[axes] = float(model.eval()(images)[..., 8:-8, 8:-8].var())
    assert left["horizontal"] < 0.1 < 0.2 < left["none"]
