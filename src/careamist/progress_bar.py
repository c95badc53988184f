"""A listener that draws a progress bar on the terminal."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from careamist.events import (
    TERMINAL,
    EpochDone,
    Event,
    ImageFailed,
    Noticed,
    RegionPredicted,
    RunStarted,
    StepDone,
)


class ProgressBar:
    """One bar per run, on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, RunStarted):
            unit = "step" if event.kind == "train" else "tile"
            self._bar = tqdm(
                total=event.total, initial=event.done, unit=unit, desc=event.kind, leave=True
            )
        if self._bar is None:
            return
        if isinstance(event, ImageFailed):
            name = "" if event.source in event.message else f"{event.source}: "
            self._bar.write(f"{name}{event.message} {event.hint}", file=sys.stderr)
        elif isinstance(event, Noticed):
            self._bar.write(event.message, file=sys.stderr)
        elif isinstance(event, (StepDone, RegionPredicted)):
            self._bar.update(event.done - self._bar.n)
        elif isinstance(event, EpochDone):
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in event.metrics.items()})
        elif isinstance(event, TERMINAL):
            self._bar.close()
