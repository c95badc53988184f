"""Images through the predictor into a sink, one after the other, and the news of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.compute import is_out_of_memory, release_memory
from careamist.dataset.sources import warnings_of
from careamist.errors import DiskFullError, SomeFailedError
from careamist.events import (
    Event,
    ImageFailed,
    ImageFinished,
    ImageStarted,
    Noticed,
    RegionPredicted,
    RunStarted,
)
from careamist.stop import StopRequested

if TYPE_CHECKING:
    from careamist.dataset.region import TileSpecs
    from careamist.prediction.output import Output
    from careamist.prediction.predictor import Predictor
    from careamist.prediction.sinks import Sink

Failures = dict[str, Exception]
"""By the source of the image."""
WantedFirst = Callable[[int], Sequence[float] | None]
"""Of an image, by its index: sample and (Z)YX, in pixels, of the place that is wanted first."""


@dataclass
class Telling:
    """Who hears of a run, and how far it is.

    Parameters
    ----------
    run_id : str
        The run that events belong to.
    emit : callable
        Takes the events.
    explain : callable
        Puts an error into words: (message, hint).
    resolved : mapping
        What was chosen for the user.
    """

    run_id: str
    emit: Callable[[Event], None]
    explain: Callable[[BaseException], tuple[str, str]]
    resolved: Mapping[str, Any] = field(default_factory=dict)
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)


def predict_outputs(
    sink: Sink,
    outputs: Sequence[Output],
    predictor: Predictor,
    telling: Telling,
    *,
    wanted_first: WantedFirst | None = None,
    failures: Failures | None = None,
) -> None:
    """Predict images into a sink.

    Parameters
    ----------
    sink : Sink
        Asked first whether it can keep the results; gets each region before anybody hears of it.
    outputs : sequence of Output
        What becomes of each image.
    predictor : Predictor
        The network at work.
    telling : Telling
        Who hears of it.
    wanted_first : callable, optional
        Asked before every tile: what a user looks at may change.
    failures : dict of str to Exception, optional
        Images that could not even be opened. Given, an image that fails does not end the run: the
        others are predicted, and what went wrong is said at the end.

    Raises
    ------
    SomeFailedError
        If `failures` was given and an image failed.
    StopRequested
        If the stop signal of the predictor was set; what is done is kept.
    """
    sink.check(outputs)
    run_id, emit = telling.run_id, telling.emit
    telling.total = sum(len(output.tiles) for output in outputs)
    emit(RunStarted(run_id, "predict", telling.total, resolved=dict(telling.resolved)))
    for warning in warnings_of([output.stack for output in outputs]):
        emit(Noticed(run_id, warning))
    failed: Failures = dict(failures or {})
    for source, error in failed.items():
        emit(ImageFailed(run_id, None, source, *telling.explain(error)))
    for output in outputs:
        try:
            _predict_one(sink, output, predictor, telling, wanted_first)
        except StopRequested:
            raise
        except Exception as error:
            is_one = len(outputs) == 1 and not failures
            if failures is None or is_one or _ends_all(error):
                raise
            failed[output.source] = error
            emit(ImageFailed(run_id, output.index, output.source, *telling.explain(error)))
    if failed:
        said = {source: telling.explain(error)[0] for source, error in failed.items()}
        count = len(outputs) + len(failures or ())
        raise SomeFailedError.of(said, count) from next(iter(failed.values()))


def _predict_one(
    sink: Sink,
    output: Output,
    predictor: Predictor,
    telling: Telling,
    wanted_first: WantedFirst | None,
) -> None:
    run_id, index, emit = telling.run_id, output.index, telling.emit
    n_clipped = n_missing = 0
    try:
        missing = sink.start(output)
        telling.total -= len(output.tiles) - len(missing)
        shape, dtype = output.shape, str(output.dtype)
        emit(ImageStarted(run_id, index, output.source, shape, dtype, output.axes))
        if len(missing):
            fusion = predictor.fusion(output.stack, output.tiles)
            queue = _in_order(output, missing, wanted_first)
            for region in predictor.regions(output.stack, queue, fusion):
                n_missing += int(np.count_nonzero(~np.isfinite(region.data)))
                data, clipped = output.converted(region.data)
                n_clipped += clipped
                sink.write(region._replace(data=data, dtype=dtype))
                telling.done += 1
                # each thread has a heap of its own; what it gave back to it stays there
                release_memory()
                specs = region.region_spec
                emit(RegionPredicted(run_id, index, specs, telling.done, telling.total))
        path = sink.finish(index)
    except BaseException as error:
        sink.leave(index, error)
        raise
    for notice in _notices(output, n_clipped, n_missing):
        emit(Noticed(run_id, notice))
    emit(ImageFinished(run_id, index, output.source, path))


def _ends_all(error: Exception) -> bool:
    """Return whether the other images would fail alike."""
    return isinstance(error, DiskFullError) or is_out_of_memory(error)


def _in_order(
    output: Output, missing: NDArray[np.intp], wanted_first: WantedFirst | None
) -> Iterator[TileSpecs]:
    """Yield the missing tiles, always the one that is wanted most next."""
    place, left = None, missing[::-1]  # taken from the end
    while len(left):
        now = wanted_first(output.index) if wanted_first is not None else None
        if now is not None and (place is None or tuple(now) != place):
            place = tuple(now)
            left = output.tiles.nearest_to(place, left[::-1])[::-1]
        yield output.tiles[left[-1]]
        left = left[:-1]


def _notices(output: Output, n_clipped: int, n_missing: int) -> Iterator[str]:
    total = int(np.prod(output.shape))
    if n_missing:
        becomes = "stay so" if output.dtype.kind == "f" else "are the lowest value in the result"
        yield f"{output.source}: {n_missing} of {total} pixels are no numbers and {becomes}."
    if n_clipped > n_missing:
        yield (
            f"{output.source}: {n_clipped - n_missing} of {total} pixels were outside the range of "
            f"{output.dtype} and were clipped."
        )
