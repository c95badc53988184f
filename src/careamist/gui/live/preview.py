"""The live preview of a viewer: what its training makes of the slice on the screen.

Three lines wire it to a dock::

    feed = preview_of(viewer).begin(choice)         # before the run is started
    careamist.train(train_data=data, preview=feed)  # in the job, in its own thread
    page.addWidget(PreviewStrip(preview_of(viewer), dock))

It follows the jobs of the viewer: it ends with the run, and makes room for the denoised layer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from careamist.events import TERMINAL, Event, ImageStarted
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.jobs import jobs_of
from careamist.gui.live.preview_feed import RAW, PreviewFeed
from careamist.gui.live.preview_layer import PreviewLayer
from careamist.gui.live.preview_place import visible_place
from careamist.gui.tasks import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from careamist.gui.data.data_source import DataChoice
    from careamist.lightning.preview import PreviewResult

_LOOK_MS = 350  # between two looks at the viewer, and for results
_registry: WeakKeyDictionary[Any, Preview] = WeakKeyDictionary()


def preview_of(viewer: Any) -> Preview:
    """Return the preview of a viewer, the same for all docks in it."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins may get a proxy
    if viewer not in _registry:
        _registry[viewer] = Preview(viewer)
    return _registry[viewer]


class Moment(NamedTuple):
    """A preview of the time line.

    Parameters
    ----------
    step : int
        Steps of the training; `RAW` for the image itself.
    detail : numpy.ndarray
        C × up to `DETAIL` × up to `DETAIL` pixels of it.
    result : PreviewResult or None
        The preview; None for the image itself.
    """

    step: int
    detail: NDArray[Any]
    result: PreviewResult | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The file that keeps the weights of the step."""
        return None if self.result is None else self.result.checkpoint


class Preview(QObject):  # type: ignore[misc, unused-ignore]
    """Keeps the previews of the latest training of a viewer, and shows one of them in a layer.

    Parameters
    ----------
    viewer : napari.Viewer
        Its jobs are followed; it gets the layer.

    Attributes
    ----------
    changed : Signal()
        There is a new preview, another one is shown, or the switch was moved.
    failed : Signal(str, str)
        A model could not be loaded: message and hint.
    jobs : Jobs
        Of the viewer.
    """

    changed = Signal()
    failed = Signal(str, str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = ref(getattr(viewer, "__wrapped__", viewer))
        self.jobs = jobs_of(viewer)
        self._choice: DataChoice | None = None
        self._feed: PreviewFeed | None = None
        self._layer: PreviewLayer | None = None
        self._moments: list[Moment] = []
        self._selected: int | None = None  # a step; None follows the latest
        self._used: int | None = None
        self._is_live = True
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self.look)
        self._loader = Latest(self)
        self._loader.answered.connect(self._on_loaded)
        self.jobs.told.connect(self._on_event)
        viewer.dims.events.current_step.connect(self._on_dims)
        viewer.layers.events.removed.connect(self._on_removed)

    def begin(self, choice: DataChoice) -> PreviewFeed:
        """Prepare for a training on an image; what is left of the one before is put away.

        Returns
        -------
        PreviewFeed
            Is given to ``CAREamist.train(preview=...)``.
        """
        self.clear()
        # a layer may be a proxy too, another one each time
        choice = replace(choice, layer=getattr(choice.layer, "__wrapped__", choice.layer))
        self._choice, self._feed = choice, PreviewFeed(choice)
        self._feed.is_live = self._is_live
        viewer = self._viewer()
        if choice.layer is not None and viewer is not None:
            self._layer = PreviewLayer(viewer, choice)
            self._feed.place = visible_place(viewer, choice)
        self._timer.start()
        self.changed.emit()
        return self._feed

    def clear(self) -> None:
        """Put everything away, the layer too."""
        self._timer.stop()
        self._loader.drop()
        layer, self._layer = self._layer, None
        if layer is not None:
            layer.remove()
        self._choice = self._feed = self._selected = self._used = None
        self._moments = []
        self.changed.emit()

    def isLive(self) -> bool:
        """Tell whether the view is predicted while a network is trained."""
        return self._is_live

    def setLive(self, on: bool) -> None:
        """Predict the view again every few seconds, or not."""
        if on == self._is_live:
            return
        self._is_live = on
        if self._feed is not None:
            self._feed.is_live = on
        self._show()
        self.changed.emit()

    def isRunning(self) -> bool:
        """Tell whether more previews are to come."""
        return bool(self._timer.isActive())

    def moments(self) -> list[Moment]:
        """Return the time line: the image, the steps that are kept, and the latest preview."""
        return list(self._moments)

    def selected(self) -> Moment | None:
        """Return what is shown: the latest moment, if none was selected."""
        for moment in self._moments:
            if moment.step == self._selected:
                return moment
        return self._moments[-1] if self._moments else None

    def select(self, step: int | None) -> None:
        """Show a step and its slice in the layer; the latest, or None, follows the training."""
        is_latest = bool(self._moments) and step == self._moments[-1].step
        self._selected = None if is_latest else step
        self._show()
        if self._selected is not None and self._layer is not None:
            self._layer.reveal()
        self.changed.emit()

    def source(self) -> Any:
        """Return the layer that is trained on, or None."""
        return None if self._choice is None else self._choice.layer

    def used(self) -> int | None:
        """Return the step whose model was taken."""
        return self._used

    def use(self) -> None:
        """Take the model of the selected step as the model of the viewer."""
        moment = self.selected()
        if moment is not None and moment.checkpoint is not None and not self.jobs.is_busy:
            path, step = str(moment.checkpoint), moment.step
            self._loader.ask(lambda _: (step, *load_model(path)))

    def look(self) -> None:
        """See what is on the screen, and what the training has sent."""
        feed, viewer = self._feed, self._viewer()
        if feed is None or viewer is None:
            return
        if not self.jobs.is_busy:
            self._end()
            return
        if self._choice is not None and self._choice.layer is not None:
            feed.place = visible_place(viewer, self._choice)
        self._take(feed)

    def _take(self, feed: PreviewFeed) -> None:
        news = False
        while not feed.results.empty():
            raw, detail, result = feed.results.get()
            if raw is not None and not self._moments:
                self._moments.append(Moment(RAW, raw))
            last = self._moments[-1] if self._moments else None
            if last is not None and last.result is not None and last.checkpoint is None:
                self._moments.pop()  # it was only the latest
                if self._selected == last.step:
                    self._selected = None
            self._moments.append(Moment(result.step, detail, result))
            news = True
        if news:
            self._show()
            self.changed.emit()

    def _show(self) -> None:
        moment = self.selected()
        if self._layer is None or moment is None:
            return
        shown = moment.result is not None and self._is_live
        if shown and moment.result is not None:
            self._layer.show(moment.result)
        self._layer.setVisible(shown)

    def _end(self) -> None:
        """Take what has come last; nothing more will."""
        self._timer.stop()
        if self._feed is not None:
            self._take(self._feed)
            self._feed = None
        self.changed.emit()

    def _on_event(self, event: Event) -> None:
        if not isalive(self):
            return
        if self._feed is not None and isinstance(event, TERMINAL):
            self._end()
        elif isinstance(event, ImageStarted) and self._layer is not None:
            self._layer.setVisible(False)  # the result is shown in the same place

    def _on_dims(self, event: Any = None) -> None:
        if isalive(self) and self._layer is not None:
            self._layer.follow()

    def _on_removed(self, event: Any) -> None:
        if not isalive(self) or self._layer is None:
            return
        if event.value is self.source():
            self._layer.remove()
        elif self._layer.owns(event.value) and self._feed is not None:
            self.setLive(False)  # who removes it does not want to see it

    def _on_loaded(self, answer: Answer) -> None:
        if answer.result is None:
            self.failed.emit(answer.problem, "")
            return
        step, model, message, hint = answer.result
        if model is None:
            self.failed.emit(message, hint)
        elif not self.jobs.is_busy:
            self._used = step
            self.jobs.setModel(model)
            self.changed.emit()
