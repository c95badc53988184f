"""A model file that is opened in napari becomes the model of the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_error

from careamist.errors import SettingsError
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.jobs import jobs_of
from careamist.gui.tasks import load_model

SUFFIX = ".ckpt"


def open_predict(viewer: Any) -> Any:
    """Open the Predict dock, or bring it to the front, and return its widget."""
    dock, widget = viewer.window.add_plugin_dock_widget("careamist", "Predict", tabify=True)
    dock.show()
    dock.raise_()
    return widget


def open_model(viewer: Any, path: str | Path) -> None:
    """Open the Predict dock and load a checkpoint in the background, as the viewer's model.

    What goes wrong is told in a notification of napari.
    """
    viewer.status = f"Loading {Path(path).name} …"
    loading = Latest(open_predict(viewer))  # which closes with the viewer, and ends this
    loading.answered.connect(partial(_on_answer, viewer, loading))
    loading.ask(lambda _: load_model(str(path)))


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[tuple[None]]] | None:
    """Return the function that opens a dropped model; None for anything else."""
    paths = [path] if isinstance(path, str) else list(path)
    if not paths or any(Path(name).suffix.lower() != SUFFIX for name in paths):
        return None
    return read_model


def read_model(path: str | Sequence[str]) -> list[tuple[None]]:
    """Open a model in the current viewer; of several the last one stays. It adds no layer.

    Raises
    ------
    SettingsError
        If there is no viewer.
    """
    viewer = napari.current_viewer()
    if viewer is None:
        raise SettingsError("There is no napari window.", "Open one first.")
    paths = [path] if isinstance(path, str) else list(path)
    open_model(viewer, paths[-1])
    return [(None,)]


def _on_answer(viewer: Any, loading: Latest, answer: Answer) -> None:
    loading.deleteLater()
    model, message, hint = answer.result or (None, answer.problem, "")
    viewer.status = ""
    if model is None:
        show_error(f"{message} {hint}".strip())
    else:
        jobs_of(viewer).setModel(model)
