"""What is kept out of training to validate with: patches, or whole files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np

from careamist.dataset.patching import GridPatches
from careamist.dataset.region import PatchSpecs
from careamist.errors import SettingsError
from careamist.stream import integers, sample_keys

_VALIDATION = 1
_VALIDATION_SHARE = 10  # at most every tenth patch is kept out of training


def validation_patches(
    data_shapes: Sequence[Sequence[int]], patch_size: Sequence[int], wanted: int, seed: int
) -> list[PatchSpecs]:
    """Choose patches for validation: on a grid, spread over the data, no two side by side.

    The last cells of the grid are moved to the end of the image, so that no strip is left there
    that is too narrow for training. At most every tenth patch is taken, so that a small image
    keeps its pixels for training; fewer than `wanted`, or none, may come back.
    """
    cells = [
        [n // patch for n, patch in zip(shape[2:], patch_size, strict=True)]
        for shape in data_shapes
    ]
    counts = [shape[0] * math.prod(cell) for shape, cell in zip(data_shapes, cells, strict=True)]
    ends = np.cumsum(counts)
    wanted = min(wanted, int(ends[-1]) // _VALIDATION_SHARE)
    chosen: list[tuple[int, ...]] = []  # stack, sample, cell
    taken: set[tuple[int, ...]] = set()
    around = list(product((-1, 0, 1), repeat=len(patch_size)))
    key = sample_keys(seed, np.zeros(1, np.int64), _VALIDATION)
    for draw in integers(key, np.arange(50 * wanted, dtype=np.int64)):
        if len(chosen) == wanted:
            break
        place = int(draw % ends[-1])
        data_idx = int(np.searchsorted(ends, place, side="right"))
        place -= int(ends[data_idx - 1]) if data_idx else 0
        sample_idx, place = divmod(place, math.prod(cells[data_idx]))
        cell = tuple(int(i) for i in np.unravel_index(place, cells[data_idx]))
        beside = (tuple(i + d for i, d in zip(cell, step, strict=True)) for step in around)
        if taken.isdisjoint((data_idx, sample_idx, *other) for other in beside):
            chosen.append((data_idx, sample_idx, *cell))
            taken.add(chosen[-1])
    return [
        PatchSpecs(
            data_idx=data_idx,
            sample_idx=sample_idx,
            coords=tuple(
                n - patch if i == n // patch - 1 else i * patch
                for i, patch, n in zip(cell, patch_size, data_shapes[data_idx][2:], strict=True)
            ),
            patch_size=tuple(patch_size),
        )
        for data_idx, sample_idx, *cell in chosen
    ]


def validation_share(
    data_shapes: Sequence[Sequence[int]],
    patch_size: Sequence[int],
    share: float,
    least: int,
    seed: int,
) -> list[PatchSpecs]:
    """Choose a share of the patches of a grid for validation, and at least so many.

    As long as there are others, no sample gives all of its patches.

    Raises
    ------
    SettingsError
        If none would be left for training.
    """
    grid = GridPatches(data_shapes, patch_size)
    wanted = max(round(share * len(grid)), least)
    if wanted >= len(grid):
        raise SettingsError(
            f"{wanted} of {len(grid)} patches would be kept for validation.",
            "Give more images, smaller patches, a smaller val_minimum_split, or val_data.",
        )
    chosen: list[PatchSpecs] = []
    last: list[PatchSpecs] = []  # of their sample: taken only if there are too few others
    taken: Counter[tuple[int, int]] = Counter()
    sizes = [
        math.prod(-(-n // p) for n, p in zip(shape[2:], patch_size, strict=True))
        for shape in data_shapes
    ]
    for place in np.random.default_rng(seed).permutation(len(grid)):
        if len(chosen) == wanted:
            break
        spec = grid[int(place)]
        sample = (spec["data_idx"], spec["sample_idx"])
        taken[sample] += 1
        (last if taken[sample] == sizes[sample[0]] else chosen).append(spec)
    return (chosen + last)[:wanted]


def validation_files(n_files: int, share: float, least: int, seed: int) -> list[int]:
    """Choose a share of the files for validation, and at least so many.

    Raises
    ------
    SettingsError
        If none would be left for training.
    """
    wanted = max(round(share * n_files), least)
    if wanted >= n_files:
        raise SettingsError(
            f"{wanted} of {n_files} images would be kept for validation.",
            "Give more files, a smaller val_minimum_split, or val_data.",
        )
    return sorted(np.random.default_rng(seed).permutation(n_files)[:wanted].tolist())
