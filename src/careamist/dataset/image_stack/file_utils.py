"""What the readers of files share: our errors for theirs, mapped files, decoded parts kept."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from careamist.errors import CareamistError, SourceNotFoundError, UnreadableError

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
# Parts of this size are decoded without asking whether they can be that large.
_HARMLESS = 2**28


def existing_file(path: Any) -> Path:
    """Return `path`, or raise `SourceNotFoundError` if it is no file."""
    file = Path(path)
    if not file.is_file():
        raise SourceNotFoundError(f"There is no file {file}.", "Check the path.")
    return file


@contextmanager
def reading(path: str | Path, kind: str) -> Iterator[None]:
    """Turn whatever a broken file makes a library raise into `UnreadableError`.

    Parameters
    ----------
    path : path
        The file that is read.
    kind : str
        What it claims to be, with its article: ``"a TIFF"``.
    """
    token = _quiet.set(True)
    try:
        yield
    except CareamistError:
        raise
    except Exception as error:  # a dozen kinds, struct.error and ZeroDivisionError among them
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise UnreadableError(
                f"{path} is compressed in a way that is not known here ({error}).",
                "Update imagecodecs, or save the image without compression.",
            ) from error
        if isinstance(error, OSError) and error.errno:  # no longer there, not allowed, disk, net
            raise UnreadableError(
                f"{path} cannot be read ({error.strerror}).",
                "Check that the file is there and that you may read it.",
            ) from error
        raise UnreadableError(
            f"{path} cannot be read as {kind} ({_words(error)}).",
            "Open it in the program that made it and save it again.",
        ) from error
    finally:
        _quiet.reset(token)


def cut_short(path: str | Path, missing: str) -> UnreadableError:
    """Return the error for a file of which a part is missing."""
    return UnreadableError(
        f"{path} is cut short: {missing}.", "Copy the file again from where it was made."
    )


def check_decoded_size(path: str | Path, decoded: int, stored: int, most: float) -> None:
    """Raise if a part cannot be decoded: larger than memory, or than its bytes can stand for.

    Parameters
    ----------
    path : path
        The file.
    decoded, stored : int
        Bytes of the part as pixels and in the file.
    most : float
        How many bytes of pixels one byte of the file can stand for.

    Raises
    ------
    UnreadableError
        Before anything is allocated.
    """
    if decoded <= _HARMLESS:
        return
    size = f"{decoded / 2**30:.3g} GiB"
    if decoded > stored * most:
        raise UnreadableError(
            f"{path} claims that {stored} bytes of it hold {size} of pixels: it is damaged.",
            "Copy the file again from where it was made.",
        )
    if decoded > psutil.virtual_memory().available / 2:
        raise UnreadableError(
            f"{path} must be decoded in parts of {size}, which do not fit into memory.",
            "Save it in tiles, or without compression.",
        )


@lru_cache(maxsize=64)  # each holds a file descriptor, and macOS gives a process 256
def map_bytes(path: str, changed: int) -> NDArray[Any]:
    """Return the bytes of a file, mapped read-only; the last few files stay mapped.

    Parameters
    ----------
    path : str
        The file.
    changed : int
        When it was last changed, so that another file of this name is mapped anew.
    """
    return np.memmap(path, np.uint8, "r")


class PartCache:
    """Keeps the decoded parts that were used last, up to a number of bytes.

    The one used last is always kept, however large. May be used by several threads.

    Parameters
    ----------
    limit : int
        Bytes to keep.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._parts: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the part called `key`; `decode` makes it if it is not kept."""
        with self._lock:
            if key in self._parts:
                self._parts.move_to_end(key)
                return self._parts[key]
        part = decode()
        with self._lock:
            if key not in self._parts:
                self._parts[key] = part
                self.nbytes += part.nbytes
            while self.nbytes > self.limit and len(self._parts) > 1:
                self.nbytes -= self._parts.popitem(last=False)[1].nbytes
        return part


def in_words(shape: Sequence[int]) -> str:
    """Return ``"16 × 256 × 256"``."""
    return " × ".join(str(n) for n in shape)


def is_plausible(shape: tuple[int, ...]) -> bool:
    """Return whether an image has pixels and numpy could address them."""
    return len(shape) >= 2 and 0 < math.prod(shape) < 2**60


def _heard(record: logging.LogRecord) -> bool:
    return not _quiet.get()


# tifffile logs what `reading` raises in our words
logging.getLogger("tifffile").addFilter(_heard)


def _words(error: Exception) -> str:
    """Return what an error says, if that is more than a number or a key."""
    said = str(error)
    return said if any(map(str.isalpha, said)) else "it is damaged"
