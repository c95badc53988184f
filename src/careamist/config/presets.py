"""Settings that have a name: how much effort a training takes, or whose recipe it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from careamist.config.configuration import Configuration
from careamist.config.training import TrainingConfig
from careamist.errors import SettingsError
from careamist.models.network import UNet


@dataclass(frozen=True)
class Preset:
    """Settings that differ from the defaults.

    Parameters
    ----------
    title, description : str
        For a person.
    training, data, model : mapping
        Fields of the training, of the data and of the network.
    algorithm : mapping
        By the name of the algorithm, fields of its own.
    """

    title: str
    description: str
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    algorithm: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


# what the three efforts differ in: each sets all of it, so that one replaces another
_TRAINING = TrainingConfig()
_LENGTH = {
    "num_steps": _TRAINING.num_steps,
    "steps_per_epoch": None,
    "learning_rate": _TRAINING.learning_rate,
}
_WIDTH = {"num_channels_init": UNet().num_channels_init}
_PEER_SCHEDULE = {"name": "ReduceLROnPlateau", "reduction": 0.1, "patience": 10}
_PEER_MODEL = {
    "num_channels_init": 32,
    "upsampling": "linear",
    "linear_path": False,
    "residual": False,
}

PRESETS: dict[str, Preset] = {
    "quick": Preset(
        "Quick",
        "A first result within a minute on a laptop.",
        training=_LENGTH | {"num_steps": 300},
        model=_WIDTH,
    ),
    "standard": Preset(
        "Standard",
        "What is measured to be best for some minutes.",
        training=_LENGTH,
        model=_WIDTH,
    ),
    "thorough": Preset(
        "Thorough",
        "A wider network and many more steps: an hour on a laptop, minutes on a GPU.",
        # at 16 filters the score still rises after 10 000 steps; the wider network needs the
        # lower rate and passes the narrow one only in runs as long as this
        training=_LENGTH | {"num_steps": 10_000, "learning_rate": 2e-3},
        model={"num_channels_init": 32},
    ),
    "paper": Preset(
        "As published",
        "The recipe of Noise2Void's authors: a wide network, few masked pixels, hours on a GPU.",
        training={
            "num_steps": 80_000,  # 200 epochs of 400 steps
            "steps_per_epoch": 400,
            "learning_rate": 4e-4,
            "lr_schedule": {"name": "ReduceLROnPlateau", "reduction": 0.5, "patience": 10},
            "ema_decay": 0.0,
        },
        data={"batch_size": 128},
        model={
            "depth": 2,
            "num_channels_init": 96,
            "linear_path": False,
            "residual": True,
        },
        algorithm={
            "n2v": {"roi_size": 5, "include_centre": True, "masked_pixel_percentage": 0.198}
        },
    ),
    "careamics": Preset(
        "As CAREamics",
        "The defaults of CAREamics 0.3: 30 epochs at a constant rate, few masked pixels.",
        training={
            "num_epochs": 30,
            "num_steps": None,
            "learning_rate": 1e-3,
            "lr_schedule": _PEER_SCHEDULE,
            "ema_decay": 0.0,
            "precision": "float32",
        },
        model=_PEER_MODEL,
        algorithm={
            "n2v": {"roi_size": 11, "masked_pixel_percentage": 0.2},
            "care": {"loss_function": "mae"},
            "n2n": {"loss_function": "mae", "exchange": "none"},
        },
    ),
}


def apply_preset(config: Configuration, name: str) -> Configuration:
    """Return a configuration with the settings of a preset, and the others as they were.

    Raises
    ------
    SettingsError
        If there is no such preset.
    pydantic.ValidationError
        If it contradicts the other settings.
    """
    if name not in PRESETS:
        raise SettingsError(
            f"There is no preset '{name}':", f"expected one of {', '.join(PRESETS)}."
        )
    preset, values = PRESETS[name], config.model_dump()
    algorithm = values["algorithm_config"]
    algorithm |= preset.algorithm.get(algorithm["algorithm"], {})
    algorithm["model"] |= preset.model
    values["data_config"] |= preset.data
    values["training_config"] |= {"max_minutes": None} | dict(preset.training)
    return Configuration.model_validate(values)
