"""The frame around a run: one at a time, who is told, and one terminal event."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

from careamist.errors import DataError, SettingsError
from careamist.events import Noticed, RunFailed, RunFinished, RunStarted, RunStopped, StepDone
from careamist.runner import Runner
from careamist.stop import StopRequested, StopSignal
from tiny import new, small


@pytest.fixture
def events():
    return []


@pytest.fixture
def runner(events):
    return Runner([events.append], progress_bar=False)


def test_a_run_that_ends_is_finished(runner, events):
    with runner.frame("train", None) as run:
        run.emit(StepDone(run.run_id, 1, 2))
    assert [type(event) for event in events] == [StepDone, RunFinished]
    assert events[1].kind == "train"
    assert {event.run_id for event in events} == {run.run_id}


def test_each_run_has_a_name_of_its_own(runner, events):
    for _ in range(3):
        with runner.frame("predict", None):
            pass
    assert len({event.run_id for event in events}) == 3


@pytest.mark.parametrize("how", ["asked", "raised"])
def test_a_stop_is_told_and_not_raised(runner, events, how):
    with runner.frame("predict", None) as run:
        runner.stop()
        if how == "raised":
            run.stop.check()
            raise AssertionError
    assert [type(event) for event in events] == [RunStopped]
    assert runner.stop_signal.is_set()
    with runner.frame("predict", None):
        assert not runner.stop_signal.is_set()  # a new run begins unstopped
    assert isinstance(events[-1], RunFinished)


def test_an_error_is_told_and_raised(runner, events):
    with pytest.raises(DataError, match="no pixels"), runner.frame("train", None):
        raise DataError("There are no pixels.", "Give some.")
    (failed,) = events
    assert isinstance(failed, RunFailed)
    assert (failed.message, failed.hint) == ("There are no pixels.", "Give some.")
    assert "DataError" in failed.traceback
    with runner.frame("train", None):  # and it may run again
        pass
    assert isinstance(events[-1], RunFinished)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_ends_a_run_is_told_once(runner, events, error):
    with pytest.raises(error), runner.frame("train", None):
        raise error
    assert [type(event) for event in events] == [RunFailed]
    assert events[0].message


def test_one_run_at_a_time(runner, events):
    with (
        runner.frame("train", None),
        pytest.raises(SettingsError, match=r"already running.*Wait for it, or stop it"),
        runner.frame("predict", None),
    ):
        raise AssertionError
    assert [type(event) for event in events] == [RunFinished]  # of the first one only


def test_a_listener_of_one_run_is_gone_in_the_next(runner, events):
    own = []
    with runner.frame("train", None) as run:
        run.listen(own.append)
        run.emit(Noticed(run.run_id, "here"))
    with runner.frame("train", None):
        pass
    assert [type(event) for event in own] == [Noticed, RunFinished]
    assert len(events) == 3


def test_a_listener_that_raises_is_skipped(runner, events, caplog):
    def broken(event):
        raise ZeroDivisionError

    runner.listeners.insert(0, broken)
    with runner.frame("train", None):
        pass
    assert isinstance(events[-1], RunFinished)
    assert "failed on RunFinished" in caplog.text


def test_another_thread_may_listen_and_stop(runner, events):
    heard, stop = [], StopSignal()
    with runner.attached(heard.append, stop):
        assert runner.stop_signal is stop
        with runner.frame("train", None) as run:
            thread = threading.Thread(target=stop.set)
            thread.start()
            thread.join()
            with pytest.raises(StopRequested):
                run.stop.check()
    assert [type(event) for event in heard] == [RunStopped]
    with runner.frame("train", None):
        assert runner.stop_signal is not stop
    assert len(heard) == 1


def test_a_stop_that_comes_before_the_run_ends_it_at_once(tmp_path):
    stop, heard = StopSignal(), []
    stop.set()
    careamist = new(small(), tmp_path)
    with careamist.attached(heard.append, stop):
        careamist.train(train_data="never opened")
        assert careamist.predict("never opened") == ([], [])
    assert [type(event) for event in heard] == [RunStopped, RunStopped]


def test_threads_are_set_for_the_run_and_given_back(runner):
    before = torch.get_num_threads()
    with runner.frame("train", before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), runner.frame("train", before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to oneself")
def test_the_interrupt_key_stops_and_twice_interrupts(runner, events):
    handler = signal.getsignal(signal.SIGINT)
    with runner.frame("train", None) as run:
        os.kill(os.getpid(), signal.SIGINT)
        assert run.stop.is_set()
    assert isinstance(events[-1], RunStopped)

    def press_twice():
        with runner.frame("train", None):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert isinstance(events[-1], RunFailed)
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("drawn", [True, False])
def test_a_progress_bar_is_drawn_if_wanted(drawn, capsys):
    runner = Runner(progress_bar=drawn)
    with runner.frame("train", None) as run:
        run.emit(RunStarted(run.run_id, "train", 2))
        run.emit(StepDone(run.run_id, 2, 2))
    told = capsys.readouterr()
    assert told.out == ""
    assert ("train: 100%" in told.err) == drawn
