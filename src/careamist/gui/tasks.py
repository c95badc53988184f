"""What the docks ask of the engine, as functions that run in its thread."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from careamist.config.prediction import PredictionConfig
from careamist.dataset.patching import check_patch_size
from careamist.dataset.sources import inspect
from careamist.events import EpochDone
from careamist.failures import explain_failure
from careamist.gui.data.data_source import DataChoice, level_geometry
from careamist.gui.data.findings import pixels_of
from careamist.gui.parts.engine import import_engine
from careamist.utils.reshape_array import AxesTransform

if TYPE_CHECKING:
    from careamist.background import Job
    from careamist.events import Listener
    from careamist.gui.live.preview_feed import PreviewFeed
    from careamist.gui.training.order import TrainingOrder
    from careamist.prediction.run import Failures, WantedFirst
    from careamist.prediction.sinks import Sink
    from careamist.stop import StopSignal

logger = logging.getLogger(__name__)


def models_folder() -> Path:
    """Return where the plugin keeps its models."""
    return Path(platformdirs.user_data_dir("careamist", appauthor=False))


def results_folder() -> Path:
    """Return where results go that are too large for memory and come from no file."""
    return Path.home() / "careamist"


def gui_threads() -> int:
    """Return how many CPU threads a run may use: one core is left to the window."""
    return max(1, (os.cpu_count() or 2) - 1)


def training_job(order: TrainingOrder, feed: PreviewFeed) -> Job:
    """Return the job of training a new model; its result is the CAREamist.

    Parameters
    ----------
    order : TrainingOrder
        What is trained, on what.
    feed : PreviewFeed
        Asks for previews, and gets them.
    """

    def train(listener: Listener, stop: StopSignal) -> Any:
        import_engine(stop.check)
        from careamist.careamist import CAREamist

        model = CAREamist(order.config, work_dir=models_folder(), enable_progress_bar=False)
        with model.attached(listener, stop):
            model.train(**order.data(), preview=feed)
        _keep_card(model, order)
        return model

    return train


def continuing_job(model: Any, order: TrainingOrder, feed: PreviewFeed) -> Job:
    """Return the job of training a model on: to its planned end, or as long once more."""

    def train(listener: Listener, stop: StopSignal) -> Any:
        with model.attached(listener, stop):
            model.train(**order.data(), preview=feed)
        _keep_card(model, order)
        return model

    return train


def resuming_job(path: str, order: TrainingOrder, feed: PreviewFeed) -> Job:
    """Return the job of training on what a run has left behind in a folder or a checkpoint.

    It first tells the losses of that run, as epochs that are done.
    """

    def train(listener: Listener, stop: StopSignal) -> Any:
        import_engine(stop.check)
        from careamist.careamist import CAREamist

        model = CAREamist(checkpoint_path=path, work_dir=models_folder(), enable_progress_bar=False)
        epochs: dict[int, dict[str, float]] = {}
        for name, losses in model.get_losses().items():
            for step, loss in losses:
                epochs.setdefault(int(step), {})[name] = loss
        for number, step in enumerate(sorted(epochs)):
            listener(EpochDone("", number, step, epochs[step]))
        with model.attached(listener, stop):
            model.train(**order.data(), preview=feed)
        _keep_card(model, order)
        return model

    return train


def pictured(model: Any, order: TrainingOrder, sink: Any, job: Job) -> Job:
    """Return a prediction of what was trained on that ends with a picture for the library."""

    def predict(listener: Listener, stop: StopSignal) -> Any:
        result = job(listener, stop)
        arrays = getattr(sink, "arrays", {})  # those that are too large are not in memory
        if order.image.layer is not None and order.image.axes.endswith("YX") and arrays:
            _keep_card(model, order, order.shown(), next(iter(arrays.values())))
        return result

    return predict


def _keep_card(model: Any, order: TrainingOrder, before: Any = None, after: Any = None) -> None:
    """Note for the library what a model is; its files are complete without that."""
    from careamist.library import write_card

    if model.run_dir is None or not model.is_trained:
        return  # it was stopped before there was a file
    try:
        write_card(Path(model.run_dir), order.image.name, before, after)
    except Exception:
        logger.exception("The card of the model in %s cannot be written.", model.run_dir)


def prediction_job(
    model: Any,
    choice: DataChoice,
    sink: Sink,
    *,
    data: Any = None,
    options: PredictionConfig | None = None,
    wanted_first: WantedFirst | None = None,
    failures: Failures | None = None,
) -> Job:
    """Return the job of predicting an image, tile by tile, into a sink.

    Parameters
    ----------
    model : CAREamist
        What predicts.
    choice : DataChoice
        The image.
    sink : Sink
        Gets the results.
    data : array, path, or list of these, optional
        What is predicted, where that is not all of the image.
    options : PredictionConfig, optional
        How; the axes and the type of the image when not given.
    wanted_first, failures
        As for `CAREamist.predict_into`.
    """
    if data is None or options is None:
        data, data_type = pixels_of(choice)
        options = PredictionConfig(axes=choice.axes, data_type=data_type)
    if options.num_threads is None:
        options = options.model_copy(update={"num_threads": gui_threads()})

    def predict(listener: Listener, stop: StopSignal) -> Sequence[str]:
        with model.attached(listener, stop):
            sources: Sequence[str] = model.predict_into(
                sink, data, options, wanted_first=wanted_first, failures=failures
            )
        return sources

    return predict


def check_order(order: TrainingOrder) -> None:
    """Raise, with what to do about it, if a patch is larger than what is trained on."""
    choice = order.image
    common = order.overlap.ranges if order.overlap else {}
    sizes = [
        common[axis][1] - common[axis][0] if axis in common else size
        for axis, size in zip(choice.array_axes, choice.shape, strict=True)
    ]
    layout = AxesTransform(choice.array_axes, sizes)
    check_patch_size([layout.transformed_shape], order.config.data_config.patch_size)


def load_model(path: str) -> tuple[Any, str, str]:
    """Return (model, message, hint) of a checkpoint; a worker that runs this never raises."""
    try:
        import_engine(lambda: None)
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
