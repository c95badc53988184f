"""What the docks ask of the engine, as functions that run in its thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from careamist.config.prediction import PredictionConfig
from careamist.dataset.patching import check_patch_size
from careamist.dataset.report import BUDGET, ImageReport, describe, report
from careamist.dataset.sources import find_sources, guess_data_type, inspect, is_uri
from careamist.failures import explain_failure
from careamist.gui.data_source import DataChoice, layer_info, level_geometry
from careamist.utils.reshape_array import AxesTransform

if TYPE_CHECKING:
    from careamist.background import Job
    from careamist.config import Configuration
    from careamist.events import Listener
    from careamist.prediction.sinks import Sink
    from careamist.stop import StopSignal

_NEAR_BUDGET, _FAR_BUDGET = BUDGET // 2, BUDGET // 16  # bytes that are looked at
_LOOKED_AT, _TOLD = 20, 5  # files of a folder, and what is told of the others


def models_folder() -> Path:
    """Return where the plugin keeps its models."""
    return Path(platformdirs.user_data_dir("careamist", appauthor=False))


def gui_threads() -> int:
    """Return how many CPU threads a run may use: one core is left to the window."""
    return max(1, (os.cpu_count() or 2) - 1)


def pixels_of(choice: DataChoice) -> tuple[Any, str]:
    """Return the data of a choice and its data type."""
    return choice.source, choice.data_type or guess_data_type(choice.source)


def about(choice: DataChoice, knows_axes: bool, check: Callable[[], None]) -> list[tuple[str, str]]:
    """Return what there is to know of an image, in (label, text), from a part of its pixels."""
    data, data_type = pixels_of(choice)
    paths = [] if choice.layer is not None else find_sources(data, data_type)
    budget = _FAR_BUDGET if any(map(is_uri, paths)) else _NEAR_BUDGET
    axes = choice.axes if data_type == "czi" else None
    found = report(paths[:_LOOKED_AT] or data, data_type, axes=axes, budget=budget, check=check)
    first, *others = found
    name = choice.name if len(found) == 1 else f"{_last(first)}, first of {len(found)}"
    known = replace(first.info, source=name, axes=choice.axes if knows_axes else first.info.axes)
    rows = describe(replace(first, info=known))
    if choice.layer is not None and (size := layer_info(choice.layer, choice.level).pixel_size):
        rows.insert(4, ("Pixel size", size))
    told = [
        ("Attention", f"{_last(other)}: {text}")
        for other in others
        for label, text in describe(other)
        if label == "Attention"
    ]
    if len(told) > _TOLD:
        told = [*told[:_TOLD], ("Attention", f"{len(told) - _TOLD} more about the others.")]
    if len(paths) > _LOOKED_AT:
        told.append(("Others", f"{len(paths) - _LOOKED_AT} files were not looked at."))
    return rows + told


def training_job(config: Configuration, choice: DataChoice) -> Job:
    """Return the job of training a new model; its result is the CAREamist."""
    data = choice.source

    def train(listener: Listener, stop: StopSignal) -> Any:
        for module in ("torch", "pytorch_lightning", "careamist.careamist"):
            stop.check()  # each takes a second or more to import
            import_module(module)
        from careamist.careamist import CAREamist

        careamist = CAREamist(config, work_dir=models_folder(), enable_progress_bar=False)
        with careamist.attached(listener, stop):
            careamist.train(train_data=data)
        return careamist

    return train


def prediction_job(model: Any, choice: DataChoice, sink: Sink) -> Job:
    """Return the job of predicting an image, tile by tile, into a sink."""
    data, data_type = pixels_of(choice)

    def predict(listener: Listener, stop: StopSignal) -> Sequence[str]:
        with model.attached(listener, stop):
            options = PredictionConfig(axes=choice.axes, data_type=data_type)
            sources: Sequence[str] = model.predict_into(sink, data, options)
        return sources

    return predict


def check_choice(config: Configuration, choice: DataChoice) -> None:
    """Raise, with what to do about it, if a configuration cannot be trained on an image."""
    layout = AxesTransform(choice.array_axes, choice.shape)
    check_patch_size([layout.transformed_shape], config.data_config.patch_size)


def load_model(path: str) -> tuple[Any, str, str]:
    """Return (model, message, hint) of a checkpoint; a worker that runs this never raises."""
    try:
        from careamist.careamist import CAREamist

        model = CAREamist(checkpoint_path=path, work_dir=models_folder(), enable_progress_bar=False)
    except Exception as error:
        return None, *explain_failure(error)
    return model, "", ""


def layer_options(choice: DataChoice, source: str, axes: str) -> dict[str, Any]:
    """Return scale, units and axis labels for the result of an image, where it is no layer's.

    Of a smaller level of a multiscale layer, its scale and place.
    """
    if choice.layer is not None:
        return level_geometry(choice.layer, choice.level) if choice.level else {}
    known = [info for info in choice.images if info.source == source] or inspect(source)
    info = known[0]
    options: dict[str, Any] = {"axis_labels": tuple(axis.lower() for axis in axes)}
    if info.pixel_size:
        options["scale"] = tuple(info.pixel_size.get(axis, 1.0) for axis in axes)
        options["units"] = tuple(info.units.get(axis, "pixel") for axis in axes)
    return options


def _last(found: ImageReport) -> str:
    return found.info.source.replace("\\", "/").rpartition("/")[2]
