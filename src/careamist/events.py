"""What a run tells: facts in the past tense, small, picklable, without pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

logger = logging.getLogger(__name__)

RunKind = Literal["train", "predict"]


@dataclass(frozen=True)
class Event:
    """One fact about one run; a listener drops what belongs to another `run_id`."""

    run_id: str


@dataclass(frozen=True)
class RunStarted(Event):
    """The run has resolved everything it needs and begins.

    Parameters
    ----------
    run_id : str
        The run this event belongs to.
    kind : {"train", "predict"}
        What the run does.
    total : int
        Optimizer steps (train) or tiles (predict) that are planned.
    done : int
        How many of them were done before this run began (a resumed training).
    resolved : mapping
        Every setting that was left to the machine or to the data, with the value chosen.
    """

    kind: RunKind
    total: int
    done: int = 0
    resolved: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepDone(Event):
    """`done` of `total` optimizer steps are done; `loss` is the training loss of the last."""

    done: int
    total: int
    loss: float | None = None


@dataclass(frozen=True)
class EpochDone(Event):
    """Every pixel of the training data was seen about once more, and validated."""

    epoch: int
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """The model was written to `path`."""

    path: str
    is_best: bool


@dataclass(frozen=True)
class Noticed(Event):
    """The run went another way than it was ordered to, or saw something worth knowing."""

    message: str


@dataclass(frozen=True)
class ImageStarted(Event):
    """The prediction of image `index` begins; the sink now has a place for it."""

    index: int
    source: str
    shape: tuple[int, ...]
    dtype: str
    axes: str


@dataclass(frozen=True)
class RegionPredicted(Event):
    """One region of image `index` is in the sink; `done` of `total` regions of the run are."""

    index: int
    specs: Any
    done: int
    total: int


@dataclass(frozen=True)
class ImageFinished(Event):
    """Image `index` is complete; `written_to` is its file, or None in memory."""

    index: int
    source: str
    written_to: str | None


@dataclass(frozen=True)
class ImageFailed(Event):
    """An image of several could not be restored; the run goes on with the next.

    `index` is None if it could not even be opened.
    """

    index: int | None
    source: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class RunFinished(Event):
    """The run did all it was asked to do."""

    kind: RunKind


@dataclass(frozen=True)
class RunStopped(Event):
    """The run was stopped on request; what was done so far is kept."""

    kind: RunKind


@dataclass(frozen=True)
class RunFailed(Event):
    """The run ended with an error: `message` says what, `hint` what to do about it."""

    kind: RunKind
    message: str
    hint: str = ""
    traceback: str = ""


Listener = Callable[[Event], None]
TERMINAL = (RunFinished, RunStopped, RunFailed)


def tell(listeners: Iterable[Listener], event: Event) -> None:
    """Pass an event to every listener; one that raises is logged and never kills the run."""
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logger.exception("The listener %r failed on %s.", listener, type(event).__name__)
