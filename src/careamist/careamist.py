"""CAREamist: the one object of scripts, notebooks, the shell and the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist.compute import release_memory
from careamist.config.configuration import Configuration, load_configuration
from careamist.errors import SettingsError
from careamist.lightning.callbacks import checked_callbacks
from careamist.lightning.data_modules import TrainDataModule
from careamist.lightning.fit import fit
from careamist.lightning.model import Model
from careamist.predicting import Predicts
from careamist.runner import Runner

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytorch_lightning import Callback

    from careamist.events import Listener
    from careamist.lightning.preview import PreviewView
    from careamist.stop import StopSignal


class CAREamist(Predicts):
    """Trains a model and predicts with it.

    Exactly one of `config` and `checkpoint_path` is given; `source` stands for either.

    Parameters
    ----------
    config : Configuration or path, optional
        What to train; a path to a YAML file.
    checkpoint_path : path, optional
        A model to predict with or to train on: a ``.ckpt`` file, or a folder that holds one.
    source : Configuration or path, optional
        A configuration, a YAML file or a checkpoint, told apart by what it is.
    work_dir : path, optional
        Where checkpoints and predictions go; the current folder when not given.
    callbacks : sequence of pytorch_lightning.Callback
        More callbacks for the trainer; checkpoints and early stopping are configured instead.
    listeners : sequence of callable
        Called with every event of every run, in the thread of the run.
    enable_progress_bar : bool
        Whether a progress bar is drawn on the terminal.
    """

    def __init__(
        self,
        config: Configuration | str | Path | None = None,
        *,
        checkpoint_path: str | Path | None = None,
        source: Configuration | str | Path | None = None,
        work_dir: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        listeners: Sequence[Listener] = (),
        enable_progress_bar: bool = True,
    ) -> None:
        given = [item for item in (config, checkpoint_path, source) if item is not None]
        if len(given) != 1:
            raise SettingsError(
                f"{len(given)} of config, checkpoint_path and source were given.",
                "Give exactly one.",
            )
        ordered = given[0]
        is_yaml = config is not None or Path(str(source)).suffix in (".yml", ".yaml")
        if isinstance(ordered, (str, Path)) and is_yaml:
            ordered = load_configuration(ordered)
        self._model = Model(ordered)
        self.work_dir = Path.cwd() if work_dir is None else Path(work_dir).expanduser()
        self._callbacks = checked_callbacks(callbacks)
        self._runner = Runner(listeners, progress_bar=enable_progress_bar)

    # -- commands ---------------------------------------------------------------------------

    def train(
        self,
        *,
        train_data: Any | None = None,
        train_data_target: Any | None = None,
        val_data: Any | None = None,
        val_data_target: Any | None = None,
        datamodule: TrainDataModule | None = None,
        val_minimum_split: int = 1,
        preview: PreviewView | None = None,
        **more: Any,
    ) -> None:
        """Train, or train on.

        A new model is trained as configured. One that was stopped before the planned end goes on
        to it; one that reached the end is trained once more for the configured length. The last
        checkpoint is always written, also when the run is stopped.

        Parameters
        ----------
        train_data : array, path, URI, or list of these
            The images, in ``config.data_config.axes``; a folder stands for its files.
        train_data_target : array, path, URI, or list of these, optional
            What they should become, where the algorithm learns from examples. Files are paired
            by name.
        val_data, val_data_target : array, path, URI, or list of these, optional
            Images for validation; when not given, patches are kept out of training.
        datamodule : TrainDataModule, optional
            Instead of all the others.
        val_minimum_split : int
            At least so many patches or files are kept, if `val_percentage` is given.
        preview : PreviewView, optional
            Is shown what the network makes of an image, while it learns.
        **more
            What else `TrainDataModule` takes (``loading``, ``filtering_mask``, ...), and the older
            names ``train_source``, ``train_target``, ``val_source``, ``val_target``.

        Raises
        ------
        CareamistError
            If the data cannot be read or learnt from. The message says what to do.
        """
        data: dict[str, Any] = {
            "train_data": train_data,
            "train_data_target": train_data_target,
            "val_data": val_data,
            "val_data_target": val_data_target,
        }
        for name, older in _OLDER.items():
            if (value := more.pop(older, None)) is not None:
                if data[name] is not None:
                    raise SettingsError(f"{name} and {older} mean the same.", "Give one of them.")
                data[name] = value
        if (data["train_data"] is None) == (datamodule is None):
            raise SettingsError(
                "Training needs images.", "Give train_data, or a datamodule, but not both."
            )
        images = datamodule or TrainDataModule(
            self.config.data_config, **data, val_minimum_split=val_minimum_split, **more
        )
        with self._runner.frame("train", self.config.training_config.num_threads) as run:
            run.stop.check()
            images.check = run.stop.check
            self._model.check_targets(images)
            images.setup("fit")
            module = self._model.prepared_for(images, run.stop.check)
            fit(module, images, self._model.folder_in(self.work_dir), run, self._callbacks, preview)
        if datamodule is None:
            # the trainer and the data hold each other: without this, until somebody collects them
            images.release()
            release_memory()

    def stop(self) -> None:
        """Ask the run in progress to stop; what it has done is kept. May be called anywhere."""
        self._runner.stop()

    stop_training = stop

    def attached(self, listener: Listener, stop: StopSignal) -> AbstractContextManager[None]:
        """Let another thread listen to and stop what is run while this is entered."""
        return self._runner.attached(listener, stop)

    @property
    def listeners(self) -> list[Listener]:
        """What is called with every event of every run, in the thread of the run."""
        return self._runner.listeners

    @property
    def was_stopped(self) -> bool:
        """Whether the latest run was asked to stop."""
        return self._runner.stop_signal.is_set()

    @property
    def config(self) -> Configuration:
        """As it was given; after training with what was measured on the data."""
        return self._model.config

    @property
    def run_dir(self) -> Path | None:
        """Folder of the checkpoints of the latest training."""
        return self._model.run_dir

    @property
    def is_trained(self) -> bool:
        """Whether there are weights to predict with."""
        return self.steps_done > 0

    @property
    def steps_done(self) -> int:
        """Optimizer steps that went into the weights at hand."""
        return 0 if self._model.module is None else self._model.module.steps_done

    def get_checkpoints(self) -> list[Path]:
        """Return the checkpoints of the latest training: by step, then the best and the last."""
        return self._model.checkpoints()

    def get_losses(self) -> dict[str, list[list[float]]]:
        """Return ``train_loss`` and ``val_loss`` as lists of [step, value]."""
        return {} if self._model.module is None else self._model.module.history


_OLDER = {
    "train_data": "train_source",
    "train_data_target": "train_target",
    "val_data": "val_source",
    "val_data_target": "val_target",
}
