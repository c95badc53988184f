"""Which tiles of an unfinished result are there: a text file beside it, a line for each tile.

The first line says how the result is made. A result is taken up again only where that is the same;
then what is there stays, and what follows makes it equal to one that was never broken off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from careamist.errors import UnreadableError


class Journal:
    """The tiles of one unfinished result.

    Parameters
    ----------
    path : Path
        The file; several workers on one result have one each, told apart by `worker`.
    recipe : mapping
        How the result is made, in JSON types.
    worker : str
        Name of this worker among those of the result.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], worker: str = "") -> None:
        self._home, self._recipe = path, json.dumps(recipe, sort_keys=True)
        self._own = path.with_name(f"{path.name}{worker}")
        self._file: IO[str] | None = None

    def exists(self) -> bool:
        """Return whether there is an unfinished result, however it is made."""
        return bool(self._recipes())

    def fits(self) -> bool:
        """Return whether there is an unfinished result, made in this way."""
        return self._recipes() == {self._recipe}

    def done(self, count: int) -> NDArray[np.bool_]:
        """Return for each of `count` tiles whether it is there, whoever wrote it."""
        there = np.zeros(count, bool)
        for path in self._all():
            numbers = np.array(self._read(path)[1], dtype=np.intp)
            there[numbers[(numbers >= 0) & (numbers < count)]] = True
        return there

    def begin(self) -> None:
        """Write down from now on."""
        there = self._own.read_bytes() if self._own.exists() else b""
        whole = there[: there.rfind(b"\n") + 1]  # a killed process may have cut off its last line
        if whole != there:
            self._own.write_bytes(whole)
        self._file = self._own.open("a", encoding="utf-8", newline="\n")
        if not whole:
            self._write(self._recipe)

    def add(self, number: int) -> None:
        """Write down that a tile is there."""
        self._write(str(number))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Forget everything, of all workers."""
        self.close()
        for path in self._all():
            path.unlink(missing_ok=True)

    def _all(self) -> list[Path]:
        if not self._home.parent.is_dir():
            return []
        return sorted(
            path for path in self._home.parent.iterdir() if path.name.startswith(self._home.name)
        )

    def _recipes(self) -> set[str]:
        """Return how workers make the result; one that has only just begun does not say it yet."""
        return {recipe for path in self._all() if (recipe := self._read(path)[0])}

    def _write(self, line: str) -> None:
        if self._file is None:
            raise RuntimeError("The journal was not begun.")
        self._file.write(f"{line}\n")
        self._file.flush()

    @staticmethod
    def _read(path: Path) -> tuple[str, list[int]]:
        try:
            *lines, _cut_off = path.read_text(encoding="utf-8").split("\n")
            return (lines[0], [int(line) for line in lines[1:]]) if lines else ("", [])
        except (OSError, ValueError) as error:
            raise UnreadableError(
                f"{path} does not say which tiles are there ({error}).",
                "Remove it: the unfinished result is then made anew.",
            ) from error
