"""The machine: devices, threads, memory, and the interrupt key."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist.errors import SettingsError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is the first GPU, else the CPU.

    Raises
    ------
    SettingsError
        If this machine has no such device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    there = _device_names()
    if name not in there and not (name == "cuda" and "cuda:0" in there):
        raise SettingsError(
            f"device='{name}' was asked for, but this machine has {', '.join(there)}.",
            "Choose one of them, or 'auto'.",
        )
    return torch.device(name)


def usable_device(name: str) -> str:
    """Return the name of a device if this machine has it, else ``"auto"``."""
    try:
        resolve_device(name)
    except SettingsError:
        return "auto"
    return name


def describe_device(device: torch.device) -> str:
    """Return a device as a person would name it."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
    return {"cpu": cpu, "mps": "Apple GPU"}[device.type]


def list_devices() -> list[tuple[str, str]]:
    """Return (name, description) of every device, ``auto`` first."""
    import torch

    devices = [("auto", f"Automatic: {describe_device(resolve_device('auto'))}")]
    devices.append(("cpu", describe_device(torch.device("cpu"))))
    for index in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        devices.append((f"cuda:{index}", f"{name}, {free / 2**30:.1f} GB free"))
    if torch.backends.mps.is_available():
        devices.append(("mps", describe_device(torch.device("mps"))))
    return devices


def _device_names() -> list[str]:
    import torch

    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device or the computer has no memory left."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or "out of memory" in text  # torch.OutOfMemoryError and its relatives
        or "defaultcpuallocator" in text
    )


def free_memory() -> int:
    """Return the bytes of memory that are left to this process, by any limit that is set for it."""
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no such group, or no limit ("max")
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    with suppress(ImportError, OSError, IndexError):  # only Linux has both
        import resource

        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if limit != resource.RLIM_INFINITY:
            used = Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]
            free = min(free, limit - 1024 * int(used))
    return max(free, 0)


def keep_memory() -> None:
    """Let memory that is not used any more stay with the process, for the rest of its life.

    The steps of a training ask for the same memory again and again, and a tenth to a third of
    their time goes into getting it from the system, page by page. This cannot be undone: it is for
    a process that does nothing but train.
    """
    with suppress(OSError, AttributeError, TypeError):  # only glibc can be told
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Give memory that is not used any more back to the system."""
    with suppress(OSError, AttributeError, TypeError):  # only glibc can be told
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute with `count` CPU threads while this is entered; None changes nothing.

    More than there are cores, as a model from a larger machine may ask for, are not started.
    """
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(count, os.cpu_count() or count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tuned_convolutions() -> Iterator[None]:
    """Let cuDNN try its algorithms for each new size while this is entered; no GPU, no change."""
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def interrupt_stops(stop: Callable[[], None]) -> Iterator[None]:
    """Let the interrupt key (Ctrl-C) ask for a stop, which keeps the model; twice, it interrupts.

    Only the main thread gets signals; a handler of somebody else's is left alone.
    """
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or before is not signal.default_int_handler:
        yield
        return

    def handle(number: int, frame: Any) -> None:
        signal.signal(number, before)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
