"""Shortcuts to a configuration, with the names and arguments that users of the field know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from careamist.algorithms import CARE, N2N, N2V, Algorithm
from careamist.config.configuration import Configuration
from careamist.config.data import DataConfig, DataType
from careamist.config.training import TrainingConfig
from careamist.dataset.augmentation import Augmentation, XYFlip, XYRandomRotate90
from careamist.errors import SettingsError

AugmentationName = Literal["x_flip", "y_flip", "rotate_90"]
StructAxes = Literal["none", "horizontal", "vertical", "cross", "square"]


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
    use_n2v2: bool = False,
    n_channels: int | None = None,
) -> Configuration:
    """Return a configuration for Noise2Void, or for N2V2.

    Parameters
    ----------
    experiment_name : str
        Name of the model: letters, digits, blanks, ``_`` and ``-``.
    data_type : {"array", "tiff", "zarr", "czi", "image", "custom"}
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
    use_n2v2 : bool
        Replace masked pixels by the median of their window, and use the network of N2V2 (Höck
        et al., 2022).
    n_channels : int, optional
        Number of channels, where axes contain C; read from the data when not given.

    Returns
    -------
    Configuration
        Frozen; change it with ``model_copy(update=...)``.

    Raises
    ------
    pydantic.ValidationError
        If a value is invalid; the message names the field.
    """
    return build(
        N2V(**n2v2_settings(use_n2v2, axes)),
        experiment_name,
        data_type,
        axes,
        patch_size,
        batch_size,
        num_epochs,
        num_steps,
        augmentations,
        n_val_patches,
        n_channels=n_channels,
    )


def create_structn2v_config(
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    struct_n2v_axes: StructAxes,
    struct_n2v_span: int = 5,
    num_epochs: int = 30,
    num_steps: int | None = None,
    augmentations: Sequence[AugmentationName] | None = None,
    n_val_patches: int = 8,
    use_n2v2: bool = False,
    n_channels: int | None = None,
) -> Configuration:
    """Return a configuration for structN2V: Noise2Void for noise with a direction.

    Parameters are those of `create_n2v_config`, and:

    Parameters
    ----------
    struct_n2v_axes : {"horizontal", "vertical", "cross", "square"}
        Along what the noise of neighbours is alike.
    struct_n2v_span : int
        Over how many pixels, end to end; odd.
    """
    settings = n2v2_settings(use_n2v2, axes)
    return build(
        N2V(struct_axes=struct_n2v_axes, struct_span=struct_n2v_span, **settings),
        experiment_name,
        data_type,
        axes,
        patch_size,
        batch_size,
        num_epochs,
        num_steps,
        augmentations,
        n_val_patches,
        n_channels=n_channels,
    )


def create_care_config(
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
) -> Configuration:
    """Return a configuration for CARE: learn from pairs of poor and good images.

    Parameters are those of `create_n2v_config`, and:

    Parameters
    ----------
    n_channels_in, n_channels_out : int, optional
        Channels of the images and of the targets; read from the data when not given.
    target_axes : str, optional
        Axes of the targets where they differ, as where only they have channels.
    """
    return build(
        CARE(),
        experiment_name,
        data_type,
        axes,
        patch_size,
        batch_size,
        num_epochs,
        num_steps,
        augmentations,
        n_val_patches,
        n_channels=n_channels_in,
        n_channels_out=n_channels_out,
        target_axes=target_axes,
    )


def create_n2n_config(
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
) -> Configuration:
    """Return a configuration for Noise2Noise: learn from two noisy images of the same.

    Parameters are those of `create_care_config`.
    """
    same = n_channels_in == n_channels_out
    return build(
        N2N(model=own_network("C" in axes and same)),
        experiment_name,
        data_type,
        axes,
        patch_size,
        batch_size,
        num_epochs,
        num_steps,
        augmentations,
        n_val_patches,
        n_channels=n_channels_in,
        n_channels_out=n_channels_out,
        target_axes=target_axes,
    )


def fitting_patch(
    sizes: Sequence[int], grid: Sequence[int], edge: int = 64, planes: int = 16
) -> tuple[int, ...]:
    """Return the patch size for images whose smallest sizes in (Z)YX are these.

    Square in YX; at most `edge` pixels wide and `planes` thick, no larger than the images where
    that is possible, a multiple of `grid` and at least two of it.
    """
    wanted = (planes, edge, edge)[-len(sizes) :]
    fitting = [min(n, there) for n, there in zip(wanted, sizes, strict=True)]
    fitting[-2:] = [min(fitting[-2:])] * 2
    return tuple(max(n // step, 2) * step for n, step in zip(fitting, grid, strict=True))


def build(
    algorithm: Algorithm,
    experiment_name: str,
    data_type: DataType,
    axes: str,
    patch_size: Sequence[int],
    batch_size: int,
    num_epochs: int,
    num_steps: int | None,
    augmentations: Sequence[AugmentationName] | None,
    n_val_patches: int,
    *,
    training: dict[str, Any] | None = None,
    **data: Any,
) -> Configuration:
    """Return the configuration of an algorithm from what all factories take.

    `training` and `data` are more fields of these parts.
    """
    length = {"num_steps": None, "num_epochs": num_epochs, "steps_per_epoch": num_steps}
    return Configuration(
        experiment_name=experiment_name,
        algorithm_config=algorithm,
        data_config=DataConfig(
            data_type=data_type,
            axes=axes,
            patch_size=tuple(patch_size),
            augmentations=_augmentations(augmentations),
            n_val_patches=n_val_patches,
            batch_size=batch_size,
            **data,
        ),
        training_config=TrainingConfig(**(length | (training or {}))),
    )


def n2v2_settings(use_n2v2: bool, axes: str, **network: Any) -> dict[str, Any]:
    """Return the settings of N2V or N2V2: a network for each channel, and for N2V2 its parts."""
    if not use_n2v2:
        return {"model": own_network("C" in axes, **network)}
    # it starts from noise: without a full-resolution path it cannot mend a linear filter
    more = {"n2v2": True, "linear_path": False} | network
    return {"strategy": "median", "model": own_network("C" in axes, **more)}


def own_network(apart: bool, **network: Any) -> dict[str, Any]:
    """Return the settings of a network, with channels apart or not."""
    return {"independent_channels": apart} | network


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
