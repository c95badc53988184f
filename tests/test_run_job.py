"""Job files carried out, from Python and from the shell."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamist.cli_run import Run
from careamist.config import PredictionConfig
from careamist.config.job import DataReference, PredictionJob, TrainingJob, load_job, save_job
from careamist.errors import OutputExistsError, SettingsError, SourceNotFoundError
from careamist.events import Event, RunFinished, StepDone
from careamist.run_job import run_job
from tiny import assert_same_weights, loaded, new, noise, small, small_care, waves

IMAGE = noise(48, 40)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an image as a file and as an array."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("noisy.tif", IMAGE)
    np.save("noisy.npy", IMAGE)
    np.save("clean.npy", waves(48, 40))
    return tmp_path


def array(name: str) -> DataReference:
    return DataReference(path=f"{name}.npy", as_array=True)


def test_train_and_predict_as_the_library_does(here: Path) -> None:
    events: list[Event] = []
    training = TrainingJob(config=small(4), data=array("noisy"), output="models")
    options = PredictionConfig(axes="YX", data_type="array")
    job = PredictionJob(model=training, data=array("noisy"), options=options, output="out")
    done = run_job(job, [events.append], enable_progress_bar=False)
    assert (done.folder, done.was_stopped) == (here / "out", False)
    assert [type(event) for event in events].count(RunFinished) == 2

    model = new(small(4), here / "other")
    model.train(train_data=IMAGE)
    assert_same_weights(done.careamist, model)
    (expected,), _ = model.predict(IMAGE, tile_size="auto")
    np.testing.assert_array_equal(tifffile.imread("out/array_0.tiff"), expected)


def test_a_training_with_targets(here: Path) -> None:
    job = TrainingJob(config=small_care(3), data=array("noisy"), target=array("clean"))
    done = run_job(job, enable_progress_bar=False)
    assert done.folder is not None
    assert done.folder.parent == Path("checkpoints")
    model = new(small_care(3), here / "other")
    model.train(train_data=IMAGE, train_data_target=waves(48, 40))
    assert_same_weights(done.careamist, model)


def test_files_with_a_checkpoint_and_what_is_there_is_kept(here: Path) -> None:
    model = new(small(2, data_type="tiff"), here)
    model.train(train_data="noisy.tif")
    job = PredictionJob(
        model=str(model.run_dir), data=DataReference(path="noisy.tif"), output="out"
    )
    run_job(job, enable_progress_bar=False)
    (expected,), _ = loaded(here, here).predict("noisy.tif", tile_size="auto")
    np.testing.assert_array_equal(tifffile.imread("out/noisy.tiff"), expected)
    with pytest.raises(OutputExistsError):
        run_job(job, enable_progress_bar=False)
    run_job(job.model_copy(update={"overwrite": "replace"}), enable_progress_bar=False)


def test_a_training_that_is_stopped_is_not_predicted_with(here: Path) -> None:
    training = TrainingJob(config=small(50), data=array("noisy"))
    job = PredictionJob(model=training, data=array("noisy"), output="out")

    def listener(event: Event) -> None:
        if isinstance(event, StepDone) and event.done == 2:
            signal.raise_signal(signal.SIGINT)  # as the interrupt key does

    done = run_job(job, [listener], enable_progress_bar=False)
    assert done.was_stopped
    assert done.folder == done.careamist.run_dir
    assert not (here / "out").exists()


# -- the shell ----------------------------------------------------------------------------------


def test_the_command_runs_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_job(TrainingJob(config=small(2), data=array("noisy"), output="models"), "job.yml")
    assert Run(job="job.yml").run() == 0
    folder = here / "models" / "checkpoints" / "careamist_1"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"Results: {folder.relative_to(here)}"
    assert (folder / "last.ckpt").is_file()


def test_the_command_raises_what_the_shell_tells(here: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no job file"):
        Run(job="none.yml").run()
    Path("job.yml").write_text("kind: train")
    with pytest.raises(SettingsError, match="is no job"):
        Run(job="job.yml").run()
    assert load_job(save_job(PredictionJob(model="m", data=array("x")), "x.yml"))
