"""Files that appear under their names only when they are complete, and errors in our words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from careamist.errors import CareamistError, UnreadableError


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file; it appears under its name only when it is complete."""
    part = target.with_name(target.name + ".part")
    try:
        shutil.copy2(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the file system says into an error of ours."""
    try:
        yield
    except CareamistError:
        raise
    except OSError as error:
        raise UnreadableError(
            f"{what}: {error.strerror or type(error).__name__}.",
            "Check that the folder is there and may be written to, and that the disk has room.",
        ) from error
