"""CAREamist: the one object of scripts, notebooks, the shell and the screen."""

from __future__ import annotations

import threading
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from careamist.compute import cpu_threads, interrupt_stops, resolve_device
from careamist.config.configuration import Configuration, load_configuration
from careamist.dataset.sources import check_dtypes, guess_data_type, is_path, open_stacks
from careamist.errors import NotTrainedError, SettingsError
from careamist.events import (
    Event,
    Listener,
    RunFailed,
    RunFinished,
    RunKind,
    RunStopped,
    tell,
)
from careamist.failures import explain_failure
from careamist.lightning import checkpoints
from careamist.lightning.data_modules import TrainDataModule
from careamist.lightning.fit import fit
from careamist.lightning.module import RestorationModule
from careamist.prediction.predictor import plan_tiling, predict_stacks
from careamist.prediction.sinks import ArraySink, Sink, TiffSink
from careamist.progress_bar import ProgressBar
from careamist.stop import StopRequested, StopSignal

if TYPE_CHECKING:
    import numpy as np


class CAREamist:
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
    listeners : sequence of callable
        Called with every event of every run, in the thread of the run.
    enable_progress_bar : bool
        Whether a progress bar is drawn on the terminal.

    Attributes
    ----------
    config : Configuration
        As it was given; after training with what was measured on the data.
    run_dir : Path or None
        Folder of the checkpoints of the latest training.
    """

    def __init__(
        self,
        config: Configuration | str | Path | None = None,
        *,
        checkpoint_path: str | Path | None = None,
        source: Configuration | str | Path | None = None,
        work_dir: str | Path | None = None,
        listeners: Sequence[Listener] = (),
        enable_progress_bar: bool = True,
    ) -> None:
        given = [item for item in (config, checkpoint_path, source) if item is not None]
        if len(given) != 1:
            raise SettingsError(
                f"{len(given)} of config, checkpoint_path and source were given.",
                "Give exactly one.",
            )
        if isinstance(source, (str, Path)) and Path(source).suffix not in (".yml", ".yaml"):
            checkpoint_path, source = source, None
        self._module: RestorationModule | None = None
        if checkpoint_path is not None:
            self._load(checkpoint_path)
        else:
            ordered = config if config is not None else source
            self.config = (
                ordered if isinstance(ordered, Configuration) else load_configuration(str(ordered))
            )
        self.work_dir = Path.cwd() if work_dir is None else Path(work_dir).expanduser()
        self.run_dir: Path | None = None
        self.listeners: list[Listener] = list(listeners)
        self._progress_bar = enable_progress_bar
        self._stop = StopSignal()
        self._attached = False
        self._busy = threading.Lock()

    # -- commands ---------------------------------------------------------------------------

    def train(
        self,
        *,
        train_data: Any | None = None,
        val_data: Any | None = None,
        datamodule: TrainDataModule | None = None,
    ) -> None:
        """Train, or train on.

        A new model is trained as configured. One that was stopped before the planned end goes on
        to it; one that reached the end is trained once more for the configured length. The last
        checkpoint is always written, also when the run is stopped.

        Parameters
        ----------
        train_data : array, path, or list of these
            The noisy images, in ``config.data_config.axes``; a folder stands for its files.
        val_data : array, path, or list of these, optional
            Images for validation; when not given, patches are kept out of training.
        datamodule : TrainDataModule, optional
            Instead of both.

        Raises
        ------
        CareamistError
            If the data cannot be read or learnt from. The message says what to do.
        """
        with self._run("train") as (run_id, emit):
            self._stop.check()
            self._fit(run_id, emit, train_data, val_data, datamodule)

    def predict(
        self,
        pred_data: Any,
        *,
        tile_size: Sequence[int] | Literal["auto"] | None = None,
        tile_overlap: Sequence[int] | Literal["auto"] = "auto",
        axes: str | None = None,
        data_type: str | None = None,
        channels: Sequence[int] | None = None,
        checkpoint: str | Path | None = None,
    ) -> tuple[list[NDArray[np.float32]], list[str]]:
        """Return restored images, in the axes and shape of the originals.

        Parameters
        ----------
        pred_data : array, path, or list of these
            The images.
        tile_size : sequence of int, "auto" or None
            Window in (Z)YX pixels, halo included; None predicts whole images of any size.
        tile_overlap : sequence of int or "auto"
            Overlap of the windows; "auto" is what makes tiles exact.
        axes : str, optional
            Axes of the images where they differ from those of the training data.
        data_type : str, optional
            ``"array"`` or a file format; told from the data when not given.
        channels : sequence of int, optional
            Channels to use, where the images have more than the model.
        checkpoint : path, "last" or None
            Weights to use; None takes those at hand.

        Returns
        -------
        predictions : list of numpy.ndarray
            float32, in the units of the input.
        sources : list of str
            The path of each image; empty for arrays.
        """
        sink = ArraySink()
        sources = self.predict_into(
            sink, pred_data, tile_size, tile_overlap, axes, data_type, channels, checkpoint
        )
        return [sink.arrays[index] for index in sorted(sink.arrays)], sources

    def predict_to_disk(
        self,
        pred_data: Any,
        *,
        prediction_dir: str | Path = "predictions",
        tile_size: Sequence[int] | Literal["auto"] | None = "auto",
        tile_overlap: Sequence[int] | Literal["auto"] = "auto",
        axes: str | None = None,
        data_type: str | None = None,
        channels: Sequence[int] | None = None,
        checkpoint: str | Path | None = None,
        overwrite: Literal["error", "replace"] = "error",
    ) -> None:
        """Write restored images as TIFF files, one per source, with its axes and pixel size.

        Parameters are those of `predict`, and:

        Parameters
        ----------
        prediction_dir : path
            Where files go; a relative path is taken from `work_dir`.
        overwrite : {"error", "replace"}
            What happens to files that are already there.

        Raises
        ------
        OutputExistsError
            If a file is there and may not be replaced.
        """
        folder = self.work_dir / Path(prediction_dir).expanduser()
        one_folder = is_path(pred_data) and not isinstance(pred_data, (list, tuple))
        root = Path(pred_data).expanduser() if one_folder and Path(pred_data).is_dir() else None
        sink = TiffSink(folder, replace=overwrite == "replace", root=root)
        self.predict_into(
            sink, pred_data, tile_size, tile_overlap, axes, data_type, channels, checkpoint
        )

    def stop(self) -> None:
        """Ask the run in progress to stop; what it has done is kept. May be called anywhere."""
        self._stop.set()

    stop_training = stop

    @contextmanager
    def attached(self, listener: Listener, stop: StopSignal) -> Iterator[None]:
        """Let another thread listen to and stop what is run while this is entered."""
        self.listeners.append(listener)
        self._stop, self._attached = stop, True
        try:
            yield
        finally:
            self.listeners.remove(listener)
            self._attached = False

    @property
    def was_stopped(self) -> bool:
        """Whether the latest run was asked to stop."""
        return self._stop.is_set()

    @property
    def is_trained(self) -> bool:
        """Whether there are weights to predict with."""
        return self._module is not None and self._module.steps_done > 0

    @property
    def steps_done(self) -> int:
        """Optimizer steps that went into the weights at hand."""
        return 0 if self._module is None else self._module.steps_done

    def get_losses(self) -> dict[str, list[list[float]]]:
        """Return ``train_loss`` and ``val_loss`` as lists of [step, value]."""
        return {} if self._module is None else self._module.history

    # -- the run ----------------------------------------------------------------------------

    @contextmanager
    def _run(self, kind: RunKind) -> Iterator[tuple[str, Callable[[Event], None]]]:
        """Frame a run: one at a time, exactly one terminal event, errors told and raised."""
        if not self._busy.acquire(blocking=False):
            raise SettingsError("This model is already running.", "Wait for it, or stop it.")
        run_id = uuid.uuid4().hex
        if not self._attached:
            self._stop = StopSignal()
        bar = [ProgressBar()] if self._progress_bar else []

        def emit(event: Event) -> None:
            tell((*bar, *self.listeners), event)

        try:
            with interrupt_stops(self.stop), cpu_threads(self.config.training_config.num_threads):
                yield run_id, emit
            stopped = self._stop.is_set()
            emit(RunStopped(run_id, kind) if stopped else RunFinished(run_id, kind))
        except StopRequested:
            emit(RunStopped(run_id, kind))
        except BaseException as error:
            message, hint = explain_failure(error)
            emit(RunFailed(run_id, kind, message, hint, traceback.format_exc()))
            raise
        finally:
            self._busy.release()

    def _fit(
        self,
        run_id: str,
        emit: Callable[[Event], None],
        train_data: Any,
        val_data: Any,
        datamodule: TrainDataModule | None,
    ) -> None:
        if (train_data is None) == (datamodule is None):
            raise SettingsError(
                "Training needs images.", "Give train_data, or a datamodule, but not both."
            )
        data = datamodule or TrainDataModule(self.config.data_config, train_data, val_data)
        data.setup("fit")
        fit(self._prepared_module(data), data, self._new_run_dir(), run_id, emit, self._stop)

    def _prepared_module(self, data: TrainDataModule) -> RestorationModule:
        """Return the module at hand, or a new one for the data."""
        if self._module is not None:
            return self._module
        config = self.config.data_config
        resolved = config.model_copy(
            update={
                "n_channels": data.n_channels,
                "normalization": config.normalization.fit(data.train_stacks, self._stop.check),
            }
        )
        self.config = self.config.model_copy(update={"data_config": resolved})
        self._module = RestorationModule(self.config)
        self._module.prepare(data.train_dataset)
        return self._module

    def _new_run_dir(self) -> Path:
        """Return a new folder for checkpoints; earlier models are never written over."""
        if self.run_dir is None:
            base = self.work_dir / "checkpoints"
            number = 1
            while (folder := base / f"{self.config.file_name}_{number}").exists():
                number += 1
            folder.mkdir(parents=True)
            self.run_dir = folder
        return self.run_dir

    def predict_into(
        self,
        sink: Sink,
        pred_data: Any,
        tile_size: Sequence[int] | str | None = "auto",
        tile_overlap: Sequence[int] | str = "auto",
        axes: str | None = None,
        data_type: str | None = None,
        channels: Sequence[int] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[str]:
        """Predict every image into a sink: the one road for arrays, files and layers.

        Parameters are those of `predict`, and `sink`: what receives the regions. Returns the
        sources as `predict` does.
        """
        sources: list[str] = []
        with self._run("predict") as (run_id, emit):
            self._stop.check()
            if checkpoint is not None:
                self._use(checkpoint)
            if self._module is None or not self.is_trained:
                raise NotTrainedError(
                    "There is no trained model yet.", "Train first, or load a checkpoint."
                )
            data_type = data_type or guess_data_type(pred_data)
            stacks = open_stacks(pred_data, data_type, axes or self.config.data_config.axes)
            check_dtypes(stacks)
            self.config.data_config.check_fits(stacks, channels)
            device = resolve_device(self.config.training_config.device)
            network = self._module.averaged.eval().to(device)
            shapes = [tuple(stack.data_shape) for stack in stacks]
            tiling = plan_tiling(network, tile_size, tile_overlap, shapes)
            if any(h < exact for h, exact in zip(tiling.halo, network.halo, strict=True)):
                warnings.warn(
                    f"tile_overlap={tile_overlap} is smaller than what this network sees: tiles "
                    f"are exact from {tuple(2 * h for h in network.halo)} on.",
                    stacklevel=3,
                )
            predict_stacks(
                sink,
                stacks,
                network,
                self.config.data_config.normalization,
                tiling,
                run_id,
                emit,
                self._stop,
                channels,
            )
            if data_type != "array":
                sources += [str(stack.source) for stack in stacks]
        return sources

    def _use(self, checkpoint: str | Path) -> None:
        if checkpoint == "best":
            raise SettingsError(
                "Noise2Void has no best checkpoint: its validation loss does not rank models.",
                "Use 'last', or the path of a checkpoint.",
            )
        if checkpoint == "last":
            if self.run_dir is None and self.is_trained:
                return
            if self.run_dir is None:
                raise NotTrainedError("There is no last checkpoint yet.", "Train first.")
            checkpoint = self.run_dir / "last.ckpt"
        self._load(checkpoint)

    def _load(self, path: str | Path) -> None:
        if not str(path).strip():
            raise SettingsError("An empty path was given.", "Give a .ckpt file or its folder.")
        self._module = checkpoints.load(checkpoints.find(path))
        self.config = self._module.config
