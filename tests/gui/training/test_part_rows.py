"""Some slices and channels of an image are trained on: layers, their targets, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from careamist.config import N2V
from careamist.gui.forms.remembered import Remembered
from careamist.gui.jobs import jobs_of
from careamist.gui.live.preview import preview_of
from careamist.gui.train_widget import TrainWidget
from careamist.gui.training.scripting import job_of
from careamist.gui.training.train_form import TrainForm
from careamist.run_job import run_job

pytestmark = pytest.mark.gui

SECONDS = 90_000


def counts(*shape: int) -> Any:
    return np.random.default_rng(1).poisson(50, shape).astype(np.uint16)


@pytest.fixture
def viewer() -> Any:
    return ViewerModel()


@pytest.fixture
def form(qtbot: Any, viewer: Any) -> TrainForm:
    made = TrainForm(viewer, None, Remembered(), lambda: None)
    qtbot.addWidget(made)
    return made


def test_rows_are_there_for_axes_that_have_them(form: TrainForm, viewer: Any) -> None:
    part = form.part
    assert part.slices.isHidden()
    assert part.channels.isHidden()
    form.picker.setLayer(viewer.add_image(counts(5, 64, 64)))
    assert part.slices.isHidden()  # nobody knows what the axis is
    for axes, shown in (("TYX", (True, False)), ("CYX", (False, True)), ("ZYX", (False, False))):
        form.picker.setAxes(axes)
        assert (not part.slices.isHidden(), not part.channels.isHidden()) == shown
    form.picker.setLayer(viewer.add_image(counts(64, 64, 3).astype(np.uint8), rgb=True))
    assert part.channels.isHidden()


def test_frames_and_channels_of_a_layer(form: TrainForm, viewer: Any) -> None:
    data = counts(6, 3, 64, 64)
    viewer.add_image(data, name="movie")
    form.picker.setAxes("TCYX")
    assert form.order().data()["train_data"] is viewer.layers["movie"].data
    form.part.slices.segments.setValue("range")
    form.part.slices.last.setValue(3)
    form.part.channels.setValue((0, 2))
    assert form.problem() == ""
    order = form.order()
    (part,) = order.data()["train_data"]
    assert np.shares_memory(part, data)
    np.testing.assert_array_equal(part, data[:4])
    assert order.config.data_config.channels == (0, 2)
    assert order.config.data_config.n_channels == 2
    assert order.config.experiment_name == "movie t0-3 c0_2"
    form.part.slices.first.setValue(5)
    assert "Swap" in form.problem()
    assert form.isToldElsewhere()
    form.part.slices.first.setValue(0)
    form.part.channels.edit.setText("7")
    assert "no channel 7" in form.problem()


def test_the_slice_on_show(form: TrainForm, viewer: Any) -> None:
    data = counts(6, 64, 64)
    viewer.add_image(data, name="movie")
    form.picker.setAxes("TYX")
    form.part.slices.segments.setValue("current")
    viewer.dims.set_current_step(0, 4)
    np.testing.assert_array_equal(form.order().data()["train_data"][0], data[4:5])


def test_the_target_has_the_same_part(form: TrainForm, viewer: Any) -> None:
    data, clean = counts(6, 3, 64, 64), counts(6, 3, 64, 64) + 1
    viewer.add_image(data, name="noisy")
    viewer.add_image(clean, name="clean")
    form.setMethod("care")
    form.picker.setLayer(viewer.layers["noisy"])
    form.picker.setAxes("TCYX")
    form.target.picker.setLayer(viewer.layers["clean"])
    form.part.slices.segments.setValue("range")
    form.part.slices.first.setValue(2)
    form.part.channels.setValue((0, 2))
    assert form.problem() == ""
    arrays = form.order().data()
    np.testing.assert_array_equal(arrays["train_data"][0], data[2:])
    np.testing.assert_array_equal(arrays["train_data_target"][0], clean[2:, ::2])
    viewer.add_image(clean[:, 0], name="one")  # one channel that all of them become
    form.target.picker.setLayer(viewer.layers["one"])
    assert form.problem() == ""
    np.testing.assert_array_equal(form.order().data()["train_data_target"][0], clean[2:, 0])


def test_a_part_that_the_target_lacks_is_told(form: TrainForm, viewer: Any) -> None:
    viewer.add_image(counts(6, 64, 64), name="noisy")
    viewer.add_image(counts(3, 64, 64), name="short")
    form.setMethod("care")
    form.picker.setLayer(viewer.layers["noisy"])
    form.picker.setAxes("TYX")
    form.target.picker.setLayer(viewer.layers["short"])
    form.target.crop()
    assert form.problem() == ""
    form.part.slices.segments.setValue("range")
    form.part.slices.first.setValue(4)
    assert form.problem() == "The target has none of the chosen slices along T. Choose others."


def test_channels_of_files(form: TrainForm, qtbot: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, counts(3, 64, 64), metadata={"axes": "CYX"})
    form.picker.setPath(str(path))
    qtbot.waitUntil(lambda: form.problem() == "", timeout=SECONDS)
    assert form.part.slices.isHidden()
    form.part.channels.setValue((1, 2))
    order = form.order()
    assert order.data()["train_data"] == str(path)
    assert order.config.data_config.channels == (1, 2)


def test_channels_are_apart_or_together(form: TrainForm, viewer: Any) -> None:
    viewer.add_image(counts(3, 64, 64))
    form.picker.setAxes("CYX")
    assert form.part.channels.hint().startswith("Each is learnt on its own")
    together = form.algorithm_form.value().model.model_copy(update={"independent_channels": False})
    form.algorithm_form.setValue(N2V(model=together))
    assert form.part.channels.hint().startswith("They are learnt together")
    assert not form.order().config.algorithm_config.model.independent_channels


def test_a_run_of_some_frames_and_channels_and_its_script(
    viewer: Any,
    qtbot: Any,
    make_quick: Callable[..., None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = jobs_of(viewer)
    preview_of(viewer).setLive(False)
    data = counts(4, 3, 32, 32)
    viewer.add_image(data, name="movie")
    dock = TrainWidget(viewer)
    qtbot.addWidget(dock)
    dock.picker.setAxes("TCYX")
    make_quick(dock, steps=2)
    dock.settings.part.slices.segments.setValue("range")
    dock.settings.part.slices.last.setValue(1)
    dock.settings.part.channels.setValue((0, 2))
    dock.train_and_denoise()
    qtbot.waitUntil(lambda: jobs.state("predict") == "finished", timeout=SECONDS)
    layer = viewer.layers["movie (N2V)"]
    assert layer.data.shape == (4, 2, 32, 32)  # all frames, what was learnt of the channels
    assert layer.metadata["careamist"]["region"] == "t0-1 c0_2"
    record = jobs.record("train")
    model = record.run.result
    assert model.config.data_config.channels == (0, 2)
    job = job_of(model, record.order)
    np.testing.assert_array_equal(job.model.data.open(), data[:2])
    job = job.model_copy(update={"output": str(tmp_path / "again")})
    folder = run_job(job, enable_progress_bar=False).folder
    assert folder is not None
    (written,) = folder.glob("*.tif*")
    np.testing.assert_allclose(tifffile.imread(written), layer.data, rtol=1e-5)
    assert not caplog.records
