"""Train and Predict in a real napari: states, stops, failures, results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from careamist.events import RegionPredicted, RunFailed, RunStarted, StepDone
from careamist.gui.jobs import jobs_of
from careamist.gui.live.preview import preview_of
from careamist.gui.predict_widget import PredictWidget
from careamist.gui.train_widget import TrainWidget

pytestmark = pytest.mark.gui

SECONDS = 60_000  # a busy machine may take that long to import torch


class Docks:
    """A viewer with both docks and one noisy layer."""

    def __init__(self, viewer: Any, qtbot: Any, noisy: Any, quick: Callable[..., None]) -> None:
        self.viewer, self.qtbot, self.quick = viewer, qtbot, quick
        self.layer = viewer.add_image(
            noisy,
            name="noisy",
            scale=(0.2, 0.2),
            translate=(3, 4),
            units=("µm", "µm"),
            axis_labels=("y", "x"),
            colormap="magenta",
            contrast_limits=(10, 90),
        )
        self.train = TrainWidget(viewer)
        self.predict = PredictWidget(viewer)
        for dock, name in ((self.train, "Train"), (self.predict, "Predict")):
            viewer.window.add_dock_widget(dock, name=name)
        self.jobs = jobs_of(viewer)
        preview_of(viewer).setLive(False)  # it adds a layer
        quick(self.train)

    def choose(self, dock: Any, path: Path) -> None:
        """Choose a path in a dock and wait until it is read."""
        dock.picker.setPath(str(path))
        self.qtbot.waitUntil(lambda: not dock.picker.isReading(), timeout=SECONDS)

    def click(self, button: Any) -> None:
        assert button.isEnabled()
        button.click()

    def wait(self, kind: str, *states: str) -> None:
        self.qtbot.waitUntil(lambda: self.jobs.state(kind) in states, timeout=SECONDS)

    def trained(self) -> None:
        """Train, and no more."""
        assert self.train.train_button.isEnabled(), self.train.problem()
        self.train.train()
        self.wait("train", "finished", "failed")
        assert self.jobs.state("train") == "finished", self.jobs.record("train").events[-1]


@pytest.fixture
def docks(
    make_napari_viewer_proxy: Any, qtbot: Any, noisy: Any, make_quick: Callable[..., None]
) -> Docks:
    return Docks(make_napari_viewer_proxy(show=True), qtbot, noisy, make_quick)


def test_from_a_layer_to_a_denoised_layer(docks: Docks) -> None:
    assert docks.train.train_button.isEnabled()
    assert not docks.predict.predict_button.isEnabled()
    assert "no model" in docks.predict.problem()
    docks.trained()
    events = docks.jobs.record("train").events
    assert [event.done for event in events if isinstance(event, StepDone)] == [1, 2, 3, 4, 5, 6]
    curves = docks.train.plot.curves()
    assert len(curves["train"][0]) == 6
    assert docks.train.footer.text().startswith("Done: 6 steps in 0:0")
    assert docks.predict.predict_button.isEnabled()

    camera = (docks.viewer.scene.camera.center, docks.viewer.scene.camera.zoom)
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    result = docks.viewer.layers["noisy (N2V)"]
    assert result.data.shape == docks.layer.data.shape
    assert np.isfinite(result.data).all()
    for name in ("scale", "translate", "units", "axis_labels", "contrast_limits"):
        np.testing.assert_array_equal(getattr(result, name), getattr(docks.layer, name))
    assert result.colormap.name == "magenta"
    assert result.metadata["careamist"]["source"] == "noisy"
    assert result.metadata["careamist"]["steps"] == 6
    assert (docks.viewer.scene.camera.center, docks.viewer.scene.camera.zoom) == camera
    docks.click(docks.predict.predict_button)  # a second result does not write over the first
    docks.wait("predict", "finished", "failed")
    assert len(docks.viewer.layers) == 3


def test_the_result_is_the_one_of_the_library(docks: Docks) -> None:
    docks.trained()
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    (expected,), _ = docks.jobs.model.predict(np.asarray(docks.layer.data))
    np.testing.assert_allclose(docks.viewer.layers[-1].data, expected, atol=1e-3)


def test_tiles_stream_into_the_layer(docks: Docks, monkeypatch: pytest.MonkeyPatch) -> None:
    from careamist.prediction import plan, predictor

    docks.trained()
    monkeypatch.setattr(plan, "_ACTIVATION_BYTES", {2: 4 * 12 * 40 * 40})  # small tiles
    original = predictor.read_window

    def read(*args: Any) -> Any:
        time.sleep(0.4)  # longer than the docks take to hear of a tile
        return original(*args)

    monkeypatch.setattr(predictor, "read_window", read)
    shares: list[float] = []

    def look(event: Any) -> None:
        if isinstance(event, RegionPredicted):
            shares.append(float(np.isfinite(docks.viewer.layers["noisy (N2V)"].data).mean()))

    docks.jobs.told.connect(look)
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    assert len(shares) > 3
    assert 0 < shares[0] < 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_output_may_be_removed_while_tiles_stream(
    docks: Docks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from careamist.prediction import plan, predictor

    docks.trained()
    monkeypatch.setattr(plan, "_ACTIVATION_BYTES", {2: 4 * 12 * 40 * 40})
    original = predictor.read_window

    def read(*args: Any) -> Any:
        time.sleep(0.2)
        return original(*args)

    monkeypatch.setattr(predictor, "read_window", read)
    docks.click(docks.predict.predict_button)
    docks.qtbot.waitUntil(lambda: len(docks.viewer.layers) == 2, timeout=SECONDS)
    docks.qtbot.wait(300)
    docks.viewer.layers.remove("noisy (N2V)")
    docks.wait("predict", "finished", "failed")
    assert docks.jobs.state("predict") == "finished"
    assert [layer.name for layer in docks.viewer.layers] == ["noisy"]


def test_advanced_unfolds_at_its_height(docks: Docks) -> None:
    docks.train.parent().setFloating(True)
    docks.train.resize(350, 700)
    docks.train.advanced.setOpen(True)
    docks.qtbot.wait(100)
    for form in (docks.train.algorithm_form, docks.train.data_form, docks.train.training_form):
        assert form.height() >= form.minimumSizeHint().height()
    docks.train.advanced.setOpen(False)
    assert not docks.train.data_form.isVisible()


def test_cancelling_training_keeps_the_model_and_the_next_run_works(docks: Docks) -> None:
    docks.quick(docks.train, steps=100_000)
    docks.click(docks.train.train_button)
    assert not docks.train.train_button.isEnabled()
    docks.qtbot.waitUntil(
        lambda: any(isinstance(e, StepDone) for e in docks.jobs.record("train").events),
        timeout=SECONDS,
    )
    assert docks.train.cancel_button.isEnabled()
    start = time.monotonic()
    docks.click(docks.train.cancel_button)
    assert docks.jobs.state("train") == "stopping"
    assert not docks.train.train_button.isEnabled()
    assert not docks.train.cancel_button.isEnabled()
    docks.wait("train", "stopped")
    assert time.monotonic() - start < 4
    assert "model is kept" in docks.train.footer.text()
    assert docks.jobs.model is not None
    steps = docks.jobs.model.steps_done
    assert 0 < steps < 100_000
    docks.quick(docks.train)
    docks.trained()
    assert docks.jobs.model.steps_done == 6


def test_cancelling_at_once_is_not_lost(docks: Docks) -> None:
    docks.quick(docks.train, steps=100_000)
    docks.click(docks.train.train_button)
    docks.click(docks.train.cancel_button)
    docks.wait("train", "stopped")
    docks.quick(docks.train)
    docks.trained()


def test_cancelling_a_prediction_keeps_the_part_done(
    docks: Docks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from careamist.prediction import plan, predictor

    docks.trained()
    monkeypatch.setattr(plan, "_ACTIVATION_BYTES", {2: 4 * 12 * 40 * 40})
    original = predictor.read_window

    def read(*args: Any) -> Any:
        time.sleep(0.3)  # longer than the docks take to hear of a tile
        return original(*args)

    monkeypatch.setattr(predictor, "read_window", read)
    docks.click(docks.predict.predict_button)

    def has_tiles() -> bool:
        events = docks.jobs.record("predict").events
        return sum(isinstance(event, RegionPredicted) for event in events) > 1

    docks.qtbot.waitUntil(has_tiles, timeout=SECONDS)
    docks.click(docks.predict.cancel_button)
    docks.wait("predict", "stopped", "finished")
    assert docks.jobs.state("predict") == "stopped"
    assert docks.viewer.layers[-1].name == "noisy (N2V), unfinished"
    assert "Finished tiles stay in the layer" in docks.predict.footer.text()
    part = np.isfinite(docks.viewer.layers[-1].data)
    assert part.any()
    assert not part.all()
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    assert np.isfinite(docks.viewer.layers[-1].data).all()


PHASES = {
    "data": "careamist.lightning.data_modules.open_stacks",
    "statistics": "careamist.dataset.normalization.Survey",
    "first step": "careamist.algorithms.n2v.N2V.loss",
    "validation": "careamist.lightning.module.RestorationModule.evaluate",
    "checkpoint": "careamist.lightning.checkpoints.save",
}


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
@pytest.mark.parametrize("phase", PHASES)
def test_a_failure_in_training_returns_the_dock_to_ready(
    docks: Docks, monkeypatch: pytest.MonkeyPatch, phase: str, error: type[Exception]
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise error(f"broken {phase}")

    with monkeypatch.context() as patch:
        patch.setattr(PHASES[phase], fail)
        docks.click(docks.train.train_button)
        docks.wait("train", "failed", "finished", "stopped")
    assert_failed_once(docks, "train", f"broken {phase}")
    docks.trained()
    assert docks.train.message.kind() == ""


@pytest.mark.parametrize(
    ("phase", "target"),
    {
        "open": "careamist.config.prediction.open_groups",
        "tile": "careamist.prediction.predictor.read_window",
        "sink": "careamist.prediction.sinks.ArraySink.write",
    }.items(),
)
def test_a_failure_in_prediction_returns_the_dock_to_ready(
    docks: Docks, monkeypatch: pytest.MonkeyPatch, phase: str, target: str
) -> None:
    docks.trained()

    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError(f"broken {phase}")

    with monkeypatch.context() as patch:
        patch.setattr(target, fail)
        docks.click(docks.predict.predict_button)
        docks.wait("predict", "failed", "finished", "stopped")
    assert_failed_once(docks, "predict", f"broken {phase}")
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    assert docks.jobs.state("predict") == "finished"


def test_running_out_of_memory_says_what_to_do(
    docks: Docks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr("careamist.algorithms.n2v.N2V.loss", fail)
    docks.click(docks.train.train_button)
    docks.wait("train", "failed")
    assert "fits into memory" in docks.train.message.title()
    assert "smaller patch" in docks.train.message.text()


def assert_failed_once(docks: Docks, kind: str, words: str) -> None:
    dock = docks.train if kind == "train" else docks.predict
    record = docks.jobs.record(kind)
    assert docks.jobs.state(kind) == "failed"
    failures = [event for event in record.events if isinstance(event, RunFailed)]
    assert len(failures) == 1
    assert words in dock.message.title()
    assert dock.message.kind() == "error"
    assert dock.train_button.isEnabled() if kind == "train" else dock.predict_button.isEnabled()
    assert not record.run.is_alive


def test_constant_images_are_refused_in_words(docks: Docks) -> None:
    docks.viewer.add_image(np.full((64, 64), 7, np.uint8), name="flat")
    docks.train.picker.setLayer(docks.viewer.layers["flat"])
    docks.quick(docks.train)
    docks.click(docks.train.train_button)
    docks.wait("train", "failed")
    assert "constant" in docks.train.message.title()
    docks.train.picker.setLayer(docks.layer)
    docks.quick(docks.train)
    docks.trained()


def test_wrong_settings_block_and_corrected_ones_recover(docks: Docks) -> None:
    from careamist.config import DataConfig

    values = docks.train.data_form.value()
    docks.train.data_form.setValue(values.model_copy(update={"patch_size": (128, 128)}))
    assert not docks.train.train_button.isEnabled()
    assert "smaller than the patch" in docks.train.footer.text()
    assert docks.train.train_button.toolTip() == docks.train.problem()
    docks.train.data_form.setValue(DataConfig(patch_size=(16, 16), batch_size=4))
    assert docks.train.train_button.isEnabled()
    docks.trained()


def test_a_stack_asks_what_its_first_axis_is(docks: Docks) -> None:
    stack = docks.viewer.add_image(np.random.default_rng(0).random((5, 48, 48)), name="stack")
    docks.train.picker.setLayer(stack)
    assert not docks.train.train_button.isEnabled()
    docks.train.picker.setAxes("TYX")
    docks.quick(docks.train)
    docks.trained()
    docks.predict.picker.setLayer(stack)
    docks.predict.picker.setAxes("ZYX")
    assert docks.predict.problem() == ""
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    assert docks.viewer.layers[-1].data.shape == (5, 48, 48)


def test_volumes_get_a_volume_patch(docks: Docks) -> None:
    volume = docks.viewer.add_image(np.random.default_rng(0).random((9, 48, 48)), name="volume")
    docks.train.picker.setLayer(volume)
    docks.train.picker.setAxes("ZYX")
    assert docks.train.data_form.value().patch_size == (8, 48, 48)
    docks.quick(docks.train, steps=2)
    docks.trained()
    assert docks.jobs.model.config.data_config.dims == 3


def test_a_file_trains_and_streams_into_a_layer_with_its_pixel_size(
    docks: Docks, tmp_path: Path, noisy: Any
) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path, noisy, imagej=True, resolution=(4, 4), metadata={"axes": "YX", "unit": "um"}
    )
    docks.choose(docks.train, path)
    assert docks.train.problem() == ""
    docks.quick(docks.train)
    docks.trained()
    docks.choose(docks.predict, path)
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    result = docks.viewer.layers[-1]
    np.testing.assert_allclose(result.scale, (0.25, 0.25))
    assert [str(unit) for unit in result.units] == ["micrometer", "micrometer"]
    assert result.name == "cells.tif (N2V)"
    low, high = result.contrast_limits
    assert noisy.min() <= low < high <= noisy.max()


@pytest.mark.parametrize("name", ["cells.zarr", "cells.czi", "cells.npy"])
def test_other_formats_train_and_predict(
    docks: Docks, tmp_path: Path, noisy: Any, name: str
) -> None:
    path = tmp_path / name
    if name == "cells.npy":
        np.save(path, noisy)
    elif name == "cells.zarr":
        zarr.create_array(path, data=noisy, chunks=(32, 32))
    else:
        with pytest.importorskip("pylibCZIrw.czi").create_czi(str(path)) as file:
            file.write(noisy, (0, 0), {"T": 0})
            file.write_metadata(scale_x=0.5e-6, scale_y=0.5e-6)
    docks.choose(docks.train, path)
    docks.quick(docks.train)
    docks.trained()
    config = docks.jobs.model.config.data_config
    expected = {".zarr": "zarr", ".czi": "czi", ".npy": "image"}[path.suffix]
    assert config.data_type == expected
    docks.choose(docks.predict, path)
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    result = docks.viewer.layers[-1]
    scene = "@0" if name == "cells.czi" else ""
    assert result.name == f"{name}{scene} (N2V)"
    (restored,), _ = docks.jobs.model.predict(str(path))
    np.testing.assert_allclose(np.squeeze(result.data), np.squeeze(restored), atol=1e-3)
    if name == "cells.czi":
        np.testing.assert_allclose(result.scale[-2:], (0.5, 0.5))
        assert str(result.units[-1]) == "micrometer"


def test_time_as_depth_of_a_czi(docks: Docks, tmp_path: Path) -> None:
    path = tmp_path / "movie.czi"
    rng = np.random.default_rng(0)
    with pytest.importorskip("pylibCZIrw.czi").create_czi(str(path)) as file:
        for t in range(9):
            file.write(rng.poisson(50, (32, 32)).astype(np.uint16), (0, 0), {"T": t})
    docks.train.settings.reset()  # the patch of one's own
    docks.choose(docks.train, path)
    assert docks.train.data_form.value().patch_size == (32, 32)
    docks.train.picker._depth.choose("SCTYX")
    assert docks.train.problem() == ""
    assert docks.train.data_form.value().patch_size == (8, 32, 32)
    docks.quick(docks.train, steps=2)
    docks.trained()
    assert docks.jobs.model.config.data_config.dims == 3
    docks.choose(docks.predict, path)
    assert "3D" in docks.predict.problem()
    docks.predict.picker._depth.choose("SCTYX")
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    assert docks.viewer.layers[-1].data.shape == (1, 1, 9, 32, 32)


def test_a_level_of_a_pyramid_gets_a_result_in_its_place(docks: Docks, noisy: Any) -> None:
    levels = [np.kron(noisy, np.ones((2, 2), np.uint16)), noisy]
    pyramid = docks.viewer.add_image(
        levels, multiscale=True, name="pyramid", scale=(0.1, 0.1), translate=(3, 4)
    )
    docks.trained()
    docks.predict.picker.setLayer(pyramid)
    docks.predict.picker._part.choose(1)
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    result = docks.viewer.layers[-1]
    assert result.data.shape == noisy.shape
    np.testing.assert_allclose(result.scale, (0.2, 0.2))
    np.testing.assert_allclose(result.translate, (3.05, 4.05))
    (expected,), _ = docks.jobs.model.predict(noisy)
    np.testing.assert_allclose(result.data, expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["dask", "zarr", "rgb"])
def test_kinds_of_layers_train(docks: Docks, tmp_path: Path, noisy: Any, kind: str) -> None:
    if kind == "dask":
        layer = docks.viewer.add_image(da.from_array(noisy, chunks=(32, 32)), name=kind)
    elif kind == "zarr":
        array = zarr.create_array(tmp_path / "a.zarr", data=noisy, chunks=(32, 32))
        layer = docks.viewer.add_image(array, name=kind)
    else:
        colours = np.stack([noisy.astype(np.uint8)] * 3, axis=-1)
        layer = docks.viewer.add_image(colours, rgb=True, name=kind)
    docks.train.picker.setLayer(layer)
    docks.quick(docks.train, steps=2)
    docks.trained()
    assert docks.jobs.model.config.data_config.axes == ("YXC" if kind == "rgb" else "YX")


def test_notices_of_a_run_are_shown(docks: Docks, monkeypatch: pytest.MonkeyPatch) -> None:
    from careamist.events import Noticed

    docks.trained()
    told = [e.message for e in docks.jobs.record("train").events if isinstance(e, Noticed)]
    assert docks.train.notices.text().splitlines() == told[-5:]
    with monkeypatch.context() as patch:
        patch.setattr("careamist.prediction.run.warnings_of", lambda _: ["The batch was halved."])
        docks.click(docks.predict.predict_button)
        docks.wait("predict", "finished", "failed")
    assert docks.predict.notices.text() == "The batch was halved."
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    assert docks.predict.notices.kind() == ""


def test_what_is_in_the_image_unfolds_in_both_docks(docks: Docks) -> None:
    for dock in (docks.train, docks.predict):
        assert not dock.about.isOpen()
        dock.about.setOpen(True)
        docks.qtbot.waitUntil(lambda dock=dock: not dock.about.isLooking(), timeout=SECONDS)
        assert dict(dock.about.rows())["Shape"] == "64 × 64 (YX)"


def test_a_broken_file_is_explained(docks: Docks, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"not a tiff")
    docks.choose(docks.train, tmp_path / "broken.tif")
    assert "cannot be read" in docks.train.problem()
    assert not docks.train.train_button.isEnabled()
    docks.train.picker.setPath("")
    assert docks.train.problem()


def test_models_load_from_files(docks: Docks, tmp_path: Path) -> None:
    docks.trained()
    (expected,), _ = docks.jobs.model.predict(np.asarray(docks.layer.data))
    checkpoint = next((tmp_path / "models").rglob("last.ckpt"))
    docks.jobs.setModel(None)
    assert not docks.predict.predict_button.isEnabled()
    docks.predict.load(tmp_path / "nothing.ckpt")
    docks.qtbot.waitUntil(lambda: docks.predict.message.kind() == "error", timeout=SECONDS)
    assert "no model" in docks.predict.message.title()
    docks.predict.load(checkpoint)
    docks.qtbot.waitUntil(lambda: docks.jobs.model is not None, timeout=SECONDS)
    docks.click(docks.predict.predict_button)
    docks.wait("predict", "finished", "failed")
    np.testing.assert_allclose(docks.viewer.layers[-1].data, expected, atol=1e-3)


def test_a_dock_that_is_opened_again_takes_up_the_run(docks: Docks) -> None:
    docks.quick(docks.train, steps=100_000)
    docks.click(docks.train.train_button)
    docks.qtbot.waitUntil(
        lambda: sum(isinstance(e, StepDone) for e in docks.jobs.record("train").events) > 3,
        timeout=SECONDS,
    )
    docks.viewer.window.remove_dock_widget(docks.train)
    assert docks.jobs.is_busy
    again = TrainWidget(docks.viewer)
    docks.viewer.window.add_dock_widget(again, name="Train")
    assert len(again.plot.curves()["train"][0]) > 3
    assert again.cancel_button.isEnabled()
    docks.click(again.cancel_button)
    docks.wait("train", "stopped")
    assert "model is kept" in again.footer.text()


def test_two_viewers_do_not_share_runs(
    make_napari_viewer_proxy: Any, qtbot: Any, noisy: Any, make_quick: Callable[..., None]
) -> None:
    one = Docks(make_napari_viewer_proxy(), qtbot, noisy, make_quick)
    two = Docks(make_napari_viewer_proxy(), qtbot, noisy, make_quick)
    one.quick(one.train, steps=5)
    two.quick(two.train, steps=7)
    one.train.train()
    two.train.train()
    one.wait("train", "finished", "failed")
    two.wait("train", "finished", "failed")
    assert one.jobs.model.steps_done == 5
    assert two.jobs.model.steps_done == 7


def test_news_of_an_old_run_is_dropped(docks: Docks) -> None:
    docks.trained()
    before = len(docks.jobs.record("train").events)
    docks.jobs._on_news([StepDone("another run", 1, 2, 0.5)])
    assert len(docks.jobs.record("train").events) == before
    docks.click(docks.train.train_button)
    with pytest.raises(RuntimeError, match="still running"):
        docks.jobs.start("predict", "too early", lambda _listener, _stop: None)
    docks.wait("train", "finished", "failed")


def test_settings_and_results_survive_a_look_back(docks: Docks) -> None:
    docks.trained()
    docks.train.new_training()
    assert docks.jobs.state("train") == "ready"
    assert docks.train.training_form.value().num_steps == 6
    assert docks.jobs.model is not None


def test_the_activity_dock_follows(docks: Docks, monkeypatch: pytest.MonkeyPatch) -> None:
    from careamist.gui import jobs

    made: list[Any] = []
    original = jobs.progress

    def remember(*args: Any, **kwargs: Any) -> Any:
        made.append(original(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(jobs, "progress", remember)
    docks.trained()
    assert len(made) == 1
    assert made[0].n == made[0].total == 6


def test_the_run_says_what_it_resolved(docks: Docks) -> None:
    docks.trained()
    started = docks.jobs.record("train").events[0]
    assert isinstance(started, RunStarted)
    assert started.resolved["device"].startswith("CPU") or "cuda" in started.resolved["device"]
    assert started.resolved["num_steps"] == 6


@pytest.mark.parametrize("width", [260, 300, 350, 450, 700])
def test_nothing_is_clipped(docks: Docks, width: int) -> None:
    from qtpy.QtWidgets import QWidget

    docks.trained()
    for dock in (docks.train, docks.predict):
        dock.parent().setFloating(True)
        dock.resize(width, 600)
        docks.qtbot.wait(50)
        for child in dock.findChildren(QWidget):
            if child.isVisibleTo(dock) and child.width() > 0:
                right = child.mapTo(dock, child.rect().topRight()).x()
                assert right < dock.width(), (type(child).__name__, child.objectName())


def test_opening_the_docks_leaves_torch_unimported() -> None:
    code = (
        "import sys, napari; viewer = napari.Viewer(show=False);"
        "from careamist.gui.train_widget import TrainWidget;"
        "from careamist.gui.predict_widget import PredictWidget;"
        "TrainWidget(viewer); PredictWidget(viewer);"
        "assert 'torch' not in sys.modules and 'pytorch_lightning' not in sys.modules;"
        "viewer.close()"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
