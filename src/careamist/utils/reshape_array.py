"""Axes algebra between the order of a file and the order inside: SC(Z)YX and C(Z)YX.

Axes are letters of ``STCZYX``. Inside, S and T are one sample axis (S outer, T inner), C is always
there, Z only when the data has it. Nothing here copies unless it must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.errors import AxesError, ShapeError

AXES = "STCZYX"
SAMPLE_AXES = "ST"


def check_axes(axes: str, n_dims: int | None = None) -> str:
    """Return `axes` in capitals, or raise if they cannot describe an image.

    Parameters
    ----------
    axes : str
        Distinct letters of ``STCZYX`` that contain Y and X, in any order.
    n_dims : int, optional
        Number of dimensions that the axes must name.

    Raises
    ------
    AxesError
        If a letter is unknown or used twice, Y or X is missing, or the number differs.
    """
    given, axes = axes, axes.upper()
    expected = f"expected distinct letters of {AXES} with Y and X, for example 'YX' or 'TYX'."
    if unknown := sorted(set(axes) - set(AXES)):
        raise AxesError(f"axes='{given}' has unknown letters {', '.join(unknown)}:", expected)
    if len(set(axes)) != len(axes):
        raise AxesError(f"axes='{given}' names an axis twice:", expected)
    if "Y" not in axes or "X" not in axes:
        raise AxesError(f"axes='{given}' lacks Y or X:", expected)
    if n_dims is not None and len(axes) != n_dims:
        raise AxesError(
            f"axes='{given}' names {len(axes)} axes but the image has {n_dims}.",
            "Give one letter per dimension, for example 'TYX' for a movie or 'ZYX' for a volume.",
        )
    return axes


def spatial_axes(axes: str) -> str:
    """Return ``ZYX`` if Z is among the axes, else ``YX``."""
    return "ZYX" if "Z" in axes else "YX"


def _canonical(axes: str) -> str:
    return "".join(axis for axis in AXES if axis in axes)


@dataclass(frozen=True)
class AxesTransform:
    """The way from the axes of a file to SC(Z)YX and back.

    Parameters
    ----------
    original_axes : str
        Axes of the data, e.g. ``"YXC"``.
    original_shape : sequence of int
        Shape of the data, one entry per axis.

    Raises
    ------
    AxesError
        If the axes are invalid or do not fit the shape.

    Examples
    --------
    >>> AxesTransform("YXC", (512, 620, 2)).transformed_shape
    (1, 2, 512, 620)
    """

    original_axes: str
    original_shape: Sequence[int]

    def __post_init__(self) -> None:
        axes = check_axes(self.original_axes, len(self.original_shape))
        object.__setattr__(self, "original_axes", axes)
        object.__setattr__(self, "original_shape", tuple(int(n) for n in self.original_shape))

    def size(self, axis: str) -> int:
        """Return the length of an axis, 1 if the data does not have it."""
        if axis not in self.original_axes:
            return 1
        return self.original_shape[self.original_axes.index(axis)]

    @property
    def transformed_axes(self) -> str:
        """``SCYX`` or ``SCZYX``."""
        return "SC" + spatial_axes(self.original_axes)

    @property
    def transformed_shape(self) -> tuple[int, ...]:
        """Shape in the order of `transformed_axes`; S has S·T entries."""
        spatial = tuple(self.size(axis) for axis in spatial_axes(self.original_axes))
        return (self.size("S") * self.size("T"), self.size("C"), *spatial)

    def transform(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array from the original axes to SC(Z)YX (a view where numpy can)."""
        order = _canonical(self.original_axes)
        array = array.transpose([self.original_axes.index(axis) for axis in order])
        return array.reshape(self.transformed_shape)

    def restore(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array from SC(Z)YX back to the original axes.

        Parameters
        ----------
        array : numpy.ndarray
            In SC(Z)YX; the number of channels may differ from the original one.

        Returns
        -------
        numpy.ndarray
            In the original axes. Where they have no C and the array has several channels, C is
            put before the first spatial axis.
        """
        order = _canonical(self.original_axes)
        out_axes = self.restored_axes(array.shape[1])
        keep_c = "C" if "C" in out_axes else ""
        order = _canonical(order.replace("C", "") + keep_c)
        sizes = {"C": array.shape[1]}
        array = array.reshape([sizes.get(axis, self.size(axis)) for axis in order])
        return array.transpose([order.index(axis) for axis in out_axes])

    def restored_axes(self, n_channels: int) -> str:
        """Return the axes of a result with `n_channels` channels."""
        axes = self.original_axes
        if n_channels == 1 or "C" in axes:
            return axes
        first_spatial = min(axes.index(axis) for axis in spatial_axes(axes))
        return axes[:first_spatial] + "C" + axes[first_spatial:]

    def restored_shape(self, n_channels: int) -> tuple[int, ...]:
        """Return the shape of a result with `n_channels` channels, in `restored_axes`."""
        axes = self.restored_axes(n_channels)
        return tuple(n_channels if axis == "C" else self.size(axis) for axis in axes)

    def sample_position(self, sample_idx: int) -> dict[str, int]:
        """Return where a sample of the merged axis lies on the original S and T."""
        n_t = self.size("T")
        return {"S": sample_idx // n_t, "T": sample_idx % n_t}

    def boxes(
        self, samples: range, coords: Sequence[int], size: Sequence[int]
    ) -> list[tuple[slice, ...]]:
        """Return what to index the data with to read several samples at one place.

        Parameters
        ----------
        samples : range
            Consecutive samples of the merged axis.
        coords, size : sequence of int
            First pixel and size in (Z)YX, inside the image.

        Returns
        -------
        list of tuple of slice
            Boxes in the original axes that together hold the samples, in their order.
        """
        n_t = self.size("T")
        spatial = {
            axis: slice(start, start + n)
            for axis, start, n in zip(spatial_axes(self.original_axes), coords, size, strict=True)
        }
        (first, skipped), (last, rest) = divmod(samples.start, n_t), divmod(samples.stop, n_t)
        if not skipped and not rest:
            runs = [(slice(first, last), slice(0, n_t))]
        else:
            runs = [
                (slice(s, s + 1), slice(skipped * (s == first), rest if s == last else n_t))
                for s in range(first, last + bool(rest))
            ]
        return [
            tuple(
                {**spatial, "S": s, "T": t, "C": slice(None)}[axis] for axis in self.original_axes
            )
            for s, t in runs
        ]


def get_patch_slices(
    original_axes: str,
    original_data_shape: Sequence[int],
    sample_idx: int,
    channels: Sequence[int] | None,
    coords: Sequence[int],
    patch_size: Sequence[int],
) -> tuple[slice | list[int], ...]:
    """Return what to index an array in its original axes with, to read one patch.

    The part of the patch outside the image is left out (`pad_patch` adds it). S and T are indexed
    with slices of length one, so every dimension stays and a list of channels cannot move an axis.

    Parameters
    ----------
    original_axes : str
        Axes of the array.
    original_data_shape : sequence of int
        Shape of the array.
    sample_idx : int
        Index on the merged sample axis (S outer, T inner).
    channels : sequence of int or None
        Channels to read, all if None.
    coords : sequence of int
        First pixel of the patch, one entry per spatial axis in the order (Z)YX.
    patch_size : sequence of int
        Size of the patch in pixels, in the same order.

    Returns
    -------
    tuple of slice or list of int
        One entry per original axis.

    Raises
    ------
    AxesError
        If axes and shape do not fit, or coords and patch_size are not (Z)YX.
    IndexError
        If the sample or a channel is out of range.
    """
    axes_transform = AxesTransform(original_axes, original_data_shape)
    axes = axes_transform.original_axes
    spatial = spatial_axes(axes)
    if not len(coords) == len(patch_size) == len(spatial):
        raise AxesError(
            f"coords={tuple(coords)} and patch_size={tuple(patch_size)} do not fit axes '{axes}':",
            f"expected {len(spatial)} entries each, in the order {spatial}.",
        )
    n_samples, n_channels = axes_transform.transformed_shape[:2]
    if not 0 <= sample_idx < n_samples:
        raise IndexError(f"sample_idx={sample_idx} is out of range for {n_samples} samples.")
    entries: dict[str, slice | list[int]] = {
        axis: slice(place, place + 1)
        for axis, place in axes_transform.sample_position(sample_idx).items()
    }
    entries["C"] = _channel_entry(channels, n_channels)
    for axis, start, length in zip(spatial, coords, patch_size, strict=True):
        size = axes_transform.size(axis)
        entries[axis] = slice(min(max(start, 0), size), max(min(start + length, size), 0))
    return tuple(entries[axis] for axis in axes)


def _channel_entry(channels: Sequence[int] | None, n_channels: int) -> slice | list[int]:
    if channels is None:
        return slice(None)
    wanted = [int(channel) for channel in channels]
    if bad := [channel for channel in wanted if not 0 <= channel < n_channels]:
        raise IndexError(f"channels {bad} are out of range for {n_channels} channels.")
    if wanted == list(range(wanted[0], wanted[0] + len(wanted))):
        return slice(wanted[0], wanted[-1] + 1)  # also readable by stores without fancy indexing
    return wanted


def reshape_patch(patch_data: NDArray[Any], original_axes: str) -> NDArray[Any]:
    """Bring a patch of one sample from its original axes to C(Z)YX.

    Parameters
    ----------
    patch_data : numpy.ndarray
        What indexing with `get_patch_slices` returned; S and T have length one or are gone.
    original_axes : str
        Axes of the array that was indexed.

    Returns
    -------
    numpy.ndarray
        The patch in C(Z)YX; C has length one where the data has no channels.

    Raises
    ------
    ShapeError
        If the patch has neither all the axes nor all but S and T, or several samples.
    """
    axes = check_axes(original_axes)
    patch_data = np.asarray(patch_data)
    without_samples = "".join(axis for axis in axes if axis not in SAMPLE_AXES)
    present = axes if patch_data.ndim == len(axes) else without_samples
    if patch_data.ndim != len(present):
        raise ShapeError(
            f"A patch of shape {patch_data.shape} does not fit axes '{axes}':",
            f"expected {len(axes)} dimensions, or {len(without_samples)} without S and T.",
        )
    samples = math.prod(
        n for axis, n in zip(present, patch_data.shape, strict=True) if axis in SAMPLE_AXES
    )
    if samples != 1:
        raise ShapeError(
            f"A patch of shape {patch_data.shape} with axes '{present}' has {samples} samples:",
            "expected one.",
        )
    order = [present.index(axis) for axis in _canonical(present)]
    shape = dict(zip(present, patch_data.shape, strict=True))
    target = [shape.get(axis, 1) for axis in "C" + spatial_axes(axes)]
    return patch_data.transpose(order).reshape(target)


def restore_patch(patch: NDArray[Any], axes: str) -> NDArray[Any]:
    """Bring a patch from C(Z)YX to `axes`, with S and T of length one (undo `reshape_patch`).

    Parameters
    ----------
    patch : numpy.ndarray
        In C(Z)YX.
    axes : str
        Axes of the array that the patch is to be written into.

    Returns
    -------
    numpy.ndarray
        A view with one dimension per letter of `axes`.
    """
    inside = "C" + spatial_axes(axes)
    if "C" not in axes:
        patch, inside = patch[0], inside[1:]
    ordered = patch.transpose([inside.index(axis) for axis in axes if axis in inside])
    return ordered[tuple(np.newaxis if axis in SAMPLE_AXES else slice(None) for axis in axes)]
