"""The model at hand: its configuration, its weights once there are any, and where it is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from careamist.errors import NotTrainedError, SettingsError
from careamist.lightning import checkpoints
from careamist.lightning.checkpoints import BEST, LAST
from careamist.lightning.data_modules import TrainDataModule
from careamist.lightning.module import RestorationModule

if TYPE_CHECKING:
    from careamist.config.configuration import Configuration


class Model:
    """What a CAREamist trains and predicts with.

    Parameters
    ----------
    ordered : Configuration or path
        What to train, or the checkpoint of what was trained: a file, or a folder that holds one.

    Attributes
    ----------
    module : RestorationModule or None
        None until the data were seen.
    run_dir : Path or None
        Folder of the checkpoints of the latest training.
    source : Path or None
        The file or the folder that was loaded.
    """

    def __init__(self, ordered: Configuration | str | Path) -> None:
        self.module: RestorationModule | None = None
        self.run_dir: Path | None = None
        self.source: Path | None = None
        self._chosen: tuple[Path, RestorationModule] | None = None
        self._home: Path | None = None  # folder of the checkpoint that was loaded
        self._trusts_home = False  # whether it was chosen as a folder, so that best.ckpt counts
        if isinstance(ordered, (str, Path)):
            path = _found(ordered)
            self.source = Path(ordered).expanduser().absolute()
            self._home, self._trusts_home = path.parent, not Path(ordered).expanduser().is_file()
            self.module = checkpoints.load(path)
            ordered = self.module.config
        self._ordered = ordered

    @property
    def config(self) -> Configuration:
        """As ordered; once the data were seen, with what was measured on them."""
        return self._ordered if self.module is None else self.module.config

    def check_targets(self, data: TrainDataModule) -> None:
        """Raise `SettingsError` if targets are needed and missing; ignore those of no use.

        Called before the data are set up.
        """
        algorithm = self.config.algorithm_config
        if algorithm.needs_target:
            if data.train_data_target is None and type(data) is TrainDataModule:
                algorithm.checked(None)
        elif data.train_data_target is not None and not hasattr(data, "train_dataset"):
            data.train_data_target = data.val_data_target = None
            data.notices.append(
                f"{algorithm.full_name} learns without targets: those given are ignored."
            )

    def prepared_for(self, data: TrainDataModule, check: Callable[[], None]) -> RestorationModule:
        """Return the module, a new one with statistics of the data if there is none yet.

        `check` is called while the data are read, and may raise to end that.
        """
        if self.module is None:
            resolved = data.resolved(check)
            module = RestorationModule(self._ordered.model_copy(update={"data_config": resolved}))
            module.prepare(data.train_dataset)
            self.module = module
        known = self.module.config.data_config
        for what, ours, theirs in (
            ("spatial axes", known.dims, data.data_config.dims),
            ("channels", known.n_channels, data.n_channels),
            ("target channels", known.n_channels_out, data.n_channels_out),
        ):
            if ours != theirs:
                raise SettingsError(
                    f"The model was trained on {ours} {what}, these images have {theirs}.",
                    "Train a new model on them.",
                )
        return self.module

    def to_predict_with(self, checkpoint: str | Path | None = None) -> RestorationModule:
        """Return a module with trained weights; the one in training is not touched.

        Parameters
        ----------
        checkpoint : path, "last", "best" or None
            None is what the algorithm trusts most: the last weights, or for CARE those of the
            lowest validation loss.

        Raises
        ------
        NotTrainedError
            If there are no weights yet.
        SettingsError
            If the best weights are asked for where validation does not rank models, or where
            there was none.
        """
        algorithm = self.config.algorithm_config
        folder = self.run_dir or self._home
        best = folder / BEST if folder and (folder / BEST).is_file() else None
        if checkpoint == "best" and algorithm.default_checkpoint != "best":
            there = f"({best})" if best else "of a checkpoint"
            raise SettingsError(
                f"{algorithm.full_name} has no best checkpoint: its validation loss measures "
                "noise as well, and does not rank models.",
                f"Use 'last', or give the path {there}.",
            )
        if checkpoint not in (None, "last", "best"):
            return self._loaded(_found(str(checkpoint)))
        if self.module is None or self.module.steps_done == 0:
            raise NotTrainedError(
                "There is no trained model yet.", "Train first, or load a checkpoint."
            )
        trusts_best = algorithm.default_checkpoint == "best" and (self.run_dir or self._trusts_home)
        if best and (checkpoint == "best" or (checkpoint is None and trusts_best)):
            return self._loaded(best)
        if checkpoint == "best":
            raise SettingsError(
                "There is no best checkpoint: no validation loss was measured.",
                "Use 'last', or train with validation patches.",
            )
        return self.module

    def checkpoints(self) -> list[Path]:
        """Return the files of the latest training: by step, then the best and the last."""
        if self.run_dir is None:
            return []
        steps = sorted(self.run_dir.glob("step_*.ckpt"))
        named = (self.run_dir / name for name in (BEST, LAST))
        return [*steps, *(path for path in named if path.is_file())]

    def _loaded(self, path: Path) -> RestorationModule:
        """Return the module of a checkpoint; the latest one is kept."""
        if self._chosen is None or self._chosen[0] != path or path.name in (BEST, LAST):
            self._chosen = (path, checkpoints.load(path))  # best and last are written anew
        return self._chosen[1]

    def folder_in(self, work_dir: Path) -> Path:
        """Return a folder for checkpoints, a new one: earlier models are never written over."""
        if self.run_dir is None:
            number = 1
            name = self.config.file_name
            while (folder := work_dir / "checkpoints" / f"{name}_{number}").exists():
                number += 1
            folder.mkdir(parents=True)
            self.run_dir = folder
            self._take_best_along(folder)
        return self.run_dir

    def _take_best_along(self, folder: Path) -> None:
        """Keep what was the best model when the loaded checkpoint was written."""
        if self._home is None or self.module is None or not (self._home / BEST).is_file():
            return
        if checkpoints.load(self._home / BEST).steps_done <= self.module.steps_done:
            shutil.copyfile(self._home / BEST, folder / BEST)


def _found(path: str | Path) -> Path:
    if not str(path).strip():
        raise SettingsError("An empty path was given.", "Give a .ckpt file or its folder.")
    return checkpoints.find(path)
