"""The stop signal: set from any thread, raised where it is checked."""

from __future__ import annotations

import threading

import pytest

from careamist.stop import StopRequested, StopSignal


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when told."""
    now = [100.0]
    monkeypatch.setattr("careamist.stop.time.monotonic", lambda: now[0])
    return now


def test_check_is_silent_until_a_stop_is_asked_for():
    stop = StopSignal()
    stop.check()
    assert not stop.is_set()
    stop.set()
    assert stop.is_set()
    with pytest.raises(StopRequested):
        stop.check()


def test_grace_is_counted_from_the_first_request(clock):
    stop = StopSignal()
    stop.set()
    clock[0] += 0.4
    stop.set()  # again: changes nothing
    stop.check(grace=0.5)
    clock[0] += 0.1001
    with pytest.raises(StopRequested):
        stop.check(grace=0.5)


def test_clear_forgets_the_request_and_its_time(clock):
    stop = StopSignal()
    stop.set()
    stop.clear()
    stop.check()
    clock[0] += 10
    stop.set()
    stop.check(grace=0.5)  # the old request would be due


def test_another_thread_may_ask():
    stop = StopSignal()
    thread = threading.Thread(target=stop.set)
    thread.start()
    thread.join()
    with pytest.raises(StopRequested):
        stop.check()


def test_a_stop_is_neither_an_error_of_ours_nor_an_interrupt():
    from careamist.errors import CareamistError

    assert issubclass(StopRequested, Exception)
    assert not issubclass(StopRequested, CareamistError)


def test_a_pause_holds_up_until_it_ends():
    stop = StopSignal()
    stop.pause()
    assert stop.is_paused()
    passed = threading.Event()

    def work():
        stop.check()
        passed.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not passed.wait(0.1)
    stop.resume()
    assert passed.wait(10)
    thread.join()
    assert not stop.is_paused()


def test_a_stop_ends_a_pause():
    stop = StopSignal()
    stop.pause()
    raised = []

    def work():
        try:
            stop.check()
        except StopRequested:
            raised.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    stop.set()
    thread.join(10)
    assert raised == [True]
    stop.pause()  # who is asked to stop does not wait
    assert not stop.is_paused()
    stop.clear()
    stop.check()
