"""What the adapters of speed.py share; it runs in the environment of each library.

An adapter is called with a file that holds an order, a JSON object with a ``task`` and what it
needs, and writes the answer, another object, to the place that ``answer`` in it names. An answer
with ``skipped`` says why there is no figure. All seconds are CPU seconds of the process.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Order = dict[str, Any]
Answer = dict[str, Any]

WARM_STEPS = 3  # steps of a training that are not counted


class SkippedError(Exception):
    """What was ordered is not there."""


def answer(tasks: Mapping[str, Callable[[Order], Answer]]) -> None:
    """Do the task of the order on the command line, and write the answer."""
    order = json.loads(Path(sys.argv[1]).read_text())
    try:
        found = tasks[order["task"]](order)
    except SkippedError as reason:
        found = {"skipped": str(reason)}
    Path(order["answer"]).write_text(json.dumps(found))


def noisy(shape: tuple[int, ...]) -> Any:
    """Return an image of noise, uint16."""
    return np.random.default_rng(0).poisson(50, shape).astype(np.uint16)


class StepClock:
    """CPU seconds at the start and after each step of a training."""

    def __init__(self) -> None:
        self.times = [time.process_time()]

    def step(self) -> None:
        """Take the time after a step."""
        self.times.append(time.process_time())

    def rate(self, batch_size: int) -> Answer:
        """Return seconds up to the first step, and what was done per second once it was warm."""
        seconds = (self.times[-1] - self.times[WARM_STEPS]) / (len(self.times) - 1 - WARM_STEPS)
        return {
            "first": self.times[1] - self.times[0],
            "rate": batch_size / seconds,
            "ms": 1000 * seconds,
        }


def timed_calls(act: Callable[[], Any], n_calls: int, megapixels: float) -> Answer:
    """Return the megapixels per second of the first of some calls, and of the others."""
    seconds = []
    for _ in range(n_calls):
        start = time.process_time()
        act()
        seconds.append(time.process_time() - start)
    warm = sorted(seconds[1:])[len(seconds[1:]) // 2] if n_calls > 1 else seconds[0]
    return {"first": megapixels / seconds[0], "rate": megapixels / warm}


class Reads:
    """While entered, adds up the bytes that zarr reads from local stores."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def __enter__(self) -> Reads:
        from zarr.storage import LocalStore

        self._class, self._get = LocalStore, LocalStore.get

        async def get(store: Any, *args: Any, **kwargs: Any) -> Any:
            found = await self._get(store, *args, **kwargs)
            self.n_bytes += 0 if found is None else len(found)
            return found

        LocalStore.get = get  # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._class.get = self._get  # type: ignore[method-assign]


def read_batches(batches: Any, n_patches: int, pixels: int, stored: int) -> Answer:
    """Return patches per second, and the bytes read over those of the patches as they are stored.

    Parameters
    ----------
    batches : iterable of (number of patches)
        Reads one batch per step.
    n_patches : int
        So many are read.
    pixels, stored : int
        Pixels of the image and bytes of its store; a pass is as many patches as fill the image.
    """
    done, start = 0, time.process_time()
    with Reads() as reads:
        for size in batches:
            done += size
            if done >= n_patches:
                break
    seconds = time.process_time() - start
    share = done * 64 * 64 / pixels
    return {"rate": done / seconds, "reads": reads.n_bytes / (share * stored), "share": share}


def bytes_of(store: str) -> int:
    """Return the bytes of all files of a store."""
    return sum(file.stat().st_size for file in Path(store).rglob("*") if file.is_file())


def rss_anon() -> int:
    """Return the private memory that this process has in RAM, in bytes (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def peak_memory(act: Callable[[], Any], n_pixels: int) -> Answer:
    """Return by how much memory rose above what it was before a call, at the highest."""
    before = peak = rss_anon()
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, rss_anon())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    try:
        act()
        peak = max(peak, rss_anon())
    finally:
        over.set()
        watcher.join()
    seconds = time.process_time() - start
    above = peak - before
    return {"mib": above / 2**20, "per_pixel": above / n_pixels, "seconds": seconds}
