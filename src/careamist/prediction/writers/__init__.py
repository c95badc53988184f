"""Table of contents: one file per way to write, one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from careamist.dataset.sources import guess_data_type
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from careamist.prediction.writers.protocol import Writer
    from careamist.prediction.writers.write_strategy import WriteFunc

WRITERS = {"tiff": "tiff", "zarr": "zarr", "ome-zarr": "ome_zarr"}
"""Names of ways to write → their modules, which are imported when they are needed."""

_STRATEGIES = ("ImageWriteStrategy", "WriteFunc", "WriteImage", "WriteStrategy", "combine_samples")
_LAZY = {"create_write_file_path": "file_paths"} | dict.fromkeys(_STRATEGIES, "write_strategy")

__all__ = ["WRITERS", "default_writer", "writer_of", *_LAZY]


def writer_of(
    name: str,
    write_func: WriteFunc | None = None,
    write_extension: str | None = None,
    write_func_kwargs: Mapping[str, Any] | None = None,
) -> Writer:
    """Return a way to write by its name.

    Parameters
    ----------
    name : str
        One of `WRITERS`, or ``"custom"``.
    write_func, write_extension, write_func_kwargs
        What a custom writer calls, the ending of its files, and what else it is given.

    Raises
    ------
    SettingsError
        If the name is not known, or what a custom writer needs is missing.
    """
    if name == "custom":
        from careamist.prediction.writers.custom import CustomWriter

        return CustomWriter(write_func, write_extension, write_func_kwargs)
    if name not in WRITERS:
        raise SettingsError(
            f"write_type='{name}' is not known:",
            f"expected one of {', '.join(WRITERS)}, custom.",
        )
    if write_func is not None or write_extension is not None or write_func_kwargs is not None:
        raise SettingsError(
            f"A function that writes was given, but write_type='{name}'.",
            "Choose write_type='custom', or leave it out.",
        )
    return cast("Writer", import_module(f"{__name__}.{WRITERS[name]}"))


def default_writer(data_type: str | None, data: Any) -> str:
    """Return how results are written when nobody says: Zarr for Zarr, else TIFF."""
    return "zarr" if (data_type or guess_data_type(data)) == "zarr" else "tiff"


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
