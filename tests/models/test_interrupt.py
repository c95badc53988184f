"""A stop is noticed between any two layers, on the way up and on the way back."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from careamist.models.interrupt import interruptible
from careamist.models.network import UNet
from careamist.stop import StopRequested, StopSignal


class Setter(nn.Module):
    """Passes its input on and asks for a stop in the given pass."""

    def __init__(self, stop, when):
        super().__init__()
        self.stop, self.when = stop, when

    def forward(self, x):
        if self.when == "forward":
            self.stop.set()
        if self.when == "backward":
            x = x * 1.0
            x.register_hook(lambda gradient: self.stop.set())
        return x


class Witness(nn.Module):
    """Counts how often it was passed, in both directions."""

    def __init__(self):
        super().__init__()
        self.forwards = self.backwards = 0

    def forward(self, x):
        self.forwards += 1
        x = x * 1.0
        x.register_hook(self._back)
        return x

    def _back(self, gradient):
        self.backwards += 1


def hooks(model):
    return sum(
        len(m._forward_pre_hooks) + len(m._forward_hooks) + len(m._backward_hooks)
        for m in model.modules()
    )


def chain(when):
    stop = StopSignal()
    before, after = Witness(), Witness()
    model = nn.Sequential(nn.Linear(2, 2), before, nn.Linear(2, 2), Setter(stop, when), after)
    return model, stop, before, after


def test_stop_set_in_a_layer_is_noticed_before_the_next_one():
    model, stop, before, after = chain("forward")
    with interruptible(model, stop), pytest.raises(StopRequested):
        model(torch.ones(1, 2))
    assert (before.forwards, after.forwards) == (1, 0)


def test_stop_set_in_the_backward_pass_is_noticed_there():
    model, stop, before, after = chain("backward")
    with interruptible(model, stop):
        loss = model(torch.ones(1, 2)).sum()
        with pytest.raises(StopRequested):
            loss.backward()
    assert (before.forwards, after.forwards) == (1, 1)
    assert (before.backwards, after.backwards) == (0, 1)
    assert model[0].weight.grad is None


def test_nothing_happens_without_a_stop():
    model, stop, before, _ = chain("never")
    with interruptible(model, stop):
        model(torch.ones(1, 2)).sum().backward()
    assert (before.forwards, before.backwards) == (1, 1)
    assert model[0].weight.grad is not None


def test_grace_lets_a_pass_end(monkeypatch):
    now = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    model, stop, *_ = chain("forward")
    with interruptible(model, stop, grace=0.5):
        model(torch.ones(1, 2))
        now[0] += 0.6
        with pytest.raises(StopRequested):
            model(torch.ones(1, 2))


@pytest.mark.parametrize("how", ["ended", "stopped"])
def test_hooks_are_gone_afterwards(how):
    model, stop, *_ = chain("never")
    try:
        with interruptible(model, stop):
            assert hooks(model) > 0
            if how == "stopped":
                stop.set()
            model(torch.ones(1, 2))
    except StopRequested:
        assert how == "stopped"
    assert hooks(model) == 0
    stop.set()
    model(torch.ones(1, 2))


def test_every_layer_of_the_unet_checks():
    network, stop = UNet(depth=2, num_channels_init=4).build(2, 1, 1), StopSignal()
    checks = []
    stop.check = lambda grace: checks.append(grace)
    layers = [m for m in network.modules() if not list(m.children())]
    uses = len(layers) + 2  # the pooling and the upsampling layer are used twice
    with interruptible(network, stop):
        loss = network(torch.zeros(1, 1, 8, 8)).sum()
        assert len(checks) == uses
        loss.backward()
    assert len(checks) == 2 * uses


def test_inference_mode_is_interruptible():
    network, stop = UNet(depth=1, num_channels_init=4).build(2, 1, 1), StopSignal()
    stop.set()
    with torch.inference_mode(), interruptible(network, stop), pytest.raises(StopRequested):
        network(torch.zeros(1, 1, 8, 8))
