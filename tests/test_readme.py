"""What README.md shows runs as it is printed there; links of all pages lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamist.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the image that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("noisy.tif", np.random.default_rng(0).normal(100, 10, (96, 96)).astype("f4"))
    return tmp_path


@pytest.mark.slow
def test_the_example_in_python_runs(here):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(block.replace("num_epochs=100", "num_epochs=1"), {})
    denoised = tifffile.imread("denoised.tif")
    assert denoised.shape == (96, 96)
    assert np.isfinite(denoised).all()


@pytest.mark.slow
def test_the_examples_in_the_shell_run(here):
    lines = [line for line in README.splitlines() if line.startswith("careamist ")]
    commands = [shlex.split(line, comments=True)[1:] for line in lines]
    commands = [words for words in commands if words and words[0] in COMMANDS]
    assert [words[0] for words in commands] == ["info", "train", "predict"]
    for words in commands:
        assert main([*words, *(["--steps", "2"] if words[0] == "train" else [])]) == 0
    assert [path.name for path in (here / "out").iterdir()] == ["noisy.tiff"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        known = {re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-") for words in headings}
        assert not anchor or anchor in known, link
