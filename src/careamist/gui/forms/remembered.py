"""What the docks remember from one day to the next: a small JSON file of our own."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import platformdirs

__all__ = ["Remembered", "differences", "merged", "settings_file"]

VERSION = 1


def settings_file() -> Path:
    """Return where settings are kept; the variable ``CAREAMIST_SETTINGS`` names another file."""
    if named := os.environ.get("CAREAMIST_SETTINGS"):
        return Path(named)
    return Path(platformdirs.user_config_dir("careamist", appauthor=False)) / "docks.json"


class Remembered:
    """Values under names, kept in a file.

    A file that is missing, damaged or of another version counts as empty; one that cannot be
    written is not missed.

    Parameters
    ----------
    path : Path, optional
        The file; that of the docks when not given.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or settings_file()

    def get(self, name: str) -> Any:
        """Return a value, or None."""
        return self._read().get(name)

    def table(self, name: str) -> dict[str, Any]:
        """Return a value that is a table; an empty one where it is not."""
        value = self.get(name)
        return value if isinstance(value, dict) else {}

    def set(self, name: str, value: Any) -> None:
        """Keep a value of JSON types; None forgets it."""
        values = self._read()  # other windows write too
        if values.get(name) == value:
            return
        values[name] = value
        if value is None:
            del values[name]
        text = json.dumps({"version": VERSION, **values}, indent=1)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            os.replace(part, self._path)

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(values, dict) or values.pop("version", None) != VERSION:
            return {}
        return values


def differences(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return what differs from the defaults; of tables that are of one kind, what in them does."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        default: Any = defaults.get(name)
        if value == default:
            continue
        alike = isinstance(value, dict) and isinstance(default, dict)
        if alike and value.keys() == default.keys() and value.get("name") == default.get("name"):
            found[name] = differences(value, default)
        else:
            found[name] = value
    return found


def merged(defaults: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults with what `differences` has found."""
    values = dict(defaults)
    for name, change in changes.items():
        default: Any = values.get(name)
        is_part = isinstance(change, dict) and isinstance(default, dict)
        if is_part and change.keys() <= default.keys() and "name" not in change:
            values[name] = merged(default, change)
        else:
            values[name] = change
    return values
