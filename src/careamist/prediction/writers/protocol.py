"""What a way to write is, for those who add one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    from careamist.prediction.output import Output


@dataclass(frozen=True)
class WriteOptions:
    """How pixels are stored.

    Parameters
    ----------
    compression : str
        ``"default"`` is what suits the format, ``"none"``, or a name that it knows.
    compression_level : int, optional
        What that compression takes as its level.
    """

    compression: str = "default"
    compression_level: int | None = None


class ResultFile(Protocol):
    """A result that is being written, under another name than its own."""

    def write(self, box: tuple[slice, ...], pixels: NDArray[Any]) -> None:
        """Write a box of the result; each box is the core of one tile and is written once."""

    def view(self) -> Any:
        """Return what is there: an array, or the levels of a pyramid, finest first."""

    def complete(self, check: Callable[[], None]) -> None:
        """Add what is made of all tiles (levels, an index), and let go of the file.

        `check` is called now and then; it may raise, and completing is then begun again later.
        """

    def close(self) -> None:
        """Let go of the file as it is; it may be opened again."""


class Writer(Protocol):
    """A module of `writers`, or an object, that knows how results are stored."""

    EXTENSION: str
    """Ending of the file, with the dot."""

    BY_TILES: bool
    """Whether several workers may write tiles of one result at a time."""

    def create(self, path: Path, output: Output, options: WriteOptions) -> ResultFile:
        """Begin a result at a path where nothing is."""

    def reopen(self, path: Path, output: Output, options: WriteOptions) -> ResultFile:
        """Open what `create` began, to write what is missing."""
