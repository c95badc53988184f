"""The walks in Python: array or TIFF → training → prediction, and what is promised on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from careamist import CAREamist
from careamist.config import N2V, UNet, save_configuration
from careamist.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    NotTrainedError,
    OutputExistsError,
    SettingsError,
    ShapeError,
    SourceNotFoundError,
)
from careamist.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepDone,
)
from careamist.lightning import TrainDataModule, checkpoints
from tiny import (
    assert_same_weights,
    new,
    noise,
    small,
    stopping_after,
    weights,
)


def test_array_walk_and_the_whole_sequence_of_events(tmp_path: Path) -> None:
    events: list[Event] = []
    careamist = new(small(), tmp_path, [events.append])
    image = noise(64, 64)
    careamist.train(train_data=image)
    kinds = [type(event).__name__ for event in events]
    # 25 patches an epoch, 4 a batch: 6 steps are one epoch
    expected = ["RunStarted", "Noticed", "StepDone", "StepDone", "StepDone", "CheckpointSaved"]
    expected += ["StepDone", "StepDone", "StepDone", "CheckpointSaved", "EpochDone"]
    assert kinds == [*expected, "CheckpointSaved", "RunFinished"]
    saved = [Path(e.path).name for e in events if isinstance(e, CheckpointSaved)]
    assert saved == ["step_000003.ckpt", "best.ckpt", "last.ckpt"]
    assert len({event.run_id for event in events}) == 1
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.total == 6
    assert started.resolved["n_patches"] == 25
    events.clear()
    (restored,), sources = careamist.predict(image, tile_size=(40, 40))
    assert sources == []
    assert restored.shape == image.shape
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()
    names = [type(event).__name__ for event in events]
    tiles = len(names) - 4
    middle = ["RegionPredicted"] * tiles
    assert tiles > 1
    assert names == ["RunStarted", "ImageStarted", *middle, "ImageFinished", "RunFinished"]


def test_n_steps_asked_are_n_steps_done(tmp_path: Path) -> None:
    events: list[Event] = []
    careamist = new(small(17), tmp_path, [events.append])
    careamist.train(train_data=noise(32, 32))
    assert [e.done for e in events if isinstance(e, StepDone)] == list(range(1, 18))
    assert careamist.steps_done == 17


def test_training_learns(tmp_path: Path) -> None:
    rows = np.sin(np.arange(128) / 4)[:, None] * np.cos(np.arange(128) / 5)
    clean = 100 + 30 * rows
    noisy = (clean + np.random.default_rng(0).normal(0, 15, clean.shape)).astype(np.float32)
    config = small(150, batch_size=8, patch_size=(32, 32)).model_copy(
        update={"algorithm_config": N2V(model=UNet(depth=2, num_channels_init=8))}
    )
    careamist = new(config, tmp_path)
    careamist.train(train_data=noisy)
    (restored,), _ = careamist.predict(noisy)
    before = np.mean((noisy - clean) ** 2)
    after = np.mean((restored - clean) ** 2)
    assert after < before / 8
    losses = [loss for _, loss in careamist.get_losses()["val_loss"]]
    assert losses[-1] < losses[0]


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    alone = new(small(), tmp_path / "0")
    alone.train(train_data=noise(64, 64))
    helped = stopping_after(new(small(), tmp_path / "n"), 2)
    helped.train(train_data=noise(64, 64))
    with_workers = helped.config.data_config.model_copy(update={"num_workers": 2})
    helped.train(datamodule=TrainDataModule(with_workers, noise(64, 64)))  # goes on mid-stream
    assert_same_weights(alone, helped)
    assert helped.get_losses() == alone.get_losses()


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    one, other = new(small(2), tmp_path), new(small(2, seed=1), tmp_path)
    one.train(train_data=noise(64, 64))
    other.train(train_data=noise(64, 64))
    assert not torch.equal(weights(one)["head.weight"], weights(other)["head.weight"])


@pytest.mark.parametrize("stop_after", [3, 4])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    whole = new(small(9), tmp_path / "whole")
    whole.train(train_data=noise(64, 64))

    events: list[Event] = []
    first = new(small(9), tmp_path / "parts", [events.append])
    first.listeners.append(
        lambda event: first.stop() if getattr(event, "done", 0) == stop_after else None
    )
    first.train(train_data=noise(64, 64))
    assert isinstance(events[-1], RunStopped)
    assert first.steps_done == stop_after
    assert first.run_dir is not None

    second = CAREamist(
        checkpoint_path=first.run_dir / "last.ckpt", work_dir=tmp_path, enable_progress_bar=False
    )
    second.train(train_data=noise(64, 64))
    assert second.steps_done == 9
    assert_same_weights(whole, second)
    assert second.get_losses() == whole.get_losses()


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from careamist.events import CheckpointSaved
from tiny import new, noise, small

def die(event):
    if isinstance(event, CheckpointSaved) and event.path.endswith("step_000006.ckpt"):
        os.kill(os.getpid(), signal.SIGKILL)

config = small(9, training={"steps_per_epoch": 6})
new(config, Path(sys.argv[2]), [die]).train(train_data=noise(64, 64))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_resumes_bit_for_bit_from_its_checkpoint(tmp_path: Path) -> None:
    whole = new(small(9, training={"steps_per_epoch": 6}), tmp_path / "whole")
    whole.train(train_data=noise(64, 64))
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "killed")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = sorted(path.name for path in (tmp_path / "killed").rglob("*") if path.is_file())
    assert left == ["best.ckpt", "losses.csv", "step_000003.ckpt", "step_000006.ckpt"]
    again = CAREamist(
        checkpoint_path=tmp_path / "killed",  # the newest checkpoint below it
        work_dir=tmp_path,
        enable_progress_bar=False,
    )
    assert again.steps_done == 6
    again.train(train_data=noise(64, 64))
    assert_same_weights(whole, again)


def test_a_stop_inside_a_long_step_drops_it(tmp_path: Path) -> None:
    careamist = new(small(6), tmp_path)
    slow = threading.Event()

    def crawl(_module: Any, _inputs: Any) -> None:
        if slow.is_set():
            time.sleep(0.25)  # about 25 layers, forward and backward: a step of seconds

    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepDone) and event.done == 2:
            for layer in careamist._model.module.model.modules():
                layer.register_forward_pre_hook(crawl)
            slow.set()
            threading.Timer(0.3, careamist.stop).start()

    careamist.listeners.append(listen)
    start = time.monotonic()
    careamist.train(train_data=noise(64, 64))
    assert time.monotonic() - start < 15
    assert isinstance(events[-1], RunStopped)
    assert careamist.steps_done == 2
    slow.clear()
    undisturbed = new(small(6), tmp_path / "other")
    undisturbed.train(train_data=noise(64, 64))
    careamist.listeners.clear()
    careamist.train(train_data=noise(64, 64))
    assert_same_weights(undisturbed, careamist)


def test_a_stop_inside_a_long_step_is_honoured_within_a_second(tmp_path: Path) -> None:
    careamist = new(small(6), tmp_path)
    asked: list[float] = []

    def crawl(_module: Any, _inputs: Any) -> None:
        time.sleep(0.2)

    def ask() -> None:
        asked.append(time.monotonic())
        careamist.stop()

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.done == 1:
            for layer in careamist._model.module.model.modules():
                if not list(layer.children()):
                    layer.register_forward_pre_hook(crawl)
            threading.Timer(0.5, ask).start()

    careamist.listeners.append(listen)
    careamist.train(train_data=noise(64, 64))
    ended = time.monotonic()
    assert asked
    assert ended - asked[0] < 4  # a second, on a machine that has nothing else to do
    assert careamist.steps_done == 1


def test_training_again_goes_on_with_a_new_schedule(tmp_path: Path) -> None:
    careamist = new(small(4), tmp_path)
    careamist.train(train_data=noise(64, 64))
    before = {name: value.clone() for name, value in weights(careamist).items()}
    careamist.train(train_data=noise(64, 64))
    assert careamist.steps_done == 8
    assert careamist._model.module is not None
    assert careamist._model.module.segment == (4, 8)
    assert any(not torch.equal(value, before[name]) for name, value in weights(careamist).items())


def test_a_checkpoint_alone_restores_the_prediction(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)
    image = noise(64, 64)
    careamist.train(train_data=image)
    (expected,), _ = careamist.predict(image)
    for given in (careamist.run_dir, careamist.run_dir / "last.ckpt", tmp_path):
        loaded = CAREamist(checkpoint_path=given, enable_progress_bar=False)
        (got,), _ = loaded.predict(image)
        np.testing.assert_array_equal(got, expected)
        assert loaded.config == careamist.config


def test_checkpoints_hold_nothing_but_tensors_and_json(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)
    careamist.train(train_data=noise(64, 64))
    state = torch.load(careamist.run_dir / "last.ckpt", weights_only=True)
    assert state["careamist"]["steps_done"] == 6
    assert set(state["state_dict"]) == set(state["raw_state_dict"])
    assert not list(careamist.run_dir.glob("*.part"))


def test_every_training_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = set()
    for _ in range(2):
        careamist = new(small(1), tmp_path)
        careamist.train(train_data=noise(64, 64))
        folders.add(careamist.run_dir)
    assert len(folders) == 2


def test_files_and_folders(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    options = {"imagej": True, "resolution": (4, 4), "metadata": {"axes": "YX", "unit": "um"}}
    for index, name in enumerate(("a.b.tif", "deep/c.tiff")):
        tifffile.imwrite(source / name, noise(40 + index, 48, seed=index), **options)
    careamist = new(small(data_type="tiff"), tmp_path)
    careamist.train(train_data=source)
    arrays, sources = careamist.predict(source)
    assert [Path(path).name for path in sources] == ["a.b.tif", "c.tiff"]
    assert [array.shape for array in arrays] == [(40, 48), (41, 48)]
    careamist.predict_to_disk(source, prediction_dir="out", tile_size=None)
    with tifffile.TiffFile(tmp_path / "out" / "a.b.tiff") as written:
        np.testing.assert_array_equal(written.asarray(), arrays[0])
        assert written.series[0].axes == "YX"
        assert written.pages.first.tags["XResolution"].value == (4, 1)
    assert (tmp_path / "out" / "deep" / "c.tiff").is_file()
    with pytest.raises(OutputExistsError, match="already there"):
        careamist.predict_to_disk(source, prediction_dir="out")
    careamist.predict_to_disk(source, prediction_dir="out", overwrite="replace")


def test_a_model_of_frames_restores_stacks_and_single_channels(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)
    careamist.train(train_data=noise(64, 64))
    (stack,), _ = careamist.predict(noise(3, 33, 20), axes="TYX")
    assert stack.shape == (3, 33, 20)
    (one,), _ = careamist.predict(noise(3, 33, 20), axes="CYX", channels=[1])
    assert one.shape == (1, 33, 20)


def test_volumes_and_channels(tmp_path: Path) -> None:
    careamist = new(small(2, axes="CZYX", patch_size=(4, 16, 16)), tmp_path)
    image = noise(2, 9, 33, 40)
    careamist.train(train_data=image)
    (restored,), _ = careamist.predict(image)
    assert restored.shape == image.shape
    (tiled,), _ = careamist.predict(image, tile_size="auto")
    np.testing.assert_allclose(tiled, restored, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.full((64, 64), 7, np.uint16), DataError, "constant"),
        (np.where(np.eye(64) > 0, np.nan, 1.0), DataError, "NaN"),
        (np.where(np.eye(64) > 0, np.inf, 1.0), DataError, "Inf"),
        (np.ones((64, 64), np.complex64), DataError, "complex64"),
        (np.ones((8, 8)), ShapeError, "smaller than the patch"),
        (np.ones((3, 64, 64)), SettingsError.__mro__[1], "names 2 axes"),
        ("nowhere.tif", SettingsError, "path was given"),
        ([], SourceNotFoundError, "No images"),
        ("text", SettingsError, "path was given"),
        (12, SettingsError, "type int"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_by_name(
    tmp_path: Path, image: Any, error: type[Exception], words: str
) -> None:
    events: list[Event] = []
    careamist = new(small(), tmp_path, [events.append])
    with pytest.raises(error, match=words):
        careamist.train(train_data=image)
    assert [type(event) for event in events] == [RunFailed]
    assert words in events[0].message
    events.clear()
    careamist.train(train_data=noise(64, 64))  # and nothing is left behind
    assert isinstance(events[-1], RunFinished)


@pytest.mark.parametrize(
    "dtype", [bool, np.uint8, np.int8, np.int16, np.uint32, np.int64, np.float16, ">u2", ">f8"]
)
def test_every_real_dtype_trains(tmp_path: Path, dtype: Any) -> None:
    image = np.random.default_rng(0).integers(0, 2 if dtype is bool else 100, (32, 32))
    careamist = new(small(1), tmp_path)
    careamist.train(train_data=image.astype(dtype))
    (restored,), _ = careamist.predict(image.astype(dtype))
    assert np.isfinite(restored).all()


def test_a_diverging_loss_ends_with_a_hint(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)

    def poison(event: Event) -> None:
        if isinstance(event, StepDone) and event.done == 2:
            torch.nn.init.constant_(careamist._model.module.model.head.weight, float("nan"))

    careamist.listeners.append(poison)
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        careamist.train(train_data=noise(64, 64))


def test_nothing_is_predicted_without_training(tmp_path: Path) -> None:
    with pytest.raises(NotTrainedError):
        new(small(), tmp_path).predict(noise(64, 64))


def test_best_is_refused_and_last_is_the_end(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)
    careamist.train(train_data=noise(64, 64))
    (expected,), _ = careamist.predict(noise(64, 64))
    with pytest.raises(SettingsError, match="no best checkpoint"):
        careamist.predict(noise(64, 64), checkpoint="best")
    (got,), _ = careamist.predict(noise(64, 64), checkpoint="last")
    np.testing.assert_array_equal(got, expected)
    early = careamist.run_dir / "step_000003.ckpt"
    (other,), _ = careamist.predict(noise(64, 64), checkpoint=early)
    assert np.abs(other - expected).max() > 0


def test_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"nothing")
    torch.save({"weights": torch.ones(2)}, tmp_path / "b.ckpt")
    for name in ("a.ckpt", "b.ckpt"):
        with pytest.raises(CheckpointError, match="not a careamist checkpoint"):
            CAREamist(checkpoint_path=tmp_path / name)
    with pytest.raises(SourceNotFoundError):
        CAREamist(checkpoint_path=tmp_path / "none")


def test_wrong_axes_and_channels_are_explained(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)
    careamist.train(train_data=noise(64, 64))
    with pytest.raises(SettingsError, match="3 spatial axes"):
        careamist.predict(noise(3, 64, 64), axes="ZYX")
    with pytest.raises(SettingsError, match=r"3 channels.*trained on 1"):
        careamist.predict(noise(3, 64, 64), axes="CYX")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    careamist = new(small(), tmp_path)
    errors: list[Exception] = []

    def interfere(event: Event) -> None:
        if isinstance(event, EpochDone):
            try:
                careamist.train(train_data=noise(64, 64))
            except SettingsError as error:
                errors.append(error)

    careamist.listeners.append(interfere)
    careamist.train(train_data=noise(64, 64))
    assert len(errors) == 1
    assert "already running" in str(errors[0])


def test_a_listener_that_raises_kills_nothing(tmp_path: Path) -> None:
    def broken(event: Event) -> None:
        raise ValueError("broken listener")

    careamist = new(small(), tmp_path, [broken])
    careamist.train(train_data=noise(64, 64))
    assert careamist.steps_done == 6


def test_exactly_one_source_of_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Give exactly one"):
        CAREamist()
    with pytest.raises(SettingsError, match="Give exactly one"):
        CAREamist(small(), source=small())
    assert CAREamist(source=small()).config == small()


def test_saving_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    careamist = new(small(), tmp_path, [events.append])
    careamist.train(train_data=noise(64, 64))
    saved = [Path(event.path) for event in events if isinstance(event, CheckpointSaved)]
    assert [path.name for path in saved] == ["step_000003.ckpt", "best.ckpt", "last.ckpt"]
    assert checkpoints.load(saved[-1]).steps_done == 6


def test_a_configuration_may_be_a_file(tmp_path: Path) -> None:
    path = save_configuration(small(), tmp_path / "order.yml")
    for given in ({"config": path}, {"config": str(path)}, {"source": path}):
        assert CAREamist(**given, work_dir=tmp_path).config == small()
    with pytest.raises(SourceNotFoundError, match="no configuration file"):
        CAREamist(tmp_path / "none.yml")


def test_results_go_to_the_current_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    careamist = CAREamist(small(1), enable_progress_bar=False)
    careamist.train(train_data=noise(64, 64))
    assert careamist.run_dir == tmp_path / "checkpoints" / "careamist_1"
    assert CAREamist.stop_training is CAREamist.stop
