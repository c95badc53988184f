"""The order form: it names the parts, the engine puts them together."""

from careamist.algorithms import N2V
from careamist.config.configuration import (
    Configuration,
    explain,
    load_configuration,
    save_configuration,
)
from careamist.config.data import DataConfig
from careamist.config.factories import create_n2v_config, create_n2v_configuration
from careamist.config.training import TrainingConfig
from careamist.dataset.augmentation import XYFlip, XYRandomRotate90
from careamist.dataset.normalization import MeanStd
from careamist.models.network import UNet

__all__ = [
    "N2V",
    "Configuration",
    "DataConfig",
    "MeanStd",
    "TrainingConfig",
    "UNet",
    "XYFlip",
    "XYRandomRotate90",
    "create_n2v_config",
    "create_n2v_configuration",
    "explain",
    "load_configuration",
    "save_configuration",
]
