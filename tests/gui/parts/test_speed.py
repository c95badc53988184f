"""How long a training takes is measured, or not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from careamist.config import CARE, N2V, Configuration, DataConfig, UNet
from careamist.gui.forms.remembered import Remembered
from careamist.gui.parts import speed
from careamist.stop import StopRequested, StopSignal

TINY = Configuration(
    algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
    data_config=DataConfig(patch_size=(16, 16), batch_size=4),
)
CPU = "CPU, 2 threads"


def test_only_what_was_measured_is_known(tmp_path: Path) -> None:
    memory = Remembered(tmp_path / "docks.json")
    assert speed.known(TINY, CPU, memory) is None
    speed.remember(TINY, CPU, 0.25, memory)
    assert speed.known(TINY, f"Automatic: {CPU}", memory) == 0.25
    assert speed.known(TINY, "cuda:0 (Some GPU)", memory) is None
    other = TINY.model_copy(update={"data_config": DataConfig(patch_size=(32, 32))})
    assert speed.known(other, CPU, memory) is None
    memory.set("seconds_per_step", dict.fromkeys(memory.table("seconds_per_step"), "x"))
    assert speed.known(TINY, CPU, memory) is None  # a damaged entry


def test_the_list_of_measurements_does_not_grow_for_ever(tmp_path: Path) -> None:
    memory = Remembered(tmp_path / "docks.json")
    for batch in range(1, 70):
        data = DataConfig(patch_size=(16, 16), batch_size=batch)
        speed.remember(TINY.model_copy(update={"data_config": data}), CPU, batch, memory)
    assert len(memory.table("seconds_per_step")) == 50
    assert speed.known(TINY.model_copy(update={"data_config": data}), CPU, memory) == 69


@pytest.mark.parametrize("algorithm", [TINY.algorithm_config, CARE(model=UNet(depth=1))])
def test_a_trial_measures_steps(algorithm: object) -> None:
    config = TINY.model_copy(update={"algorithm_config": algorithm})
    seconds = speed.measure(config, lambda: None)
    assert 0 < seconds < 20


def test_a_trial_can_be_ended() -> None:
    stop = StopSignal()
    stop.set()
    with pytest.raises(StopRequested):
        speed.measure(TINY, stop.check)


@pytest.mark.parametrize(
    ("seconds", "words", "exact"),
    [
        (3, "5 s", "0:03"),
        (52, "50 s", "0:52"),
        (108, "2 min", "1:48"),
        (3500, "1 h", "58:20"),
        (5400, "1.5 h", "1:30:00"),
    ],
)
def test_times_in_words(seconds: float, words: str, exact: str) -> None:
    assert speed.duration(seconds) == words
    assert speed.exactly(seconds) == exact
