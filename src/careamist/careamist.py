"""CAREamist: the one object of scripts, notebooks, the shell and the screen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from careamist.compute import release_memory, resolve_device
from careamist.config.configuration import Configuration, load_configuration
from careamist.config.prediction import PredictionConfig
from careamist.dataset.image_stack.custom import as_loading
from careamist.dataset.sources import is_path
from careamist.errors import SettingsError
from careamist.lightning.callbacks import checked_callbacks
from careamist.lightning.data_modules import TrainDataModule
from careamist.lightning.fit import fit
from careamist.lightning.model import Model
from careamist.lightning.prediction_data import PredictDataModule
from careamist.prediction.predictor import plan_tiling, predict_stacks
from careamist.prediction.sinks import ArraySink, Sink, TiffSink
from careamist.runner import Runner

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from pytorch_lightning import Callback

    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.image_stack.custom import Loading
    from careamist.events import Listener
    from careamist.stop import StopSignal


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
            fit(module, images, self._model.folder_in(self.work_dir), run, self._callbacks)
        if datamodule is None:
            # the trainer and the data hold each other: without this, until somebody collects them
            images.release()
            release_memory()

    def predict(
        self,
        pred_data: Any,
        *,
        tile_size: Sequence[int] | Literal["auto"] | None = None,
        tile_overlap: Sequence[int] | Literal["auto"] = "auto",
        axes: str | None = None,
        data_type: str | None = None,
        channels: Sequence[int] | Literal["all"] | None = None,
        in_memory: bool = False,
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
        **more: Any,
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
        channels : sequence of int or "all", optional
            Channels to use, where the images have more than the model; as in the training when
            not given.
        in_memory : bool
            Whether whole images are read before they are restored, instead of tile by tile.
        loading : ReadFuncLoading or ImageStackLoading, optional
            How custom data are read.
        checkpoint : path, "last", "best" or None
            Weights to use; None takes the last ones, or for CARE those of the lowest validation
            loss.
        **more
            More fields of `PredictionConfig`, such as ``fuse_noisy``; ``read_source_func`` and
            ``extension_filter`` instead of `loading`.

        Returns
        -------
        predictions : list of numpy.ndarray
            float32, in the units of the input.
        sources : list of str
            The path of each image; empty for arrays.
        """
        sink = ArraySink()
        options, loading = _order(
            loading,
            tile_size=tile_size,
            tile_overlap=tile_overlap,
            axes=axes,
            data_type=data_type,
            channels=channels,
            in_memory=in_memory,
            **more,
        )
        sources = self.predict_into(sink, pred_data, options, loading, checkpoint)
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
        channels: Sequence[int] | Literal["all"] | None = None,
        in_memory: bool = False,
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
        overwrite: Literal["error", "replace"] = "error",
        **more: Any,
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
        options, loading = _order(
            loading,
            tile_size=tile_size,
            tile_overlap=tile_overlap,
            axes=axes,
            data_type=data_type,
            channels=channels,
            in_memory=in_memory,
            **more,
        )
        self.predict_into(sink, pred_data, options, loading, checkpoint)

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

    def predict_into(
        self,
        sink: Sink,
        pred_data: Any,
        options: PredictionConfig | None = None,
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[str]:
        """Predict every image into a sink: the one road for arrays, files and layers.

        Parameters
        ----------
        sink : Sink
            What receives the regions.
        pred_data : array, path, URI, list of these, or PredictDataModule
            The images; a data module also says how they are restored.
        options : PredictionConfig, optional
            How they are restored.
        loading, checkpoint
            As for `predict`.

        Returns
        -------
        list of str
            The source of each image; empty for arrays.
        """
        if isinstance(pred_data, PredictDataModule):
            given = pred_data
            pred_data, options, loading = given.pred_data, given.pred_config, given.loading
        options = options or PredictionConfig()
        threads = self.config.training_config.num_threads
        stacks: list[ImageStack] = []
        with self._runner.frame("predict", threads) as run:
            run.stop.check()
            module = self._model.to_predict_with(checkpoint)
            if options.fuse_noisy and module.config.algorithm_config.needs_target:
                raise SettingsError(
                    "fuse_noisy=True is for networks that do not look at the pixel itself.",
                    f"Leave it out for {module.config.algorithm_config.short_name}.",
                )
            data = module.config.data_config
            stacks, channels = options.open(pred_data, data, loading)
            device = resolve_device(self.config.training_config.device)
            network = module.averaged.eval().to(device)
            shapes = [tuple(stack.data_shape) for stack in stacks]
            tiling = plan_tiling(network, options.tile_size, options.tile_overlap, shapes)
            if any(h < exact for h, exact in zip(tiling.halo, network.halo, strict=True)):
                warnings.warn(
                    f"tile_overlap={options.tile_overlap} is smaller than what this network "
                    f"sees: tiles are exact from {tuple(2 * h for h in network.halo)} on.",
                    stacklevel=3,
                )
            predict_stacks(
                sink,
                stacks,
                network,
                data.normalization,
                tiling,
                run.run_id,
                run.emit,
                run.stop,
                channels,
                fuse=options.fuse_noisy,
            )
        return [str(stack.source) for stack in stacks if is_path(pred_data) or loading]


_OLDER = {
    "train_data": "train_source",
    "train_data_target": "train_target",
    "val_data": "val_source",
    "val_data_target": "val_target",
}


def _order(loading: Loading | None, **given: Any) -> tuple[PredictionConfig, Loading | None]:
    """Return how images are restored and how they are read, from what was given."""
    how = [given.pop(name, None) for name in ("read_source_func", "extension_filter")]
    return PredictionConfig.of(**given), as_loading(loading, how[0], how[1] or "")
