"""The Compare dock in a real napari: four views, and a viewer that is put back."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.experimental import link_layers
from napari.settings import get_settings
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import (
    QAbstractSlider,
    QApplication,
    QComboBox,
    QLabel,
    QPushButton,
    QScrollArea,
    QWidget,
)

from careamist.analysis.metrics import psnr
from careamist.gui.compare_widget import CompareWidget
from careamist.gui.comparing.swipe import CanvasMap, SwipeLine, canvas_of, plane_size
from careamist.gui.theme import contrast_ratio, palette

pytestmark = pytest.mark.gui

SECONDS = 30_000
GEOMETRY = {"scale": (0.5, 0.5), "translate": (3, 4), "units": ("µm",) * 2}


def made_from(name: str) -> dict[str, Any]:
    return {"careamist": {"source": name}}


class Compare:
    """A viewer with a raw and a restored layer and the dock."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        rng = np.random.default_rng(0)
        yy, xx = np.mgrid[:64, :96]
        self.truth = 100 + 80 * np.sin(yy / 9) * np.cos(xx / 7)
        noisy = rng.normal(self.truth, 15)
        self.raw = viewer.add_image(noisy, name="cells", colormap="green", **GEOMETRY)
        self.restored = viewer.add_image(
            self.truth.astype(np.float32) + 1,
            name="cells (N2V)",
            metadata=made_from("cells"),
            contrast_limits=(0, 500),
            **GEOMETRY,
        )
        self.before = self.state()
        self.dock: Any = None

    def open(self, *, settle: bool = True) -> CompareWidget:
        self.widget = CompareWidget(self.viewer)
        self.dock = self.viewer.window.add_dock_widget(self.widget, name="Compare")
        if settle:
            self.settle()
        return self.widget

    def settle(self) -> None:
        """Wait until the dock has done what it put off."""
        w = self.widget
        self.qtbot.waitUntil(
            lambda: (
                w._is_shown
                and not (
                    w._later.isActive()
                    or w._timer.isActive()
                    or w._figures.is_busy
                    or w._profiles.is_busy
                    or w.views._timer.isActive()
                )
            ),
            timeout=SECONDS,
        )

    def show(self, view: str) -> None:
        self.widget.form.view.setValue(view)
        self.settle()

    def close(self) -> None:
        self.viewer.window.remove_dock_widget(self.dock)
        QApplication.processEvents()

    def state(self) -> Any:
        """Return what a view may change."""
        v, grid = self.viewer, self.viewer.canvas.grid
        return (
            [
                (layer.name, layer.visible, tuple(getattr(layer, "contrast_limits", ())))
                for layer in v.layers
            ],
            (grid.enabled, grid.shape, grid.stride),
            dict(v.keymap),
            tuple(v.dims.current_step),
            v.scene.camera.center,
            v.scene.camera.zoom,
            v.layers.selection.active.name,
        )

    def viewer_window(self) -> QWidget:
        """Return the window of the viewer."""
        return next(w for w in QApplication.topLevelWidgets() if canvas_of(w) is not None)

    def visible(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers if layer.visible]

    def pixel(self, layer: Any, row: float, column: float) -> tuple[int, ...]:
        """Return the colour on the canvas at a pixel of a layer."""
        QApplication.processEvents()
        canvas = canvas_of(self.widget)
        picture = self.viewer.screenshot(canvas_only=True, flash=False)
        world = layer.data_to_world((*self.viewer.dims.current_step[:-2], row, column))[-2:]
        place = CanvasMap(self.viewer, canvas).toCanvas(world)
        ratio = picture.shape[1] / canvas.width()
        return tuple(picture[int(place.y() * ratio), int(place.x() * ratio), :3])


@pytest.fixture
def compare(make_napari_viewer_proxy: Any, qtbot: Any) -> Compare:
    return Compare(make_napari_viewer_proxy(show=True), qtbot)


def test_opens_on_the_newest_result_with_the_line(compare: Compare) -> None:
    dock = compare.open()
    assert dock.form.raw.layer() == compare.raw
    assert dock.form.restored.layer() == compare.restored
    assert dock.views.view == "Swipe"
    assert compare.visible() == ["cells (N2V)", "cells, before the line"]
    assert compare.viewer.layers.selection.active == compare.restored
    # raw is shown in green before the line, restored in grey after it
    red, green, _ = compare.pixel(compare.raw, 30, 42)
    assert red < 10 < green
    red, green, _ = compare.pixel(compare.raw, 30, 54)
    assert red == green > 10


def test_the_line_follows_the_slider_the_handle_and_the_camera(compare: Compare) -> None:
    dock = compare.open()
    line = dock.views.line
    camera = compare.viewer.scene.camera

    def column() -> float:
        world = CanvasMap(compare.viewer, canvas_of(dock)).toWorld(line.line.grip())
        return float(compare.raw.world_to_data(world)[1]) + 0.5

    assert column() == pytest.approx(48)
    dock.form.position.setValue(250)
    compare.settle()
    assert column() == pytest.approx(24)
    assert dock.views.own.data.shape == (64, 24)
    at_rest = line.handle.pos().x()
    camera.zoom *= 1.5
    camera.center = (0, camera.center[1] + 2, camera.center[2] + 5)
    assert column() == pytest.approx(24)
    assert line.handle.pos().x() < at_rest
    height = canvas_of(dock).height()
    compare.viewer.window.resize(900, 500)
    compare.qtbot.waitUntil(lambda: canvas_of(dock).height() != height)
    compare.qtbot.waitUntil(lambda: line.line.size() == canvas_of(dock).size())
    assert column() == pytest.approx(24)
    middle = line.handle.rect().center()
    compare.qtbot.mousePress(line.handle, Qt.MouseButton.LeftButton, pos=middle)
    step = CanvasMap(compare.viewer, canvas_of(dock)).toCanvas(compare.raw.data_to_world((0, 9.5)))
    there = QPoint(int(step.x()), middle.y()) - QPoint(line.handle.x(), 0)
    event_at = QPointF(there)
    line.handle.dragged.emit(QPointF(line.handle.mapToParent(event_at.toPoint())))
    compare.settle()
    assert column() == pytest.approx(10, abs=1)
    assert dock.form.part() == pytest.approx(10 / 96, abs=0.02)


def test_the_mouse_reaches_the_canvas_beside_the_handle(compare: Compare) -> None:
    dock = compare.open()
    canvas, line = canvas_of(dock), dock.views.line
    assert canvas.childAt(line.handle.geometry().center()) is line.handle
    assert canvas.childAt(line.line.grip().toPoint() + QPoint(0, 60)) is None


def test_the_line_goes_to_both_ends(compare: Compare) -> None:
    dock = compare.open()
    for part, shown in ((0.0, False), (1.0, True), (0.001, False)):
        dock.setPosition(part)
        compare.settle()
        assert dock.views.own.visible == shown


def test_every_view_shows_what_it_says(compare: Compare) -> None:
    compare.viewer.add_image(np.zeros((64, 96)), name="other", **GEOMETRY)
    compare.viewer.layers.selection.active = compare.restored
    compare.open()
    compare.show("Split")
    assert compare.visible() == ["cells", "cells (N2V)"]
    grid = compare.viewer.canvas.grid
    assert grid.enabled
    layers = compare.viewer.layers
    assert grid.position(0, layers) == (0, 0)
    assert grid.position(1, layers) == (0, 1)
    compare.show("Blink")
    assert not grid.enabled
    assert compare.visible() == ["cells (N2V)"]
    compare.show("Diff.")
    assert compare.visible() == ["difference"]
    compare.show("Swipe")
    assert compare.visible() == ["cells (N2V)", "cells, before the line"]


def test_raw_is_at_the_left_wherever_it_stands_in_the_list(compare: Compare) -> None:
    compare.viewer.layers.move(0, 2)
    compare.open()
    compare.show("Split")
    layers, grid = compare.viewer.layers, compare.viewer.canvas.grid
    assert grid.position(layers.index(compare.raw), layers) == (0, 0)


def test_the_viewer_is_put_back(compare: Compare) -> None:
    dock = compare.open()
    for view in ("Swipe", "Split", "Blink", "Diff."):
        compare.show(view)
        assert compare.state() != compare.before
        dock.compare(compare.raw, None)
        assert compare.state() == compare.before
        dock.compare(compare.raw, compare.restored)
        compare.dock.hide()
        assert compare.state() == compare.before
        compare.dock.show()
        compare.settle()
        assert dock.views.view == view
    compare.close()
    assert compare.state() == compare.before
    compare.raw.contrast_limits = (0, 77)
    assert tuple(compare.restored.contrast_limits) == (0, 500)


def test_what_the_user_changed_meanwhile_stays(compare: Compare) -> None:
    compare.open()
    compare.show("Split")
    compare.viewer.canvas.grid.enabled = False
    compare.restored.visible = False
    compare.raw.contrast_limits = (20, 90)
    compare.close()
    assert not compare.viewer.canvas.grid.enabled
    assert not compare.restored.visible
    assert tuple(compare.restored.contrast_limits) == (20, 90)


def test_b_shows_the_raw_image_while_it_is_held(compare: Compare) -> None:
    dock = compare.open()
    for view in ("Swipe", "Blink", "Diff."):
        compare.show(view)
        was = compare.visible()
        canvas = canvas_of(dock)
        compare.qtbot.keyPress(canvas, Qt.Key.Key_B)
        assert compare.visible() == ["cells"]
        compare.qtbot.keyRelease(canvas, Qt.Key.Key_B)
        assert compare.visible() == was
    compare.show("Blink")
    compare.qtbot.mousePress(dock.form.blink, Qt.MouseButton.LeftButton)
    assert compare.visible() == ["cells"]
    compare.qtbot.mouseRelease(dock.form.blink, Qt.MouseButton.LeftButton)
    assert compare.visible() == ["cells (N2V)"]


def test_a_key_of_somebody_else_is_left_to_them(compare: Compare) -> None:
    pressed: list[int] = []
    compare.viewer.bind_key("B", lambda viewer: pressed.append(1))
    dock = compare.open()
    assert "B" not in dock.form.view_row.hint()
    compare.close()
    compare.qtbot.keyClick(canvas_of(compare.viewer_window()), Qt.Key.Key_B)
    assert pressed == [1]


def test_same_contrast_is_that_of_the_raw_image(compare: Compare) -> None:
    limits = tuple(compare.raw.contrast_limits)
    dock = compare.open()
    assert tuple(compare.restored.contrast_limits) == limits
    compare.raw.contrast_limits = (50, 120)
    assert tuple(compare.restored.contrast_limits) == (50, 120)
    assert tuple(dock.views.own.contrast_limits) == (50, 120)
    dock.form.contrast.setValue("Own")
    compare.settle()
    compare.raw.contrast_limits = (60, 110)
    assert tuple(compare.restored.contrast_limits) == (50, 120)
    assert dock.views.view == "Swipe"


def test_a_link_of_the_users_stays(compare: Compare) -> None:
    link_layers([compare.raw, compare.restored], ("contrast_limits",))
    compare.open()
    compare.close()
    compare.raw.contrast_limits = (33, 44)
    assert tuple(compare.restored.contrast_limits) == (33, 44)


def test_the_difference_is_symmetric_and_follows_the_slice(
    make_napari_viewer_proxy: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    compare = Compare(viewer, qtbot)
    rng = np.random.default_rng(1)
    stack = rng.normal(100, 10, (4, 64, 96)).astype(np.float32)
    blocks: list[tuple[int, ...]] = []

    def look(block: Any) -> Any:
        blocks.append(block.shape)
        return block

    lazy = da.from_array(stack, chunks=(1, 64, 96)).map_blocks(look, dtype=stack.dtype)
    raw = viewer.add_image(lazy, name="stack", contrast_limits=(0, 200))
    restored = viewer.add_image(stack * 0.5, name="half", contrast_limits=(0, 200))
    dock = compare.open()
    dock.form.view.setValue("Diff.")
    dock.compare(raw, restored)
    for step in (0, 3):
        viewer.dims.set_current_step(0, step)
        compare.settle()
        own = dock.views.own
        np.testing.assert_allclose(own.data[step], stack[step] * 0.5)
        low, high = own.contrast_limits
        spread = np.percentile(np.abs(stack[step] * 0.5), 99.5)
        assert -low == high == pytest.approx(spread)
    assert max(np.prod(shape) for shape in blocks) <= 64 * 96
    assert own.colormap.map(np.array([0.5]))[0, :3] == pytest.approx(0.97, abs=0.02)
    own.contrast_limits = (-1, 2)
    viewer.dims.set_current_step(0, 1)
    compare.settle()
    assert tuple(own.contrast_limits) == (-1, 2)


def test_figures_with_and_without_a_clean_image(compare: Compare) -> None:
    clean = compare.viewer.add_image(compare.truth, name="clean", visible=False, **GEOMETRY)
    dock = compare.open()
    form = dock.form
    removed = compare.raw.data - compare.restored.data
    expected = f"What was removed has mean {removed.mean():.1f} and standard deviation "
    assert form.removed.text() == f"{expected}{removed.std():.1f}."
    assert not form.quality.isVisible()
    dock.compare(compare.raw, compare.restored, clean)
    compare.settle()
    before, after = (psnr(compare.truth, layer.data) for layer in (compare.raw, compare.restored))
    assert form.quality.text().startswith(f"PSNR {before:.1f} → {after:.1f} dB · SSIM ")
    assert f"{np.ptp(compare.truth):.1f}" in form.basis.text()
    assert form.quality.isVisible()
    compare.raw.data = compare.truth + 5
    compare.settle()
    assert form.removed.text() == "What was removed has mean 4.0 and standard deviation 0.0."


def test_the_profile_follows_the_line(compare: Compare) -> None:
    dock = compare.open()
    _, raw = dock.form.plot.curves()["raw"]
    np.testing.assert_allclose(raw, compare.raw.data[32])
    assert "distance (µm)" in dock.form.plot.label()
    compare.qtbot.mouseClick(dock.draw_button, Qt.MouseButton.LeftButton)
    compare.settle()
    line = dock.line.layer
    assert line.name == "profile line"
    assert line in compare.viewer.layers
    line.data = [np.array([[8.0 + 3 / 0.5, 4 / 0.5], [8.0 + 3 / 0.5, 4 / 0.5 + 20]])]
    compare.settle()
    distance, raw = dock.form.plot.curves()["raw"]
    np.testing.assert_allclose(raw, compare.raw.data[8, :21])
    assert distance[-1] == pytest.approx(10)
    _, restored = dock.form.plot.curves()["restored"]
    np.testing.assert_allclose(restored, compare.restored.data[8, :21], rtol=1e-6)
    compare.show("Split")  # where it would be a third picture
    assert not line.visible
    compare.show("Swipe")
    assert line.visible
    compare.dock.hide()
    assert line not in compare.viewer.layers
    compare.dock.show()
    compare.settle()
    _, again = dock.form.plot.curves()["raw"]
    np.testing.assert_allclose(again, raw)
    compare.viewer.layers.remove(dock.line.layer)
    compare.settle()
    _, raw = dock.form.plot.curves()["raw"]
    np.testing.assert_allclose(raw, compare.raw.data[32])


def test_layers_that_do_not_fit_are_told(compare: Compare) -> None:
    small = compare.viewer.add_image(np.zeros((60, 96)), name="small")
    dock = compare.open()
    dock.compare(compare.raw, small)
    compare.settle()
    assert dock.form.message.title() == (
        "“cells” is 64 × 96 and “small” is 60 × 96. Choose two images of one size."
    )
    assert dock.views.view == ""
    assert not dock.draw_button.isEnabled()
    assert dock.form.plot.curves() == {}
    dock.compare(compare.raw, compare.restored)
    compare.settle()
    assert dock.form.message.kind() == ""
    assert dock.views.view == "Swipe"


def test_an_empty_viewer_and_other_layers(make_napari_viewer_proxy: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    dock = CompareWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Compare")
    qtbot.wait(50)
    assert dock.form.view_row.hint() == "Choose a raw image and its restored version."
    viewer.add_labels(np.zeros((8, 8), int))
    viewer.add_points(np.zeros((2, 2)))
    qtbot.wait(50)
    assert dock.form.raw.count() == 0
    assert dock.problem()
    viewer.add_image(np.zeros((8, 8)), name="a")
    qtbot.waitUntil(lambda: dock.form.raw.count() == 1)
    viewer.layers["a"].name = "b"
    qtbot.waitUntil(lambda: dock.form.raw.itemText(0) == "b")
    viewer.add_image(np.ones((8, 8)), name="b (N2V)")
    qtbot.waitUntil(lambda: dock.views.view == "Swipe")
    viewer.layers["b"].name = "c"
    qtbot.waitUntil(lambda: dock.views.line.line.names == ("c", "b (N2V)"))
    assert dock.form.raw.currentText() == "c"


def test_a_chosen_layer_is_removed(compare: Compare) -> None:
    dock = compare.open()
    compare.viewer.layers.remove(compare.restored)
    compare.settle()
    assert dock.views.view == ""
    assert dock.form.restored.layer() is None
    assert compare.visible() == ["cells"]
    assert dock.form.raw.layer() == compare.raw


def test_the_temporary_layer_is_removed(compare: Compare) -> None:
    dock = compare.open()
    for view in ("Swipe", "Diff."):
        compare.show(view)
        compare.viewer.layers.remove(dock.views.own)
        compare.settle()
        assert dock.views.view == dock.form.view.value() == "Blink"
        assert compare.visible() == ["cells (N2V)"]


def test_pyramids_stacks_and_turned_images(make_napari_viewer_proxy: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    compare = Compare(viewer, qtbot)
    rng = np.random.default_rng(2)
    full = rng.random((3, 128, 128)).astype(np.float32)
    geometry = {"scale": (1, -0.5, 0.5), "rotate": 30, "translate": (0, 9, 9)}
    raw = viewer.add_image([full, full[:, ::2, ::2]], name="p", multiscale=True, **geometry)
    restored = viewer.add_image(full * 0.5, name="q", **geometry)
    dock = compare.open()
    dock.compare(raw, restored)
    compare.settle()
    assert dock.problem() == ""
    own = dock.views.own
    assert [level.shape for level in own.data] == [(3, 128, 64), (3, 64, 32)]
    a, b = dock.views.line.line.ends  # the line is turned like the image
    assert abs(a.x() - b.x()) > 10
    compare.show("Diff.")
    np.testing.assert_allclose(dock.views.own.data[1], full[1] * 0.5, rtol=1e-6)
    dock.form.view.setValue("Swipe")
    viewer.dims.ndisplay = 3
    compare.settle()
    assert "2D display" in dock.form.view_row.hint()
    assert dock.views.line is None
    viewer.dims.ndisplay = 2
    compare.settle()
    assert dock.views.line is not None


def test_colour_images(make_napari_viewer_proxy: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    compare = Compare(viewer, qtbot)
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)
    raw = viewer.add_image(pixels, name="p", rgb=True)
    restored = viewer.add_image(pixels // 2, name="q", rgb=True)
    dock = compare.open()
    dock.compare(raw, restored)
    compare.settle()
    assert dock.views.own.data.shape == (40, 25, 3)
    np.testing.assert_allclose(dock.form.plot.curves()["raw"][1], pixels[20].mean(-1))
    assert not dock.form.contrast_row.isEnabled()
    compare.show("Diff.")
    assert dock.views.own.data.shape == (40, 50)


def test_the_picture_holds_both_images_and_the_line(compare: Compare, tmp_path: Any) -> None:
    dock = compare.open()
    path = tmp_path / "picture.png"
    dock.save_picture(str(path))
    picture = QImage(str(path))
    line = dock.views.line.line
    assert picture.width() >= canvas_of(dock).width()
    ratio = picture.width() / line.width()
    place = line.grip() + QPointF(0, 80)
    on_it = picture.pixelColor(int(place.x() * ratio), int(place.y() * ratio))
    assert min(on_it.getRgb()[:3]) > 200
    dock.save_picture(str(tmp_path / "nowhere" / "x.png"))
    assert "could not be written" in dock.form.message.title()


def test_nothing_is_clipped(compare: Compare) -> None:
    compare.restored.name = "a name that is much too long for a dock " * 3
    compare.restored.metadata = made_from("cells")
    clean = compare.viewer.add_image(compare.truth, name="clean", visible=False, **GEOMETRY)
    dock = compare.open()
    dock.compare(compare.raw, compare.restored, clean)
    compare.dock.setFloating(True)
    (area,) = dock.findChildren(QScrollArea)
    for view, widths in (("Swipe", (260, 300, 350, 450, 700)), ("Blink", (260,))):
        compare.show(view)
        for width in widths:
            dock.setFixedWidth(width)
            for _ in range(5):
                QApplication.processEvents()
            edge = area.viewport().width()
            for child in dock.form.findChildren(QWidget):
                if child.isVisible() and not child.isWindow():
                    assert child.mapTo(dock.form, QPoint(child.width(), 0)).x() <= edge, child


def test_everything_has_a_name_and_a_tip(compare: Compare) -> None:
    dock = compare.open()
    names = []
    for kind in (QComboBox, QPushButton, QAbstractSlider):
        for part in dock.findChildren(kind):
            if type(part).__name__ == "QScrollBar":
                continue
            assert part.accessibleName(), part
            assert part.toolTip(), part
            names.append(part.accessibleName())
    assert {"Raw", "Restored", "Clean", "Position", "Draw line", "Save picture…"} <= set(names)
    texts = [part.text() for kind in (QLabel, QPushButton) for part in dock.findChildren(kind)]
    keys = [text[text.index("&") + 1].upper() for text in texts if "&" in text and "<" not in text]
    assert sorted(keys) == sorted("REAIOCDS")
    assert not set(keys) & set("FVLPWH")


def test_colours_follow_the_theme(compare: Compare) -> None:
    dock = compare.open()
    line: SwipeLine = dock.views.line
    assert line.line.colors == palette("dark")
    get_settings().appearance.theme = "light"
    compare.qtbot.waitUntil(lambda: line.line.colors == palette("light"))
    colors = palette("light")
    words = dock.form.plot._words.text()
    assert colors.accent in words
    assert contrast_ratio(colors.accent, colors.foreground) >= 4.5


@pytest.mark.slow
def test_closed_docks_leave_nothing_behind(compare: Compare) -> None:
    v = compare.viewer
    gone = []

    def callbacks() -> list[int]:
        emitters = [
            v.layers.events.inserted,
            v.layers.events.removed,
            v.dims.events.current_step,
            v.scene.camera.events.zoom,
            compare.raw.events.data,
            compare.raw.events.set_data,
            compare.raw.events.contrast_limits,
        ]
        return [len(emitter.callbacks) for emitter in emitters]

    compare.viewer.canvas.grid.shape = (1, 2)  # napari keeps the cameras of a grid
    compare.viewer.canvas.grid.enabled = True
    compare.viewer.canvas.grid.enabled = False
    compare.before = compare.state()
    before, children = callbacks(), len(canvas_of(compare.viewer_window()).children())
    for turn in range(20):
        dock = compare.open(settle=False)
        view = ("Swipe", "Split", "Blink", "Diff.")[turn % 4]
        dock.form.view.setValue(view)
        compare.qtbot.waitUntil(lambda view=view, dock=dock: dock.views.view == view)
        gone.append(weakref.ref(dock))
        with compare.qtbot.waitSignal(dock.destroyed, timeout=SECONDS):
            compare.close()
        compare.widget = compare.dock = dock = None
    gc.collect()
    assert callbacks() == before
    assert len(canvas_of(compare.viewer_window()).children()) == children
    assert compare.state() == compare.before
    assert sum(ref() is not None for ref in gone) == 0


def test_the_viewer_closes_with_the_dock_open(make_napari_viewer_proxy: Any, qtbot: Any) -> None:
    compare = Compare(make_napari_viewer_proxy(show=True), qtbot)
    compare.open()
    compare.viewer.close()
    assert plane_size(compare.viewer, compare.raw) == (64, 96)
