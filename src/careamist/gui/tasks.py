"""What the docks ask of the engine, as functions that run in its thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from careamist.dataset.image_stack.tiff import read_info
from careamist.dataset.patching import check_patch_size
from careamist.dataset.sources import open_files
from careamist.failures import explain_failure
from careamist.gui.data_source import DataChoice, SourceInfo
from careamist.utils.reshape_array import AxesTransform

if TYPE_CHECKING:
    from careamist.background import Job
    from careamist.config import Configuration
    from careamist.events import Listener
    from careamist.prediction.sinks import Sink
    from careamist.stop import StopSignal


def models_folder() -> Path:
    """Return where the plugin keeps its models."""
    return Path(platformdirs.user_data_dir("careamist", appauthor=False))


def gui_threads() -> int:
    """Return how many CPU threads a run may use: one core is left to the window."""
    return max(1, (os.cpu_count() or 2) - 1)


def inspect_path(path: str) -> SourceInfo:
    """Return what a file, or the first file of a folder, holds."""
    info = read_info(open_files(path, "tiff")[0])
    size = f"{info.pixel_size[-1]:.3g} {info.unit}" if info.pixel_size else ""
    return SourceInfo(info.shape, str(info.dtype), info.axes, size)


def pixels_of(choice: DataChoice) -> tuple[Any, str]:
    """Return the data of a choice and its data type; of a multiscale layer the finest level."""
    if choice.layer is None:
        return choice.path, "tiff"
    data = choice.layer.data
    return (data[0] if choice.layer.multiscale else data), "array"


def training_job(config: Configuration, choice: DataChoice) -> Job:
    """Return the job of training a new model; its result is the CAREamist."""
    data, _ = pixels_of(choice)

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
            sources: Sequence[str] = model.predict_into(
                sink, data, "auto", axes=choice.axes, data_type=data_type
            )
        return sources

    return predict


def check_choice(config: Configuration, choice: DataChoice) -> None:
    """Raise, with what to do about it, if a configuration cannot be trained on an image."""
    layout = AxesTransform(choice.axes, choice.shape)
    check_patch_size([layout.transformed_shape], config.data_config.patch_size)


def load_model(path: str) -> tuple[Any, str, str]:
    """Return (model, message, hint) of a checkpoint; a worker that runs this never raises."""
    try:
        from careamist.careamist import CAREamist

        model = CAREamist(checkpoint_path=path, work_dir=models_folder(), enable_progress_bar=False)
    except Exception as error:
        return None, *explain_failure(error)
    return model, "", ""


def layer_options(path: str, axes: str) -> dict[str, Any]:
    """Return scale, units and axis labels for a layer made from a file."""
    labels = tuple(axis.lower() for axis in axes)
    info = read_info(path)
    options: dict[str, Any] = {"axis_labels": labels}
    if info.pixel_size is not None and info.unit is not None:
        sizes = dict(zip("XYZ", reversed(info.pixel_size), strict=False))
        options["scale"] = tuple(sizes.get(axis, 1.0) for axis in axes)
        options["units"] = tuple(info.unit if axis in sizes else "pixel" for axis in axes)
    return options
