"""The order form: it names the parts, the engine puts them together."""

from careamist.algorithms import CARE, N2N, N2V
from careamist.config.advanced import (
    create_advanced_care_config,
    create_advanced_n2n_config,
    create_advanced_n2v_config,
    create_care_configuration,
    create_n2n_configuration,
    create_n2v_configuration,
)
from careamist.config.configuration import (
    Configuration,
    explain,
    load_configuration,
    save_configuration,
)
from careamist.config.data import DataConfig
from careamist.config.factories import (
    create_care_config,
    create_n2n_config,
    create_n2v_config,
    create_structn2v_config,
)
from careamist.config.prediction import PredictionConfig
from careamist.config.presets import PRESETS, apply_preset
from careamist.config.training import TrainingConfig
from careamist.dataset.augmentation import XYFlip, XYRandomRotate90
from careamist.dataset.normalization import MeanStd, MinMax, NoNormalization, Quantile
from careamist.dataset.patch_choices import Fixed, PatchPlace, Random, Sequential, Stratified
from careamist.dataset.patch_filter import MaskFilter, MaxFilter, MeanStdFilter, ShannonFilter
from careamist.models.network import UNet

__all__ = [
    "CARE",
    "N2N",
    "N2V",
    "PRESETS",
    "Configuration",
    "DataConfig",
    "Fixed",
    "MaskFilter",
    "MaxFilter",
    "MeanStd",
    "MeanStdFilter",
    "MinMax",
    "NoNormalization",
    "PatchPlace",
    "PredictionConfig",
    "Quantile",
    "Random",
    "Sequential",
    "ShannonFilter",
    "Stratified",
    "TrainingConfig",
    "UNet",
    "XYFlip",
    "XYRandomRotate90",
    "apply_preset",
    "create_advanced_care_config",
    "create_advanced_n2n_config",
    "create_advanced_n2v_config",
    "create_care_config",
    "create_care_configuration",
    "create_n2n_config",
    "create_n2n_configuration",
    "create_n2v_config",
    "create_n2v_configuration",
    "create_structn2v_config",
    "explain",
    "load_configuration",
    "save_configuration",
]
