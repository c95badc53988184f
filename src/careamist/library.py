"""The models that are kept: a card beside the checkpoints of each, so that a list needs no torch.

A library is a folder that trainings write to; each run has a folder of its own in
``checkpoints``. In it stand the weights, ``model.json`` (what the list shows) and
``before_after.png`` (a detail of an image, noisy in the left half and restored in the right).
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from careamist.analysis.thumbnail import detail_pair, write_gray_png
from careamist.errors import (
    CareamistError,
    CheckpointError,
    OutputExistsError,
    SettingsError,
    SourceNotFoundError,
)
from careamist.fingerprint import fingerprint
from careamist.utils.files import copy_whole, told

CARD, PICTURE = "model.json", "before_after.png"
_BEST = "best.ckpt"
_OUR_FILES = ("*.ckpt", "*.ckpt.part", "losses.csv", CARD, PICTURE, "job_*.yml")
_OUR_FOLDERS = ("tb_logs", "wandb", "job_data")
_LONGEST_NAME = 80


class ModelCard(BaseModel):
    """What there is to know of a model without opening its weights."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = Field(1, ge=1, le=1)
    name: str
    method: str = ""  # empty: the weights have not been looked at yet
    axes: str = ""
    dims: int = 2
    n_channels: int = 1
    n_channels_out: int = 1
    steps: int = 0
    date: datetime.datetime
    source: str = ""
    description: str = ""
    fingerprint: str = ""
    used: datetime.datetime | None = None
    checkpoint: str = ""  # file name of the weights that predict
    stamp: int = 0  # when the newest checkpoint was written: if it changed, so has the model

    # found in the folder, not written
    folder: Path = Field(Path(), exclude=True)
    size: int = Field(0, exclude=True)  # bytes of all checkpoints
    problem: str = Field("", exclude=True)  # why the weights cannot be read

    @property
    def is_read(self) -> bool:
        """Whether the weights were looked at since they were written."""
        return bool(self.method or self.problem)

    @property
    def path(self) -> Path:
        """The folder: opening it takes the weights that the method trusts most."""
        return self.folder

    @property
    def thumbnail(self) -> Path | None:
        """The picture of a detail, if there is one."""
        path = self.folder / PICTURE
        return path if path.is_file() else None


# -- the list -------------------------------------------------------------------------------


def list_models(library: Path) -> list[ModelCard]:
    """Return the models of a library, the newest first; those without a card are not `is_read`.

    Parameters
    ----------
    library : Path
        The folder that trainings were given as `work_dir`.
    """
    cards = [card for folder in _runs(library) if (card := _card_of(folder)) is not None]
    taken, seen, unique = {card.name.casefold() for card in cards}, set[str](), []
    for card in sorted(cards, key=lambda card: card.date):  # of namesakes the oldest keeps its name
        name = card.name if card.name.casefold() not in seen else _free(card.name, taken)
        taken.add(name.casefold())
        seen.add(name.casefold())
        unique.append(card.model_copy(update={"name": name}))
    return unique[::-1]


def read_card(card: ModelCard) -> ModelCard:
    """Return a card with what stands in the weights, and write it beside them.

    Loads torch and the weights: to be called in the background. What cannot be read becomes the
    `problem` of the card; nothing is raised.
    """
    try:
        read = _looked_at(card)
    except CareamistError as error:
        return card.model_copy(update={"problem": error.message})
    with suppress(CareamistError):  # a library that cannot be written to is listed all the same
        _write(read)
    return read


def write_card(run_dir: Path, source: str = "", before: Any = None, after: Any = None) -> ModelCard:
    """Write the card of a model, and its picture; the Train dock does so when a training ended.

    Reads the weights, so it belongs in a thread of its own. Where a run has ended (finished or
    stopped) with `model.run_dir` set::

        worker = create_worker(write_card, model.run_dir, choice.name, noisy, restored)
        worker.finished.connect(models_changed)

    A later call for the same folder, as after "Continue", keeps the name, and the picture and
    the source where none are given.

    Parameters
    ----------
    run_dir : Path
        The folder of the checkpoints of the run.
    source : str
        What it was trained on, for a person.
    before, after : array-like of shape (..., Y, X), optional
        A part of the training image and the same part restored, in the same units: the last
        live preview, or the result of a prediction. Of leading axes the middle is shown.

    Returns
    -------
    ModelCard
        With a name that no other model beside it has.

    Raises
    ------
    CheckpointError, SourceNotFoundError
        If there is no readable checkpoint in the folder.
    UnreadableError
        If the folder cannot be written to.
    ShapeError
        If `before` and `after` are not the same part.
    """
    card = _card_of(run_dir)
    if card is None:
        raise SourceNotFoundError(f"There is no model in {run_dir}.", "Train one first.")
    card = _looked_at(card)
    if source:
        card = card.model_copy(update={"source": source})
    if before is not None and after is not None:
        write_picture(run_dir, before, after)
    _write(card)
    return card


def write_picture(run_dir: Path, before: Any, after: Any) -> None:
    """Write ``before_after.png`` of a model from two arrays of shape (..., Y, X)."""
    pair = detail_pair(before, after)
    with told(f"The picture of the model in {run_dir}"):
        write_gray_png(run_dir / PICTURE, pair)


# -- what can be done with one ----------------------------------------------------------------


def rename(card: ModelCard, name: str) -> ModelCard:
    """Give a model another name; its files stay where they are, for those who have them open.

    Raises
    ------
    SettingsError
        If the name is empty, too long, or that of another model.
    """
    name = " ".join(name.split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise SettingsError(
            f"“{name}” cannot be the name of a model:",
            f"expected 1 to {_LONGEST_NAME} characters.",
        )
    if name.casefold() in _names_beside(card.folder):
        raise SettingsError(f"There is a model “{name}” already.", "Choose another name.")
    renamed = card.model_copy(update={"name": name})
    _write(renamed)
    return renamed


def mark_used(card: ModelCard) -> ModelCard:
    """Note that a model was applied just now, so that it is offered first the next time."""
    used = card.model_copy(update={"used": _now()})
    _write(used)
    return used


def delete(card: ModelCard) -> None:
    """Remove the folder of a model for good.

    Raises
    ------
    SettingsError
        If the folder holds anything that careamist did not put there.
    UnreadableError
        If it cannot be removed.
    """
    if foreign := _foreign(card.folder):
        raise SettingsError(
            f"The folder {card.folder} also holds what is not part of the model: "
            f"{', '.join(foreign[:3])}{' …' if len(foreign) > 3 else ''}.",
            "Move that away first.",
        )
    with told(f"The model in {card.folder}"):
        shutil.rmtree(card.folder)


def export(card: ModelCard, path: str | Path, *, replace: bool = False) -> Path:
    """Copy the weights that predict to a file; ``.ckpt`` is added to a name without a suffix.

    Raises
    ------
    OutputExistsError
        If the file is there and may not be replaced.
    CareamistError
        If the weights cannot be read, or the file cannot be written.
    """
    path = Path(path).expanduser()
    path = path if path.suffix else path.with_suffix(".ckpt")
    card = card if card.is_read else _looked_at(card)
    if card.problem:
        raise CheckpointError(card.problem, "Train the model again.")
    if path.exists() and not replace:
        raise OutputExistsError(f"{path} is already there.", "Choose another name.")
    with told(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        copy_whole(card.folder / card.checkpoint, path)
    return path


def import_(path: str | Path, library: Path) -> ModelCard:
    """Copy a ``.ckpt`` file into a library, under a name that is free there.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    CheckpointError
        If careamist did not write it, or it is damaged.
    """
    from careamist.lightning import checkpoints

    path = Path(path).expanduser()
    config = checkpoints.load(path).config
    is_named = not path.stem.startswith(("last", "best", "step_"))
    runs = library / "checkpoints"
    number = 1
    while (folder := runs / f"{config.file_name}_{number}").exists():
        number += 1
    with told(f"The model {path}"):
        folder.mkdir(parents=True)
        try:
            copy_whole(path, folder / "last.ckpt")
            if (path.parent / PICTURE).is_file():
                copy_whole(path.parent / PICTURE, folder / PICTURE)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    card = write_card(folder)
    if not is_named:
        return card
    name = _free(path.stem[:_LONGEST_NAME], _names_beside(folder))
    return rename(card, name)


# -- inside -----------------------------------------------------------------------------------


def _runs(library: Path) -> Iterator[Path]:
    with told(f"The library {library}"):
        runs = library / "checkpoints"
        yield from sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else ()


def _card_of(folder: Path) -> ModelCard | None:
    """Return what is known without opening the weights; None where there are none."""
    try:
        found = {path: path.stat() for path in folder.glob("*.ckpt")}
    except OSError:  # it is being removed, or is not ours to read
        return None
    if not found:
        return None
    stamp = max(stat.st_mtime_ns for stat in found.values())
    there = {"folder": folder, "size": sum(stat.st_size for stat in found.values())}
    card = _written(folder)
    if card is not None and card.stamp == stamp and (folder / card.checkpoint).is_file():
        return card.model_copy(update=there)
    date = datetime.datetime.fromtimestamp(stamp / 1e9).astimezone()
    name, kept = folder.name, {}
    if card is not None:  # trained on since: what was measured then is not true any more
        name, kept = card.name, {"source": card.source, "used": card.used}
    return ModelCard(name=name, date=date, stamp=stamp, **kept, **there)


def _written(folder: Path) -> ModelCard | None:
    try:
        return ModelCard.model_validate_json((folder / CARD).read_bytes())
    except (OSError, ValidationError):
        return None


def _looked_at(card: ModelCard) -> ModelCard:
    """Return a card with what stands in the weights that predict."""
    from careamist.lightning import checkpoints

    file = checkpoints.find(card.folder)
    module = checkpoints.load(file)
    best = card.folder / _BEST
    if module.config.algorithm_config.default_checkpoint == "best" and best.is_file():
        file, module = best, checkpoints.load(best)
    config, data = module.config, module.config.data_config
    name = card.name
    if _written(card.folder) is None:
        name = _free(config.experiment_name, _names_beside(card.folder))
    return card.model_copy(
        update={
            "name": name,
            "method": config.algorithm_config.variant,
            "axes": data.axes,
            "dims": data.dims,
            "n_channels": data.n_channels or 1,
            "n_channels_out": data.n_channels_out or data.n_channels or 1,
            "steps": module.steps_done,
            "description": config.describe(),
            "fingerprint": fingerprint(module.averaged.state_dict()),
            "checkpoint": file.name,
        }
    )


def _write(card: ModelCard) -> None:
    with told(f"The card of the model in {card.folder}"):
        part = card.folder / f"{CARD}.part"
        try:
            part.write_text(card.model_dump_json(indent=1), encoding="utf-8")
            os.replace(part, card.folder / CARD)
        finally:
            part.unlink(missing_ok=True)


def _names_beside(folder: Path) -> set[str]:
    """Return the names of the other models, without regard to capitals."""
    others = (path for path in folder.parent.iterdir() if path.is_dir() and path != folder)
    return {card.name.casefold() for path in others if (card := _card_of(path)) is not None}


def _free(name: str, taken: Iterable[str]) -> str:
    taken, wanted, number = set(taken), name, 1
    while name.casefold() in taken:
        number += 1
        name = f"{wanted} {number}"
    return name


def _foreign(folder: Path) -> list[str]:
    """Return what is in the folder of a model but does not belong to it."""
    if folder.is_symlink():
        return [f"a link to {folder.resolve()}"]
    with told(f"The folder {folder}"):
        return sorted(
            path.name
            for path in folder.iterdir()
            if not (
                path.name in _OUR_FOLDERS
                if path.is_dir() and not path.is_symlink()
                else any(path.match(pattern) for pattern in _OUR_FILES)
            )
        )


def _now() -> datetime.datetime:
    return datetime.datetime.now().astimezone()
