"""Train and apply image-restoration networks on microscopy images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamist.careamist import CAREamist
    from careamist.dataset.image_stack.custom import ImageStackLoading, ReadFuncLoading
    from careamist.denoising import denoise

__version__ = "0.1.0"
__all__ = ["CAREamist", "ImageStackLoading", "ReadFuncLoading", "__version__", "denoise"]

# torch and Lightning take seconds to import: only who trains waits for them
_LAZY = {
    "CAREamist": "careamist.careamist",
    "denoise": "careamist.denoising",
    "ImageStackLoading": "careamist.dataset.image_stack.custom",
    "ReadFuncLoading": "careamist.dataset.image_stack.custom",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
