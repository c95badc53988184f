"""Shortcuts that reach every setting, under the names of the CAREamics packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from careamist.algorithms import CARE, N2N, N2V, Algorithm
from careamist.config.factories import (
    AugmentationName,
    StructAxes,
    build,
    n2v2_settings,
    own_network,
)
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from careamist.config.configuration import Configuration
    from careamist.config.data import DataType

_TRAINER = {
    "max_epochs": "num_epochs",
    "max_steps": "num_steps",
    "precision": "precision",
    "gradient_clip_val": "gradient_clip",
    "accelerator": "device",
}
_PRECISION = {
    "32": "float32",
    "32-true": "float32",
    "bf16-mixed": "bfloat16",
    "bf16": "bfloat16",
    "16-mixed": "float16",
    "16": "float16",
}
_DEVICE = {"gpu": "cuda"}
_CHECKPOINT = {"every_n_train_steps": "checkpoint_every"}
_LOADER = {"num_workers": "num_workers"}


def create_advanced_n2v_config(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 30,
    num_steps: int | None = None,
    augmentations: Sequence[AugmentationName] | None = None,
    n_val_patches: int = 8,
    use_n2v2: bool = False,
    n_channels: int | None = None,
    *,
    independent_channels: bool = True,
    roi_size: int | None = None,
    masked_pixel_percentage: float | None = None,
    struct_n2v_axes: StructAxes = "none",
    struct_n2v_span: int = 5,
    model_params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Configuration:
    """Return a configuration for Noise2Void with every setting at hand.

    Parameters are those of `create_n2v_config`, and:

    Parameters
    ----------
    independent_channels : bool
        Whether each channel has a network of its own.
    roi_size : int, optional
        Window around a masked pixel that its replacement comes from; odd.
    masked_pixel_percentage : float, optional
        Share of the pixels that are masked.
    struct_n2v_axes, struct_n2v_span
        As for `create_structn2v_config`.
    model_params : mapping, optional
        Fields of `UNet`.
    **more
        ``in_memory``, ``channels``, ``normalization`` and ``normalization_params``,
        ``patch_filter_config``, ``num_workers``, ``seed`` (data); ``optimizer`` and
        ``optimizer_params``, ``lr_scheduler`` and ``lr_scheduler_params``, ``logger``,
        ``monitor_metric`` (only ``"val_loss"``), ``early_stopping_params``, ``trainer_params``,
        ``checkpoint_params``, ``train_dataloader_params`` and ``val_dataloader_params``.

    Raises
    ------
    SettingsError
        If a name is unknown, or means something that cannot be set.
    pydantic.ValidationError
        If a value is invalid; the message names the field.
    """
    network = {"independent_channels": independent_channels and "C" in axes}
    settings = n2v2_settings(use_n2v2, axes, **(network | dict(model_params or {})))
    chosen = {"roi_size": roi_size, "masked_pixel_percentage": masked_pixel_percentage}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    algorithm = N2V(struct_axes=struct_n2v_axes, struct_span=struct_n2v_span, **settings)
    return _advanced(
        algorithm,
        (experiment_name, data_type, axes, patch_size, batch_size),
        (num_epochs, num_steps, augmentations, n_val_patches),
        more | {"n_channels": n_channels},
    )


def create_advanced_care_config(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 30,
    num_steps: int | None = None,
    augmentations: Sequence[AugmentationName] | None = None,
    n_val_patches: int = 8,
    n_channels_in: int | None = None,
    n_channels_out: int | None = None,
    target_axes: str | None = None,
    *,
    independent_channels: bool = False,
    loss: Literal["mae", "mse"] | None = None,
    model_params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Configuration:
    """Return a configuration for CARE with every setting at hand.

    Parameters are those of `create_care_config` and of `create_advanced_n2v_config`, and:

    Parameters
    ----------
    loss : {"mae", "mse"}, optional
        Mean absolute or squared error.
    """
    chosen = {} if loss is None else {"loss": loss}
    network = own_network(independent_channels, **(model_params or {}))
    return _advanced(
        CARE(model=network, **chosen),
        (experiment_name, data_type, axes, patch_size, batch_size),
        (num_epochs, num_steps, augmentations, n_val_patches),
        more | _channels(n_channels_in, n_channels_out, target_axes),
    )


def create_advanced_n2n_config(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 30,
    num_steps: int | None = None,
    augmentations: Sequence[AugmentationName] | None = None,
    n_val_patches: int = 8,
    n_channels_in: int | None = None,
    n_channels_out: int | None = None,
    target_axes: str | None = None,
    *,
    independent_channels: bool = True,
    loss: Literal["mae", "mse"] | None = None,
    model_params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Configuration:
    """Return a configuration for Noise2Noise with every setting at hand.

    Parameters are those of `create_advanced_care_config`.
    """
    chosen = {} if loss is None else {"loss": loss}
    apart = independent_channels and "C" in axes and n_channels_in == n_channels_out
    network = own_network(apart, **(model_params or {}))
    return _advanced(
        N2N(model=network, **chosen),
        (experiment_name, data_type, axes, patch_size, batch_size),
        (num_epochs, num_steps, augmentations, n_val_patches),
        more | _channels(n_channels_in, n_channels_out, target_axes),
    )


def create_n2v_configuration(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 100,
    **options: Any,
) -> Configuration:
    """Return a configuration for Noise2Void: the older name, with 100 epochs by default.

    Options are those of `create_advanced_n2v_config`; ``struct_n2v_axis`` is an older name of
    ``struct_n2v_axes``.
    """
    if "struct_n2v_axis" in options:
        if "struct_n2v_axes" in options:
            raise SettingsError(
                "struct_n2v_axis and struct_n2v_axes mean the same.", "Give one of them."
            )
        options["struct_n2v_axes"] = options.pop("struct_n2v_axis")
    return create_advanced_n2v_config(
        experiment_name, data_type, axes, patch_size, batch_size, num_epochs, **options
    )


def create_care_configuration(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 100,
    **options: Any,
) -> Configuration:
    """Return a configuration for CARE: the older name, with 100 epochs by default.

    Options are those of `create_advanced_care_config`.
    """
    return create_advanced_care_config(
        experiment_name, data_type, axes, patch_size, batch_size, num_epochs, **options
    )


def create_n2n_configuration(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 100,
    **options: Any,
) -> Configuration:
    """Return a configuration for Noise2Noise: the older name, with 100 epochs by default.

    Options are those of `create_advanced_n2n_config`.
    """
    return create_advanced_n2n_config(
        experiment_name, data_type, axes, patch_size, batch_size, num_epochs, **options
    )


def _channels(n_in: int | None, n_out: int | None, target_axes: str | None) -> dict[str, Any]:
    return {"n_channels": n_in, "n_channels_out": n_out, "target_axes": target_axes}


def _advanced(
    algorithm: Algorithm,
    first: tuple[Any, ...],
    length: tuple[Any, ...],
    more: dict[str, Any],
) -> Configuration:
    """Sort the many names into the parts of a configuration."""
    if (monitor := more.pop("monitor_metric", "val_loss")) != "val_loss":
        raise SettingsError(
            f"monitor_metric='{monitor}' is not measured:", "only 'val_loss' can be watched."
        )
    training = _renamed("trainer_params", more.pop("trainer_params", None), _TRAINER)
    training |= _renamed("checkpoint_params", more.pop("checkpoint_params", None), _CHECKPOINT)
    data: dict[str, Any] = {}
    for name in ("train_dataloader_params", "val_dataloader_params"):
        data |= _renamed(name, more.pop(name, None), _LOADER)
    if "precision" in training:
        given = str(training["precision"])
        training["precision"] = _PRECISION.get(given, given)
    if "device" in training:
        training["device"] = _DEVICE.get(training["device"], training["device"])
    if "optimizer" in more or "optimizer_params" in more:
        parameters = dict(more.pop("optimizer_params", None) or {})
        if "lr" in parameters:
            training["learning_rate"] = parameters.pop("lr")
        training["optimizer"] = {"name": more.pop("optimizer", "Adam"), "parameters": parameters}
    if (schedule := more.pop("lr_scheduler", None)) is not None:
        training["lr_schedule"] = {
            "name": schedule,
            **(more.pop("lr_scheduler_params", None) or {}),
        }
    if (stopping := more.pop("early_stopping_params", None)) is not None:
        watched = {"monitor": "val_loss", "mode": "min"}  # nothing else can be
        training["early_stopping"] = {
            key: value for key, value in dict(stopping).items() if watched.get(key) != value
        }
    if "normalization" in more:
        parameters = more.pop("normalization_params", None) or {}
        data["normalization"] = {"name": more.pop("normalization"), **parameters}
    if (chosen := more.pop("patch_filter_config", None)) is not None:
        data["patch_filter"] = chosen
    if "logger" in more:
        training["logger"] = more.pop("logger")
    if (workers := more.pop("num_workers", None)) is not None:
        data["num_workers"] = max(workers, 0)  # -1 meant: as many as are sensible
    for name in ("in_memory", "channels", "seed", "n_channels", "n_channels_out", "target_axes"):
        if (value := more.pop(name, None)) is not None:
            data[name] = value
    if more:
        raise SettingsError(
            f"{', '.join(sorted(more))} cannot be set here.",
            "See the parameters of create_advanced_n2v_config.",
        )
    return build(algorithm, *first, *length, training=training, **data)


def _renamed(
    name: str, given: Mapping[str, Any] | None, names: Mapping[str, str]
) -> dict[str, Any]:
    """Return parameters under our names."""
    if unknown := sorted(set(given or {}) - set(names)):
        raise SettingsError(
            f"{name} has {', '.join(unknown)}, which cannot be set:",
            f"expected some of {', '.join(names)}.",
        )
    return {names[key]: value for key, value in (given or {}).items()}
