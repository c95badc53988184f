"""Docks that are closed leave nothing behind, however often; runs go on without them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from napari.settings import get_settings
from npe2 import PluginManager
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from careamist.config import TrainingConfig
from careamist.events import StepDone
from careamist.gui.jobs import jobs_of

pytestmark = pytest.mark.gui

DOCKS = ("Train", "Predict", "Models", "Compare")
SECONDS = 60_000


@pytest.fixture
def viewer(make_napari_viewer: Any, noisy: Any) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy, name="noisy")
    viewer.add_image(noisy.astype("float32"), name="restored")
    return viewer


def test_every_dock_of_the_manifest_is_tried_here() -> None:
    PluginManager.instance().discover()
    widgets = PluginManager.instance().get_manifest("careamist").contributions.widgets or []
    assert {widget.display_name for widget in widgets} == set(DOCKS)


@pytest.mark.parametrize("name", DOCKS)
def test_a_closed_dock_is_gone(viewer: Any, name: str, qtbot: Any) -> None:
    layers = list(viewer.layers)
    closed = _open_and_close(viewer, name, qtbot, 300)
    gc.collect()
    assert closed() is None
    assert list(viewer.layers) == layers


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCKS)
def test_twenty_cycles_leave_no_more_than_five(viewer: Any, name: str, qtbot: Any) -> None:
    counts = []
    for cycle in range(20):
        _open_and_close(viewer, name, qtbot, 100 if cycle else 1500)  # the first one imports
        if cycle in (4, 19):
            qtbot.wait(500)
            counts.append(_count(viewer))
    after_five, after_twenty = counts
    assert after_twenty == after_five


def test_what_napari_keeps_of_a_run_is_small(
    viewer: Any, make_quick: Callable[..., None], qtbot: Any
) -> None:
    _, dock = viewer.window.add_plugin_dock_widget("careamist", "Train")
    make_quick(dock)
    jobs, models = jobs_of(viewer), []
    for _ in range(2):
        dock.train()
        qtbot.waitUntil(lambda: not jobs.is_busy, timeout=SECONDS)
        assert jobs.state("train") == "finished"
        models.append(weakref.ref(jobs.model))
        dock.new_training()
    qtbot.wait(300)
    gc.collect()
    assert models[0]() is None  # the second one has taken its place
    assert models[1]() is jobs.model


def test_a_run_outlives_its_dock(viewer: Any, make_quick: Callable[..., None], qtbot: Any) -> None:
    frame, dock = viewer.window.add_plugin_dock_widget("careamist", "Train")
    make_quick(dock)
    dock.training_form.setValue(TrainingConfig(num_steps=100_000))
    jobs = jobs_of(viewer)
    dock.train()
    record = jobs.record("train")
    qtbot.waitUntil(lambda: any(isinstance(e, StepDone) for e in record.events), timeout=SECONDS)
    viewer.window.remove_dock_widget(frame)
    del frame, dock
    qtbot.wait(300)
    seen = len(record.events)
    qtbot.waitUntil(lambda: len(record.events) > seen, timeout=SECONDS)
    assert jobs.state("train") == "running"
    _, again = viewer.window.add_plugin_dock_widget("careamist", "Train")
    assert len(again.plot.curves()["train"][0]) >= seen - 2  # all but the start, and thinned
    assert again.footer.progress()[0] > 0
    again.cancel_button.click()
    qtbot.waitUntil(lambda: jobs.state("train") == "stopped", timeout=SECONDS)
    assert again.use_button.isVisibleTo(again)


def _open_and_close(viewer: Any, name: str, qtbot: Any, wait: int) -> Callable[[], Any]:
    frame, dock = viewer.window.add_plugin_dock_widget("careamist", name)
    qtbot.wait(wait)
    viewer.window.remove_dock_widget(frame)
    closed = weakref.ref(dock)
    del frame, dock
    qtbot.wait(20)
    return closed


def _count(viewer: Any) -> dict[str, Any]:
    """Count what there is, napari's own included."""
    gc.collect()
    groups = [
        viewer.layers.events,
        viewer.layers.selection.events,
        viewer.dims.events,
        viewer.scene.camera.events,
        viewer.events,
        get_settings().appearance.events,
        *(layer.events for layer in viewer.layers),
    ]
    return {
        "widgets": len(QApplication.allWidgets()),
        "objects": sum(
            issubclass(type(thing), QObject) and type(thing).__module__.startswith("careamist")
            for thing in gc.get_objects()
        ),
        "threads": threading.active_count(),
        "layers": len(viewer.layers),
        "connections": sum(
            _is_alive(callback)
            for group in groups
            for emitter in group.emitters.values()
            for callback in emitter.callbacks
        ),
    }


def _is_alive(callback: Any) -> bool:
    """Tell whether somebody still listens; napari drops the others when it next emits."""
    return not isinstance(callback, tuple) or callback[0]() is not None
