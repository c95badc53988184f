"""Table of contents: one file per format, one line here."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from careamist.dataset.image_stack.protocol import ImageInfo, ImageStack

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["FORMATS", "ImageInfo", "ImageStack"]


class _Formats(UserDict[str, Any]):
    """Names of formats → their modules, which are imported when they are first asked for."""

    def __getitem__(self, name: str) -> ModuleType:
        found: ModuleType | str = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = import_module(f"{__name__}.{found}")
        return found


FORMATS = _Formats(
    {
        "array": "array",
        "tiff": "tiff",
        "zarr": "zarr",
        "czi": "czi",
        "image": "image",
    }
)
