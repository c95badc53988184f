"""How long to train, and at which rate."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from careamist.config import TrainingConfig, explain


@pytest.mark.parametrize(
    ("settings", "epoch_steps", "total"),
    [
        ({"num_steps": None, "num_epochs": 10}, 6, 60),
        ({"num_steps": None, "num_epochs": 10, "steps_per_epoch": 4}, 4, 40),
        ({"num_steps": 33}, 6, 33),
        ({"num_steps": 33, "steps_per_epoch": 4, "num_epochs": 99}, 4, 33),
    ],
)
def test_steps_follow_from_what_was_ordered(settings, epoch_steps, total):
    training = TrainingConfig(**settings)
    assert training.epoch_steps(100, 16) == epoch_steps
    assert training.total_steps(100, 16) == total
    assert TrainingConfig().epoch_steps(3, 16) == 1


@pytest.mark.parametrize(
    ("settings", "epoch_steps", "between"),
    [
        ({}, 1, 20),
        ({}, 6, 24),
        ({}, 20, 20),
        ({}, 300, 300),
        ({"num_epochs": 10}, 3, 21),
        ({"steps_per_epoch": 2}, 2, 2),  # ordered
        ({"early_stopping": {}}, 3, 3),  # decided by epochs
        ({"lr_schedule": {"name": "ReduceLROnPlateau"}}, 3, 3),
        ({"lr_schedule": {"name": "StepLR", "step_size": 2}}, 3, 21),
    ],
)
def test_validation_does_not_take_the_time_of_tiny_epochs(settings, epoch_steps, between):
    assert TrainingConfig(**settings).validation_steps(epoch_steps) == between


@pytest.mark.parametrize(("first", "last"), [(0, 1000), (500, 1500), (7, 8), (0, 2)])
def test_the_rate_warms_up_falls_and_ends_low(first, last):
    training = TrainingConfig(learning_rate=0.01)
    rates = [training.rate(step, first, last) for step in range(first, last)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0
    if last - first == 1000:
        assert top == 29 or top == 30
        assert rates[0] == pytest.approx(0.01 / 30)
        assert rates[-1] < 1e-7
        halfway = 30 + (1000 - 30) // 2
        assert rates[halfway] == pytest.approx(0.005, rel=1e-9)


def test_the_rate_never_climbs_again_past_its_end():
    training = TrainingConfig()
    assert all(training.rate(step, 0, 100) == pytest.approx(0) for step in range(100, 300))
    assert math.isclose(training.rate(0, 0, 100), training.rate(300, 300, 400))


def test_continued_steps_never_exceed_the_base_rate():
    for name, more in (
        ("cosine", {}),
        ("constant", {}),
        ("StepLR", {"step_size": 2}),
        ("ReduceLROnPlateau", {}),
    ):
        training = TrainingConfig(learning_rate=0.01, lr_schedule={"name": name, **more})
        for first, last in ((0, 40), (40, 80), (80, 81), (81, 500)):
            losses = [[step, 1.0] for step in range(0, last, 4)]
            rates = [training.rate(step, first, last, 4, losses) for step in range(first, last)]
            assert max(rates) <= 0.01
            assert min(rates) > 0 or name == "cosine"
            # each part begins anew, as high as the first one
            assert max(rates) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("given", "steps", "epochs"),
    [
        ({}, 1000, 30),
        ({"num_epochs": 5}, None, 5),
        ({"steps_per_epoch": 5}, None, 30),
        ({"max_minutes": 5}, None, 30),
        ({"num_epochs": 5, "num_steps": 7}, 7, 5),
    ],
)
def test_what_is_given_says_how_long(given, steps, epochs):
    training = TrainingConfig(**given)
    assert (training.num_steps, training.num_epochs) == (steps, epochs)
    assert TrainingConfig.model_validate(training.model_dump()) == training


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"num_steps": 5, "max_minutes": 1}, "num_steps=5 and max_minutes=1.0 were both given"),
        ({"max_minutes": 0}, "max_minutes: Input should be greater than 0"),
        ({"num_steps": 0}, "num_steps"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": 2}, "learning_rate"),
        ({"gradient_clip": 0}, "gradient_clip"),
        (
            {"precision": "16"},
            "precision: Input should be 'auto', 'float32', 'bfloat16' or",
        ),
        ({"logger": "mlflow"}, "logger: Input should be 'none', 'tensorboard' or 'wandb'"),
        ({"ema_decay": 1}, "ema_decay"),
        ({"early_stopping": {"patience": 0}}, "early_stopping.patience"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given, told):
    with pytest.raises(ValidationError) as caught:
        TrainingConfig(**given)
    assert told in explain(caught.value)


def test_early_stopping_is_off_by_default():
    assert TrainingConfig().early_stopping is None
