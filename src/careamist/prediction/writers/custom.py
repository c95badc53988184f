"""Results that a function of the user's own writes, each as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.errors import CareamistError, SettingsError

if TYPE_CHECKING:
    from careamist.prediction.output import Output
    from careamist.prediction.writers.write_strategy import WriteFunc


class CustomWriter:
    """Calls a function for each result once all its pixels are there; until then in memory.

    Parameters
    ----------
    write_func : callable
        ``write_func(file_path=..., img=..., **write_func_kwargs)`` writes the array `img`, in the
        axes of the image, to `file_path`.
    write_extension : str
        Ending of the files: ``".npy"``.
    write_func_kwargs : mapping, optional
        More keyword arguments for it.

    Raises
    ------
    SettingsError
        If the function or the ending is missing.
    """

    BY_TILES = False

    def __init__(
        self,
        write_func: WriteFunc | None,
        write_extension: str | None,
        write_func_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        given = {"write_func": write_func, "write_extension": write_extension}
        missing = [name for name, value in given.items() if value is None or value == ""]
        if write_func is None or not write_extension:
            raise SettingsError(
                f"write_type='custom' was chosen without {' and '.join(missing)}.",
                "Give write_func=..., which is called with file_path and img, and "
                "write_extension='.npy' for one.",
            )
        if not callable(write_func):
            raise SettingsError(
                f"write_func={write_func!r} cannot be called:", "expected a function."
            )
        self.write_func = write_func
        # "npy" is meant as ".npy"
        self.EXTENSION = f"{'.' if write_extension[0].isalnum() else ''}{write_extension}"
        self.write_func_kwargs = dict(write_func_kwargs or {})

    def create(self, path: Path, output: Output, options: Any = None) -> CustomResult:
        """Begin a result; nothing is at its path until it is complete."""
        return CustomResult(self, path, output)

    def reopen(self, path: Path, output: Output, options: Any = None) -> CustomResult:
        """Open a result that was complete, but had not got its name."""
        return CustomResult(self, path, output, is_there=True)


class CustomResult:
    """One result in memory, NaN or 0 where it is still missing.

    Parameters
    ----------
    writer : CustomWriter
        What writes it.
    path : Path
        Where it goes: its name, and an ending that says that it is unfinished.
    output : Output
        The result.
    is_there : bool
        Whether the function has written it already.
    """

    def __init__(
        self, writer: CustomWriter, path: Path, output: Output, *, is_there: bool = False
    ) -> None:
        self._writer, self._path, self._output, self._is_there = writer, path, output, is_there
        self._room = path.with_name(f"{path.name}.d")
        shutil.rmtree(self._room, ignore_errors=True)  # of a process that was killed
        nothing = np.nan if output.dtype.kind == "f" else 0
        self._image = np.full(output.shape, nothing, dtype=output.dtype)

    def write(self, box: tuple[slice, ...], pixels: NDArray[Any]) -> None:
        """Put a box in its place."""
        self._image[box] = pixels

    def view(self) -> NDArray[Any]:
        """Return the array itself."""
        return self._image

    def complete(self, check: Callable[[], None]) -> None:
        """Let the function write the image, under its own name but in a folder of its own.

        Raises
        ------
        SettingsError
            If the function raises, or writes nothing at the path that it is given.
        """
        if self._is_there:
            return
        check()
        name = self._path.name.removesuffix(".part")
        self._room.mkdir(parents=True)
        try:
            self._call(self._room / name)
            for beside in self._room.iterdir():
                if beside.name != name:  # a header, a log: it belongs to the result
                    os.replace(beside, self._path.with_name(beside.name))
            os.replace(self._room / name, self._path)
            self._is_there = True
        finally:
            shutil.rmtree(self._room, ignore_errors=True)

    def close(self) -> None:
        """Forget the pixels: what was not complete is begun anew."""
        self._image = np.empty((0,), self._output.dtype)

    def _call(self, path: Path) -> None:
        function = self._writer.write_func
        name = getattr(function, "__name__", type(function).__name__)
        try:
            function(file_path=path, img=self._image, **self._writer.write_func_kwargs)
        except (CareamistError, MemoryError):
            raise
        except Exception as error:  # whatever the user's function raises
            if isinstance(error, OSError) and error.errno:  # a full disk, for one
                raise
            raise SettingsError(
                f"{path.name} could not be written by {name} ({type(error).__name__}: {error}).",
                "Check the function: it is called with file_path, img and write_func_kwargs.",
            ) from error
        if not path.exists():
            found = ", ".join(sorted(other.name for other in path.parent.iterdir())) or "nothing"
            raise SettingsError(
                f"{name} was to write {path.name}, but wrote {found}.",
                "Write to the path that is given as file_path; where a library adds an ending, "
                "give it as write_extension.",
            )
