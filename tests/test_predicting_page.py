"""What docs/predicting.md shows to users runs as it is printed there, and says what is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from careamist import CAREamist
from careamist.cli import COMMANDS, main
from careamist.config import PredictionConfig
from careamist.config.job import load_job
from careamist.errors import SomeFailedError
from careamist.prediction.writers import WRITERS
from tiny import new, noise, small

PAGE = (Path(__file__).parents[1] / "docs" / "predicting.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHELL = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", "").splitlines()


def image(*shape):
    return np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    new(small(2), folder).train(train_data=noise())
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch, model):
    """The model and the images that the page speaks of; pixels of the TIFF files are 0.25 µm."""
    monkeypatch.chdir(tmp_path)
    Path("model").symlink_to(model, target_is_directory=True)
    Path("plates").mkdir()
    for name in "ab":
        tifffile.imwrite(
            f"plates/{name}.tif",
            image(72, 88),
            imagej=True,
            resolution=(4, 4),
            metadata={"unit": "um"},
        )
    zarr.create_array(store="big.zarr", data=image(1500, 90), chunks=(64, 64))
    return tmp_path


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def shell(line):
    program, *words = shlex.split(line)
    assert program == "careamist"
    return main(words)


@pytest.mark.slow
def test_the_examples_in_python_run(files):
    found = {}
    for block in PYTHON:
        exec(block, found)
    assert len(found["paths"]) == 2
    assert found["restored"][0].shape == found["spread"][0].shape == (72, 88)
    assert found["sources"] == ["plates/a.tif"]
    assert names("restored") == ["a.tiff", "b.tiff"]
    assert names("pyramids") == ["a.ome.zarr", "b.ome.zarr"]
    pyramid = zarr.open_group("pyramids/a.ome.zarr", mode="r")
    assert pyramid.attrs["ome"]["version"] == "0.5"
    assert pyramid["0"].dtype == np.uint16
    packed = np.load("packed/a.npz")["restored"]
    np.testing.assert_array_equal(packed, tifffile.imread("restored/a.tiff"))
    assert load_job("job.yml") == found["job"]


@pytest.mark.slow
def test_the_examples_in_the_shell_run(files):
    exec(PYTHON[-1], {})  # writes the job
    for line in SHELL:
        shares = [line.replace("1/4", f"{number}/4") for number in range(1, 5)]
        for one in shares if "1/4" in line else [line]:
            assert shell(one) == 0
    assert names("shell") == names("restored") == ["a.tiff", "b.tiff"]
    assert tifffile.imread("from_job/a.tiff").dtype == np.uint16
    assert shell("careamist run job.yml") == 1  # the files are there
    assert names("averaged") == ["a.tiff", "a_spread.tiff"]
    assert names("together") == ["big.zarr"]
    assert np.isfinite(zarr.open_array("together/big.zarr", mode="r")[:]).all()
    with tifffile.TiffFile("compressed/a.tiff") as tif:
        assert tif.is_imagej
        assert tif.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert (tif.imagej_metadata or {})["unit"] == "um"


@pytest.mark.slow
def test_tiles_missing_pixels_and_types_are_as_told(files):
    careamist = CAREamist(checkpoint_path="model")
    noisy = noise(150, 130)
    (whole,), sources = careamist.predict(noisy, precision="float32")
    (tiled,), _ = careamist.predict(noisy, tile_size=(64, 64), precision="float32")
    np.testing.assert_allclose(tiled, whole, rtol=1e-5)
    assert sources == []
    noisy[40, 50], noisy[90, 20] = np.nan, np.inf
    (gaps,), _ = careamist.predict(noisy)
    assert np.argwhere(~np.isfinite(gaps)).tolist() == [[40, 50], [90, 20]]
    assert np.isnan(gaps[90, 20])
    (rounded,), _ = careamist.predict(image(64, 64), dtype="input")
    assert rounded.dtype == np.uint16


@pytest.mark.slow
def test_a_broken_file_does_not_keep_others_back(files):
    Path("plates/broken.tif").write_bytes(b"II*\0 and nothing else")
    assert shell(SHELL[0]) == 1
    assert names("shell") == ["a.tiff", "b.tiff"]
    found = {"careamist": CAREamist(checkpoint_path="model")}
    (block,) = [block for block in PYTHON if "SomeFailedError" in block]
    exec(block, found)
    with pytest.raises(SomeFailedError, match=r"broken\.tif"):
        found["careamist"].predict_to_disk("plates", prediction_dir="other")


def test_every_format_and_setting_that_is_named_is_there():
    table = set(re.findall(r'^\| `"([\w-]+)"` \| `a', PAGE, re.MULTILINE))
    assert table == {*WRITERS, "custom"}
    options = set(re.findall(r"(?<!-)--([a-z]+)\b", " ".join(SHELL)))
    assert options <= set(COMMANDS["predict"].model_fields)
    named = set(re.findall(r"`(\w+)=", PAGE))
    others = {"overwrite", "share"}
    assert named - others <= set(PredictionConfig.model_fields)
