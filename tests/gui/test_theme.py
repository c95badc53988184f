"""Colours come from napari, are readable, and follow a change of theme."""

from __future__ import annotations

import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from careamist.gui import theme

pytestmark = pytest.mark.gui


def test_contrast_ratio_of_known_pairs():
    assert theme.contrast_ratio("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast_ratio("#ffffff", "#000000") == pytest.approx(21)
    assert theme.contrast_ratio("#777777", "#777777") == pytest.approx(1)
    assert theme.contrast_ratio("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("ground", ["#000000", "#2e333e", "#808080", "#dddad8", "#ffffff"])
@pytest.mark.parametrize("color", ["#4560c4", "#a0b8ff", "#e3b617", "#99121f", "#888888"])
def test_with_contrast_reaches_the_ratio(color, ground):
    moved = theme.with_contrast(color, ground, 4.5)
    assert theme.contrast_ratio(moved, ground) >= 4.5


def test_with_contrast_leaves_what_is_readable():
    assert theme.with_contrast("#ffffff", "#000000", 4.5) == "#ffffff"


@pytest.mark.parametrize("name", ["dark", "light"])
def test_all_text_is_readable(qapp, name):
    colors = theme.palette(name)
    for ground in (colors.background, colors.foreground):
        assert theme.contrast_ratio(colors.text, ground) >= 4.5
        assert theme.contrast_ratio(colors.dim, ground) >= 4.5
        assert theme.contrast_ratio(colors.accent, ground) >= 4.5
    assert theme.contrast_ratio(colors.text, colors.current) >= 4.5
    assert theme.contrast_ratio(colors.text, colors.primary) >= 4.5
    for mark in (colors.warning, colors.error):
        assert theme.contrast_ratio(mark, colors.foreground) >= 3


def test_themes_differ(qapp):
    assert theme.palette("dark") != theme.palette("light")
    assert theme.stylesheet(theme.palette("dark")) != theme.stylesheet(theme.palette("light"))


def _dock(qtbot, viewer):
    root = QWidget()
    qtbot.addWidget(root)
    child = QLabel("words", root)
    QVBoxLayout(root).addWidget(child)
    theme.style(root, viewer)
    root.show()
    return root, child


def test_follow_is_told_now_and_after_each_change(qtbot, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    _, child = _dock(qtbot, viewer)
    seen = []
    theme.follow(child, seen.append)
    get_settings().appearance.theme = "light"
    assert seen == [theme.palette("dark"), theme.palette("light")]


def test_follow_hears_of_the_viewers_own_theme(qtbot, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    root, child = _dock(qtbot, viewer)
    seen = []
    theme.follow(child, seen.append)
    viewer.theme = "light"  # the settings are not told
    qtbot.waitUntil(lambda: len(seen) == 2)
    assert seen[-1] == theme.palette("light") == theme.palette_of(child)
    assert theme.palette("light").accent in root.styleSheet()


def test_a_deleted_widget_is_not_told(qtbot, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    root, child = _dock(qtbot, viewer)
    seen = []
    theme.follow(child, seen.append)
    with qtbot.waitSignal(child.destroyed):
        root.deleteLater()
    viewer.theme = "light"
    get_settings().appearance.theme = "light"
    assert len(seen) == 1
