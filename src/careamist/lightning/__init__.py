"""The engine: data module, one LightningModule, callback, checkpoints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamist.lightning.data_modules import TrainDataModule

__all__ = ["TrainDataModule"]


def __getattr__(name: str) -> Any:
    if name == "TrainDataModule":
        from careamist.lightning.data_modules import TrainDataModule

        return TrainDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
