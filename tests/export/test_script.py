"""Jobs as Python scripts: the text, and what it does in a process of its own."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from careamist.config import (
    CARE,
    N2V,
    PRESETS,
    Configuration,
    DataConfig,
    MeanStd,
    PredictionConfig,
    TrainingConfig,
    UNet,
    apply_preset,
    create_n2v_config,
)
from careamist.config.job import DataReference, PredictionJob, TrainingJob
from careamist.export.script import command_line, python_script
from tiny import new, noise, small

DATA = DataReference(path="noisy.tif")


def config_of(script: str) -> Configuration:
    """Execute the imports and the configuration of a script."""
    tree = ast.parse(script)
    kept = [part for part in tree.body if isinstance(part, (ast.ImportFrom, ast.Assign))]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(kept, []), "script", "exec"), names)
    found = names["config"]
    assert isinstance(found, Configuration)
    return found


@pytest.mark.parametrize(
    "config",
    [
        Configuration(),
        *(apply_preset(Configuration(), name) for name in PRESETS),
        Configuration(training_config=TrainingConfig(num_epochs=7)),
        Configuration(training_config=TrainingConfig(num_steps=1000, num_epochs=7)),
        Configuration(training_config=TrainingConfig(max_minutes=2.5, learning_rate=1e-05)),
        Configuration(
            experiment_name="it_s a name",
            algorithm_config=CARE(model=UNet(depth=3), loss_function="mae"),
            data_config=DataConfig(
                data_type="tiff",
                axes="CZYX",
                patch_size=(16, 32, 32),
                normalization=MeanStd(input_means=(1 / 3, 2.0), input_stds=(0.1, 1e-9)),
                augmentations=(),
                channels=(0, 2),
            ),
        ),
        Configuration(algorithm_config=N2V(struct_axes="horizontal", struct_span=7)),
        create_n2v_config("x", "array", "YX", [64, 64], 8, use_n2v2=True),
    ],
)
def test_the_configuration_comes_back_from_the_script(config: Configuration) -> None:
    script = python_script(TrainingJob(config=config, data=DATA))
    assert config_of(script) == config
    assert all(len(line) <= 100 for line in script.splitlines())


def test_only_what_differs_from_the_defaults_is_written() -> None:
    script = python_script(TrainingJob(config=small(7), data=DATA))
    assert "num_steps=7" in script
    assert "learning_rate" not in script
    assert 'careamist.train(train_data="noisy.tif")' in script


@pytest.mark.parametrize("path", ["it's.tif", 'a "quoted" one.tif', r"C:\new\t.tif", "été/µ.tif"])
def test_paths_are_quoted(path: str) -> None:
    script = python_script(PredictionJob(model=path, data=DataReference(path=path)))
    values = [node.value for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Constant)]
    assert values.count(path) == 2


def test_several_files_targets_and_regions() -> None:
    part = DataReference(path="a.npy", as_array=True, region=((0, 5), (2, 9)))
    script = python_script(
        TrainingJob(config=small(), data=part, target=part, val=DataReference(path=("b", "c")))
    )
    ast.parse(script)
    assert script.count('np.load("a.npy")[0:5, 2:9]') == 1  # read once, used twice
    assert "train_data=image, train_data_target=image" in script.replace("\n", "")
    assert 'val_data=["b", "c"]' in script


def test_several_arrays_are_a_list() -> None:
    data = DataReference(path=("a.npy", "b.zarr", "c.tif"), as_array=True)
    script = python_script(TrainingJob(config=small(), data=data))
    assert 'np.load("a.npy"),' in script
    assert 'zarr.open_array("b.zarr", mode="r"),' in script
    assert 'tifffile.imread("c.tif"),' in script
    assert "careamist.train(train_data=image)" in script
    ast.parse(script)


def test_every_option_of_a_prediction_is_written() -> None:
    options = PredictionConfig(tile_size=(64, 64), axes="TYX", in_memory=True, channels="all")
    job = PredictionJob(model="m", data=DATA, options=options, weights="best", overwrite="replace")
    (call,) = [
        node
        for node in ast.walk(ast.parse(python_script(job)))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "predict_to_disk"
    ]
    given = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    assert given == {
        "prediction_dir": "predictions",
        "tile_size": (64, 64),
        "axes": "TYX",
        "in_memory": True,
        "channels": "all",
        "checkpoint": "best",
        "overwrite": "replace",
    }


def test_command_line_is_quoted() -> None:
    assert command_line("/a/job.yml") == "careamist run /a/job.yml"
    assert command_line("/a b/job.yml").split(" ", 2)[2][0] in "'\""


# -- what they do -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PredictionJob, np.ndarray]:
    """A training with a result, and the job that repeats both."""
    home = tmp_path_factory.mktemp("run")
    image = noise(48, 40)
    np.save(home / "image.npy", image)
    model = new(small(4), home)
    model.train(train_data=image)
    (expected,), _ = model.predict(image, tile_size="auto")
    data = DataReference(path=str(home / "image.npy"), as_array=True)
    job = PredictionJob(
        model=TrainingJob(config=model.config, data=data, output=str(home / "again")),
        data=data,
        options=PredictionConfig(axes="YX", data_type="array"),
        output="out",
    )
    return home, job, expected


def test_the_script_gives_the_same_pixels_in_a_clean_process(
    run: tuple[Path, PredictionJob, np.ndarray], tmp_path: Path
) -> None:
    _, job, expected = run
    (tmp_path / "script.py").write_text(python_script(job), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "array_0.tiff"), expected)


def test_a_script_with_a_checkpoint_does_so_too(
    run: tuple[Path, PredictionJob, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, job, expected = run
    checkpoint = next(home.glob("checkpoints/*/last.ckpt"))
    job = job.model_copy(update={"model": str(checkpoint)})
    (tmp_path / "script.py").write_text(python_script(job), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("script.py", run_name="__main__")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "array_0.tiff"), expected)
