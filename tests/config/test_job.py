"""Whole runs as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
import zarr
from pydantic import ValidationError

from careamist.config import CARE, Configuration, PredictionConfig
from careamist.config.job import (
    DataReference,
    PredictionJob,
    TrainingJob,
    load_job,
    save_job,
)
from careamist.errors import SettingsError, SourceNotFoundError, UnreadableError

IMAGE = np.arange(48, dtype=np.uint16).reshape(6, 8)
DATA = DataReference(path="a.tif")
TRAINING = TrainingJob(
    config=Configuration(algorithm_config=CARE()),
    data=DataReference(path=("a.tif", "b.tif")),
    target=DataReference(path="x.npy", as_array=True, region=((0, 4), (2, 8))),
    output="models",
)


@pytest.mark.parametrize(
    "job",
    [
        TRAINING,
        PredictionJob(model="last.ckpt", data=DATA),
        PredictionJob(
            model=TRAINING,
            data=DATA,
            weights="best",
            options=PredictionConfig(axes="TYX", tile_size=(64, 64)),
            output="résultats",
            overwrite="replace",
        ),
    ],
)
def test_a_job_comes_back_from_its_file(job: Any, tmp_path: Path) -> None:
    path = save_job(job, tmp_path / "new" / "job.yml")
    assert load_job(path) == job


def test_arguments_of_a_prediction_are_those_that_are_not_the_defaults() -> None:
    assert PredictionJob(model="m", data=DATA).arguments() == {}
    job = PredictionJob(
        model="m",
        data=DATA,
        options=PredictionConfig(axes="TYX", tile_overlap=(8, 8)),
        weights="best",
        write_type="ome-zarr",
        overwrite="skip",
    )
    assert job.arguments() == {
        "axes": "TYX",
        "tile_overlap": (8, 8),
        "checkpoint": "best",
        "write_type": "ome-zarr",
        "overwrite": "skip",
    }


def test_arguments_of_a_training_are_the_images() -> None:
    assert list(TRAINING.arguments()) == ["train_data", "train_data_target"]


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TRAINING.output = "elsewhere"  # type: ignore[misc]


# -- the images -----------------------------------------------------------------------------------


def _npy(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), IMAGE)
    return path.with_suffix(".npy")


def _tiff(path: Path) -> Path:
    tifffile.imwrite(path.with_suffix(".tif"), IMAGE)
    return path.with_suffix(".tif")


def _zarr(path: Path) -> Path:
    array = zarr.create_array(str(path.with_suffix(".zarr")), data=IMAGE, chunks=(3, 4))
    assert array.chunks == (3, 4)
    return path.with_suffix(".zarr")


@pytest.mark.parametrize("write", [_npy, _tiff, _zarr])
def test_arrays_are_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = str(write(tmp_path / "x"))
    whole = DataReference(path=path, as_array=True).open()
    np.testing.assert_array_equal(whole[:], IMAGE)
    part = DataReference(path=path, as_array=True, region=((1, 3), (0, 5))).open()
    np.testing.assert_array_equal(part, IMAGE[1:3, :5])
    assert DataReference(path=path).open() == path
    with pytest.raises(SettingsError, match="3 axes"):
        DataReference(path=path, as_array=True, region=((0, 1),) * 3).open()


def test_several_paths_stay_paths() -> None:
    assert TRAINING.data.open() == ["a.tif", "b.tif"]


def test_several_arrays_are_a_list(tmp_path: Path) -> None:
    paths = (str(_npy(tmp_path / "x")), str(_tiff(tmp_path / "y")))
    arrays = DataReference(path=paths, as_array=True).open()
    assert isinstance(arrays, list)
    np.testing.assert_array_equal(arrays, [IMAGE, IMAGE])


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr"])
def test_arrays_that_cannot_be_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    data = DataReference(path=str(path), as_array=True)
    with pytest.raises(SourceNotFoundError, match=path.name):
        data.open()
    path.write_bytes(b"nothing of the kind")
    with pytest.raises((UnreadableError, SourceNotFoundError), match=path.name):
        data.open()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"path": "a.czi", "as_array": True}, "needs files of"),
        ({"path": ("a.npy", "b.npy"), "as_array": True, "region": ((0, 1),)}, "one path"),
        ({"path": "a.tif", "region": ((0, 1),)}, "needs as_array"),
    ],
)
def test_references_that_contradict_themselves(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataReference(**given)


# -- files that are no jobs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not valid YAML"),
        ("just words", "is no job"),
        ("", "is no job"),
        ("kind: dance", "kind"),
        ("kind: predict\ndata: {path: a.tif}", "model"),
        ("kind: predict\nmodel: m\ndata: {path: a.tif}\nspeed: 3", "speed"),
        ("kind: predict\nversion: 9\nmodel: m\ndata: {path: a.tif}", "update careamist"),
        ("kind: predict\nmodel: m\ndata: {path: a.tif}\noptions: {axes: QQ}", "axes"),
    ],
)
def test_files_that_are_no_jobs(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_job(path)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no job file"):
        load_job(tmp_path)
    (tmp_path / "x.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_job(tmp_path / "x.yml")


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreadableError, match="cannot be written"):
        save_job(TRAINING, tmp_path / "file" / "job.yml")


def test_the_file_is_plain_yaml(tmp_path: Path) -> None:
    values = yaml.safe_load(save_job(TRAINING, tmp_path / "job.yml").read_text(encoding="utf-8"))
    assert values["kind"] == "train"
    assert values["data"]["path"] == ["a.tif", "b.tif"]
    assert values["config"]["algorithm_config"]["algorithm"] == "care"
