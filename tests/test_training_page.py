"""What docs/training.md shows to users runs as it is printed there, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamist.config import PRESETS

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()


@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("noisy", "low", "high"):
        Path(folder).mkdir()
        for name in "ab":
            image = np.random.default_rng(0).integers(0, 4000, (96, 96)).astype(np.uint16)
            tifffile.imwrite(f"{folder}/{name}.tif", image)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block.replace("num_epochs=100", "num_epochs=1"), names)
    kept = {path.name for path in Path("work/checkpoints").iterdir()}
    assert kept == {"cells_1", "pairs_1"}
    for name in ("last.ckpt", "losses.csv"):
        assert f"`{name}`" in PAGE
        assert (Path("work/checkpoints/cells_1") / name).is_file()
    assert names["config"].training_config.num_steps == 10_000


def test_every_preset_is_told():
    table = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert table == set(PRESETS)
