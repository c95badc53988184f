"""Trainings of a second: tiny networks, few small patches, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from careamist import CAREamist
from careamist.config import CARE, N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.events import Event, StepDone

if TYPE_CHECKING:
    from careamist.algorithms import Algorithm
    from careamist.lightning.module import RestorationModule

NETWORK = UNet(depth=1, num_channels_init=4)


def small(
    num_steps: int | None = 6,
    *,
    algorithm: Algorithm | None = None,
    training: Mapping[str, Any] | None = None,
    **data: Any,
) -> Configuration:
    """A configuration with 4 filters, depth 1, and batches of four 16 × 16 patches."""
    length = {} if num_steps is None else {"num_steps": num_steps}
    return Configuration(
        algorithm_config=algorithm or N2V(model=NETWORK),
        data_config=DataConfig(**{"patch_size": (16, 16), "batch_size": 4, **data}),
        training_config=TrainingConfig(
            **{
                "checkpoint_every": 3,
                "device": "cpu",
                "precision": "float32",  # a choice by timing may differ from run to run
                **length,
                **(training or {}),
            }
        ),
    )


def small_care(num_steps: int | None = 6, **settings: Any) -> Configuration:
    return small(num_steps, algorithm=CARE(model=NETWORK), **settings)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, shape or (64, 64)).astype(np.float32)


def waves(*shape: int) -> np.ndarray:
    """A clean image, or a stack of the same."""
    rows = np.sin(np.arange(shape[-2]) / 4)[:, None] * np.cos(np.arange(shape[-1]) / 5)
    return np.broadcast_to(100 + 30 * rows, shape).astype(np.float32)


def new(config: Configuration, work_dir: Path, listeners: Sequence[Any] = ()) -> CAREamist:
    return CAREamist(config, work_dir=work_dir, enable_progress_bar=False, listeners=listeners)


def loaded(path: Path, work_dir: Path, listeners: Sequence[Any] = ()) -> CAREamist:
    return CAREamist(
        checkpoint_path=path, work_dir=work_dir, enable_progress_bar=False, listeners=listeners
    )


def stopping_after(careamist: CAREamist, step: int) -> CAREamist:
    """Let a model stop its training after a step."""

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.done == step:
            careamist.stop()

    careamist.listeners.append(stop)
    return careamist


def module_of(careamist: CAREamist) -> RestorationModule:
    module = careamist._model.module
    assert module is not None
    return module


def weights(careamist: CAREamist) -> dict[str, torch.Tensor]:
    """The averaged weights, and those that are optimised."""
    module = module_of(careamist)
    averaged = {f"averaged.{name}": value for name, value in module.averaged.state_dict().items()}
    return {**averaged, **module.model.state_dict()}


def assert_same_weights(a: CAREamist, b: CAREamist) -> None:
    ours, others = weights(a), weights(b)
    assert ours.keys() == others.keys()
    for name, value in ours.items():
        assert torch.equal(value, others[name]), name


def assert_same_state(a: CAREamist, b: CAREamist) -> None:
    """Weights, averages, optimizer, counters and losses are equal, bit for bit."""
    assert_same_weights(a, b)
    ours, others = module_of(a), module_of(b)
    assert ours.ema_updates == others.ema_updates
    assert (ours.steps_done, ours.samples_done) == (others.steps_done, others.samples_done)
    assert (ours.segment, ours.epoch_steps) == (others.segment, others.epoch_steps)
    assert ours.history == others.history
    assert ours.config == others.config
    assert ours.optimizer_state is not None
    assert others.optimizer_state is not None
    _assert_same(ours.optimizer_state, others.optimizer_state)


def _assert_same(a: Any, b: Any) -> None:
    if isinstance(a, Mapping):
        assert a.keys() == b.keys()
        for key, value in a.items():
            _assert_same(value, b[key])
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def without_memory_above(batch_size: int) -> Callable[..., None]:
    """A forward hook of a network: larger batches run out of memory."""

    def check(_module: Any, inputs: tuple[torch.Tensor, ...], _output: Any) -> None:
        if len(inputs[0]) > batch_size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    return check
