"""Devices, threads and the interrupt key."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
import torch

from careamist.compute import (
    cpu_threads,
    describe_device,
    interrupt_stops,
    list_devices,
    resolve_device,
    tuned_convolutions,
)
from careamist.errors import SettingsError


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine with a CPU only."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def one_gpu(monkeypatch):
    """A machine with one CUDA device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fast GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (3 * 2**30, 8 * 2**30))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_without_a_gpu():
    assert resolve_device("auto") == torch.device("cpu")
    assert [name for name, _ in list_devices()] == ["auto", "cpu"]


@pytest.mark.usefixtures("one_gpu")
def test_auto_is_the_first_gpu():
    assert resolve_device("auto") == torch.device("cuda", 0)
    devices = dict(list_devices())
    assert list(devices) == ["auto", "cpu", "cuda:0"]
    assert devices["auto"] == "Automatic: cuda:0 (Fast GPU)"
    assert devices["cuda:0"] == "Fast GPU, 3.0 GB free"


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_apple_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    assert resolve_device("mps") == torch.device("mps")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "xpu", "toaster"])
def test_a_missing_device_is_refused_and_those_there_are_named(name):
    with pytest.raises(SettingsError) as caught:
        resolve_device(name)
    assert f"device='{name}' was asked for, but this machine has cpu." in str(caught.value)


@pytest.mark.usefixtures("one_gpu")
def test_a_second_gpu_is_refused_where_there_is_one():
    assert resolve_device("cuda") == torch.device("cuda")
    with pytest.raises(SettingsError, match=r"this machine has cpu, cuda:0\."):
        resolve_device("cuda:1")


def test_devices_are_described_for_a_person(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert describe_device(torch.device("cpu")) == "CPU, 3 threads"
    assert describe_device(torch.device("mps")) == "Apple GPU"


def test_threads_are_restored_also_after_an_error():
    before, inside = torch.get_num_threads(), []

    def fail():
        inside.append(torch.get_num_threads())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), cpu_threads(before + 1):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_no_more_threads_than_cores(monkeypatch):
    before, inside = torch.get_num_threads(), []
    monkeypatch.setattr("os.cpu_count", lambda: before + 2)
    with cpu_threads(1000):
        inside.append(torch.get_num_threads())
    assert inside == [before + 2]
    assert torch.get_num_threads() == before


def test_convolutions_are_tuned_while_it_is_wanted():
    before = torch.backends.cudnn.benchmark
    with tuned_convolutions():
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before


def test_no_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", pytest.fail)
    with cpu_threads(None):
        pass


def test_the_interrupt_key_asks_once_and_then_interrupts():
    asked = []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupt_stops(lambda: asked.append(True)):
        signal.raise_signal(signal.SIGINT)
        assert asked == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert asked == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_of_somebody_else_is_left_alone():
    mine = []
    before = signal.signal(signal.SIGINT, lambda number, frame: mine.append(number))
    try:
        with interrupt_stops(lambda: pytest.fail("not ours to handle")):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert mine == [signal.SIGINT]


def test_other_threads_need_no_signals():
    failed = []

    def run():
        try:
            with interrupt_stops(lambda: None):
                pass
        except ValueError as error:  # signal only works in the main thread
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed


_ALLOCATES = """
import resource, sys
import numpy as np
from careamist.compute import keep_memory

if sys.argv[1] == "kept":
    keep_memory()
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(5 * 2**20, 1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_memory_that_is_kept_is_not_asked_for_again() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", _ALLOCATES, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    if (plain := faults("plain")) < 10:
        pytest.skip("this C library keeps memory by itself, or its pages are large")
    assert faults("kept") < plain / 10
