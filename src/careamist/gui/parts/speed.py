"""How long a training takes on this machine: measured, or not told at all."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from careamist.gui.parts.engine import import_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from careamist.config import Configuration
    from careamist.gui.forms.remembered import Remembered

_NAME = "seconds_per_step"
_MOST = 50  # configurations that are remembered
_TRIAL_PATCHES, _TRIAL_STEPS = 2, 3


def known(config: Configuration, device: str, memory: Remembered) -> float | None:
    """Return the seconds that a step took on this machine, or None where it was not measured.

    Parameters
    ----------
    config : Configuration
        What would be trained.
    device : str
        Where, as `describe_device` says it.
    memory : Remembered
        Where measurements are kept.
    """
    value: Any = memory.table(_NAME).get(_key(config, device))
    good = isinstance(value, (int, float)) and math.isfinite(value) and value > 0
    return float(value) if good else None


def remember(config: Configuration, device: str, seconds: float, memory: Remembered) -> None:
    """Keep what a step took."""
    table = memory.table(_NAME)
    table.pop(_key(config, device), None)
    table[_key(config, device)] = round(seconds, 6)
    memory.set(_NAME, dict(list(table.items())[-_MOST:]))


def measure(config: Configuration, check: Callable[[], None]) -> float:
    """Return about how long a step takes: of a few patches of zeros, scaled to the batch.

    Imports torch, and computes for a second or so on the CPU: not for the thread of the window.

    Parameters
    ----------
    config : Configuration
        What would be trained.
    check : callable
        Is called between steps, and may raise to end this.
    """
    import_engine(check, "torch")
    import torch

    data, algorithm = config.data_config, config.algorithm_config
    channels = data.n_channels or 1
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        network = algorithm.build_model(data.dims, channels, data.n_channels_out or channels)
    optimizer = config.training_config.optimizer.build(network.parameters(), 1e-4)
    patches = min(_TRIAL_PATCHES, data.batch_size)
    shape = (patches, channels, *data.patch_size)
    images = torch.randn(shape, generator=generator)
    targets = images[:, :1].expand(patches, data.n_channels_out or channels, *data.patch_size)
    best = math.inf
    for step in range(_TRIAL_STEPS):
        check()
        start = time.perf_counter()
        keys = torch.arange(patches) + step * patches
        loss = algorithm.loss(network, images, keys, targets if algorithm.needs_target else None)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        best = min(best, time.perf_counter() - start)
    return best * data.batch_size / patches


def duration(seconds: float) -> str:
    """Say a time roughly: "40 s", "2 min", "1.5 h"."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 55 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{max(1.0, round(seconds / 1800) / 2):g} h"


def exactly(seconds: float) -> str:
    """Say a time that was measured: "0:09", "1:48", "1:05:00"."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes = f"{rest // 60:02d}" if hours else str(rest // 60)
    return f"{f'{hours}:' if hours else ''}{minutes}:{rest % 60:02d}"


def kind_of(device: str) -> str:
    """Return "CPU" or "GPU" for the description of a device."""
    return "CPU" if device.removeprefix("Automatic: ").startswith("CPU") else "GPU"


def _key(config: Configuration, device: str) -> str:
    data, algorithm = config.data_config, config.algorithm_config
    net: dict[str, Any] = algorithm.model.model_dump()
    parts = [
        kind_of(device),
        algorithm.variant,
        f"depth {net['depth']}",
        f"{net['num_channels_init']} filters",
        f"{'x'.join(map(str, data.patch_size))} px",
        f"batch {data.batch_size}",
        f"{data.n_channels or 1} channels",
        config.training_config.precision,
    ]
    return ", ".join(parts)
