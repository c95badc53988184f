"""A job in the background: whatever happens, one terminal event, and it is the last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from careamist import CAREamist
from careamist.background import Run
from careamist.config import N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.errors import NotTrainedError
from careamist.events import (
    TERMINAL,
    CheckpointSaved,
    Event,
    Listener,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepDone,
)
from careamist.stop import StopRequested, StopSignal

SECONDS = 30.0


def until_the_end(run: Run) -> list[Event]:
    """Return the events up to the first terminal one."""
    events: list[Event] = []
    while not events or not isinstance(events[-1], TERMINAL):
        events.append(run.events.get(timeout=SECONDS))
    return events


def finish(run: Run) -> list[Event]:
    """Run to the end; return all events, of which only the last is terminal."""
    run.start()
    events = until_the_end(run)
    run.join(SECONDS)
    assert not run.is_alive
    assert run.events.empty()
    return events


def test_success() -> None:
    def job(emit: Listener, stop: StopSignal) -> str:
        emit(RunStarted("theirs", "train", 2))
        emit(StepDone("theirs", 1, 2, 0.5))
        emit(StepDone("theirs", 2, 2, 0.25))
        return "result"

    run = Run("train", job)
    assert not run.is_alive
    events = finish(run)
    assert events == [  # all in the name of this run
        RunStarted(run.run_id, "train", 2),
        StepDone(run.run_id, 1, 2, 0.5),
        StepDone(run.run_id, 2, 2, 0.25),
        RunFinished(run.run_id, "train"),
    ]
    assert run.result == "result"
    assert not run.is_stopping


def test_every_run_has_its_own_id() -> None:
    runs = [Run("predict", lambda emit, stop: None) for _ in range(3)]
    assert len({run.run_id for run in runs}) == 3
    for run in runs:
        assert finish(run) == [RunFinished(run.run_id, "predict")]


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (ValueError("no good"), "ValueError: no good", ""),
        (NotTrainedError("Not trained.", "Train."), "Not trained.", "Train."),
        (RuntimeError("CUDA out of memory. Tried"), "The device ran out of memory.", "smaller"),
        (MemoryError(), "The computer ran out of memory.", "smaller"),
        (AssertionError(), "AssertionError", ""),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (SystemExit(3), "SystemExit: 3", ""),
        (GeneratorExit(), "GeneratorExit", ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_any_exception_at_any_place_is_one_failure(
    steps: int, error: BaseException, message: str, hint: str
) -> None:
    def job(emit: Listener, stop: StopSignal) -> None:
        for step in range(steps):
            emit(StepDone("theirs", step + 1, 3))
        raise error

    run = Run("train", job)
    *before, last = finish(run)
    assert before == [StepDone(run.run_id, step + 1, 3) for step in range(steps)]
    assert isinstance(last, RunFailed)
    assert (last.run_id, last.kind, last.message) == (run.run_id, "train", message)
    assert hint in last.hint
    assert bool(hint) == bool(last.hint)
    assert type(error).__name__ in last.traceback
    assert "raise error" in last.traceback
    assert run.result is None


@pytest.mark.parametrize("end", [RunFinished, RunStopped, lambda *_: RunFailed("x", "train", "m")])
def test_the_end_that_a_job_tells_is_held_back(end: Callable[..., Event]) -> None:
    gate = threading.Event()

    def job(emit: Listener, stop: StopSignal) -> int:
        emit(end("theirs", "train"))
        emit(StepDone("theirs", 1, 1))
        assert gate.wait(SECONDS)
        return 7

    run = Run("train", job)
    run.start()
    assert run.events.get(timeout=SECONDS) == StepDone(run.run_id, 1, 1)
    assert run.is_alive
    gate.set()
    assert until_the_end(run) == [RunFinished(run.run_id, "train")]
    assert run.result == 7
    run.join(SECONDS)
    assert run.events.empty()


def test_the_result_is_there_when_the_end_is_told() -> None:
    for _ in range(50):
        run = Run("predict", lambda emit, stop: ["result"])
        run.start()
        until_the_end(run)
        assert run.result == ["result"]  # the thread may still be alive
        run.join(SECONDS)


def test_news_after_the_end_are_dropped() -> None:
    listeners: list[Listener] = []
    run = Run("train", lambda emit, stop: listeners.append(emit))
    finish(run)
    listeners[0](StepDone("theirs", 1, 1))
    assert run.events.empty()


def test_a_job_that_looks_at_the_signal_is_stopped() -> None:
    def job(emit: Listener, stop: StopSignal) -> None:
        step = 0
        while True:
            step += 1
            emit(StepDone("theirs", step, 10**9))
            stop.check()
            threading.Event().wait(0.001)

    run = Run("train", job)
    run.start()
    run.events.get(timeout=SECONDS)
    run.stop()
    assert run.is_stopping
    assert until_the_end(run)[-1] == RunStopped(run.run_id, "train")
    run.join(SECONDS)
    assert not run.is_alive
    assert run.events.empty()


@pytest.mark.parametrize("obey", [StopSignal.check, StopSignal.is_set])
def test_a_stop_before_the_start_is_obeyed(obey: Callable[[StopSignal], Any]) -> None:
    run = Run("predict", lambda emit, stop: obey(stop))
    run.stop()
    assert finish(run) == [RunStopped(run.run_id, "predict")]


def test_a_stop_is_an_end_also_when_nobody_asked_for_it() -> None:
    def job(emit: Listener, stop: StopSignal) -> None:
        raise StopRequested

    run = Run("train", job)
    assert finish(run) == [RunStopped(run.run_id, "train")]


def test_an_error_during_a_stop_is_told() -> None:
    def job(emit: Listener, stop: StopSignal) -> None:
        raise OSError(28, "No space left on device", "last.ckpt")

    run = Run("train", job)
    run.stop()
    (failed,) = finish(run)
    assert isinstance(failed, RunFailed)
    assert failed.message == "No space left on device: last.ckpt."


# -- with the engine ------------------------------------------------------------------------


def model(tmp_path: Path, num_steps: int = 100_000) -> CAREamist:
    config = Configuration(
        algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
        data_config=DataConfig(patch_size=(16, 16), batch_size=2),
        training_config=TrainingConfig(num_steps=num_steps, device="cpu"),
    )
    return CAREamist(config, work_dir=tmp_path, enable_progress_bar=False)


IMAGE = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)


def training(careamist: CAREamist) -> Run:
    def job(emit: Listener, stop: StopSignal) -> CAREamist:
        with careamist.attached(emit, stop):
            careamist.train(train_data=IMAGE)
        return careamist

    return Run("train", job)


def test_a_training_stopped_midway_keeps_its_model(tmp_path: Path) -> None:
    run = training(model(tmp_path))
    run.start()
    while not isinstance(event := run.events.get(timeout=SECONDS), StepDone) or event.done < 5:
        pass
    run.stop()
    events = until_the_end(run)
    assert events[-1] == RunStopped(run.run_id, "train")
    assert {event.run_id for event in events} == {run.run_id}
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [Path(event.path).name for event in saved] == ["last.ckpt"]
    careamist: CAREamist = run.result
    assert 5 <= careamist.steps_done < 1000
    (restored,), _ = careamist.predict(IMAGE)  # usable at once
    again = CAREamist(checkpoint_path=saved[0].path, enable_progress_bar=False)
    assert again.steps_done == careamist.steps_done
    np.testing.assert_array_equal(again.predict(IMAGE)[0][0], restored)
    run.join(SECONDS)
    assert not run.is_alive


def test_a_training_stopped_before_it_began_leaves_the_facade_usable(tmp_path: Path) -> None:
    careamist = model(tmp_path, num_steps=2)
    run = training(careamist)
    run.stop()
    assert finish(run) == [RunStopped(run.run_id, "train")]
    assert careamist.steps_done == 0
    events = finish(training(careamist))
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert careamist.steps_done == 2


def test_a_training_that_fails_is_told_once(tmp_path: Path) -> None:
    careamist = model(tmp_path, num_steps=2)

    def job(emit: Listener, stop: StopSignal) -> None:
        with careamist.attached(emit, stop):
            careamist.train(train_data=np.full((64, 64), 7.0))

    (failed,) = finish(Run("train", job))
    assert isinstance(failed, RunFailed)
    assert "constant" in failed.message
    assert failed.hint


def test_a_pause_holds_up_the_job_and_a_stop_ends_it() -> None:
    reached: list[int] = []

    def job(emit: Listener, stop: StopSignal) -> None:
        for number in range(1_000_000):
            stop.check()
            reached.append(number)

    run = Run("train", job)
    run.pause()
    run.start()
    assert run.is_paused
    run.join(0.2)
    assert run.is_alive
    assert reached == []
    run.resume()
    assert not run.is_paused
    run.pause()
    run.stop()
    assert until_the_end(run) == [RunStopped(run.run_id, "train")]
    run.join(SECONDS)
    assert not run.is_alive
