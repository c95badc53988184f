"""Events are facts: frozen, picklable, told to everyone."""

from __future__ import annotations

import dataclasses
import logging
import pickle

import pytest

from careamist import events
from careamist.events import (
    TERMINAL,
    CheckpointSaved,
    EpochDone,
    Event,
    ImageFailed,
    ImageFinished,
    ImageStarted,
    Noticed,
    RegionPredicted,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepDone,
    tell,
)

EXAMPLES = [
    RunStarted("a", "train", 100, 20, {"device": "cpu", "input_means": (1.5,)}),
    StepDone("a", 3, 100, 0.5),
    EpochDone("a", 1, 10, {"train_loss": 0.3}),
    CheckpointSaved("a", "/models/last.ckpt", False),
    Noticed("a", "A batch of 16 patches does not fit into memory: going on with 8."),
    ImageStarted("a", 0, "cells.tif", (3, 64, 64), "float32", "TYX"),
    RegionPredicted("a", 0, {"stitch_coords": (0, 8)}, 1, 4),
    ImageFailed("a", None, "broken.tif", "It is no image.", "Choose another."),
    ImageFinished("a", 0, "cells.tif", None),
    RunFinished("a", "train"),
    RunStopped("a", "predict"),
    RunFailed("a", "train", "It is too small.", "Use a larger one.", "Traceback"),
]
by_name = pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)


def test_there_is_an_example_of_every_event():
    known = {
        member
        for member in vars(events).values()
        if isinstance(member, type) and issubclass(member, Event) and member is not Event
    }
    assert known == {type(event) for event in EXAMPLES}


@by_name
def test_event_survives_pickling(event):
    assert pickle.loads(pickle.dumps(event)) == event


@by_name
def test_event_is_frozen(event):
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.run_id = "b"


@by_name
def test_terminal_events_are_the_three_endings(event):
    ending = type(event).__name__ in ("RunFinished", "RunStopped", "RunFailed")
    assert isinstance(event, TERMINAL) == ending


def test_a_listener_that_raises_is_logged_and_the_others_still_hear(caplog):
    heard = []

    def broken(event):
        raise ValueError("no such layer")

    with caplog.at_level(logging.ERROR, logger="careamist.events"):
        tell([heard.append, broken, heard.append], EXAMPLES[1])
    assert heard == [EXAMPLES[1]] * 2
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert "StepDone" in record.getMessage()
    assert record.exc_info[1].args == ("no such layer",)


def test_a_listener_may_still_be_interrupted_from_the_keyboard():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell([interrupted], EXAMPLES[0])
