"""What can go wrong, each also a builtin so that callers may catch either.

CareamistError
├── AxesError · ShapeError · DataError · SettingsError · CheckpointError   (ValueError)
├── SourceNotFoundError                                                    (FileNotFoundError)
├── OutputExistsError                                                      (FileExistsError)
├── UnreadableError · DiskFullError                                        (OSError)
└── NotTrainedError · DivergedError · SomeFailedError                      (RuntimeError)
"""

from __future__ import annotations

from collections.abc import Mapping


class CareamistError(Exception):
    """An error that says what was given and expected (`message`) and what to do (`hint`)."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message, hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class AxesError(CareamistError, ValueError):
    """Axes that cannot be read or do not fit the data."""


class ShapeError(CareamistError, ValueError):
    """A shape that does not fit what is asked of it."""


class DataError(CareamistError, ValueError):
    """Pixels nothing can be learnt from: constant, NaN, Inf, complex."""


class SettingsError(CareamistError, ValueError):
    """Settings that contradict each other or the data."""


class CheckpointError(CareamistError, ValueError):
    """A file that is no checkpoint of ours, or a broken one."""


class SourceNotFoundError(CareamistError, FileNotFoundError):
    """A path that does not exist or holds no images."""


class OutputExistsError(CareamistError, FileExistsError):
    """An output file that is already there."""


class UnreadableError(CareamistError, OSError):
    """A file that cannot be read as what it claims to be."""


class DiskFullError(CareamistError, OSError):
    """A result that does not fit on its disk."""


class NotTrainedError(CareamistError, RuntimeError):
    """A prediction was asked of a model that was never trained."""


class DivergedError(CareamistError, RuntimeError):
    """A training whose loss is no longer a number."""


class SomeFailedError(CareamistError, RuntimeError):
    """A run over several images some of which failed; the others are complete."""

    @classmethod
    def of(cls, failures: Mapping[str, str], count: int) -> SomeFailedError:
        """Return the error that names the images and what went wrong with each."""
        said = " ".join(
            message if source in message else f"{source}: {message}"
            for source, message in failures.items()
        )
        others = "The others are complete. " if len(failures) < count else ""
        return cls(
            f"{len(failures)} of {count} images could not be restored. {said}",
            f"{others}Correct them and start again with overwrite='skip'.",
        )
