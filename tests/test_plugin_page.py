"""What docs/plugin.md calls by name is called so in the docks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import careamist
from careamist.config import PRESETS
from careamist.config.methods import METHODS

PAGE = (Path(__file__).parents[1] / "docs" / "plugin.md").read_text()
PACKAGE = Path(careamist.__file__).parent
WORDS = {
    text.replace("&&", "\0").replace("&", "").replace("\0", "&")
    for file in (PACKAGE / "gui").rglob("*.py")
    for text in re.findall(r'"([^"\n]+)"', file.read_text(encoding="utf-8"))
}
NAMED = sorted(set(re.findall(r"\*\*(.+?)\*\*", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_names_in_bold_are_those_of_the_docks(name):
    label = re.compile(rf"(<b>)?{re.escape(name)}($|</b>|\{{)")  # "{": what follows is computed
    assert any(label.match(words) for words in WORDS)


def test_docks_efforts_and_methods_are_those_that_there_are():
    manifest = yaml.safe_load((PACKAGE / "napari.yaml").read_text())["contributions"]
    docks = {widget["display_name"] for widget in manifest["widgets"]}
    assert docks == set(re.findall(r"^- \[(\w+)\]\(#", PAGE, re.MULTILINE))
    for sample in manifest["sample_data"]:
        assert sample["display_name"] in PAGE
    (row,) = re.findall(r"^\| \*\*Effort\*\* \| (.*)$", PAGE, re.MULTILINE)
    assert all(PRESETS[name].title in row for name in ("quick", "standard", "thorough"))
    (row,) = re.findall(r"^\| \*\*Method\*\* \| (.*)$", PAGE, re.MULTILINE)
    assert all(method.title in row for method in METHODS.values() if method.needs_target)
