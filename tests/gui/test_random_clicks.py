"""Whatever is clicked in whatever order: a state that exists, one end per run, nothing left."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from careamist.config import DataConfig
from careamist.events import TERMINAL, Event
from careamist.gui.jobs import State, jobs_of
from careamist.gui.live.preview import preview_of

pytestmark = pytest.mark.gui

SECONDS = 60_000
BEGIN, LONG = 4, 100_000  # steps

# What begins a run stands more than once, so that there is something to click about.
ACTIONS = (
    *["train", "train_long", "train_and_denoise", "predict", "wait", "wait_long"] * 3,
    *["pause", "resume", "cancel", "finish", "cancel_prediction", "continue_training"] * 2,
    *["denoise", "ask_to_cancel", "pause_prediction", "new_training", "new_prediction"],
    *["close_train", "open_train", "close_predict", "open_predict"],
    *["add_layer", "remove_top_layer", "wrong_patch", "right_patch", "care", "n2v"],
)


class Clicker:
    """A viewer with the two docks, which may be closed, and what its runs have told."""

    def __init__(self, viewer: Any, qtbot: Any, noisy: Any, quick: Callable[..., None]) -> None:
        self.viewer, self.qtbot, self.noisy, self.quick = viewer, qtbot, noisy, quick
        self.jobs = jobs_of(viewer)
        self.told: dict[str, list[Event]] = defaultdict(list)
        self.jobs.told.connect(lambda event: self.told[event.run_id].append(event))
        self.docks: dict[str, tuple[Any, Any]] = {}
        self.most_threads = 0
        # a layer below another one that goes is more than napari can draw without a GPU
        preview_of(viewer).setLive(False)

    def begin(self) -> None:
        """Be as new."""
        for name in list(self.docks):
            self.close(name)
        self.jobs.forget("train")
        self.jobs.forget("predict")
        self.jobs.setModel(None)
        while self.viewer.layers:
            self.viewer.layers.pop()
        self.told.clear()
        self.add_layer()
        self.open("Train")
        self.open("Predict")
        self.setSteps(BEGIN)

    def do(self, action: str) -> None:
        train, predict = self.dock("Train"), self.dock("Predict")
        own = getattr(self, action, None)
        if own is not None:
            own()
        elif action.endswith("_prediction") and action != "new_prediction":
            if predict is not None:
                getattr(predict, action.removesuffix("_prediction"))()
        else:
            dock = predict if action in ("predict", "new_prediction") else train
            if dock is not None:
                getattr(dock, action)()
        self.check()

    def check(self) -> None:
        """Look whether what is shown and what runs can be."""
        assert self.jobs.state("train") in get_args(State)
        assert self.jobs.state("predict") in get_args(State)
        self.most_threads = max(self.most_threads, len(computing()))
        for _, dock in self.docks.values():
            buttons = [b for b in dock.footer.buttons() if b.isVisibleTo(dock)]
            assert buttons
            assert sum(b.property("role") == "primary" for b in buttons) <= 1
            assert dock.footer.text()

    def end(self) -> None:
        """Stop what runs; nothing may be left, and each run has told its end once."""
        self.jobs.stop()
        self.qtbot.waitUntil(lambda: not self.jobs.is_busy, timeout=SECONDS)
        self.qtbot.wait(50)
        self.check()
        for events in self.told.values():
            assert [isinstance(event, TERMINAL) for event in events].count(True) == 1
            assert isinstance(events[-1], TERMINAL)
        assert self.jobs.state("train") in ("ready", "finished", "stopped", "failed")
        assert self.jobs.state("predict") in ("ready", "finished", "stopped", "failed")
        assert not computing()
        assert self.most_threads <= 1

    # -- what is not a command of a dock -------------------------------------------------------

    def dock(self, name: str) -> Any:
        return self.docks[name][1] if name in self.docks else None

    def open(self, name: str) -> None:
        if name not in self.docks:
            self.docks[name] = self.viewer.window.add_plugin_dock_widget("careamist", name)

    def close(self, name: str) -> None:
        if name in self.docks:
            self.viewer.window.remove_dock_widget(self.docks.pop(name)[0])

    def setSteps(self, steps: int) -> None:
        train = self.dock("Train")
        if train is not None:
            self.n2v()
            self.quick(train, steps)

    def train_long(self) -> None:
        self.setSteps(LONG)
        if self.dock("Train") is not None:
            self.dock("Train").train()
        self.setSteps(BEGIN)

    def open_train(self) -> None:
        self.open("Train")
        self.setSteps(BEGIN)

    def close_train(self) -> None:
        self.close("Train")

    def open_predict(self) -> None:
        self.open("Predict")

    def close_predict(self) -> None:
        self.close("Predict")

    def add_layer(self) -> None:
        self.viewer.add_image(self.noisy, name="noisy")

    def remove_top_layer(self) -> None:
        if self.viewer.layers:
            self.viewer.layers.pop()

    def wrong_patch(self) -> None:
        self._patch(4096)

    def right_patch(self) -> None:
        self._patch(16)

    def _patch(self, size: int) -> None:
        if (train := self.dock("Train")) is not None:
            values = train.data_form.value().model_dump()
            size_2d = {"axes": "YX", "patch_size": (size, size)}
            train.data_form.setValue(DataConfig.model_validate(values | size_2d))

    def care(self) -> None:
        if (train := self.dock("Train")) is not None:
            train.settings.setMethod("care")

    def n2v(self) -> None:
        if (train := self.dock("Train")) is not None:
            train.settings.setMethod("n2v")

    def wait(self) -> None:
        self.qtbot.wait(30)

    def wait_long(self) -> None:
        self.qtbot.wait(600)


def computing() -> list[str]:
    """Return the names of the threads that compute."""
    runs = ("careamist-train", "careamist-predict")  # which have threads of their own for tiles
    return [t.name for t in threading.enumerate() if t.name.startswith(runs)]


@pytest.fixture
def clicker(
    make_napari_viewer: Any, qtbot: Any, noisy: Any, make_quick: Callable[..., None]
) -> Clicker:
    return Clicker(make_napari_viewer(show=True), qtbot, np.asarray(noisy), make_quick)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,  # what fails here fails on every machine
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(actions=st.lists(st.sampled_from(ACTIONS), min_size=10, max_size=25))
def test_any_sequence_of_clicks_ends_well(clicker: Clicker, actions: list[str]) -> None:
    with clicker.qtbot.captureExceptions() as raised:
        clicker.begin()
        for action in actions:
            clicker.do(action)
        clicker.end()
    assert not raised, raised


@pytest.mark.parametrize(
    "actions",
    [
        "train_long wait_long cancel train_and_denoise wait_long cancel_prediction",
        "train_and_denoise close_train close_predict wait_long open_train open_predict wait_long",
        "train wait_long wait_long remove_top_layer predict add_layer denoise wait_long predict",
        "train_long wait_long pause close_train open_train resume wait_long finish train",
        "train_long wait_long pause cancel train resume pause new_training predict",
    ],
)
def test_sequences_that_are_likely(clicker: Clicker, actions: str) -> None:
    with clicker.qtbot.captureExceptions() as raised:
        clicker.begin()
        for action in actions.split():
            clicker.do(action)
        clicker.end()
    assert not raised, raised
