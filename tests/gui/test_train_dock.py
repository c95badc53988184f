"""The Train dock in a real napari: one click to a denoised layer, pause, continue, resume."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QWidget,
)

from careamist.config import TrainingConfig
from careamist.config.job import load_job
from careamist.events import EpochDone, RunStarted, StepDone
from careamist.gui.jobs import BUSY, jobs_of
from careamist.gui.live.preview import preview_of
from careamist.gui.log import log_file
from careamist.gui.train_widget import TrainWidget

pytestmark = pytest.mark.gui

SECONDS = 90_000  # a busy machine may take that long to import torch


class Dock:
    """A viewer with a Train dock and one noisy layer."""

    def __init__(self, viewer: Any, qtbot: Any, noisy: Any, quick: Callable[..., None]) -> None:
        self.viewer, self.qtbot, self.quick = viewer, qtbot, quick
        self.layer = viewer.add_image(noisy, name="noisy", scale=(0.2, 0.2), translate=(3, 4))
        self.jobs = jobs_of(viewer)
        preview_of(viewer).setLive(False)  # it adds a layer
        self.open()

    def open(self) -> None:
        self.train = TrainWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.train, name="Train")
        self.quick(self.train)

    def until(self, there: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(there, timeout=SECONDS)

    def ended(self) -> None:
        """Wait until nothing runs."""
        self.until(lambda: not self.jobs.is_busy)

    def steps(self) -> int:
        record = self.jobs.record("train")
        done = [event.done for event in record.events if isinstance(event, StepDone)]
        return done[-1] if done else 0

    def buttons(self) -> list[str]:
        """Return the words of the footer's buttons; an arrow has none."""
        return [button.text().replace("&", "") for button in self.train.footer.buttons()]

    def copy_as(self, words: str) -> None:
        """Choose from the menu of the button that copies the run."""
        acts = self.train.run.acts.widgets()
        menu = next(b.menu() for b in acts if b.text().replace("&", "") == "Copy as script")
        choose(menu, words)

    def press(self, words: str) -> None:
        buttons = [*self.train.footer.buttons(), *self.train.run.acts.widgets()]
        found = next(b for b in buttons if b.text().replace("&&", "+").replace("&", "") == words)
        assert found.isEnabled()
        assert found.isVisible()
        found.click()


@pytest.fixture
def dock(
    make_napari_viewer_proxy: Any, qtbot: Any, noisy: Any, make_quick: Callable[..., None]
) -> Dock:
    return Dock(make_napari_viewer_proxy(show=True), qtbot, noisy, make_quick)


def choose(menu: Any, words: str) -> None:
    """Choose an act of a menu."""
    menu.aboutToShow.emit()  # opening it would wait for the mouse
    found = next(a for a in menu.actions() if a.text().replace("&", "") == words)
    assert found.isEnabled()
    if found.menu() is None:
        found.trigger()
    else:
        found.menu().actions()[0].trigger()


def told() -> list[str]:
    return [str(record.message) for record in notification_manager.records]


def test_one_click_ends_with_a_denoised_layer(dock: Dock) -> None:
    before = len(told())
    assert dock.buttons() == ["Train  denoise", ""]
    assert dock.train.footer.text() == "Makes “noisy (N2V)”"
    assert not any("min" in text for text in (dock.train.footer.detail(),))  # nothing was measured
    dock.press("Train + denoise")
    assert dock.buttons() == ["Pause", "Cancel"]
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    result = dock.viewer.layers["noisy (N2V)"]
    assert np.isfinite(result.data).all()
    np.testing.assert_array_equal(result.scale, dock.layer.scale)
    np.testing.assert_array_equal(result.translate, dock.layer.translate)
    assert result.metadata["careamist"]["steps"] == 6
    assert dock.buttons() == ["Save model…", "Continue +6"]
    assert dock.train.footer.text().startswith("Done: 6 steps in 0:0")
    title, line = dock.train.summary.words()
    assert title == "noisy (N2V)"
    assert line == "Noise2Void · 2D · 6 steps"
    assert "trained 0:0" in dock.train.summary.more()
    assert "denoised in 0:0" in dock.train.summary.more()
    assert len(told()) == before + 1
    assert told()[-1].startswith("“noisy (N2V)”: trained in 0:0")
    dock.press("New training")
    assert dock.buttons() == ["Train  denoise", ""]


def test_the_view_is_previewed_while_a_model_is_trained(dock: Dock) -> None:
    preview = preview_of(dock.viewer)
    preview.setLive(True)
    dock.quick(dock.train, steps=100_000)
    dock.press("Train + denoise")
    dock.until(lambda: len(preview.moments()) > 1)
    assert dock.train.run.preview.isVisible()
    assert len(dock.train.run.preview.thumbs()) > 1
    assert len(dock.viewer.layers) == 2
    dock.press("Cancel")
    dock.ended()


def test_training_only_ends_without_a_layer(dock: Dock) -> None:
    menu = dock.train.arrow_button.menu()
    menu.actions()[0].trigger()
    dock.ended()
    assert dock.jobs.state("train") == "finished"
    assert len(dock.viewer.layers) == 1
    assert "6 steps" in told()[-1]


def test_pause_resume_and_finish(dock: Dock) -> None:
    dock.quick(dock.train, steps=100_000)
    dock.press("Train + denoise")
    dock.until(lambda: dock.steps() > 2)
    dock.press("Pause")
    assert dock.jobs.state("train") == "paused"
    assert dock.buttons() == ["Resume", "Finish here", "Cancel"]
    dock.qtbot.wait(700)  # what was on its way
    steps, seconds = dock.steps(), dock.jobs.record("train").seconds
    assert dock.train.footer.text().startswith(f"Paused at step {steps}")
    dock.qtbot.wait(700)
    assert dock.steps() == steps
    assert dock.jobs.record("train").seconds == seconds
    dock.press("Resume")
    dock.until(lambda: dock.steps() > steps)
    dock.press("Pause")
    dock.press("Finish here")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    assert dock.jobs.state("train") == "stopped"
    assert "noisy (N2V)" in dock.viewer.layers
    assert dock.buttons()[0] == "Save model…"


def test_cancelling_keeps_the_model_for_use(dock: Dock) -> None:
    dock.quick(dock.train, steps=100_000)
    dock.press("Train + denoise")
    dock.until(lambda: dock.steps() > 2)
    dock.press("Cancel")
    assert not any(button.isEnabled() for button in dock.train.footer.buttons())
    dock.ended()
    assert len(dock.viewer.layers) == 1
    assert dock.buttons()[0] == "Use this model"
    dock.press("Use this model")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    assert "noisy (N2V)" in dock.viewer.layers


def test_the_model_trains_on_and_the_curve_goes_on(dock: Dock) -> None:
    dock.train.train()
    dock.ended()
    first = dock.jobs.record("train").run.result
    dock.press("Continue +6")
    dock.ended()
    assert dock.jobs.record("train").run.result is first
    assert first.steps_done == 12
    np.testing.assert_array_equal(dock.train.plot.curves()["train"][0], np.arange(1, 13))
    again = TrainWidget(dock.viewer)  # as when the dock is closed and opened
    dock.viewer.window.add_dock_widget(again, name="Again")
    np.testing.assert_array_equal(again.plot.curves()["train"][0], np.arange(1, 13))


def test_what_was_cut_short_is_offered_and_goes_on(dock: Dock) -> None:
    training = TrainingConfig(num_steps=100_000, checkpoint_every=5, steps_per_epoch=4)
    dock.train.training_form.setValue(training)
    dock.press("Train + denoise")
    dock.until(lambda: dock.steps() > 12)
    dock.jobs.current.run.stop()  # as a viewer that closes does
    dock.ended()
    assert dock.train.memory.get("unfinished")["total"] == 100_000
    dock.jobs.forget("train")
    dock.viewer.window.remove_dock_widget(dock.train)

    dock.open()
    assert dock.train.offer.title() == "“Train on noisy” was cut short"
    dock.train.offer.buttons()[0].click()
    dock.until(lambda: dock.steps() > 13)
    steps = dock.train.plot.curves()["train"][0]
    assert steps[0] < steps[-1]
    first = next(e for e in dock.jobs.record("train").events if isinstance(e, StepDone))
    assert first.done > 12
    assert first.total == 100_000
    past = [e for e in dock.jobs.record("train").events if isinstance(e, EpochDone)]
    assert past[0].step <= 12
    assert not dock.train.offer.isVisible()
    dock.press("Cancel")
    dock.ended()
    assert dock.train.memory.get("unfinished") is None  # who cancels does not want it back


def test_a_run_that_came_to_its_end_is_not_offered(dock: Dock) -> None:
    dock.train.train()
    dock.ended()
    assert dock.train.memory.get("unfinished") is None
    again = TrainWidget(dock.viewer)
    assert again.offer.kind() == ""
    again.close()


def test_a_time_is_told_when_it_was_measured(dock: Dock) -> None:
    assert dock.train.settings.effort.hint() == "6 steps."
    dock.quick(dock.train, steps=30)
    dock.train.train()
    dock.ended()
    dock.train.new_training()
    dock.train.settings.device.setItemText(0, "Automatic: CPU, 1 thread")
    dock.train.settings.device.currentTextChanged.emit("Automatic: CPU, 1 thread")
    hint = dock.train.settings.effort.hint()
    assert hint.startswith("30 steps, about ")
    assert hint.endswith("on this CPU.")
    assert dock.train.footer.detail().startswith("about ")


def test_what_was_not_measured_is_measured_meanwhile(
    dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("careamist.gui.training.effort_row.TRIAL_AFTER_MS", 0)
    device = dock.train.settings.device
    dock.until(lambda: "CPU" in device.itemText(0))  # the list has come
    dock.quick(dock.train, steps=7)
    dock.until(lambda: "on this CPU" in dock.train.settings.effort.hint())
    assert dock.train.settings.effort.hint().startswith("7 steps, about ")


def test_the_engine_is_imported_while_somebody_still_looks_at_the_settings(
    dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("careamist.gui.training.effort_row.TRIAL_AFTER_MS", 0)
    imported: list[bool] = []
    monkeypatch.setattr("careamist.gui.training.effort_row.is_imported", lambda: bool(imported))
    monkeypatch.setattr(
        "careamist.gui.training.effort_row.import_engine", lambda check: imported.append(True)
    )
    dock.until(lambda: "CPU" in dock.train.settings.device.itemText(0))
    dock.quick(dock.train, steps=7)
    dock.until(lambda: bool(imported))
    dock.until(lambda: "on this CPU" in dock.train.settings.effort.hint())


def test_enter_begins_and_escape_asks(dock: Dock) -> None:
    dock.quick(dock.train, steps=100_000)
    dock.train.setFocus()
    dock.qtbot.keyClick(dock.train, Qt.Key.Key_Return)
    assert dock.jobs.state("train") in BUSY
    dock.until(lambda: dock.steps() > 0)
    dock.qtbot.keyClick(dock.train, Qt.Key.Key_Escape)
    assert dock.train.question.title() == "Stop this run?"
    go_on, stop = dock.train.question.buttons()[1], dock.train.question.buttons()[0]
    go_on.click()
    assert dock.train.question.kind() == ""
    assert dock.jobs.state("train") == "running"
    dock.train.ask_to_cancel()
    stop = dock.train.question.buttons()[0]
    stop.click()
    dock.ended()
    assert dock.jobs.state("train") == "stopped"


def test_a_script_of_the_run_is_copied(dock: Dock) -> None:
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    QApplication.clipboard().setText("")
    dock.copy_as("Copy as Python script")
    dock.until(lambda: bool(dock.train.run.message.kind()))
    assert dock.train.run.message.kind() == "info", dock.train.run.message.title()
    text = QApplication.clipboard().text()
    assert "careamist.train(" in text
    assert "predict" in text
    compile(text, "script", "exec")


def test_a_run_is_kept_as_a_command_and_as_a_file(
    dock: Dock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    menu = dock.train.more_button.menu()
    menu.aboutToShow.emit()
    acts = {a.text().replace("&", ""): a for a in menu.actions()}
    assert not acts["Copy command line"].isEnabled()  # nothing was run yet
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    expected = np.asarray(dock.viewer.layers["noisy (N2V)"].data)
    QApplication.clipboard().setText("")
    choose(menu, "Copy command line")
    dock.until(lambda: bool(QApplication.clipboard().text()))
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["careamist", "run"]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
    dock.copy_as("Save job file…")
    dock.until((tmp_path / "mine.yml").is_file)
    assert load_job(tmp_path / "mine.yml") == load_job(words[2])
    run = [sys.executable, "-m", *words[:2], str(tmp_path / "mine.yml")]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = tifffile.imread(tmp_path / "noisy_N2V" / "array_0.tiff")
    np.testing.assert_array_equal(found, expected)


def test_the_settings_of_a_result_are_loaded(dock: Dock) -> None:
    dock.train.settings.setMethod("n2v2")
    dock.quick(dock.train, steps=5)
    form = dock.train.algorithm_form
    form.setValue(form.value().model_copy(update={"roi_size": 7, "masked_pixel_percentage": 2.0}))
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    wanted = dock.jobs.record("train").order.config
    assert dock.jobs.model.config.data_config.normalization != wanted.data_config.normalization
    dock.press("New training")
    dock.train.settings.reset()
    dock.train.settings.setMethod("care")
    choose(dock.train.more_button.menu(), "Load settings from")
    assert dock.train.message.title() == "These are the settings of “noisy (N2V)”."
    assert dock.train.settings.method.key() == "n2v"
    used = dock.jobs.model.config.training_config.precision  # which was found by timing
    training = wanted.training_config.model_copy(update={"precision": used})
    wanted = wanted.model_copy(update={"training_config": training})
    assert dock.train.value() == wanted  # statistics are measured again
    dock.viewer.layers.selection.active = dock.layer
    dock.viewer.layers.remove("noisy (N2V)")
    dock.train.load_settings(dock.layer)
    assert dock.train.message.title() == "This layer does not say how it was made."
    dock.train.load_settings()
    assert dock.train.message.kind() == "error"


def test_the_buttons_of_a_second_run_are_its_own(dock: Dock) -> None:
    dock.train.train()
    dock.ended()
    dock.press("New training")
    dock.quick(dock.train, 7)
    dock.train.train()
    dock.ended()
    QApplication.clipboard().setText("")
    dock.copy_as("Copy as Python script")
    dock.until(lambda: bool(dock.train.run.message.kind()))
    assert "num_steps: 7" in QApplication.clipboard().text().replace('"', "").replace("=", ": ")


def test_stopped_before_the_first_step_nothing_is_logged(dock: Dock, caplog: Any) -> None:
    dock.press("Train + denoise")
    dock.press("Cancel")
    dock.ended()
    assert dock.jobs.state("train") == "stopped"
    assert not caplog.records


def test_the_model_is_saved_under_a_name(
    dock: Dock, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock.train.train()
    dock.ended()
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), "Models (*.ckpt)")
    )
    dock.press("Save model…")
    assert (tmp_path / "mine.ckpt").stat().st_size > 1000
    assert dock.train.footer.text() == "Saved as mine.ckpt."


def test_a_failed_denoising_keeps_the_model(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("broken sink")

    monkeypatch.setattr("careamist.prediction.sinks.ArraySink.write", fail)
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("predict") == "failed")
    assert "broken sink" in dock.train.run.message.title()
    assert dock.train.footer.text() == "The model is kept, the image was not denoised."
    assert dock.buttons()[0] == "Save model…"


def test_a_run_goes_on_without_its_dock(dock: Dock) -> None:
    dock.press("Train + denoise")
    dock.viewer.window.remove_dock_widget(dock.train)
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    assert "noisy (N2V)" in dock.viewer.layers
    dock.open()
    assert dock.train.summary.words()[0] == "noisy (N2V)"
    assert len(dock.train.plot.curves()["train"][0]) == 6


def test_who_closes_the_dock_is_asked_whether_the_run_goes_on(dock: Dock) -> None:
    dock.quick(dock.train, steps=100_000)
    dock.press("Train + denoise")
    dock.until(lambda: dock.steps() > 0)
    before = len(notification_manager.records)
    dock.viewer.window.remove_dock_widget(dock.train)
    dock.until(lambda: len(notification_manager.records) > before)
    asked = notification_manager.records[-1]
    assert str(asked.message) == "“Train on noisy” keeps running."
    answers = dict(asked.actions)
    answers["Open Train"](None)
    again = dock.viewer.window.dock_widgets["Train (careamist)"]
    assert len(again.plot.curves()["train"][0]) > 0
    assert dock.jobs.state("train") == "running"
    answers["Stop it"](None)
    dock.ended()
    assert dock.jobs.state("train") == "stopped"


def test_nobody_is_asked_where_nothing_runs(dock: Dock) -> None:
    before = len(told())
    dock.viewer.window.remove_dock_widget(dock.train)
    dock.qtbot.wait(50)
    assert len(told()) == before


def test_a_dock_that_is_hidden_leaves_a_word_in_the_status_bar(dock: Dock) -> None:
    dock.quick(dock.train, steps=100_000)
    dock.press("Train + denoise")
    dock.until(lambda: dock.steps() > 0)
    dock.train.parent().hide()
    assert dock.viewer.status == "“Train on noisy” keeps running."
    dock.train.parent().show()
    dock.press("Cancel")
    dock.ended()


def test_a_failure_without_a_dock_is_told_once(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("broken loss")

    monkeypatch.setattr("careamist.algorithms.n2v.N2V.loss", fail)
    before = len(told())
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("train") == "failed")
    assert "broken loss" in dock.train.message.title()
    assert len(told()) == before  # the dock says it
    text = log_file().read_text(encoding="utf-8")
    assert "Train on noisy: failed" in text
    assert "RuntimeError: broken loss" in text
    dock.press("Train + denoise")
    dock.viewer.window.remove_dock_widget(dock.train)
    dock.until(lambda: dock.jobs.state("train") == "failed")
    words = [text for text in told()[before:] if "keeps running" not in text]
    assert len(words) == 1
    assert "broken loss" in words[0]


@pytest.mark.parametrize("in_front", [True, False])
def test_the_task_bar_calls_who_looks_elsewhere(
    dock: Dock, monkeypatch: pytest.MonkeyPatch, in_front: bool
) -> None:
    states = Qt.ApplicationState
    state = states.ApplicationActive if in_front else states.ApplicationInactive
    monkeypatch.setattr(QApplication, "applicationState", lambda: state)
    called: list[tuple[bool, str]] = []

    def alert(window: Any) -> None:
        called.append((window.isAncestorOf(dock.train), dock.jobs.state("predict")))

    monkeypatch.setattr(QApplication, "alert", alert)
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    assert called == ([] if in_front else [(True, "finished")])


def test_the_device_is_told_as_it_is_used(dock: Dock) -> None:
    device = dock.train.settings.device
    dock.until(lambda: "CPU" in device.itemText(0))  # the list has come
    assert device.itemText(1) == device.itemText(0).removeprefix("Automatic: ")
    device.setValue("cpu")
    dock.press("Train + denoise")
    dock.until(lambda: dock.jobs.state("predict") == "finished")
    record = dock.jobs.record("train")
    started = next(e for e in record.events if isinstance(e, RunStarted))
    assert started.resolved["device"] == device.itemText(1)
    dock.train.run.describe(record, started)  # as while it ran
    assert device.itemText(1) in dock.train.summary.words()[1]


def test_simple_mode_is_small_and_complete(dock: Dock) -> None:
    dock.train.parent().setFloating(True)
    dock.train.resize(350, 640)
    dock.qtbot.wait(50)
    settings = dock.train.settings
    rows = [settings.method, settings.picker, settings.region, settings.effort, settings.device]
    assert all(row.isVisible() for row in rows)
    assert not settings.target.isVisible()
    assert not settings.training_form.isVisible()
    bottom = settings.advanced.mapTo(settings, settings.advanced.rect().bottomLeft()).y()
    assert bottom + dock.train.footer.height() <= 600
    settings.setMethod("care")
    dock.qtbot.wait(50)
    assert settings.target.isVisible()
    assert settings.advanced.isVisible()


def test_every_control_has_a_name_and_a_tooltip_in_reading_order(dock: Dock) -> None:
    alone = TrainWidget(dock.viewer)  # in a window of its own: the chain goes through all of one
    dock.qtbot.addWidget(alone)
    alone.resize(350, 2000)
    alone.show()
    alone.advanced.setOpen(True)
    alone.settings.setMethod("structn2v")
    dock.qtbot.wait(50)
    kinds = (QPushButton, QComboBox, QAbstractSpinBox, QCheckBox, QLineEdit)
    order = _in_tab_order(alone)
    places: list[int] = []
    for child in order:
        inner = isinstance(child.parent(), (QAbstractSpinBox, QComboBox))
        if not isinstance(child, kinds) or inner or not child.isVisible():
            continue
        assert child.accessibleName(), child
        assert child.toolTip() or child.parent().toolTip() or child.text(), child.accessibleName()
        if alone.settings.isAncestorOf(child) and child.focusPolicy():
            places.append(child.mapTo(alone.settings, child.rect().topLeft()).y())
    assert len(places) > 15
    assert not [b - a for a, b in itertools.pairwise(places) if b < a - 12]
    assert order.index(alone.train_button) > order.index(alone.advanced.heading)


def _in_tab_order(root: QWidget) -> list[QWidget]:
    found, at = [], root.nextInFocusChain()
    while at is not root:
        if root.isAncestorOf(at):
            found.append(at)
        at = at.nextInFocusChain()
    return found


def test_a_new_run_while_one_stops_is_refused(dock: Dock) -> None:
    dock.quick(dock.train, steps=100_000)
    for _ in range(3):
        dock.train.train_and_denoise()
        dock.train.cancel()
        dock.train.train_and_denoise()
        dock.train.train()
        assert dock.jobs.state("train") == "stopping"
        dock.ended()
    assert dock.jobs.state("train") == "stopped"
    assert dock.train.footer.text() == "Stopped: nothing was trained."
    assert dock.buttons() == ["Train  denoise", ""]
