"""The live preview in a real napari: its layer, its time line, and the training behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from careamist.config import N2V, Configuration, DataConfig, MeanStd, TrainingConfig, UNet
from careamist.events import ImageStarted
from careamist.gui.data.data_source import DataChoice
from careamist.gui.jobs import jobs_of
from careamist.gui.live.preview import Preview, preview_of
from careamist.gui.live.preview_feed import DETAIL, RAW, PreviewFeed
from careamist.gui.live.preview_layer import is_preview
from careamist.gui.live.preview_place import visible_place
from careamist.gui.live.preview_strip import FOLLOWS, OFF, PreviewStrip, picture
from careamist.lightning import checkpoints
from careamist.lightning import preview as engine
from careamist.lightning.data_modules import TrainDataModule
from careamist.lightning.fit import fit
from careamist.lightning.module import RestorationModule
from careamist.lightning.preview import PreviewResult
from careamist.runner import Runner

pytestmark = pytest.mark.gui

SECONDS = 60_000


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).poisson(50, shape).astype(np.uint16)


class Watched:
    """A viewer with one layer, and a preview of it that the test feeds."""

    def __init__(self, viewer: Any, data: Any, axes: str, **looks: Any) -> None:
        self.viewer = viewer
        self.layer = viewer.add_image(data, name="cells", **looks)
        shape = data[0].shape if self.layer.multiscale else data.shape
        self.choice = DataChoice(self.layer, None, axes, tuple(shape))
        self.preview: Preview = preview_of(viewer)
        self.feed: PreviewFeed = self.preview.begin(self.choice)

    def send(self, step: int, value: float = 60, checkpoint: Path | None = None) -> PreviewResult:
        """Do what the training does, and let the window see it."""
        request = self.feed.request()
        assert request is not None
        channels = request.stack.data_shape[1]
        data = np.full((channels, *request.size), value, np.float32)
        result = PreviewResult(request, request.start, data, None, step, checkpoint)
        self.feed.take(result)
        self.preview._take(self.feed)
        return result

    @property
    def shown(self) -> Any:
        (layer,) = [layer for layer in self.viewer.layers if is_preview(layer)]
        return layer


@pytest.fixture
def viewer(qapp: Any) -> Any:
    """A viewer without its window, which takes seconds to open and to close."""
    viewer = ViewerModel()
    yield viewer
    preview_of(viewer).clear()


@pytest.fixture
def window(make_napari_viewer_proxy: Any) -> Any:
    viewer = make_napari_viewer_proxy(show=True)
    yield viewer
    preview_of(viewer).clear()


def same_place(layer: Any, first: tuple[float, ...], source: Any, pixel: tuple[float, ...]) -> None:
    np.testing.assert_allclose(layer.data_to_world(first), source.data_to_world(pixel), atol=1e-9)


# -- the layer -------------------------------------------------------------------------------------


def test_the_layer_lies_where_its_pixels_come_from(viewer: Any) -> None:
    watched = Watched(
        viewer,
        noise(5, 60, 80),
        "TYX",
        scale=(2.0, 0.3, 0.4),
        translate=(1.0, 7.0, -3.0),
        rotate=20,
        units=("s", "µm", "µm"),
        axis_labels=("t", "y", "x"),
        colormap="magenta",
        contrast_limits=(20, 90),
        gamma=0.8,
        blending="additive",
    )
    viewer.dims.set_current_step(0, 3)
    watched.layer.corner_pixels = np.array([[0, 10, 20], [0, 49, 59]])
    watched.preview.look()
    watched.feed.place = visible_place(viewer, watched.choice)
    request = watched.feed.request()
    assert request is not None
    assert (request.sample, request.start, request.size) == (3, (10, 20), (40, 40))
    watched.send(20)
    layer, source = watched.shown, watched.layer
    assert layer.name == "cells preview"
    assert layer.data.shape == (1, 40, 40)
    same_place(layer, (0, 0, 0), source, (3, 10, 20))
    same_place(layer, (0, 39, 39), source, (3, 49, 59))
    assert layer.units == source.units
    assert layer.axis_labels == source.axis_labels
    assert layer.colormap.name == "magenta"
    assert tuple(layer.contrast_limits) == (20, 90)
    assert layer.gamma == 0.8
    assert layer.blending == "translucent_no_depth"  # it replaces what is below it
    assert layer.bounding_box.visible
    assert not layer.bounding_box.points


def test_it_is_above_its_source_and_never_active(viewer: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    top = viewer.add_image(noise(40, 40), name="top")
    viewer.layers.selection.active = watched.layer
    step = viewer.dims.current_step
    watched.send(20)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells preview", "top"]
    assert viewer.layers.selection.active is watched.layer
    viewer.layers.selection.active = top
    watched.send(40)
    assert viewer.layers.selection.active is top
    assert viewer.dims.current_step == step
    assert len(viewer.layers) == 3


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((40, 50), "YX", (40, 50)),
        ((4, 40, 50), "TYX", (1, 40, 50)),
        ((4, 40, 50), "ZYX", (1, 40, 50)),
        ((3, 40, 50), "CYX", (3, 40, 50)),
        ((2, 3, 4, 40, 50), "TCZYX", (1, 3, 1, 40, 50)),
        ((2, 4, 40, 50), "STYX", (1, 1, 40, 50)),
    ],
)
def test_it_has_the_axes_of_the_image(
    viewer: Any, shape: tuple[int, ...], axes: str, expected: tuple[int, ...]
) -> None:
    watched = Watched(viewer, noise(*shape), axes)
    for axis in range(len(shape) - 2):
        viewer.dims.set_current_step(axis, shape[axis] - 1)
    watched.feed.place = visible_place(viewer, watched.choice)
    watched.send(20)
    layer = watched.shown
    assert layer.data.shape == expected
    at = [0 if axis in "CYX" else n - 1 for axis, n in zip(axes, shape, strict=True)]
    same_place(layer, (0,) * len(shape), watched.layer, tuple(at))


def test_it_follows_the_slider(viewer: Any) -> None:
    watched = Watched(viewer, noise(5, 40, 40), "TYX")
    viewer.dims.set_current_step(0, 1)
    watched.feed.place = visible_place(viewer, watched.choice)
    watched.send(20, 60)
    assert watched.shown.get_value((1, 20, 20)) == 60
    assert watched.shown.bounding_box.visible
    viewer.dims.set_current_step(0, 4)
    assert watched.shown.get_value((4, 20, 20)) is None  # not the old picture in another slice
    assert not watched.shown.bounding_box.visible
    watched.feed.place = visible_place(viewer, watched.choice)
    watched.send(40, 70)
    assert watched.shown.get_value((4, 20, 20)) == 70
    assert watched.shown.bounding_box.visible


def test_volumes_may_be_cut_any_way(viewer: Any) -> None:
    watched = Watched(viewer, noise(12, 40, 50), "ZYX")
    viewer.dims.order = (1, 0, 2)  # Z and X on the screen
    viewer.dims.set_current_step(1, 7)
    place = visible_place(viewer, watched.choice)
    assert place is not None
    assert (place.start, place.size) == ((0, 7, 0), (12, 1, 50))
    watched.feed.place = place
    watched.send(20)
    assert watched.shown.data.shape == (12, 1, 50)
    assert watched.preview.moments()[-1].detail.shape == (1, 12, DETAIL)


@pytest.mark.parametrize(
    "how", ["3d", "time on the screen", "beside", "out of view", "other data", "removed"]
)
def test_nothing_is_asked_for_where_nothing_is_seen(viewer: Any, how: str) -> None:
    watched = Watched(viewer, noise(5, 40, 40), "TYX")
    viewer.add_image(noise(9, 40, 40), name="longer")
    assert visible_place(viewer, watched.choice) is not None
    if how == "3d":
        viewer.dims.ndisplay = 3
    elif how == "time on the screen":
        viewer.dims.order = (1, 0, 2)
    elif how == "beside":
        viewer.dims.set_current_step(0, 8)
    elif how == "out of view":
        watched.layer.corner_pixels = np.array([[0, 0, 39], [0, 39, 39]])
    elif how == "other data":
        watched.layer.data = noise(3, 4, 40, 40)
    else:
        viewer.layers.remove(watched.layer)
    assert visible_place(viewer, watched.choice) is None
    watched.feed.place = None
    assert watched.feed.request() is None


def test_levels_of_a_pyramid(viewer: Any) -> None:
    levels = [noise(80, 80), noise(40, 40), noise(20, 20)]
    watched = Watched(viewer, levels, "YX", scale=(0.5, 0.5), multiscale=True)
    coarse = DataChoice(watched.layer, None, "YX", (40, 40), level=1)
    watched.layer.data_level = 0
    watched.layer.corner_pixels = np.array([[20, 40], [59, 79]])
    place = visible_place(viewer, watched.choice)
    assert place is not None
    assert (place.start, place.size) == ((20, 40), (40, 40))
    place = visible_place(viewer, coarse)
    assert place is not None
    assert (place.start, place.size) == ((10, 20), (20, 20))
    feed = watched.feed = watched.preview.begin(coarse)
    feed.place = place
    watched.send(20)
    layer = watched.shown
    np.testing.assert_allclose(layer.scale, (1.0, 1.0))
    # the outer edge of its first pixel is that of the pixel below it
    np.testing.assert_allclose(
        layer.data_to_world((-0.5, -0.5)), watched.layer.data_to_world((19.5, 39.5))
    )


def test_colours_stay_colours(viewer: Any) -> None:
    image = np.full((40, 50, 3), (200, 100, 50), np.uint8)
    watched = Watched(viewer, image, "YXC", rgb=True)
    request = watched.feed.request()
    assert request is not None
    data = np.stack([np.full((40, 50), value, np.float32) for value in (300, 100.4, -5)])
    result = PreviewResult(request, (0, 0), data, None, 20, None)
    watched.feed.take(result)
    watched.preview._take(watched.feed)
    assert watched.shown.rgb
    assert watched.shown.data[3, 3].tolist() == [255, 100, 0]
    raw, latest = watched.preview.moments()
    color = picture(raw.detail, watched.layer).pixelColor(5, 5)
    assert (color.red(), color.green(), color.blue()) == (200, 100, 50)
    assert picture(latest.detail, watched.layer).pixelColor(5, 5).red() == 255


def test_channels_that_are_not_used_stay_empty(viewer: Any) -> None:
    watched = Watched(viewer, noise(3, 40, 40), "CYX")
    request = watched.feed.request()
    assert request is not None
    data = np.stack([np.full((40, 40), value, np.float32) for value in (1, 2)])
    watched.feed.take(PreviewResult(request, (0, 0), data, (0, 2), 20, None))
    watched.preview._take(watched.feed)
    assert watched.shown.data.shape == (3, 40, 40)
    assert watched.shown.data[0, 0, 0] == 1
    assert np.isnan(watched.shown.data[1]).all()
    assert watched.shown.data[2, 0, 0] == 2


def test_values_beyond_the_limits_of_the_image_are_seen(viewer: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX", contrast_limits=(0, 100))
    request = watched.feed.request()
    assert request is not None
    clean = np.linspace(3000, 4000, 1600, dtype=np.float32).reshape(1, 40, 40)
    watched.feed.take(PreviewResult(request, (0, 0), clean, None, 20, None))
    watched.preview._take(watched.feed)
    low, high = watched.shown.contrast_limits
    assert 2900 < low < high < 4100


def test_an_image_that_is_no_layer_is_shown_in_the_time_line(viewer: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "cells.npy", noise(3, 300, 400))
    preview = preview_of(viewer)
    choice = DataChoice(None, str(tmp_path / "cells.npy"), "TYX", (3, 300, 400), "image")
    feed = preview.begin(choice)
    request = feed.request()
    assert request is not None
    assert (request.sample, request.start, request.size) == (0, (22, 72), (256, 256))
    feed.take(PreviewResult(request, (22, 72), np.ones((1, 256, 256), np.float32), None, 20, None))
    preview._take(feed)
    assert [moment.step for moment in preview.moments()] == [RAW, 20]
    assert len(viewer.layers) == 0


def test_the_visible_field_is_what_the_canvas_shows(window: Any, qtbot: Any) -> None:
    watched = Watched(window, noise(500, 600), "YX", scale=(0.5, 0.5), translate=(10, 20))
    qtbot.waitUntil(lambda: watched.layer.corner_pixels.any(), timeout=SECONDS)
    whole = visible_place(window, watched.choice)
    assert whole is not None
    assert whole.size == (500, 600)
    camera = window.scene.camera
    camera.center = watched.layer.data_to_world((250, 200))
    camera.zoom = 4 * camera.zoom
    qtbot.waitUntil(
        lambda: (visible_place(window, watched.choice) or whole).size != whole.size, timeout=SECONDS
    )
    place = visible_place(window, watched.choice)
    assert place is not None
    middle = [at + n / 2 for at, n in zip(place.start, place.size, strict=True)]
    np.testing.assert_allclose(middle, (250, 200), atol=3)
    watched.feed.place = place
    watched.send(20)
    assert watched.shown.data.shape == place.size


# -- switching, removing, ending -------------------------------------------------------------------


def test_the_switch_ends_it_and_brings_it_back(viewer: Any, qtbot: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    strip = PreviewStrip(watched.preview)
    qtbot.addWidget(strip)
    watched.send(20)
    strip.live.click()
    assert not watched.preview.isLive()
    assert watched.feed.request() is None
    assert not watched.shown.visible
    assert strip.hint() == OFF
    strip.live.click()
    assert watched.feed.request() is not None
    assert watched.shown.visible
    assert strip.hint() == FOLLOWS


def test_removing_the_layer_switches_it_off(viewer: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    watched.send(20)
    viewer.layers.remove(watched.shown)
    assert not watched.preview.isLive()
    assert watched.feed.request() is None
    assert [layer.name for layer in viewer.layers] == ["cells"]
    watched.preview.setLive(True)
    assert watched.shown.visible  # with what was shown last


def test_without_its_source_it_goes(viewer: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    watched.send(20)
    request = watched.feed.request()
    assert request is not None
    viewer.layers.remove(watched.layer)
    assert len(viewer.layers) == 0
    assert watched.preview.isLive()
    late = PreviewResult(request, (0, 0), np.ones((1, 40, 40), np.float32), None, 40, None)
    watched.feed.take(late)  # was under way
    watched.preview._take(watched.feed)
    assert len(viewer.layers) == 0


def test_a_new_training_puts_the_old_preview_away(viewer: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    watched.send(20)
    watched.preview.begin(watched.choice)
    assert [layer.name for layer in viewer.layers] == ["cells"]
    assert watched.preview.moments() == []


def test_it_makes_room_for_the_result(viewer: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    watched.send(20)
    event = ImageStarted("run", 0, "array", (40, 40), "float32", "YX")
    jobs_of(viewer).told.emit(event)
    assert not watched.shown.visible


def test_a_viewer_has_one(viewer: Any) -> None:
    assert preview_of(viewer) is preview_of(viewer)


# -- the time line ---------------------------------------------------------------------------------


def test_steps_that_are_kept_stay_and_the_latest_is_replaced(viewer: Any, qtbot: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    strip = PreviewStrip(watched.preview)
    qtbot.addWidget(strip)
    strip.show()
    for step, kept in ((20, True), (30, False), (40, False), (50, True), (60, False)):
        watched.send(step, step, Path(f"{step}.ckpt") if kept else None)
    assert [moment.step for moment in watched.preview.moments()] == [RAW, 20, 50, 60]
    assert [thumb.text() for thumb in strip.thumbs()] == ["raw", "20", "50", "60"]
    assert [thumb.isChecked() for thumb in strip.thumbs()] == [False, False, False, True]
    assert all(thumb.accessibleName() and thumb.toolTip() for thumb in strip.thumbs())
    assert strip.thumbs()[1].image().width() == 40
    assert not strip.use_button.isVisible()

    strip.thumbs()[1].click()
    assert watched.shown.data[0, 0] == 20
    watched.send(70, 70)  # looking back is not disturbed
    assert watched.shown.data[0, 0] == 20
    assert strip.use_button.isVisible()
    assert "Step 20." in strip.hint()

    strip.thumbs()[0].click()
    assert not watched.shown.visible  # the image itself
    strip.thumbs()[-1].click()
    assert watched.shown.visible
    assert watched.shown.data[0, 0] == 70
    watched.send(80, 80)
    assert watched.shown.data[0, 0] == 80


def test_looking_back_goes_to_the_slice_of_then(viewer: Any) -> None:
    watched = Watched(viewer, noise(5, 40, 40), "TYX", scale=(3, 1, 1))
    viewer.dims.set_current_step(0, 1)
    watched.feed.place = visible_place(viewer, watched.choice)
    watched.send(20, 20, Path("20.ckpt"))
    viewer.dims.set_current_step(0, 4)
    watched.feed.place = visible_place(viewer, watched.choice)
    watched.send(40, 40)
    watched.preview.select(20)
    assert viewer.dims.current_step[0] == 1
    assert watched.shown.bounding_box.visible


def test_pictures_show_the_same_detail(viewer: Any) -> None:
    image = noise(200, 200)
    watched = Watched(viewer, image, "YX", contrast_limits=(0, 100))
    watched.send(20)
    raw = watched.preview.moments()[0].detail
    np.testing.assert_array_equal(raw[0], image[75:125, 75:125])
    watched.layer.corner_pixels = np.array([[60, 60], [150, 190]])
    watched.feed.place = visible_place(viewer, watched.choice)
    request = watched.feed.request()
    assert request is not None
    data = image[None, 60:151, 60:191].astype(np.float32)
    watched.feed.take(PreviewResult(request, (60, 60), data, None, 40, None))
    watched.preview._take(watched.feed)
    np.testing.assert_array_equal(watched.preview.moments()[-1].detail, raw)
    grey = picture(raw, watched.layer).pixelColor(0, 0).red()
    assert abs(grey - int(raw[0, 0, 0]) / 100 * 255) <= 2


def test_arrows_move_along_the_time_line(viewer: Any, qtbot: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    strip = PreviewStrip(watched.preview)
    qtbot.addWidget(strip)
    strip.resize(350, 200)
    strip.show()
    for step in (20, 40, 60):
        watched.send(step, step, Path(f"{step}.ckpt"))
    qtbot.waitUntil(lambda: strip.thumbs()[-1].isVisible() and strip.thumbs()[-1].x() > 0)
    strip.activateWindow()
    strip.thumbs()[-1].setFocus()
    qtbot.waitUntil(strip.thumbs()[-1].hasFocus)
    qtbot.keyClick(strip.thumbs()[-1], Qt.Key.Key_Left)
    assert watched.preview.selected() is watched.preview.moments()[2]
    assert watched.shown.data[0, 0] == 40


def test_a_new_strip_shows_what_there_is(viewer: Any, qtbot: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    watched.send(20, 20, Path("20.ckpt"))
    watched.send(40, 40)
    watched.preview.select(20)
    strip = PreviewStrip(watched.preview)
    qtbot.addWidget(strip)
    assert [thumb.isChecked() for thumb in strip.thumbs()] == [False, True, False]


# -- with a training -------------------------------------------------------------------------------


def training(data: Any, axes: str, feed: PreviewFeed, folder: Path, steps: int) -> Any:
    def job(listener: Any, stop: Any) -> None:
        config = Configuration(
            algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
            data_config=DataConfig(
                axes=axes, patch_size=(16, 16), batch_size=4, normalization=MeanStd()
            ),
            training_config=TrainingConfig(num_steps=steps, device="cpu", num_threads=1),
        )
        images = TrainDataModule(config.data_config, train_data=data)
        images.setup("fit")
        resolved = config.model_copy(update={"data_config": images.resolved()})
        module = RestorationModule(resolved)
        module.prepare(images.train_dataset)
        runner = Runner(progress_bar=False)
        with runner.attached(listener, stop), runner.frame("train", 1) as run:
            fit(module, images, folder, run, preview=feed)

    return job


def test_a_training_shows_itself_and_leaves_models(
    window: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = window
    monkeypatch.setattr(engine, "_EVERY", 0.1)
    monkeypatch.setattr(engine, "SHARE", 1.0)
    watched = Watched(viewer, noise(3, 64, 64), "TYX", scale=(1, 0.2, 0.2))
    strip = PreviewStrip(watched.preview)
    qtbot.addWidget(strip)
    strip.show()
    jobs, preview = jobs_of(viewer), watched.preview
    jobs.start("train", "Train", training(watched.layer.data, "TYX", watched.feed, tmp_path, 5000))
    qtbot.waitUntil(lambda: len(preview.moments()) > 2, timeout=SECONDS)
    assert watched.shown.data.shape == (1, 64, 64)
    assert np.isfinite(watched.shown.data).all()
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: watched.shown.bounding_box.visible, timeout=SECONDS)
    assert watched.shown.translate[0] == 2
    assert viewer.layers.selection.active == watched.layer
    kept = next(moment for moment in preview.moments() if moment.checkpoint is not None)
    preview.select(kept.step)
    assert strip.use_button.isVisible()
    assert not strip.use_button.isEnabled()  # while the training goes on
    jobs.stop()
    qtbot.waitUntil(lambda: not preview.isRunning(), timeout=SECONDS)
    assert jobs.state("train") == "stopped"

    qtbot.mouseClick(strip.use_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: preview.used() == kept.step, timeout=SECONDS)
    assert jobs.model.steps_done == kept.step
    assert not strip.use_button.isVisible()
    assert str(kept.step) in strip.hint()
    assert kept.checkpoint is not None
    assert checkpoints.load(kept.checkpoint).steps_done == kept.step


def test_a_model_that_is_gone_is_told(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    strip = PreviewStrip(watched.preview)
    qtbot.addWidget(strip)
    watched.send(20, 20, tmp_path / "gone.ckpt")
    watched.send(40)
    watched.preview.select(20)
    watched.preview.use()
    qtbot.waitUntil(lambda: "gone.ckpt" in strip.hint(), timeout=SECONDS)
    assert jobs_of(viewer).model is None


def test_the_window_looks_a_few_times_a_second(viewer: Any, qtbot: Any) -> None:
    watched = Watched(viewer, noise(40, 40), "YX")
    assert 300 <= watched.preview._timer.interval() <= 500
    qtbot.waitUntil(lambda: not watched.preview.isRunning(), timeout=SECONDS)  # there is no run
