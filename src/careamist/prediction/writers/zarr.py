"""Writing plain Zarr: one array, version 3, at the root of the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist.prediction.writers import zarr_array

if TYPE_CHECKING:
    from careamist.prediction.output import Output
    from careamist.prediction.writers.protocol import WriteOptions
    from careamist.prediction.writers.zarr_array import ZarrArray

EXTENSION = ".zarr"
BY_TILES = True


def create(path: Path, output: Output, options: WriteOptions | None = None) -> ZarrArray:
    """Begin a result at a path where nothing is.

    Its dimensions are named after its axes; its attributes hold ``pixel_size`` and ``units`` by
    these names, ``channel_names``, as far as they are known, and the recipe as ``careamist``.

    Raises
    ------
    SettingsError
        If the compression is not known.
    """
    return zarr_array.create(path, output, options, output.axes, _attributes(output))


def reopen(path: Path, output: Output, options: WriteOptions | None = None) -> ZarrArray:
    """Open what `create` began, to write what is missing.

    Raises
    ------
    UnreadableError
        If it cannot be opened, or is not what would be begun.
    """
    return zarr_array.reopen(path, output, output.axes)


def _attributes(output: Output) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (info := output.info) is not None:
        sizes = {axis: size for axis, size in info.pixel_size.items() if axis in output.axes}
        found["pixel_size"] = {axis.lower(): float(size) for axis, size in sizes.items()}
        found["units"] = {axis.lower(): info.units[axis] for axis in sizes if axis in info.units}
        if len(info.channel_names) == output.n_channels:
            found["channel_names"] = list(info.channel_names)
    found["careamist"] = dict(output.recipe)
    return {name: value for name, value in found.items() if value}
