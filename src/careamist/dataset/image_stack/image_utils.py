"""Helpers for writing an image stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pad_patch(
    coords: Sequence[int],
    patch_size: Sequence[int],
    data_shape: Sequence[int],
    patch_data: NDArray[Any],
) -> NDArray[Any]:
    """Fill the part of a patch that lies outside the image with zeros.

    Parameters
    ----------
    coords : sequence of int
        First pixel of the patch in (Z)YX; may be negative.
    patch_size : sequence of int
        Wanted size in (Z)YX.
    data_shape : sequence of int
        Shape of the image in SC(Z)YX.
    patch_data : numpy.ndarray
        The part of the patch inside the image, in C(Z)YX.

    Returns
    -------
    numpy.ndarray
        Of shape (C, *patch_size) and the dtype of `patch_data`; itself where nothing is missing.
    """
    if tuple(patch_data.shape[1:]) == tuple(patch_size):
        return patch_data
    patch = np.zeros((patch_data.shape[0], *patch_size), dtype=patch_data.dtype)
    inside = [slice(None)]
    for start, length, size in zip(coords, patch_size, data_shape[2:], strict=True):
        first = min(max(-start, 0), length)
        inside.append(slice(first, max(min(size - start, length), first)))
    patch[tuple(inside)] = patch_data
    return patch
