"""Make a network interruptible: a stop is noticed between any two of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from careamist.stop import StopSignal


@contextmanager
def interruptible(model: nn.Module, stop: StopSignal, grace: float = 0.0) -> Iterator[None]:
    """Let forward and backward passes of `model` raise `StopRequested` while this is entered.

    Parameters
    ----------
    model : torch.nn.Module
        The network; each of its layers checks the signal before its forward pass, and before the
        gradient of its output is used.
    stop : StopSignal
        The signal.
    grace : float
        Seconds that a gentler way of stopping is given first.
    """

    def check(*_: Any) -> None:
        stop.check(grace)

    def watch_backward(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.register_hook(check)

    layers = [layer for layer in model.modules() if not list(layer.children())]
    handles = [layer.register_forward_pre_hook(check) for layer in layers]
    handles += [layer.register_forward_hook(watch_backward) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
