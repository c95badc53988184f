"""The footer keeps its height and tells the time."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QPushButton

from careamist.gui.parts.progress import RunFooter, eta_text

pytestmark = pytest.mark.gui


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


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
