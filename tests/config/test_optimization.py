"""Optimizers, schedules and early stopping, as pure functions; against those of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from careamist.config import explain
from careamist.config.optimization import (
    Constant,
    Cosine,
    EarlyStopping,
    Optimizer,
    ReduceLROnPlateau,
    StepLR,
)


def parameter():
    return torch.nn.Parameter(torch.ones(3))


# -- optimizers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Adam", {}),
        ("Adam", {"betas": [0.8, 0.99], "eps": 1e-6, "weight_decay": 0.1}),
        ("AdamW", {"weight_decay": 0.5}),
        ("Adamax", {"betas": [0.5, 0.9]}),
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_it_is_that_of_torch(name, parameters):
    ours, theirs = parameter(), parameter()
    built = Optimizer(name=name, parameters=parameters).build([ours], 0.1, fuse=False)
    expected = getattr(torch.optim, name)([theirs], lr=0.1, **parameters)
    assert type(built) is type(expected)
    for step in range(3):
        for weight, optimizer in ((ours, built), (theirs, expected)):
            weight.grad = torch.tensor([1.0, -2.0, step])
            optimizer.step()
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, torch.ones(3))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "SGD"])
def test_all_weights_are_moved_in_one_go_where_that_is_possible(name):
    ours, theirs = parameter(), parameter()
    built = Optimizer(name=name).build([ours], 0.1)
    assert built.defaults.get("fused", "never") == {"Adamax": "never"}.get(name, True)
    expected = getattr(torch.optim, name)([theirs], lr=0.1)
    for step in range(3):
        for weight, optimizer in ((ours, built), (theirs, expected)):
            weight.grad = torch.tensor([1.0, -2.0, step])
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("given", [{"fused": False}, {"foreach": True}, {"differentiable": True}])
def test_who_says_how_weights_are_moved_is_obeyed(given):
    built = Optimizer(name="Adam", parameters=given).build([parameter()], 0.1)
    assert not built.defaults["fused"]
    assert given.items() <= built.defaults.items()


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("Adam", {"momentum": 0.9}, "Adam does not take momentum: expected some of amsgrad, betas"),
        ("SGD", {"betas": [1, 2], "eps": 3}, "SGD does not take betas, eps"),
        ("AdamW", {"lr": 0.1}, "AdamW does not take lr"),
        ("AdamW", {"params": []}, "AdamW does not take params"),
        ("Adam", {"betas": [2.0, 0.9]}, "Adam refuses"),
        ("Adam", {"betas": 3}, "Adam refuses"),
        ("SGD", {"momentum": -1}, "Invalid momentum value"),
        ("SGD", {"nesterov": True}, "SGD refuses"),
    ],
)
def test_parameters_it_does_not_take_are_named(name, parameters, told):
    with pytest.raises(ValidationError) as caught:
        Optimizer(name=name, parameters=parameters)
    assert explain(caught.value).startswith("parameters: ")
    assert told in explain(caught.value)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValidationError, match="'Adam', 'AdamW', 'Adamax' or 'SGD'"):
        Optimizer(name="LBFGS")


# -- schedules -------------------------------------------------------------------------------------


def factors(schedule, first, last, epoch_steps=1, losses=()):
    return [schedule.factor(step, first, last, epoch_steps, losses) for step in range(first, last)]


def test_constant_is_constant():
    assert factors(Constant(), 3, 9) == [1.0] * 6


@pytest.mark.parametrize("first", [0, 57])
@pytest.mark.parametrize(("length", "warm_up"), [(1, 0.03), (2, 0.03), (100, 0.1), (100, 0.0)])
def test_cosine_is_the_formula(first, length, warm_up):
    found = factors(Cosine(warm_up=warm_up), first, first + length)
    rising = max(1, round(warm_up * length))
    place = np.arange(length)
    expected = np.where(
        place < rising,
        (place + 1) / rising,
        0.5 * (1 + np.cos(np.pi * (place - rising) / max(length - rising, 1))),
    )
    np.testing.assert_allclose(found, expected)
    assert max(found) == 1


def test_cosine_is_low_beyond_its_ends():
    schedule = Cosine()
    assert schedule.factor(500, 0, 100, 1, ()) == pytest.approx(0)
    assert 0 < schedule.factor(0, 100, 200, 1, ()) <= 1


@pytest.mark.parametrize(("first", "epoch_steps"), [(0, 1), (0, 4), (40, 4)])
def test_steps_of_epochs_are_those_of_torch(first, epoch_steps):
    ours = factors(StepLR(step_size=3, gamma=0.5), first, first + 40, epoch_steps)
    optimizer = torch.optim.SGD([parameter()], lr=1.0)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    expected = []
    for step in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % epoch_steps == 0:
            theirs.step()
    assert ours == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("patience", "threshold"), [(0, 1e-4), (2, 1e-4), (3, 0.05)])
@pytest.mark.parametrize("first", [0, 60])
def test_plateaus_are_those_of_torch(seed, patience, threshold, first):
    epoch_steps, n_epochs = 3, 20
    rng = np.random.default_rng(seed)
    values = 1 / np.arange(1, n_epochs + 1) ** 0.1 + rng.normal(0, 0.1, n_epochs)
    before = [[step, 1e-9] for step in range(epoch_steps, first + 1, epoch_steps)]
    losses = [[first + epoch_steps * (i + 1), float(v)] for i, v in enumerate(values)]
    schedule = ReduceLROnPlateau(reduction=0.5, patience=patience, threshold=threshold)
    last = first + epoch_steps * n_epochs
    optimizer = torch.optim.SGD([parameter()], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=threshold
    )
    for epoch, value in enumerate(values):
        step = first + epoch_steps * epoch
        known = [*before, *losses[:epoch]]
        ours = [schedule.factor(step + i, first, last, epoch_steps, known) for i in range(3)]
        assert ours == pytest.approx([optimizer.param_groups[0]["lr"]] * 3)
        optimizer.step()
        theirs.step(value)
    assert optimizer.param_groups[0]["lr"] < 1


def test_the_plateau_is_also_told_under_the_name_of_torch():
    given = ReduceLROnPlateau.model_validate({"factor": 0.3})
    assert given == ReduceLROnPlateau(reduction=0.3)


# -- early stopping --------------------------------------------------------------------------------


def over_at(stopping, losses):
    """Return after how many validations the training ends."""
    entries = [[step, loss] for step, loss in enumerate(losses)]
    for n in range(1, len(losses) + 1):
        if stopping.is_over(entries[:n]):
            return n
    return None


def test_it_ends_after_epochs_without_progress():
    falling = [1 / n for n in range(1, 40)]
    assert over_at(EarlyStopping(patience=5, smoothing=1), falling) is None
    flat = [3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert over_at(EarlyStopping(patience=4, smoothing=1), flat) == 7
    rising = [1.0, 2.0, 3.0, 4.0]
    assert over_at(EarlyStopping(patience=2, smoothing=1), rising) == 3


@pytest.mark.parametrize("seed", range(5))
def test_it_looks_at_the_average_of_some_epochs(seed):
    # the loss falls, but less from one epoch to the next than it is uncertain
    losses = 1 - 0.01 * np.arange(60) + np.random.default_rng(seed).normal(0, 0.06, 60)
    assert over_at(EarlyStopping(patience=6, smoothing=1), losses) is not None
    assert over_at(EarlyStopping(patience=6, smoothing=8), losses) is None


def test_small_falls_may_not_count():
    losses = [1 - 0.001 * n for n in range(40)]
    assert over_at(EarlyStopping(patience=5, smoothing=1), losses) is None
    assert over_at(EarlyStopping(patience=5, smoothing=1, min_delta=0.01), losses) == 6


def test_it_waits_for_enough_epochs():
    assert over_at(EarlyStopping(patience=5, smoothing=3), [1.0] * 7) is None
    assert over_at(EarlyStopping(patience=5, smoothing=3), [1.0] * 8) == 8
    assert over_at(EarlyStopping(patience=5), []) is None
