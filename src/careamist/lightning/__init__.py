"""The engine: data modules, one LightningModule, callback, checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamist.lightning.data_modules import TrainDataModule
    from careamist.lightning.module import RestorationModule
    from careamist.lightning.prediction_data import PredictDataModule

__all__ = ["PredictDataModule", "RestorationModule", "TrainDataModule"]

_LAZY = {  # all of them need torch
    "PredictDataModule": "careamist.lightning.prediction_data",
    "RestorationModule": "careamist.lightning.module",
    "TrainDataModule": "careamist.lightning.data_modules",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
