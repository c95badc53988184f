"""A command of napari: the model that was used last, applied to the selected image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari  # noqa: TC002 - napari reads the annotation
from napari.layers import Image
from napari.utils.notifications import show_error, show_warning

from careamist import library
from careamist.gui import tasks
from careamist.gui.data.axes_chips import axes_problem, propose_axes
from careamist.gui.data.data_source import DataChoice, layer_info
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.jobs import Jobs, jobs_of
from careamist.gui.predicting.predict_order import PredictionOrder, use_of
from careamist.gui.predicting.results import start_prediction

if TYPE_CHECKING:
    from careamist.library import ModelCard

NO_MODEL = "There is no model yet. Train one with Plugins ▸ careamist ▸ Train."
NO_IMAGE = "No image is selected. Select an Image layer in the list of layers."
_WHERE = "Plugins ▸ careamist ▸ Predict"


def denoise_with_last_model(viewer: napari.Viewer) -> None:
    """Denoise the selected image with the model that was used last, into a new layer.

    That is the model of this viewer, or else the one of the library that was applied or trained
    last, which is loaded in the background. What is in the way is told in a notification.
    """
    jobs, layer = jobs_of(viewer), viewer.layers.selection.active
    if jobs.is_busy:
        show_warning(f"“{jobs.label}” is running. Wait for it, or cancel it.")
    elif not isinstance(layer, Image):
        show_warning(NO_IMAGE)
    elif jobs.model is not None:
        _denoise(viewer, jobs, jobs.model, layer)
    elif (card := _last()) is None:
        show_warning(NO_MODEL)
    else:
        viewer.status = f"Loading {card.name} …"
        loading = Latest(jobs)
        loading.answered.connect(lambda answer: _on_loaded(viewer, jobs, loading, layer, answer))
        loading.ask(lambda _: load(str(card.path)))


def load(path: str) -> tuple[Any, str, str]:
    """Return (model, message, hint) of a checkpoint; one of the library counts as used."""
    found = tasks.load_model(path)
    if found[0] is not None:
        for card in library.list_models(tasks.models_folder()):
            if card.folder == Path(path):
                library.mark_used(card)
    return found


def _on_loaded(viewer: Any, jobs: Jobs, loading: Latest, layer: Any, answer: Answer) -> None:
    loading.deleteLater()
    viewer.status = ""
    model, message, hint = answer.result or (None, answer.problem, "")
    if model is None:
        show_error(f"{message} {hint}".strip())
    elif not jobs.is_busy:  # another run may have begun meanwhile
        jobs.setModel(model)
        if layer in viewer.layers:
            _denoise(viewer, jobs, model, layer)


def _denoise(viewer: Any, jobs: Jobs, model: Any, layer: Any) -> None:
    shape = layer_info(layer).shape
    axes, ask = propose_axes(shape, tuple(layer.axis_labels), bool(layer.rgb))
    choice, trained = DataChoice(layer, None, axes, shape), model.config.data_config
    if wrong := axes_problem(axes, len(shape)):
        show_warning(f"“{layer.name}” cannot be denoised like this. {wrong}")
    elif ask and (trained.dims == 3 or (trained.n_channels or 1) > 1):
        # to a model of single planes it is all the same
        show_warning(f"Say in {_WHERE} what the axes of “{layer.name}” are.")
    elif wrong := (use := use_of(trained, choice)).problem:
        show_warning(wrong)
    else:
        start_prediction(viewer, jobs, model, PredictionOrder(choice, use.axes))


def _last() -> ModelCard | None:
    """Return the model of the library that was used last, or trained if none was used since."""
    cards = [card for card in library.list_models(tasks.models_folder()) if not card.problem]
    return max(cards, key=lambda card: max(card.used or card.date, card.date), default=None)
