"""A run of the docks as text, which gives the same pixels in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication, QWidget

from careamist.cli import main
from careamist.config import TrainingConfig
from careamist.config.job import PredictionJob, load_job
from careamist.errors import SettingsError
from careamist.gui import tasks
from careamist.gui.data.data_source import DataChoice
from careamist.gui.jobs import jobs_of
from careamist.gui.models.copy_job import JobCopy, prediction_order, reference, resolved_config
from careamist.gui.train_widget import TrainWidget
from careamist.gui.training.scripting import job_of
from tiny import new, noise, small

pytestmark = pytest.mark.gui

SECONDS = 90_000


class Copied:
    """What a copy told, and the text in the clipboard."""

    def __init__(self, qtbot: Any) -> None:
        self._parent = QWidget()
        qtbot.addWidget(self._parent)
        self._qtbot = qtbot
        self.copy = JobCopy(self._parent)
        self.told: list[tuple[str, str]] = []
        self.copy.told.connect(lambda *words: self.told.append(words))

    def text(self) -> str:
        self._qtbot.waitUntil(lambda: bool(self.told), timeout=SECONDS)
        kind, words = self.told.pop()
        assert kind == "info", words
        return str(QApplication.clipboard().text())


@pytest.fixture
def copied(qtbot: Any) -> Copied:
    return Copied(qtbot)


def choice_of(viewer: Any, image: Any, name: str = "noisy cells") -> DataChoice:
    layer = viewer.add_image(image, name=name)
    return DataChoice(layer, None, "YX", tuple(image.shape))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_run_of_the_dock_is_repeated_to_the_bit(
    make_napari_viewer_proxy: Callable[..., Any],
    qtbot: Any,
    noisy: Any,
    make_quick: Callable[..., None],
    copied: Copied,
    tmp_path: Path,
    chunked: bool,
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(da.from_array(noisy, chunks=(32, 16)) if chunked else noisy, name="noisy")
    train = TrainWidget(viewer)
    viewer.window.add_dock_widget(train, name="Train")
    make_quick(train)
    jobs = jobs_of(viewer)
    train.train_and_denoise()
    qtbot.waitUntil(lambda: jobs.state("predict") == "finished", timeout=SECONDS)
    expected = np.asarray(viewer.layers["noisy (N2V)"].data)

    model, order = jobs.model, jobs.record("train").order
    copied.copy.copyScript(lambda: job_of(model, order))
    (tmp_path / "script.py").write_text(copied.text(), encoding="utf-8")
    if chunked:  # one clean process is enough
        copied.copy.copyCommand(lambda: job_of(model, order))
        words = shlex.split(copied.text())
        assert words[:2] == ["careamist", "run"]
        job = load_job(words[2])
        assert isinstance(job, PredictionJob)
        folder = tmp_path / "elsewhere"
        copied.copy.copyCommand(lambda: job.model_copy(update={"output": str(folder)}), tmp_path)
        assert main(shlex.split(copied.text())[1:]) == 0
    else:
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "noisy_N2V"
    np.testing.assert_array_equal(tifffile.imread(folder / "array_0.tiff"), expected)


def test_a_prediction_with_a_model_that_was_loaded(
    make_napari_viewer_proxy: Callable[..., Any],
    copied: Copied,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = new(small(3), tmp_path / "models")
    model.train(train_data=noise())
    loaded, *_ = tasks.load_model(str(model.run_dir))
    choice = choice_of(make_napari_viewer_proxy(), noise(seed=3))
    copied.copy.copyScript(lambda: prediction_order(loaded, choice))
    text = copied.text()
    assert f'checkpoint_path="{model.run_dir}"' in text
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "script", "exec"), {"__name__": "__main__"})
    (expected,), _ = loaded.predict(noise(seed=3), tile_size="auto")
    found = tifffile.imread(tmp_path / "noisy_cells_N2V" / "array_0.tiff")
    np.testing.assert_array_equal(found, expected)


def test_files_are_named_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = reference(DataChoice(None, "a.tif", "YX", (8, 8), "tiff"), tmp_path)
    assert found.open() == str(tmp_path / "a.tif")
    uri = "https://example.org/a.zarr"
    assert reference(DataChoice(None, uri, "YX", (8, 8), "zarr"), tmp_path).open() == uri


def test_minutes_become_the_steps_that_they_were(tmp_path: Path) -> None:
    minutes = {"max_minutes": 0.0005, "checkpoint_every": 500}
    config = small(None, training=minutes)
    model = new(config, tmp_path)
    model.train(train_data=noise())
    training = resolved_config(model).training_config
    assert (training.max_minutes, training.num_steps) == (None, model.steps_done)
    plain = new(small(2), tmp_path)
    assert resolved_config(plain) == plain.config
    assert isinstance(training, TrainingConfig)


def test_what_goes_wrong_is_told(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any, copied: Copied, tmp_path: Path
) -> None:
    model = new(small(3), tmp_path)  # never trained
    choice = choice_of(make_napari_viewer_proxy(), noise())
    with pytest.raises(SettingsError, match="in no file"):
        prediction_order(model, choice)
    copied.copy.copyScript(lambda: prediction_order(model, choice))
    qtbot.waitUntil(lambda: bool(copied.told))
    assert copied.told == [("error", "This model is in no file. Train one first.")]
