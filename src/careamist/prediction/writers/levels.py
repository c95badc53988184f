"""The lower levels of a pyramid, made of the one above block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.prediction.writers.zarr_array import boxes

if TYPE_CHECKING:
    import zarr

    from careamist.prediction.output import Output

SMALL_EDGE = 512
"""The coarsest level has planes of at most this edge."""
_CHUNK_BYTES = 8 * 2**20  # chunks of levels are made larger than those of small tiles, up to this


def steps(shape: Mapping[str, int], pixel_size: Mapping[str, float]) -> list[dict[str, int]]:
    """Return for each lower level what it is halved along, compared to the one above.

    Y and X are; Z only where that leaves voxels nearer to cubes than not halving it would. Planes
    that are far apart, or nobody knows how far, show different things: their mean shows neither.

    Parameters
    ----------
    shape : mapping of str to int
        By axis.
    pixel_size : mapping of str to float
        By axis, in one unit, where known.

    Returns
    -------
    list of dict of str to int
        By axis, 1 or 2.
    """
    size, voxel, found = dict(shape), dict(pixel_size), []
    while max(size["Y"], size["X"]) > SMALL_EDGE:
        known = voxel.keys() >= {"Z", "Y", "X"}
        fine = known and voxel["Z"] <= math.sqrt(2) * math.sqrt(voxel["Y"] * voxel["X"])
        step = {
            axis: 2 if n > 1 and (axis in "YX" or (axis == "Z" and fine)) else 1
            for axis, n in size.items()
        }
        size = {axis: -(-n // step[axis]) for axis, n in size.items()}
        voxel = {axis: length * step[axis] for axis, length in voxel.items()}
        found.append(step)
    return found


def add_level(
    finer: zarr.Array[Any],
    folder: Path,
    axes: str,
    step: Mapping[str, int],
    output: Output,
    check: Callable[[], None],
) -> zarr.Array[Any]:
    """Write a level as means of the pixels of a finer one; what is in the folder is replaced.

    A chunk of the finer level is read once, and one of them at a time is in memory.

    Parameters
    ----------
    finer : zarr.Array
        The level above.
    folder : Path
        Where the level goes.
    axes : str
        Of both.
    step : mapping of str to int
        By axis, 2 where it is halved, else 1.
    output : Output
        Knows how means become pixels.
    check : callable
        Called before each part; it may raise.
    """
    import zarr

    factors = [step[axis] for axis in axes]
    shape = [-(-n // factor) for n, factor in zip(finer.shape, factors, strict=True)]
    unit = _chunk_shape(finer, axes)
    level = zarr.create_array(
        zarr.storage.LocalStore(folder),
        shape=shape,
        dtype=finer.dtype,
        chunks=tuple(map(min, zip(unit, shape, strict=True))),
        compressors=finer.compressors,
        fill_value=finer.fill_value,
        dimension_names=[*axes.lower()],
        config={"write_empty_chunks": True},
        zarr_format=3,
        overwrite=True,
    )
    # what a part is made of are whole chunks of the finer level
    parts = [n // factor if n % factor == 0 else n for n, factor in zip(unit, factors, strict=True)]
    for box in boxes([slice(0, n) for n in shape], unit):
        block = np.empty([entry.stop - entry.start for entry in box], dtype=finer.dtype)
        for part in boxes(box, parts):
            check()
            source = tuple(
                slice(entry.start * factor, min(entry.stop * factor, n))
                for entry, factor, n in zip(part, factors, finer.shape, strict=True)
            )
            at = tuple(
                slice(entry.start - whole.start, entry.stop - whole.start)
                for entry, whole in zip(part, box, strict=True)
            )
            means = _means(np.asarray(finer[source]), factors)
            block[at] = output.converted(means)[0]
        level[box] = block
    return level


def _chunk_shape(finer: zarr.Array[Any], axes: str) -> list[int]:
    """Return a whole number of chunks of the finer level; many, where they are small."""
    n_bytes = math.prod(finer.chunks) * finer.dtype.itemsize
    room = math.isqrt(max(_CHUNK_BYTES // n_bytes, 1))
    return [
        n * max(min(room, SMALL_EDGE // n), 1) if axis in "YX" else n
        for axis, n in zip(axes, finer.chunks, strict=True)
    ]


def _means(block: NDArray[Any], factors: Sequence[int]) -> NDArray[Any]:
    """Return means of pairs of pixels along some axes, as float; an odd last pixel stays."""
    means = block.astype(np.result_type(block.dtype, np.float32))
    with np.errstate(invalid="ignore"):  # of an infinite pixel and its opposite
        for axis, factor in enumerate(factors):
            if factor == 2:
                along = np.moveaxis(means, axis, 0)
                first, second = along[::2].copy(), along[1::2]
                first[: len(second)] *= 0.5
                first[: len(second)] += 0.5 * second
                means = np.moveaxis(first, 0, axis)
    return means
