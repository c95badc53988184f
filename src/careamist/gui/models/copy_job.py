"""The run of a dock as text in the clipboard: a Python script, or a line for the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QGuiApplication

from careamist.config.job import DataReference, PredictionJob, TrainingJob, save_job
from careamist.config.prediction import PredictionConfig
from careamist.dataset.sources import is_uri
from careamist.errors import SettingsError
from careamist.export.data import keep_array
from careamist.export.script import command_line, python_script
from careamist.gui import tasks
from careamist.gui.data.findings import pixels_of
from careamist.gui.data.latest import Answer, Latest
from careamist.recipe import checkpoint_of

if TYPE_CHECKING:
    from careamist.careamist import CAREamist
    from careamist.config import Configuration
    from careamist.gui.data.data_source import DataChoice

Job = TrainingJob | PredictionJob


class JobCopy(QObject):  # type: ignore[misc, unused-ignore]
    """Puts a run into the clipboard; pixels of layers are written to a file in the background.

    Parameters
    ----------
    parent : QObject
        The dock.

    Attributes
    ----------
    told : Signal(str, str)
        "info" or "error", and what to tell the user.
    """

    told = Signal(str, str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._writing = Latest(self)
        self._writing.answered.connect(self._on_answer)

    def copyScript(self, order: Callable[[], Job]) -> None:
        """Copy a Python script; `order` makes the job, in the background."""
        self._writing.ask(lambda _: (python_script(order()), "The Python script is copied."))

    def copyCommand(self, order: Callable[[], Job], folder: Path | None = None) -> None:
        """Write a job file to a folder, that of the models if not given, and copy its command."""
        self._writing.ask(lambda _: _command(order(), folder or tasks.models_folder() / "jobs"))

    def saveJob(self, order: Callable[[], Job], path: Path) -> None:
        """Write a job file, which the command ``careamist run`` does."""

        def save(_: object) -> tuple[str | None, str]:
            return None, f"The job is saved. `{command_line(save_job(order(), path))}` runs it."

        self._writing.ask(save)

    def _on_answer(self, answer: Answer) -> None:
        if answer.problem:
            self.told.emit("error", answer.problem)
            return
        text, words = answer.result
        if text is not None:
            QGuiApplication.clipboard().setText(text)
        self.told.emit("info", words)


def prediction_order(
    model: CAREamist,
    choice: DataChoice,
    options: PredictionConfig | None = None,
    training: Callable[[], TrainingJob] | None = None,
) -> PredictionJob:
    """Return the job of a prediction; writes the pixels of a layer.

    Parameters
    ----------
    model : CAREamist
        What predicted.
    choice : DataChoice
        The image.
    options : PredictionConfig, optional
        How; as the Predict dock does by default if not given.
    training : callable, optional
        Makes the job of the training, to be repeated first: "Copy as script" of Train & denoise.
    """
    _, data_type = pixels_of(choice)
    place = checkpoint_of(model)
    if training is None and place is None:
        raise SettingsError("This model is in no file.", "Train one first.")
    return PredictionJob(
        model=str(place) if training is None else training(),
        data=reference(choice, _data_folder(model)),
        options=options or PredictionConfig(axes=choice.axes, data_type=data_type),
        output=_folder_name(choice, model),
        overwrite="replace",
    )


def repeated(results: Any) -> PredictionJob:
    """Return the job of a prediction of the Predict dock; writes the pixels of a layer.

    Parameters
    ----------
    results : Results
        What became of it: the model, and the order.
    """
    model, order = results.model, results.order
    place = checkpoint_of(model)
    if place is None:
        raise SettingsError("This model is in no file.", "Train one first.")
    choice, pixels = order.choice, order.data()
    if choice.layer is None:
        paths = [pixels] if isinstance(pixels, str) else pixels
        known = tuple(_absolute(path) for path in paths)
        data = DataReference(path=known[0] if isinstance(pixels, str) else known)
    else:
        data = keep_array(pixels, _data_folder(model), choice.name)
    in_files = order.output == "files"
    return PredictionJob(
        model=str(place),
        data=data,
        options=order.settings(),
        output=str(results.folder) if in_files else _folder_name(choice, model),
        write_type=order.write_type if in_files else None,
        overwrite="replace",
    )


def reference(choice: DataChoice, folder: Path) -> DataReference:
    """Return where an image is; that of a layer is written to `folder` first."""
    if choice.layer is not None:
        return keep_array(choice.source, folder, choice.name)
    return DataReference(path=_absolute(choice.path or ""))


def _absolute(path: str) -> str:
    return path if is_uri(path) else str(Path(path).expanduser().absolute())


def _folder_name(choice: DataChoice, model: CAREamist) -> str:
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in choice.name)
    return f"{name}_{model.config.algorithm_config.short_name}"


def _data_folder(model: Any) -> Path:
    return Path(model.run_dir or tasks.models_folder()) / "job_data"


def resolved_config(model: CAREamist) -> Configuration:
    """Return the configuration of a model with steps in place of minutes."""
    config = model.config
    if config.training_config.max_minutes is None:
        return config
    length = {"max_minutes": None, "num_steps": model.steps_done}
    training = config.training_config.model_copy(update=length)
    return config.model_copy(update={"training_config": training})


def _command(job: Job, folder: Path) -> tuple[str, str]:
    number = 1
    while (path := folder / f"job_{job.kind}_{number}.yml").exists():
        number += 1
    save_job(job, path)
    return command_line(path), f"The command is copied. It runs {path}."
