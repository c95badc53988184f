"""What becomes of a prediction: layers that fill, or files; and how the run is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject

from careamist.events import (
    TERMINAL,
    Event,
    ImageFinished,
    ImageStarted,
    RegionPredicted,
    RunFinished,
)
from careamist.gui import tasks
from careamist.gui.parts.speed import exactly
from careamist.gui.predicting.live_layer import LiveLayer
from careamist.gui.predicting.predict_files import OrderedSink, open_levels
from careamist.gui.predicting.predict_looks import result_options
from careamist.gui.predicting.predict_place import ViewFollower
from careamist.gui.tasks import prediction_job
from careamist.prediction.sinks import ArraySink

if TYPE_CHECKING:
    from careamist.background import Job
    from careamist.events import Listener
    from careamist.gui.jobs import Jobs, RunRecord
    from careamist.gui.predicting.predict_order import PredictionOrder
    from careamist.prediction.run import Failures
    from careamist.stop import StopSignal


class Results(QObject):  # type: ignore[misc, unused-ignore]
    """Adds a layer for each image of a prediction as soon as it begins, unless files are wanted.

    It belongs to the jobs of the viewer: closing a dock does not end it.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the layers.
    jobs : Jobs
        Tell what happens.
    model : CAREamist
        What predicts.
    order : PredictionOrder
        What is predicted.

    Attributes
    ----------
    sink : ArraySink or OrderedSink
        What the prediction fills.
    layers : list of napari.layers.Image
        Those that were added.
    written : list of str
        The files that are complete.
    error : Exception or None
        What has ended the run.
    """

    def __init__(self, viewer: Any, jobs: Jobs, model: Any, order: PredictionOrder) -> None:
        super().__init__(jobs)
        self.layers: list[Any] = []
        self.written: list[str] = []
        self.error: Exception | None = None
        self.model, self.order = model, order
        self._viewer, self._jobs = viewer, jobs
        self._follower = ViewFollower(self, viewer, order)
        self._live: dict[int, LiveLayer] = {}
        self._axes: dict[int, str] = {}
        self._begun: set[int] = set()
        self._complete: set[int] = set()
        self._recipe: dict[str, Any] = {}
        self._run_id = ""
        self._check: Callable[[], None] = lambda: None
        data = model.config.data_config
        n_channels = data.n_channels_out or data.n_channels or 1
        self.to_disk = order.output == "files" or order.is_too_large(n_channels)
        self.sink: Any = ArraySink()
        if self.to_disk:
            folder = order.folder or tasks.results_folder()
            self.sink = OrderedSink(order, folder, self._write_type(), lambda: self._check())

    @property
    def folder(self) -> Path | None:
        """Where results are kept, None if that is the memory."""
        return self.sink.folder if self.to_disk else None

    def title(self) -> str:
        """Say what becomes of the image, in a word or two."""
        if self.order.output == "files" and self.folder is not None:
            return self.folder.name
        variant = self.model.config.algorithm_config.variant
        return self.order.name or f"{self.order.choice.name} ({variant})"

    def job(self) -> Job:
        """Return what runs in the background."""
        order, model = self.order, self.model
        failures: Failures | None = {} if order.output == "files" else None
        predict = prediction_job(
            model,
            order.choice,
            self.sink,
            data=order.data(),
            options=order.settings(),
            wanted_first=self._follower.wanted,
            failures=failures,
        )

        def run(listener: Listener, stop: StopSignal) -> Any:
            from careamist.recipe import recipe_of

            self._check = stop.check
            try:
                self._recipe = recipe_of(model, order.settings(), order.choice.name)
                return predict(listener, stop)
            except Exception as error:
                self.error = error
                raise

        return run

    def follow(self, record: RunRecord) -> None:
        """Follow a run to its end."""
        self._run_id = record.run.run_id
        self._jobs.told.connect(self._on_event)

    def _write_type(self) -> str:
        order = self.order
        if order.output == "files":
            return order.write_type
        axes = order.choice.array_axes  # OME-Zarr has no place for both of these
        return "zarr" if {"S", "C"} <= set(axes) else "ome-zarr"

    def _on_event(self, event: Event) -> None:
        if event.run_id != self._run_id:
            return
        if isinstance(event, ImageStarted):
            self._axes[event.index] = self.order.result_axes(event.axes)
            if self.order.output == "layer":
                self._add(event)
        elif isinstance(event, RegionPredicted):
            self._begun.add(event.index)
            if event.index in self._live:
                self._live[event.index].touch()
        elif isinstance(event, ImageFinished):
            self._on_finished(event)
        elif isinstance(event, TERMINAL):
            self._jobs.told.disconnect(self._on_event)
            self._follower.end()
            self._end(all_done=isinstance(event, RunFinished))
            self.setParent(None)  # whoever needs the results holds them; the pixels are the layers'
            getattr(self.sink, "arrays", {}).clear()

    def _end(self, *, all_done: bool) -> None:
        for index, live in self._live.items():
            if all_done or index in self._complete | self._begun:
                live.finish(complete=all_done or index in self._complete)
            else:  # there is nothing in it
                live.remove()
                self.layers.remove(live.layer)
        self._live = {}

    def _on_finished(self, event: ImageFinished) -> None:
        self._complete.add(event.index)
        if event.written_to is not None:
            self.written.append(event.written_to)
            if event.index in self._live:
                levels = open_levels(event.written_to, self._axes[event.index])
                self._live[event.index].replace(levels)

    def _add(self, event: ImageStarted) -> None:
        order, choice = self.order, self.order.choice
        source = choice.name if choice.layer is not None else event.source
        about = {**self._recipe, "source": source, "axes": self._axes[event.index]}
        about["summary"] = self._summary()
        if order.region:
            about["region"] = order.region
        axes, shape = self._axes[event.index], event.shape
        options = result_options(order, event.source, axes, shape, event.dtype)
        view = self.sink.view(event.index)
        if choice.layer is not None and choice.layer.rgb and shape[-1] == 1 and axes[-1] == "C":
            axes, view = axes[:-1], view[..., 0]  # colours became one channel
            options = result_options(order, event.source, axes, shape[:-1], event.dtype)
        live = LiveLayer(
            self._viewer,
            view,
            self._name(event),
            options,
            {"careamist": about},
            self._is_there(event.index),
        )
        self._live[event.index] = live
        self.layers.append(live.layer)

    def _name(self, event: ImageStarted) -> str:
        choice = self.order.choice
        if self.order.name and (choice.layer is not None or len(choice.images) < 2):
            return self.order.name
        name = choice.name if choice.layer is not None else Path(event.source).name
        return f"{name} ({self.model.config.algorithm_config.variant})"

    def _summary(self) -> str:
        config = self.model.config
        method = config.algorithm_config.variant
        return f"{config.experiment_name}: {method}, {self.model.steps_done} steps"

    def _is_there(self, index: int) -> Callable[[], bool]:
        if not self.to_disk:
            return lambda: True
        part = Path(f"{self.sink.paths[index]}.part")
        return part.exists


def tell_denoised(record: RunRecord) -> None:
    """Tell what came out of a prediction, how long it took, and where the files are."""
    results: Results = record.order
    names = ", ".join(f"“{layer.name}”" for layer in results.layers)
    if results.order.output == "files":
        names = f"{len(results.written)} file{'s' if len(results.written) != 1 else ''}"
    trained = "" if record.before is None else f"trained in {exactly(record.before.seconds)}, "
    where = f" In {results.folder}." if results.folder is not None else ""
    show_info(f"{names}: {trained}denoised in {exactly(record.seconds)}.{where}")


def start_prediction(
    viewer: Any,
    jobs: Jobs,
    model: Any,
    order: PredictionOrder,
    *,
    before: RunRecord | None = None,
    then: Callable[[RunRecord], object] = tell_denoised,
    wrap: Callable[[Job, Any], Job] = lambda job, _: job,
) -> RunRecord:
    """Start a prediction in the background; its results appear in the viewer.

    Parameters
    ----------
    viewer, jobs, model, order
        See `Results`, which is the `order` of the record.
    before, then
        See `RunRecord`.
    wrap : callable
        Makes of the job and its sink what is run.
    """
    results = Results(viewer, jobs, model, order)
    label = f"Denoise {order.choice.name}"
    job = wrap(results.job(), results.sink)
    record = jobs.start("predict", label, job, order=results, before=before, then=then)
    results.follow(record)
    return record
