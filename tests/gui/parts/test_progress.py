"""The loss curve stays quick with many steps; the footer keeps its height and tells the time."""

from __future__ import annotations

import time

import numpy as np
import pyqtgraph
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QPushButton

from careamist.gui.parts import progress
from careamist.gui.parts.curves import Curve, decimate, log_ticks, smooth
from careamist.gui.parts.progress import LossPlot, RunFooter, eta_text
from careamist.gui.theme import palette

pytestmark = pytest.mark.gui


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def hidden_plot(qtbot):
    made = LossPlot()
    qtbot.addWidget(made)
    made.resize(330, 250)
    return made


@pytest.fixture
def plot(hidden_plot):
    hidden_plot.show()
    return hidden_plot


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def footer(qtbot, clock):
    made = RunFooter(clock=clock)
    qtbot.addWidget(made)
    made.resize(330, 86)
    made.show()
    return made


def test_curves_hold_every_point(plot):
    for step in range(1, 3001):
        plot.addStep(step, 1 / step)
    plot.addValidation(1500, 0.5)
    curves = plot.curves()
    np.testing.assert_array_equal(curves["train"][0], np.arange(1, 3001))
    np.testing.assert_allclose(curves["train"][1], 1 / np.arange(1, 3001))
    assert curves["smooth"][1].shape == (3000,)
    assert [list(part) for part in curves["validation"]] == [[1500], [0.5]]


def test_what_was_handed_out_does_not_change(plot):
    plot.addStep(1, 1.0)
    steps, losses = plot.curves()["train"]
    plot.addStep(2, 2.0)
    assert len(steps) == len(losses) == 1


def test_clear(plot):
    plot.addStep(1, 1.0)
    plot.addValidation(1, 1.0)
    plot.clear()
    assert all(len(x) == len(y) == 0 for x, y in plot.curves().values())
    plot.redraw()


def test_redraw_with_100_000_steps_is_quick(plot, qtbot):
    rng = np.random.default_rng(0)
    for step, loss in enumerate(rng.random(100_000) + 0.1):
        plot.addStep(step, loss)
    plot.setTotal(200_000)
    plot.redraw()
    plot.grab()
    times = []
    for step in range(100_000, 100_010):
        start = time.thread_time()
        plot.addStep(step, 0.5)
        plot.redraw()
        times.append(time.thread_time() - start)
    assert np.median(times) < 0.020


def test_the_plot_is_made_when_it_is_seen(hidden_plot, qtbot):
    hidden_plot.setTotal(100)
    hidden_plot.addStep(10, 1.0)
    hidden_plot.addStep(20, 0.5)
    hidden_plot.setBest(20)
    hidden_plot.setLog(True)
    hidden_plot.redraw()
    assert hidden_plot.findChild(pyqtgraph.PlotWidget) is None
    assert len(hidden_plot.curves()["train"][0]) == 2
    hidden_plot.show()
    item = hidden_plot.findChild(pyqtgraph.PlotWidget).getPlotItem()
    qtbot.waitUntil(lambda: item.vb.viewRange()[0][1] > 99)
    assert item.ctrl.logYCheck.isChecked()
    best = [line for line in item.items if isinstance(line, pyqtgraph.InfiniteLine)][-1]
    assert best.isVisible()
    assert best.value() == 20


def test_the_plot_is_made_after_a_while(monkeypatch, qtbot, request):
    monkeypatch.setattr(progress, "PREPARE_MS", 1)
    plot = request.getfixturevalue("hidden_plot")
    qtbot.waitUntil(lambda: plot.findChild(pyqtgraph.PlotWidget) is not None)
    plot.show()
    assert len(plot.findChildren(pyqtgraph.PlotWidget)) == 1


def test_points_are_drawn_together(plot, qtbot, monkeypatch):
    drawn = []
    monkeypatch.setattr(plot, "_set_ticks", lambda: drawn.append(1))
    for step in range(50):
        plot.addStep(step, 1.0)
    assert not drawn
    qtbot.waitUntil(lambda: bool(drawn))
    assert len(drawn) == 1


def test_log_scale_and_values_that_are_not_positive(plot):
    for step, loss in enumerate([1.0, 0.0, -1.0, np.nan, np.inf, 0.1]):
        plot.addStep(step, loss)
    plot.redraw()
    plot.setLog(True)
    assert plot.isLog()
    plot.redraw()
    plot.grab()
    plot.setLog(False)
    plot.redraw()


def test_best_and_total(plot):
    plot.setTotal(100)
    plot.addStep(10, 1.0)
    plot.setBest(10)
    plot.redraw()
    plot.grab()
    plot.setBest(None)


def test_height_limits(plot):
    assert plot.minimumHeight() == 120
    assert plot.maximumHeight() == 320


def test_the_plot_follows_the_theme(plot, qtbot, make_napari_viewer_proxy):
    make_napari_viewer_proxy()
    for name in ("light", "dark"):
        get_settings().appearance.theme = name
        shown = plot.grab().toImage().pixelColor(60, 60).name()
        assert shown == palette(name).foreground


def test_decimate_keeps_extremes_and_order():
    y = np.sin(np.linspace(0, 50, 10_000))
    y[1234], y[8765] = 9, -9
    x, kept = decimate(np.arange(10_000), y, 100)
    assert len(x) < 400
    assert (np.diff(x) > 0).all()
    assert kept.max() == 9
    assert kept.min() == -9
    assert x[0] == 0
    assert x[-1] == 9999


def test_smooth_is_causal_and_skips_what_is_not_finite():
    y = np.ones(1000)
    y[500] = np.nan
    np.testing.assert_allclose(smooth(y), 1)
    step = np.r_[np.zeros(500), np.ones(500)]
    assert smooth(step)[499] == 0
    assert smooth(step)[-1] == pytest.approx(1)
    assert smooth(np.array([])).size == 0


def test_curve_grows():
    curve = Curve()
    for at in range(5000):
        curve.add(at, -at)
    x, y = curve.points()
    np.testing.assert_array_equal(x, -y)
    assert len(curve) == 5000


@pytest.mark.parametrize(("low", "high"), [(-1, 0), (-0.2, 0.1), (-6, 3), (0.3, 0.31), (0, 0)])
def test_log_ticks_lie_inside(low, high):
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(10**low * 0.9 <= tick <= 10**high * 1.1 for tick in ticks)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (float("inf"), ""),
        (float("nan"), ""),
        (0, "0:00 left"),
        (52.4, "0:52 left"),
        (59.6, "1:00 left"),
        (754, "12:34 left"),
        (3900, "1 h 05 min left"),
        (3 * 86400, "3 days left"),
    ],
)
def test_eta_text(seconds, text):
    assert eta_text(seconds) == text


def test_time_left_from_a_steady_speed(footer, clock):
    for step in range(11):
        clock.now = step * 0.5
        footer.setProgress(step, 100)
    assert footer.detail() == "0:45 left"
    assert footer.progress() == (10, 100)


def test_time_left_follows_a_change_of_speed(footer, clock):
    for step in range(101):
        clock.now += 0.1
        footer.setProgress(step, 1000)
    for step in range(101, 301):
        clock.now += 1.0
        footer.setProgress(step, 1000)
    assert footer.detail() == "11:40 left"


def test_a_pause_does_not_count(footer, clock):
    for step in range(5):
        clock.now += 1
        footer.setProgress(step, 10)
    footer.pauseClock()
    clock.now += 1000
    footer.setProgress(4, 10)
    clock.now += 1
    footer.setProgress(5, 10)
    assert footer.detail() == "0:05 left"


def test_a_new_run_starts_from_nothing(footer, clock):
    footer.setProgress(0, 10)
    clock.now = 5
    footer.setProgress(9, 10)
    footer.setProgress(0, 10)
    assert footer.detail() == ""


def test_busy_idle_and_text(footer):
    footer.setBusy("Loading the network…")
    assert footer.isBusy()
    footer.setIdle("No image yet", "question")
    assert not footer.isBusy()
    assert footer.text() == "No image yet"
    assert footer.progress()[0] == 0
    footer.setDetail("about 2 min")
    assert footer.detail() == "about 2 min"


@pytest.mark.parametrize("width", [260, 300, 350, 450, 700])
def test_footer_keeps_its_height_and_fits(footer, qtbot, width):
    footer.resize(width, 86)
    heights = []
    buttons = [QPushButton(word, footer) for word in ("Resume", "Finish here", "Cancel")]
    for shown in ([], buttons[:1], buttons, buttons[1:]):
        footer.setButtons(shown)
        footer.setText("words " * 40)
        footer.setProgress(1, 2)
        qtbot.wait(1)
        heights.append(footer.height())
        for button in shown:
            assert button.isVisible()
            assert button.geometry().right() < width
            assert button.geometry().bottom() < footer.height()
    assert heights == [86] * 4
    assert not buttons[0].isVisible()
    assert footer.buttons() == buttons[1:]
