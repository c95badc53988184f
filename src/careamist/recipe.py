"""How a result was made, as a dictionary of JSON types: kept with it, and read back from it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from careamist import __version__
from careamist.config.configuration import Configuration, explain
from careamist.config.prediction import PredictionConfig
from careamist.errors import SettingsError
from careamist.fingerprint import fingerprint

if TYPE_CHECKING:
    from careamist.careamist import CAREamist

_FORMAT = 1


class Settings(NamedTuple):
    """What a recipe gives back: the order forms of the training and of the prediction."""

    configuration: Configuration
    options: PredictionConfig
    checkpoint: str | None  # where the model was kept, if it still is there


def recipe_of(
    model: CAREamist, options: PredictionConfig | None = None, source: str = ""
) -> dict[str, Any]:
    """Return how a result was made, for the metadata of its layer or file.

    Parameters
    ----------
    model : CAREamist
        What predicted.
    options : PredictionConfig, optional
        How.
    source : str
        Of what: the name of a layer, or a path.

    Returns
    -------
    dict
        JSON types only: ``format``, ``version``, ``date``, ``source``, ``axes``, ``model_name``,
        ``model_id`` (the fingerprint of the weights), ``checkpoint``, ``steps``,
        ``configuration`` and ``prediction``.
    """
    options = options or PredictionConfig()
    config, place = model.config, checkpoint_of(model)
    return {
        "format": _FORMAT,
        "version": __version__,
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "source": source,
        "axes": options.axes or config.data_config.axes,
        "model_name": config.experiment_name,
        "model_id": model_id(model),
        "checkpoint": str(place) if place is not None else None,
        "steps": model.steps_done,
        "configuration": config.model_dump(mode="json"),
        "prediction": options.model_dump(mode="json"),
    }


def settings_of(recipe: Mapping[str, Any] | None) -> Settings:
    """Return the settings that a recipe holds: "load parameters from layer".

    Parameters
    ----------
    recipe : mapping or None
        ``layer.metadata.get("careamist")``.

    Raises
    ------
    SettingsError
        If it is none, or was written by a newer version.
    """
    if not isinstance(recipe, Mapping) or "configuration" not in recipe:
        raise SettingsError(
            "This layer does not say how it was made.", "Choose a result of careamist."
        )
    if recipe.get("format", _FORMAT) > _FORMAT:
        raise SettingsError(
            f"This layer was made by careamist {recipe.get('version')}, which is newer than this "
            "one.",
            "Update careamist.",
        )
    try:
        configuration = Configuration.model_validate(recipe["configuration"])
        options = PredictionConfig.model_validate(recipe.get("prediction") or {})
    except ValidationError as error:
        raise SettingsError(
            f"The settings of this layer cannot be used: {explain(error)}", "Set them by hand."
        ) from error
    place = recipe.get("checkpoint")
    return Settings(configuration, options, place if place and Path(place).exists() else None)


def model_id(model: CAREamist) -> str:
    """Return the fingerprint of the weights that a model predicts with; of none it is empty."""
    if not model.is_trained:
        return ""
    return fingerprint(model._model.to_predict_with().averaged.state_dict())


def checkpoint_of(model: CAREamist) -> Path | None:
    """Return what a model can be loaded from again: a run's folder, or the file it came from."""
    place = model.run_dir or model._model.source
    return None if place is None else place.absolute()
