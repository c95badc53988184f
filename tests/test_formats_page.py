"""What docs/formats.md shows to users runs as it is printed there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from careamist.cli import main
from careamist.dataset.image_stack import FORMATS

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()


def image(*shape):
    return np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    for folder in ("movies", "raw"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        tifffile.imwrite(f"movies/{name}.tif", image(2, 64, 80))
        image(96, 128).tofile(f"raw/{name}.raw")
    store = zarr.create_group("cells.zarr")
    store.create_array("day_1", data=image(80, 64))
    store.create_group("day_2").create_array("a", data=image(64, 64))
    with h5py.File("cells.h5", "w") as file:
        for name in "ab":
            file[f"images/{name}"] = image(70, 64)
    return tmp_path


@pytest.mark.slow
def test_the_examples_in_python_run(files):
    blocks = re.findall(r"```python\n(?!#)(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        exec(block.replace("num_epochs=100", "num_epochs=1"), names)
        if "predict" in block:
            assert all(np.isfinite(result).all() for result in names["denoised"])
            assert names["sources"]
    assert names["config"].data_config.data_type == "custom"
    assert [path.name for path in sorted((files / "denoised").iterdir())] == ["a.tiff", "b.tiff"]


@pytest.mark.slow
def test_the_examples_in_the_shell_run(files):
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines():
        _, *words = shlex.split(line)
        more = ["--steps", "2"] if words[0] == "train" else []
        assert main([*words, *more]) == 0
    assert len(list((files / "denoised").iterdir())) == 2


def test_every_format_has_its_row():
    for name, module in FORMATS.items():
        assert f'| `"{name}"` |' in PAGE
        for ending in module.EXTENSIONS:
            assert f"`{ending}`" in PAGE
