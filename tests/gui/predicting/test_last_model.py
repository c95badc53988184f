"""The command that applies the model used last to the selected image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from npe2 import PluginManager
from qtpy.QtWidgets import QApplication, QMenu

from careamist import library
from careamist.gui import tasks
from careamist.gui.jobs import jobs_of
from careamist.gui.predicting.last_model import NO_IMAGE, NO_MODEL
from tiny import new, noise, small

pytestmark = pytest.mark.gui

SECONDS = 60_000
COMMAND = "careamist.denoise_with_last_model"


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer(show=True)


@pytest.fixture
def told() -> Callable[[], list[str]]:
    before = len(notification_manager.records)
    return lambda: [str(record.message) for record in notification_manager.records[before:]]


def run(viewer: Any) -> None:
    PluginManager.instance().discover()
    PluginManager.instance().commands.execute(COMMAND, args=(viewer,))


def test_what_is_missing_is_told(viewer: Any, told: Callable[[], list[str]]) -> None:
    run(viewer)
    assert told() == [NO_IMAGE]
    viewer.add_points(np.zeros((1, 2)))
    run(viewer)
    assert told() == [NO_IMAGE] * 2
    viewer.add_image(noise(), name="noisy")
    run(viewer)
    assert told()[2:] == [NO_MODEL]
    assert not viewer.window.dock_widgets


def test_the_model_used_last_is_found_and_applied(
    viewer: Any, qtbot: Any, told: Callable[[], list[str]]
) -> None:
    for steps in (2, 3):
        new(small(steps), tasks.models_folder()).train(train_data=noise())
    cards = {library.read_card(c).steps: c for c in library.list_models(tasks.models_folder())}
    library.mark_used(library.read_card(cards[2]))  # the older one, but used since
    layer = viewer.add_image(noise(3, 64, 64, seed=1), name="noisy", scale=(1, 0.2, 0.2))
    jobs = jobs_of(viewer)
    menu_action().trigger()
    qtbot.waitUntil(lambda: jobs.state("predict") == "finished", timeout=SECONDS)
    assert not viewer.window.dock_widgets  # nothing was opened for it
    assert jobs.model.steps_done == 2
    result = viewer.layers["noisy (N2V)"]
    for found, plane in zip(result.data, layer.data, strict=True):
        (expected,), _ = jobs.model.predict(plane)
        np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_array_equal(result.scale, layer.scale)
    assert [words.partition(":")[0] for words in told()] == ["“noisy (N2V)”"]


def test_axes_that_matter_are_asked_for(viewer: Any, told: Callable[[], list[str]]) -> None:
    volume = small(2, axes="ZYX", patch_size=(8, 16, 16))
    model = new(volume, tasks.models_folder())
    model.train(train_data=noise(8, 32, 32))
    jobs_of(viewer).setModel(model)
    viewer.add_image(noise(5, 32, 32), name="stack")
    run(viewer)
    assert told() == ["Say in Plugins ▸ careamist ▸ Predict what the axes of “stack” are."]
    viewer.add_image(noise(32, 32), name="plane")
    run(viewer)
    assert "3D" in told()[1]
    assert jobs_of(viewer).state("predict") == "ready"


def menu_action() -> Any:
    """Return the entry in the menu Layers ▸ Filter, as napari has made it."""
    menus = [
        menu for window in QApplication.topLevelWidgets() for menu in window.findChildren(QMenu)
    ]
    actions = [action for menu in menus for action in menu.actions()]
    return next(a for a in actions if a.text().startswith("Denoise with the last model"))
