"""What holds for every algorithm of the table, and what those with targets share."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from careamist.algorithms import ALGORITHMS, CARE, N2N, N2V, AnyAlgorithm
from careamist.errors import SettingsError
from careamist.models.network import UNet
from careamist.stream import hashed

SMALL = UNet(depth=1, num_channels_init=4)
ANY: TypeAdapter[AnyAlgorithm] = TypeAdapter(AnyAlgorithm)


def keys_of(n):
    return hashed(torch.arange(n, dtype=torch.int64))


def random_images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("tag", "kind"), ALGORITHMS.items())
def test_the_tag_of_the_table_makes_the_algorithm_and_comes_back(tag, kind):
    made = ANY.validate_python({"algorithm": tag})
    assert made == kind()
    assert ANY.validate_json(made.model_dump_json()) == made
    assert made.algorithm == tag


def test_settings_without_a_tag_are_those_of_noise2void():
    assert ANY.validate_python({"roi_size": 7}) == N2V(roi_size=7)
    with pytest.raises(ValueError, match="'n2v', 'care', 'n2n'"):
        ANY.validate_python({"algorithm": "n2n2n"})


@pytest.mark.parametrize("kind", ALGORITHMS.values())
def test_every_algorithm_says_who_it_is(kind):
    assert kind.short_name == kind().variant
    assert kind.full_name
    assert kind.__doc__
    for reference in kind().references:
        assert "doi:" in reference or "arXiv:" in reference


@pytest.mark.parametrize("kind", ALGORITHMS.values())
def test_every_field_can_be_put_into_a_form(kind):
    for name, info in kind.model_fields.items():
        assert info.title, name
        assert info.description or name == "algorithm", name
        assert info.json_schema_extra["level"] in ("simple", "advanced", "hidden"), name


@pytest.mark.parametrize("kind", ALGORITHMS.values())
@pytest.mark.parametrize("dims", [2, 3])
def test_every_algorithm_learns(kind, dims):
    """Prepared on some images, a few steps make the loss smaller than the linear path alone."""
    algorithm = kind(model=UNet(depth=1, num_channels_init=8))
    clean = random_images(4, 2, *(4,) * dims)
    clean = torch.nn.functional.interpolate(clean, scale_factor=4)
    images, targets = clean + 0.2 * random_images(*clean.shape, seed=1), clean
    torch.manual_seed(0)
    model = algorithm.build_model(dims, 2, 2)
    algorithm.prepare(model, images, targets if algorithm.needs_target else None)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = algorithm.loss(model, images, keys_of(4), targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] < float(clean.var())  # the linear path is there from the start
    assert sum(losses[-5:]) / 5 < 0.8 * losses[0]


def test_default_checkpoints_are_those_of_the_field():
    kept = {tag: kind.default_checkpoint for tag, kind in ALGORITHMS.items()}
    assert kept == {"n2v": "last", "care": "best", "n2n": "last"}


def test_channels_are_apart_where_each_pair_is_noise_of_its_own():
    assert N2N().model.independent_channels
    assert not CARE().model.independent_channels
    assert not N2V().model.independent_channels


class Same(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize("kind", [CARE, N2N])
def test_the_loss_is_the_mean_over_all_pixels(kind):
    inputs, targets = random_images(3, 2, 8, 8), random_images(3, 2, 8, 8, seed=1)
    difference = (inputs - targets).double().numpy()
    expected = {"mae": abs(difference).mean(), "mse": (difference**2).mean()}
    for name, value in expected.items():
        loss = kind(loss_function=name).loss(Same(), inputs, keys_of(3), targets)
        assert float(loss) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("kind", [CARE, N2N])
def test_the_loss_may_be_called_loss_too(kind):
    made = kind.model_validate({"loss": "mae"})
    assert made == kind(loss_function="mae") != kind()
    assert kind.model_validate(made.model_dump(mode="json")) == made
    assert kind.model_validate(made.model_dump(), by_name=True) == made
    with pytest.raises(ValueError, match="'mae' or 'mse'"):
        kind.model_validate({"loss": "huber"})


@pytest.mark.parametrize("kind", [CARE, N2N])
def test_missing_targets_are_told(kind):
    algorithm, images = kind(model=SMALL), random_images(1, 1, 16, 16)
    model = algorithm.build_model(2, 1, 1)
    for act in (
        lambda: algorithm.loss(model, images, keys_of(1)),
        lambda: algorithm.prepare(model, images),
    ):
        with pytest.raises(SettingsError, match=f"{kind.full_name} learns from pairs"):
            act()


@pytest.mark.parametrize("linear_path", [True, False])
def test_care_maps_any_number_of_channels_to_any(linear_path):
    form = UNet(depth=1, num_channels_init=4, linear_path=linear_path)
    care = CARE(model=form)
    model = care.build_model(2, 3, 2)
    inputs = random_images(4, 3, 32, 32)
    targets = torch.stack([inputs[:, 0] - inputs[:, 2], 0.5 * inputs[:, 1]], dim=1)
    care.prepare(model, inputs, targets)
    restored = model.eval()(inputs)
    assert restored.shape == targets.shape
    error = float((restored - targets).detach().square().mean())
    assert (error < 0.01 * float(targets.var())) == linear_path
    care.loss(model.train(), inputs, keys_of(4), targets).backward()


def test_the_linear_path_of_pairs_sees_the_pixel_itself():
    first, second = random_images(8, 1, 32, 32), random_images(8, 1, 32, 32)
    n2n = N2N(model=SMALL)
    model = n2n.build_model(2, 1, 1)
    n2n.prepare(model, first, second)  # equal pairs: the best filter is none
    expected = torch.zeros(1, 1, 7, 7)
    expected[..., 3, 3] = 1
    torch.testing.assert_close(model.linear_filter, expected, atol=2e-3, rtol=0)


def test_channels_apart_have_filters_of_their_own():
    n2n = N2N(model=UNet(depth=1, num_channels_init=4, independent_channels=True))
    model = n2n.build_model(2, 2, 2)
    assert model.linear_filter.shape == (2, 1, 7, 7)
    inputs = random_images(8, 2, 32, 32)
    targets = inputs * torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)
    n2n.prepare(model, inputs, targets)
    assert model.linear_filter[:, 0, 3, 3].tolist() == pytest.approx([2, -1], abs=0.02)
    with pytest.raises(SettingsError, match="independent_channels=True needs as many"):
        n2n.build_model(2, 2, 1)


def test_without_a_linear_path_there_is_nothing_to_prepare():
    n2v = N2V(model=UNet(depth=1, num_channels_init=4, linear_path=False))
    model = n2v.build_model(2, 1, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    n2v.prepare(model, random_images(2, 1, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
