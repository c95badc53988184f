"""Docks in a real napari, with runs of a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from careamist.config import N2V, DataConfig, TrainingConfig, UNet
from careamist.gui import tasks
from careamist.gui.forms import remembered
from careamist.gui.training import effort_row


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "models_folder", lambda: tmp_path / "models")
    monkeypatch.setattr(remembered, "settings_file", lambda: tmp_path / "settings" / "docks.json")
    monkeypatch.setenv("CAREAMIST_LOG", str(tmp_path / "careamist.log"))
    monkeypatch.setattr(effort_row, "TRIAL_AFTER_MS", 600_000)  # tests want the machine


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 10
    while left := [t for t in threading.enumerate() if t.name.startswith("careamist-")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def noisy() -> Any:
    return np.random.default_rng(0).poisson(50, (64, 64)).astype(np.uint16)


@pytest.fixture
def make_quick() -> Callable[..., None]:
    """Return a function that sets a Train dock to a run of about a second."""

    def quick(dock: Any, steps: int = 6) -> None:
        dock.training_form.setValue(TrainingConfig(num_steps=steps))
        dock.algorithm_form.setValue(N2V(model=UNet(depth=1, num_channels_init=4)))
        data = dock.data_form.value()
        fitting = {"axes": data.axes, "patch_size": (*data.patch_size[:-2], 16, 16)}
        values = data.model_dump() | fitting | {"batch_size": 4}
        dock.data_form.setValue(DataConfig.model_validate(values))

    return quick
