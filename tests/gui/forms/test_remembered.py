"""What the docks remember survives a day, and a damaged file does not hurt."""

from __future__ import annotations

from pathlib import Path

import pytest

from careamist.gui.forms.remembered import Remembered, differences, merged


@pytest.fixture
def memory(tmp_path: Path) -> Remembered:
    return Remembered(tmp_path / "folder" / "docks.json")


def test_values_come_back(memory: Remembered, tmp_path: Path) -> None:
    memory.set("a", {"b": [1, 2.5, None]})
    memory.set("c", "text")
    again = Remembered(tmp_path / "folder" / "docks.json")
    assert again.get("a") == again.table("a") == {"b": [1, 2.5, None]}
    assert again.get("c") == "text"
    assert again.table("c") == {}
    again.set("a", None)
    assert memory.get("a") is None
    assert memory.get("c") == "text"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"version": 0, "a": 1}', '{"a": 1}', "\xff"])
def test_a_damaged_or_older_file_counts_as_empty(
    memory: Remembered, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "folder" / "docks.json"
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    assert memory.get("a") is None
    memory.set("a", 2)
    assert memory.get("a") == 2


def test_a_place_that_cannot_be_written_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Remembered(tmp_path / "file" / "docks.json")
    memory.set("a", 1)
    assert memory.get("a") is None


def test_another_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from careamist.gui.forms import remembered

    monkeypatch.undo()  # the folders of the tests
    monkeypatch.setenv("CAREAMIST_SETTINGS", str(tmp_path / "own.json"))
    assert remembered.settings_file() == tmp_path / "own.json"


def test_only_differences_are_kept() -> None:
    defaults = {"a": 1, "model": {"depth": 2, "filters": 16}, "n": {"name": "x", "p": 1}, "s": [1]}
    values = {"a": 1, "model": {"depth": 3, "filters": 16}, "n": {"name": "y", "q": 2}, "s": [2]}
    found = differences(values, defaults)
    assert found == {"model": {"depth": 3}, "n": {"name": "y", "q": 2}, "s": [2]}
    assert merged(defaults, found) == values
    assert differences(defaults, defaults) == {}
    newer = defaults | {"a": 7}  # a default that has changed since reaches who kept the old one
    assert merged(newer, found)["a"] == 7
