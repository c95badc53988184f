"""The settings of an earlier run, taken from the layer that it made, put into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from careamist.config import DataConfig
from careamist.config.methods import METHODS
from careamist.gui.data.candidates import RESULT
from careamist.recipe import settings_of

if TYPE_CHECKING:
    from pydantic import BaseModel
    from qtpy.QtWidgets import QMenu

    from careamist.algorithms import Algorithm
    from careamist.gui.training.train_form import TrainForm

_OF_THE_MACHINE = ("device", "num_threads")
_OF_THE_IMAGE = ("axes", "data_type", "channels", "n_channels", "n_channels_out", "target_axes")


def results_in(viewer: Any) -> list[Any]:
    """Return the layers that say how they were made, the selected one first, then the newest."""
    active = viewer.layers.selection.active
    made = [layer for layer in reversed(viewer.layers) if RESULT in layer.metadata]
    return sorted(made, key=lambda layer: active is None or layer != active)


def load_settings(form: TrainForm, layer: Any) -> None:
    """Put the settings that a layer was made with into the form, for the image that it shows.

    Statistics, axes and the device are those of the new run; so is the size of the patches where
    the image has other dimensions.

    Parameters
    ----------
    form : TrainForm
        Gets the settings.
    layer : napari.layers.Layer
        A result of careamist.

    Raises
    ------
    SettingsError
        If the layer does not say how it was made, or in a way that is not understood.
    """
    config = settings_of(getattr(layer, "metadata", {}).get(RESULT)).configuration
    form.setMethod(method_of(config.algorithm_config))
    form.algorithm_form.setValue(config.algorithm_config)
    form.data_form.setValue(_fitting(config.data_config, form.data_form.value()))
    kept = {name: getattr(form.training_form.value(), name) for name in _OF_THE_MACHINE}
    form.training_form.setValue(config.training_config.model_copy(update=kept))


def method_of(algorithm: Algorithm) -> str:
    """Return the key of the method that settings belong to, as in `METHODS`."""
    kind = type(algorithm)
    of_kind = {key: m.algorithm for key, m in METHODS.items() if type(m.algorithm) is kind}
    named = [key for key, known in of_kind.items() if known.variant == algorithm.variant]
    return (named or list(of_kind))[0]


def add_menu(menu: QMenu, viewer: Any, load: Any) -> None:
    """Add a menu of the layers that settings can be loaded from; `load` is called with one."""
    layers = results_in(viewer)
    inside = menu.addMenu("&Load settings from")
    inside.setEnabled(bool(layers))
    for layer in layers:
        action = inside.addAction(str(layer.name).replace("&", "&&"))
        action.triggered.connect(lambda _=False, layer=layer: load(layer))


def _fitting(old: DataConfig, now: DataConfig) -> DataConfig:
    """Return old settings without what was measured, for the image of those of now."""
    values = {name: getattr(old, name) for name in DataConfig.model_fields}
    values["normalization"] = _unmeasured(old.normalization)
    values |= {name: getattr(now, name) for name in _OF_THE_IMAGE}
    if len(old.patch_size) != len(now.patch_size):
        values["patch_size"] = now.patch_size
    return DataConfig.model_validate(values)


def _unmeasured(normalization: BaseModel) -> BaseModel:
    """Return a normalisation whose statistics are measured again."""
    chosen = {}
    for name, field in type(normalization).model_fields.items():
        extra = field.json_schema_extra
        if not (isinstance(extra, dict) and extra.get("level") == "hidden"):
            chosen[name] = getattr(normalization, name)
    return type(normalization).model_validate(chosen)
