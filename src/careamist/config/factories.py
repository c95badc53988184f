"""Shortcuts to a configuration, with the names and arguments that users of the field know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from careamist.algorithms import N2V
from careamist.config.configuration import Configuration
from careamist.config.data import DataConfig, DataType
from careamist.config.training import TrainingConfig
from careamist.dataset.augmentation import Augmentation, XYFlip, XYRandomRotate90
from careamist.errors import SettingsError

AugmentationName = Literal["x_flip", "y_flip", "rotate_90"]


def create_n2v_config(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int = 30,
    num_steps: int | None = None,
    augmentations: Sequence[AugmentationName] | None = None,
    n_val_patches: int = 8,
    n_channels: int | None = None,
) -> Configuration:
    """Return a configuration for Noise2Void.

    Parameters
    ----------
    experiment_name : str
        Name of the model: letters, digits, blanks, ``_`` and ``-``.
    data_type : {"array", "tiff"}
        Arrays in memory, or the format of the files.
    axes : str
        One letter of ``STCZYX`` for each dimension of the images.
    patch_size : sequence of int
        Size of the patches in (Z)YX, in pixels.
    batch_size : int
        Patches per step.
    num_epochs : int
        Times that every pixel is seen about once.
    num_steps : int, optional
        Steps per epoch; from the size of the data when not given.
    augmentations : sequence of {"x_flip", "y_flip", "rotate_90"}, optional
        All when None, none when empty.
    n_val_patches : int
        Patches kept out of training for validation.
    n_channels : int, optional
        Number of channels, where axes contain C.

    Returns
    -------
    Configuration
        Frozen; change it with ``model_copy(update=...)``.

    Raises
    ------
    pydantic.ValidationError
        If a value is invalid; the message names the field.
    """
    return Configuration(
        experiment_name=experiment_name,
        algorithm_config=N2V(),
        data_config=DataConfig(
            data_type=data_type,
            axes=axes,
            n_channels=n_channels,
            patch_size=tuple(patch_size),
            augmentations=_augmentations(augmentations),
            n_val_patches=n_val_patches,
            batch_size=batch_size,
        ),
        training_config=TrainingConfig(
            num_steps=None, num_epochs=num_epochs, steps_per_epoch=num_steps
        ),
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
    """Return a configuration for Noise2Void: `create_n2v_config` with 100 epochs by default."""
    return create_n2v_config(
        experiment_name, data_type, axes, patch_size, batch_size, num_epochs, **options
    )


def _augmentations(wanted: Sequence[AugmentationName] | None) -> tuple[Augmentation, ...]:
    known: tuple[AugmentationName, ...] = get_args(AugmentationName)
    names = known if wanted is None else wanted
    if unknown := set(names) - set(known):
        raise SettingsError(
            f"augmentations={list(names)} has unknown names {sorted(unknown)}:",
            f"expected {', '.join(known)}.",
        )
    chosen: list[Augmentation] = []
    if "x_flip" in names or "y_flip" in names:
        chosen.append(XYFlip(flip_x="x_flip" in names, flip_y="y_flip" in names))
    if "rotate_90" in names:
        chosen.append(XYRandomRotate90())
    return tuple(chosen)
