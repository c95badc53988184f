"""Pixels in memory, kept in a file that a script can name."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from careamist.config.job import DataReference
from careamist.dataset.image_stack import array as array_format
from careamist.errors import UnreadableError

_BLOCK = 64 * 2**20  # bytes that are held at a time


def keep_array(array: Any, folder: Path, name: str) -> DataReference:
    """Write an array, block by block, to a file named after its content; once for the same pixels.

    An array that is stored in chunks becomes a Zarr array with the same chunks, as these say in
    which order patches are drawn in a training; any other becomes a ``.npy`` file.

    Parameters
    ----------
    array : array-like
        numpy, dask, zarr, xarray, ...: anything with `shape`, `dtype` and slicing.
    folder : Path
        Where the file goes; made when needed.
    name : str
        What the file name begins with.

    Returns
    -------
    DataReference
        To be read `as_array`.

    Raises
    ------
    UnreadableError
        If the file cannot be written.
    """
    info = array_format.describe(array)
    chunks = info.chunk_shape
    suffix = ".npy" if chunks is None else ".zarr"
    part = folder / f"part-{os.getpid()}{suffix}"
    digest = hashlib.blake2b(f"{info.shape} {info.dtype.str} {chunks}".encode(), digest_size=4)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = _target(part, info.shape, info.dtype, chunks)
        for block in _blocks(info.shape, info.dtype.itemsize, chunks):
            pixels = np.ascontiguousarray(array[block])
            digest.update(pixels.tobytes())
            target[block] = pixels
        del target  # closes the mapped file
        kept = folder / f"{_file_name(name)}_{digest.hexdigest()}{suffix}"
        if not kept.exists():
            os.replace(part, kept)
    except OSError as error:
        raise UnreadableError(
            f"The pixels of “{name}” cannot be kept in {folder} ({error.strerror or error}).",
            "Make room there, or save the image and choose the file.",
        ) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    return DataReference(path=str(kept), as_array=True)


def _target(path: Path, shape: Any, dtype: Any, chunks: Any) -> Any:
    if chunks is None:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    import zarr

    if path.exists():
        shutil.rmtree(path)
    return zarr.create_array(store=str(path), shape=shape, dtype=dtype, chunks=chunks)


def _blocks(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...] | None
) -> Iterator[tuple[slice, ...]]:
    """Yield boxes that cover an array: its chunks, or rows along the first axis."""
    if chunks is None:
        row = itemsize * int(np.prod(shape[1:]))
        chunks = (max(1, _BLOCK // max(1, row)), *shape[1:])
    starts = [range(0, n, max(1, step)) for n, step in zip(shape, chunks, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(
            slice(at, min(at + step, n)) for at, step, n in zip(corner, chunks, shape, strict=True)
        )


def _file_name(name: str) -> str:
    return re.sub(r"[^\w\-]+", "_", name).strip("_")[:40] or "image"
