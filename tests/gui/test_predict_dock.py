"""The Predict dock in a real napari: what of an image, into which layer or files."""

from __future__ import annotations

import gc
import io
import re
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QWidget

from careamist.careamist import CAREamist
from careamist.cli import main
from careamist.config import N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.events import ImageFailed, RegionPredicted, RunStarted
from careamist.gui import tasks
from careamist.gui.forms import remembered
from careamist.gui.live.preview_layer import is_preview
from careamist.gui.models.copy_job import repeated
from careamist.gui.predict_widget import PredictWidget
from careamist.gui.predicting import predict_order
from careamist.prediction import plan, predictor
from careamist.recipe import settings_of
from careamist.run_job import run_job

pytestmark = pytest.mark.gui

SECONDS = 60_000


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], CAREamist]:
    """Return a trained model of some channels, the same one each time."""
    made: dict[int, CAREamist] = {}

    def of(n_channels: int = 1) -> CAREamist:
        if n_channels not in made:
            axes = "CYX" if n_channels > 1 else "YX"
            data = DataConfig(axes=axes, patch_size=(16, 16), batch_size=2)
            config = Configuration(
                experiment_name=f"tiny{n_channels}",
                algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
                data_config=data,
                training_config=TrainingConfig(num_steps=2),
            )
            folder = tmp_path_factory.mktemp("models")
            model = CAREamist(config, work_dir=folder, enable_progress_bar=False)
            shape = (n_channels, 64, 64) if n_channels > 1 else (64, 64)
            model.train(train_data=noisy_stack(shape))
            made[n_channels] = model
        return made[n_channels]

    return of


def noisy_stack(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).poisson(50, shape).astype(np.uint16)


class Dock:
    """A viewer with the Predict dock and a model."""

    def __init__(self, viewer: Any, qtbot: Any, model: CAREamist) -> None:
        self.viewer, self.qtbot, self.model = viewer, qtbot, model
        self.widget = PredictWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="Predict (careamist)", area="right")
        self.jobs = self.widget.jobs
        self.jobs.setModel(model)

    @property
    def form(self) -> Any:
        return self.widget.settings

    @property
    def files(self) -> Any:
        return self.widget.run.files.files

    def add(self, data: Any, axes: str, **options: Any) -> Any:
        layer = self.viewer.add_image(data, name="noisy", **options)
        self.widget.picker.setLayer(layer)
        self.widget.picker.setAxes(axes)
        return layer

    def choose(self, path: Path) -> None:
        self.widget.picker.setPath(str(path))
        self.qtbot.waitUntil(lambda: not self.widget.picker.isReading(), timeout=SECONDS)

    def start(self) -> None:
        assert self.widget.problem() == ""
        self.widget.predict_button.click()

    def wait(self, *states: str) -> str:
        states = states or ("finished", "failed", "stopped")
        self.qtbot.waitUntil(lambda: self.jobs.state("predict") in states, timeout=SECONDS)
        return str(self.jobs.state("predict"))

    def run(self) -> Any:
        """Denoise, and return the new layer."""
        self.start()
        assert self.wait() == "finished", self.jobs.record("predict").events[-1]
        return self.viewer.layers[-1]

    def events(self, kind: type) -> list[Any]:
        return [event for event in self.jobs.record("predict").events if isinstance(event, kind)]


@pytest.fixture
def dock(
    make_napari_viewer_proxy: Any,
    qtbot: Any,
    models: Callable[[int], CAREamist],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Dock]:
    monkeypatch.setattr(tasks, "results_folder", lambda: tmp_path / "results")
    made = Dock(make_napari_viewer_proxy(show=True), qtbot, models(1))
    yield made
    made.jobs.stop()


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_ACTIVATION_BYTES", {2: 4 * 12 * 40 * 40})


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    original = predictor.read_window

    def read(*args: Any) -> Any:
        time.sleep(0.15)
        return original(*args)

    monkeypatch.setattr(predictor, "read_window", read)


def expected(model: CAREamist, data: Any, axes: str) -> Any:
    (result,), _ = model.predict(data, axes=axes)
    return result


# -- how the model goes over the axes ---------------------------------------------------------


@pytest.mark.parametrize(("axes", "as_told"), [("CYX", "SYX"), ("ZYX", "SYX"), ("TCYX", "TSYX")])
def test_a_model_of_one_channel_denoises_slices_and_channels_one_by_one(
    dock: Dock, axes: str, as_told: str
) -> None:
    data = noisy_stack((2, 3, 40, 44) if len(axes) == 4 else (3, 40, 44))
    layer = dock.add(data, axes, axis_labels=list(axes.lower()))
    assert "denoised on its own" in dock.widget.picker._axes_row.hint()
    step = dock.viewer.dims.current_step
    camera = dock.viewer.scene.camera.center, dock.viewer.scene.camera.zoom
    result = dock.run()
    assert (result.name, result.data.dtype) == ("noisy (N2V)", np.float32)
    assert result.axis_labels == layer.axis_labels
    assert dock.viewer.dims.current_step == step
    assert (dock.viewer.scene.camera.center, dock.viewer.scene.camera.zoom) == camera
    np.testing.assert_allclose(result.data, expected(dock.model, data, as_told), atol=1e-3)


def test_colours_are_denoised_one_by_one_and_stay_colours(dock: Dock) -> None:
    data = noisy_stack((40, 44, 3)).astype(np.uint8)
    dock.add(data, "YXC", rgb=True)
    assert not dock.form.pixels.isEnabled()
    result = dock.run()
    assert result.rgb
    assert (result.data.dtype, result.data.shape) == (np.uint8, data.shape)
    whole = np.clip(np.rint(expected(dock.model, data, "YXS")), 0, 255)
    np.testing.assert_allclose(result.data, whole, atol=1)


def test_a_model_of_channels_keeps_them_and_refuses_others(
    dock: Dock, models: Callable[[int], CAREamist]
) -> None:
    dock.jobs.setModel(models(2))
    dock.add(noisy_stack((3, 40, 44)), "CYX")
    assert "works on 2 channels, the image has 3" in dock.widget.problem()
    assert dock.widget.message.title() == dock.widget.problem()
    assert not dock.widget.predict_button.isEnabled()
    data = noisy_stack((2, 40, 44))
    dock.add(data, "CYX")
    assert dock.widget.message.kind() == ""
    np.testing.assert_allclose(dock.run().data, expected(models(2), data, "CYX"), atol=1e-3)


# -- which slices, in which order -------------------------------------------------------------


def test_the_current_slice_lies_where_it_was(dock: Dock) -> None:
    data = noisy_stack((5, 40, 44))
    dock.add(data, "TYX", scale=(2, 1, 1), axis_labels=("t", "y", "x"))
    dock.viewer.dims.set_current_step(0, 3)
    dock.form.slices.segments.setValue("current")
    result = dock.run()
    assert result.data.shape == (1, 40, 44)
    np.testing.assert_allclose(result.translate, (6, 0, 0))
    assert dock.viewer.dims.current_step[0] == 3
    np.testing.assert_allclose(result.data, expected(dock.model, data[3:4], "TYX"), atol=1e-3)


def test_a_range_of_slices(dock: Dock) -> None:
    data = noisy_stack((5, 40, 44))
    dock.add(data, "TYX")
    slices = dock.form.slices
    assert slices.segments.button("all").text() == "All 5"
    slices.segments.setValue("range")
    slices.first.setValue(3)
    slices.last.setValue(1)
    assert "Swap" in dock.widget.problem()
    slices.first.setValue(1)
    slices.last.setValue(2)
    result = dock.run()
    np.testing.assert_allclose(result.translate, (1, 0, 0))
    np.testing.assert_allclose(result.data, expected(dock.model, data[1:3], "TYX"), atol=1e-3)


def test_the_slice_on_show_comes_first_and_the_order_follows_the_slider(
    dock: Dock, small_tiles: None, slowly: None
) -> None:
    dock.add(noisy_stack((6, 64, 64)), "TYX")
    dock.viewer.dims.set_current_step(0, 4)
    dock.start()
    dock.qtbot.waitUntil(lambda: len(dock.events(RegionPredicted)) > 0, timeout=SECONDS)
    assert dock.events(RegionPredicted)[0].specs["sample_idx"] == 4
    dock.viewer.dims.set_current_step(0, 0)
    before = len(dock.events(RegionPredicted))
    dock.qtbot.waitUntil(lambda: len(dock.events(RegionPredicted)) > before + 8, timeout=SECONDS)
    dock.widget.cancel_button.click()
    dock.wait()
    samples = [event.specs["sample_idx"] for event in dock.events(RegionPredicted)]
    assert samples.index(0) < before + 8  # long before the neighbours of 4 are done
    assert dock.viewer.layers[-1].name == "noisy (N2V), unfinished"


def test_a_run_can_wait(dock: Dock, small_tiles: None, slowly: None) -> None:
    dock.add(noisy_stack((3, 64, 64)), "TYX")
    dock.start()
    dock.wait("running")
    dock.widget.pause_button.click()
    assert dock.jobs.state("predict") == "paused"
    assert [button.text() for button in dock.widget.footer.buttons()] == ["&Resume", "&Cancel"]
    dock.qtbot.wait(400)
    before = len(dock.events(RegionPredicted))
    dock.qtbot.wait(400)
    assert len(dock.events(RegionPredicted)) == before
    dock.widget.resume_button.click()
    assert dock.wait() == "finished"


# -- what the layer is --------------------------------------------------------------------------


def test_the_layer_says_how_it_was_made(dock: Dock) -> None:
    dock.add(noisy_stack((40, 44)), "YX")
    dock.form.quality.setChecked(True)
    dock.form.pixels.setValue("input")
    result = dock.run()
    assert result.data.dtype == np.uint16
    recipe = result.metadata["careamist"]
    configuration, options, checkpoint = settings_of(recipe)
    assert configuration == dock.model.config
    assert (options.tta, options.dtype) == ("all", "input")
    assert (recipe["source"], recipe["steps"], checkpoint is not None) == ("noisy", 2, True)
    assert recipe["summary"] == "tiny1: N2V, 2 steps"
    again = dock.run()
    assert again.name == "noisy (N2V) [1]"
    assert result in dock.viewer.layers
    assert dock.widget.message.title() == "“noisy (N2V) [1]”"


def test_a_run_is_repeated_from_its_job_file(
    dock: Dock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock.add(noisy_stack((4, 40, 44)), "TYX")
    dock.form.slices.segments.setValue("range")
    dock.form.slices.first.setValue(1)
    dock.form.slices.last.setValue(2)
    dock.form.pixels.setValue("input")
    result = dock.run()
    menu = dock.widget.more_button.menu()
    menu.aboutToShow.emit()
    assert all(a.isEnabled() for a in menu.actions())
    path = tmp_path / "again.yml"
    dock.widget.repeat.saveJob(path.with_suffix(""))
    dock.qtbot.waitUntil(lambda: "again.yml" in dock.widget.footer.text(), timeout=SECONDS)
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(path)]) == 0
    found = tifffile.imread(tmp_path / "noisy_N2V" / "array_0.tiff")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, result.data)


def test_a_run_over_files_is_repeated_to_where_it_wrote(dock: Dock, plate: Path) -> None:
    (plate / "A2.tif").unlink()  # which is broken
    dock.choose(plate)
    dock.start()
    assert dock.wait() == "finished"
    written = {p.name: p.read_bytes() for p in plate.with_name("plate_denoised").iterdir()}
    job = repeated(dock.jobs.record("predict").order)
    assert job.output == str(plate.with_name("plate_denoised"))
    shutil.rmtree(job.output)
    run_job(job, enable_progress_bar=False)
    again = plate.with_name("plate_denoised")
    assert sorted(p.name for p in again.iterdir()) == sorted(written)
    for name in written:
        np.testing.assert_array_equal(
            tifffile.imread(again / name), tifffile.imread(io.BytesIO(written[name]))
        )


def test_the_bar_of_a_run_tells_its_device(dock: Dock) -> None:
    dock.add(noisy_stack((40, 44)), "YX")
    dock.run()
    (started,) = dock.events(RunStarted)
    assert started.resolved["device"] in dock.widget.run.summary.words()[1]


def test_a_name_of_the_users_own(dock: Dock) -> None:
    layer = dock.add(noisy_stack((40, 44)), "YX")
    assert dock.form.name.text() == "noisy (N2V)"
    layer.name = "raw"
    assert dock.form.name.text() == "raw (N2V)"
    dock.form.name.setText("mine")
    assert dock.run().name == "mine"


def test_what_does_not_fit_in_memory_is_kept_on_the_disk(
    dock: Dock, tmp_path: Path, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_order, "free_memory", lambda: 1000)
    data = noisy_stack((3, 64, 64))
    layer = dock.add(data, "TYX", scale=(1, 0.3, 0.3), units=("s", "um", "um"))
    assert dock.form.folder.value() == tmp_path / "results"
    assert "Too large for memory" in dock.form.folder.hint()
    result = dock.run()
    store = tmp_path / "results" / "noisy.ome.zarr"
    assert store.exists()
    assert str(tmp_path / "results") in dock.widget.message.text()
    assert isinstance(result.data, zarr.Array)
    assert Path(str(result.data.store.root)) == store  # not the part file, which is gone
    np.testing.assert_allclose(
        np.asarray(result.data), expected(dock.model, data, "TYX"), atol=1e-3
    )
    np.testing.assert_allclose(result.scale, layer.scale)
    described = zarr.open_group(store).attrs["ome"]["multiscales"][0]
    assert described["axes"][1] == {"name": "y", "type": "space", "unit": "micrometer"}
    dock.start()  # the file is there now
    assert dock.wait() == "failed"
    assert dock.widget.message.kind() == "question"
    dock.widget.message.buttons()[1].click()  # replace
    assert dock.wait() == "finished"
    assert len([la for la in dock.viewer.layers if "N2V" in la.name]) == 2


def test_large_planes_are_shown_through_an_overview(
    dock: Dock, tmp_path: Path, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("careamist.prediction.writers.overview.LARGE_EDGE", 100)
    monkeypatch.setattr("careamist.prediction.writers.overview.MAX_EDGE", 64)
    data = noisy_stack((200, 160))
    dock.add(data, "YX")
    looks: list[Any] = []

    def look(event: Any) -> None:
        layers = [layer for layer in dock.viewer.layers if "N2V" in layer.name]
        if isinstance(event, RegionPredicted) and layers:
            overview = np.asarray(layers[0].data[-1])
            looks.append((layers[0].multiscale, float(np.isfinite(overview).mean())))

    dock.jobs.told.connect(look)
    result = dock.run()
    assert all(is_multiscale for is_multiscale, _ in looks)
    assert 0 < looks[0][1] <= looks[-1][1]
    assert result.multiscale
    assert np.shape(result.data[0]) == data.shape
    np.testing.assert_allclose(
        np.asarray(result.data[0]), expected(dock.model, data, "YX"), atol=1e-3
    )


# -- files ----------------------------------------------------------------------------------------


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Return a folder with four files, of which one is broken."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for number in range(4):
        tifffile.imwrite(folder / f"A{number}.tif", noisy_stack((40, 44)) + number)
    (folder / "A2.tif").write_bytes(b"no TIFF")
    return folder


def test_a_folder_becomes_files_with_a_line_each(dock: Dock, plate: Path) -> None:
    dock.choose(plate)
    assert dock.form.output.value() == "files"
    assert dock.form.folder.value() == plate.with_name("plate_denoised")
    assert "A2.tif cannot be read" in dock.widget.picker._warning.text()
    dock.start()
    assert dock.wait() == "failed"
    assert [line.words for line in dock.files.lines if line.state == "done"] == ["done"] * 3
    (failed,) = [line for line in dock.files.lines if line.state == "failed"]
    assert "4 files" in dock.widget.run.summary.words()[1]  # with the one that is broken
    assert failed.name == "A2.tif"
    assert failed.words.startswith("failed: ")
    assert failed.reason in dock.widget.run.reason.text()
    assert "3 done · 1 failed" in dock.widget.footer.text()
    assert dock.widget.run.retry.isVisibleTo(dock.widget)
    assert len(dock.events(ImageFailed)) == 1

    tifffile.imwrite(plate / "A2.tif", noisy_stack((40, 44)))
    dock.widget.run.retry.click()
    assert dock.wait() == "finished"
    assert dock.files.summary() == "4 done"
    written = sorted(path.name for path in plate.with_name("plate_denoised").iterdir())
    assert written == ["A0.tiff", "A1.tiff", "A2.tiff", "A3.tiff"]

    dock.widget.open_button.click()
    dock.qtbot.waitUntil(lambda: len(dock.viewer.layers) == 4, timeout=SECONDS)
    shown = np.asarray(dock.viewer.layers["A0.tiff"].data)
    np.testing.assert_allclose(shown, expected(dock.model, noisy_stack((40, 44)), "YX"), atol=1e-3)
    dock.widget.back_button.click()
    assert dock.jobs.state("predict") == "ready"
    assert dock.widget.predict_button.isVisibleTo(dock.widget)


@pytest.mark.parametrize("answer", ["skip", "replace"])
def test_files_that_are_there_are_asked_about(dock: Dock, plate: Path, answer: str) -> None:
    (plate / "A2.tif").unlink()
    folder = plate.with_name("plate_denoised")
    folder.mkdir()
    (folder / "A1.tiff").write_text("mine")
    dock.choose(plate)
    dock.start()
    assert dock.wait() == "failed"
    assert "A1.tiff is already there" in dock.widget.message.title()
    assert sorted(path.name for path in folder.iterdir()) == ["A1.tiff"]
    button = dock.widget.message.buttons()[["skip", "replace"].index(answer)]
    button.click()
    assert dock.wait() == "finished"
    is_kept = (folder / "A1.tiff").read_bytes() == b"mine"
    assert is_kept == (answer == "skip")
    states = {line.name: line.state for line in dock.files.lines}
    assert states["A1.tif"] == ("skipped" if answer == "skip" else "done")
    assert states["A0.tif"] == "done"


@pytest.mark.parametrize(
    ("words", "name"),
    [("TIFF", "noisy.tiff"), ("OME-Zarr", "noisy.ome.zarr"), ("Zarr", "noisy.zarr")],
)
def test_a_layer_is_written_with_its_pixel_size_and_axes(
    dock: Dock, tmp_path: Path, words: str, name: str
) -> None:
    from careamist.dataset.sources import inspect
    from careamist.gui.predicting.predict_files import open_result

    data = noisy_stack((3, 40, 44))
    dock.add(data, "CYX", scale=(1, 0.3, 0.3), units=("pixel", "um", "um"))
    dock.form.output.setValue("files")
    dock.form.format.setCurrentText(words)
    dock.form.folder.setValue(tmp_path / "out")
    dock.start()
    assert dock.wait() == "finished", dock.jobs.record("predict").events[-1]
    path = tmp_path / "out" / name
    (info, *_) = inspect(str(path))
    assert info.axes == "CYX"
    assert info.pixel_size["X"] == pytest.approx(0.3)
    assert info.units["X"] == "µm"
    levels, options = open_result(path)
    pixels = np.asarray(levels[0] if isinstance(levels, list) else levels)
    np.testing.assert_allclose(pixels, expected(dock.model, data, "SYX"), atol=1e-3)
    assert options["axis_labels"] == ("c", "y", "x")
    assert len(dock.viewer.layers) == 1


def test_the_footer_is_about_what_is_chosen_now(dock: Dock, tmp_path: Path) -> None:
    dock.add(noisy_stack((40, 40)), "YX")
    dock.run()
    assert dock.widget.footer.text() == "Done. The result is a new layer."
    dock.form.output.setValue("files")
    dock.form.folder.setValue(tmp_path / "restored")
    assert dock.widget.footer.text() == "Writes to “restored”"


def test_a_folder_is_needed_for_files(dock: Dock, tmp_path: Path) -> None:
    dock.add(noisy_stack((40, 44)), "YX")
    dock.form.output.setValue("files")
    dock.form.folder.edit.clear()
    dock.form.folder.edit.textEdited.emit("")
    assert "No folder is chosen" in dock.widget.problem()
    (tmp_path / "file").touch()
    dock.form.folder.setValue(tmp_path / "file")
    assert "is a file" in dock.widget.problem()
    assert dock.form.folder.message() == dock.widget.problem()
    dock.form.folder.setValue(tmp_path)
    assert dock.widget.problem() == ""


# -- models ---------------------------------------------------------------------------------------


def drop(widget: QWidget, path: Path) -> bool:
    """Drag a file over a widget and drop it there; return whether it was taken."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), action, data, button, none)
    widget.dragEnterEvent(enter)
    if enter.isAccepted():
        widget.dropEvent(QDropEvent(QPointF(5, 5), action, data, button, none))
    return bool(enter.isAccepted())


def test_a_model_that_is_dropped_is_loaded(dock: Dock, tmp_path: Path) -> None:
    checkpoint = dock.model.get_checkpoints()[-1]
    dock.jobs.setModel(None)
    assert "no model" in dock.widget.problem()
    assert not drop(dock.widget.picker, checkpoint)  # left to the dock
    assert not drop(dock.widget, tmp_path / "image.tif")
    assert drop(dock.widget, checkpoint)
    dock.qtbot.waitUntil(lambda: dock.jobs.model is not None, timeout=SECONDS)
    assert dock.widget.model_card.words()[0] == "tiny1"
    assert dock.widget.model_card.more() == "works on YX"


def test_the_menu_offers_the_library(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = dock.model.run_dir
    assert run_dir is not None
    monkeypatch.setattr(tasks, "models_folder", lambda: run_dir.parent.parent)
    dock.jobs.setModel(None)
    dock.widget.model_card.fillMenu()
    first, *_, last = dock.widget.model_card.menu.actions()
    assert last.text() == "Choose file…"
    first.trigger()
    dock.qtbot.waitUntil(lambda: dock.jobs.model is not None, timeout=SECONDS)
    assert dock.jobs.model.config.experiment_name == "tiny1"


# -- failures, memory, looks --------------------------------------------------------------------


def test_too_little_memory_is_repaired_by_smaller_tiles(
    dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise MemoryError

    dock.add(noisy_stack((40, 44)), "YX")
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "read_window", fail)
        dock.start()
        assert dock.wait() == "failed"
    assert [layer.name for layer in dock.viewer.layers] == ["noisy"]  # nothing was in the other
    repair = dock.widget.message.buttons()[0]
    assert repair.text() == "Use smaller tiles"
    repair.click()
    assert dock.form.details.value().tile_size == (128, 128)
    assert np.isfinite(dock.run().data).all()


def test_settings_are_there_the_next_day(dock: Dock) -> None:
    dock.add(noisy_stack((40, 44)), "YX")
    dock.form.pixels.setValue("input")
    dock.form.quality.setChecked(True)
    dock.form.exists.setValue("replace")
    dock.form.format.setCurrentText("Zarr")
    dock.form.details.setValue(dock.form.details.value().model_copy(update={"batch_size": 2}))
    dock.run()
    other = PredictWidget(dock.viewer)
    order = other.settings.order()
    assert (order.options.dtype, order.options.tta) == ("input", "all")
    assert (order.options.batch_size, order.overwrite, order.write_type) == (2, "replace", "zarr")
    assert other.settings.advanced.note() == "1 changed"
    other.settings.reset()
    assert other.settings.order().options.batch_size == 1
    remembered.settings_file().write_text('{"version": 1, "predict": {"pixels": 3, "details": 5}}')
    third = PredictWidget(dock.viewer)
    assert third.settings.order().options.dtype == "float32"
    for widget in (other, third):
        widget.deleteLater()


def test_results_and_views_are_nobodys_first_choice(dock: Dock) -> None:
    layer = dock.add(noisy_stack((40, 44)), "YX")
    dock.viewer.add_image(
        np.zeros((4, 4)), name="noisy preview", metadata={"careamist_preview": True}
    )
    assert is_preview(dock.viewer.layers[-1])
    dock.viewer.add_image(np.zeros((4, 4)), name="noisy, before the line")
    dock.viewer.add_image(np.zeros((4, 4)), name="difference [1]")
    result = dock.run()
    offered = dock.widget.picker._offered
    assert [other.name for other in offered] == ["noisy", "noisy (N2V)"]
    dock.viewer.layers.remove(layer)
    assert dock.widget.picker.value() is None
    assert "No image is chosen" in dock.widget.problem()
    dock.widget.picker.setLayer(result)  # who wants it can have it
    assert dock.widget.picker.value().layer == result


@pytest.mark.parametrize("kind", ["layer", "files"])
@pytest.mark.parametrize("width", [260, 300, 350, 450, 700])
def test_everything_is_named_and_nothing_is_clipped(
    dock: Dock, plate: Path, width: int, kind: str
) -> None:
    dock.add(noisy_stack((5, 40, 44)), "TYX")
    if kind == "files":
        dock.choose(plate)
    widget = dock.widget
    widget.parent().setFloating(True)
    widget.resize(width, 600)
    widget.settings.advanced.setOpen(True)
    dock.qtbot.wait(50)
    for child in widget.findChildren(QWidget):
        if not child.isVisibleTo(widget) or child.width() <= 0:
            continue
        right = child.mapTo(widget, child.rect().topRight()).x()
        assert right < widget.width(), (type(child).__name__, child.objectName())
        if isinstance(child, (QAbstractButton, QComboBox)):
            assert child.accessibleName() or child.focusProxy(), child
            assert child.toolTip(), child.accessibleName()


def test_simple_mode_fits_a_small_screen(dock: Dock) -> None:
    dock.add(noisy_stack((5, 40, 44)), "TYX")
    widget = dock.widget
    widget.parent().setFloating(True)
    widget.resize(350, 700)
    dock.qtbot.wait(50)
    about = widget.about
    end = about.mapTo(widget, about.rect().bottomLeft()).y()
    assert end + 8 + widget.footer.height() <= 600


def test_each_letter_is_used_once(dock: Dock, plate: Path) -> None:
    dock.add(noisy_stack((5, 40, 44)), "TYX")
    for choose in (lambda: None, lambda: dock.choose(plate)):
        choose()
        letters = [
            found[1].upper()
            for child in dock.widget.findChildren(QWidget)
            if isinstance(child, (QLabel, QAbstractButton))
            and child.isVisibleTo(dock.widget)
            and (found := re.search("&(\\w)", child.text()))
        ]
        assert len(letters) == len(set(letters)), sorted(letters)
        assert not set(letters) & set("FVLPWH")  # of napari's menus
        assert set("IXOQD") <= set(letters)


def test_the_tab_key_goes_down_the_page(dock: Dock) -> None:
    dock.add(noisy_stack((5, 40, 44)), "TYX")
    widget = dock.widget
    stops = [widget.model_card.button, widget.form, widget.predict_button]
    at, seen = widget.model_card.button, []
    for _ in range(200):
        at = at.nextInFocusChain()
        if at is stops[0]:
            break
        if at.isVisibleTo(widget) and widget.isAncestorOf(at) and at.focusProxy() is None:
            seen.append(at)
    places = [
        child.mapTo(widget, QPoint(0, 0)).y()
        for child in seen
        if isinstance(child, (QLineEdit, QComboBox, QAbstractButton))
        and child.focusPolicy() & Qt.FocusPolicy.TabFocus == Qt.FocusPolicy.TabFocus
        and child.parent() is not None
        and not isinstance(child.parent(), QComboBox)
    ]
    rows = [round(place / 20) for place in places]
    assert rows == sorted(rows)
    assert seen.index(widget.predict_button) > seen.index(dock.form.quality)


def test_a_dock_that_is_opened_again_shows_the_run(
    dock: Dock, plate: Path, small_tiles: None
) -> None:
    dock.choose(plate)
    dock.start()
    assert dock.wait() == "failed"
    again = PredictWidget(dock.viewer)
    assert again.run.files.files.summary() == dock.files.summary() == "3 done · 1 failed"
    again.deleteLater()


def test_a_result_that_is_removed_gives_its_memory_back(dock: Dock) -> None:
    dock.add(noisy_stack((40, 44)), "YX")
    pixels = weakref.ref(dock.run().data)
    dock.viewer.layers.pop()
    dock.jobs.forget("predict")
    dock.run()  # undoing and the canvas hold the layer before the last
    dock.qtbot.wait(50)
    gc.collect()
    assert pixels() is None
