"""What a trained model does with images: the half of `CAREamist` that predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from careamist.compute import usable_device
from careamist.config.prediction import PredictionConfig
from careamist.dataset.image_stack.custom import as_loading
from careamist.dataset.sources import is_path, root_of
from careamist.errors import SettingsError
from careamist.lightning.predict import predict
from careamist.lightning.prediction_data import PredictDataModule
from careamist.prediction.disk_sink import DiskSink, Overwrite
from careamist.prediction.sinks import ArraySink, Sink
from careamist.prediction.writers import default_writer, writer_of
from careamist.prediction.writers.protocol import WriteOptions

if TYPE_CHECKING:
    import numpy as np

    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.image_stack.custom import Loading
    from careamist.lightning.model import Model
    from careamist.prediction.run import Failures, WantedFirst
    from careamist.prediction.writers.write_strategy import WriteFunc
    from careamist.runner import Runner


class Predicts:
    """Predicts with the model at hand."""

    _model: Model
    _runner: Runner
    work_dir: Path

    def predict(
        self,
        pred_data: Any,
        *,
        tile_size: Sequence[int] | Literal["auto"] | None = None,
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> tuple[list[NDArray[Any]], list[str]]:
        """Return restored images, in the axes and shape of the originals.

        Parameters
        ----------
        pred_data : array, path, URI, list of these, or PredictDataModule
            The images; a data module also says how they are restored.
        tile_size : sequence of int, "auto" or None
            Window in (Z)YX pixels, halo included; None predicts whole images of any size.
        loading : ReadFuncLoading or ImageStackLoading, optional
            How custom data are read; ``read_source_func`` and ``extension_filter`` say it too.
        checkpoint : path, "last", "best" or None
            Weights to use; None takes the last ones, or for CARE those of the lowest validation
            loss.
        **options
            Other fields of `PredictionConfig`: ``tile_overlap`` ("auto" makes tiles exact);
            ``axes``, ``data_type``, ``channels`` (a list, or "all") and ``in_memory``, where the
            images differ from those of the training; ``output_axes``, the order of the axes of the
            result; ``batch_size`` and ``num_workers``;
            ``dtype="input"`` for pixels as those of the image; ``tta="all"`` to average over flips
            and turns; ``fuse_noisy``.

        Returns
        -------
        predictions : list of numpy.ndarray
            In the units of the input; float32 unless ordered otherwise.
        sources : list of str
            The path of each image; empty for arrays.
        """
        sink = ArraySink()
        options = {"tile_size": tile_size, **options}
        data, order, loading = _order(pred_data, loading, options)
        if order.spread:
            raise SettingsError(
                "predict() returns no spread.", "Use predict_with_spread(), or predict_to_disk()."
            )
        sources = self.predict_into(sink, data, order, loading, checkpoint)
        return list(sink.arrays.values()), sources

    def predict_with_spread(
        self,
        pred_data: Any,
        *,
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> tuple[list[NDArray[Any]], list[NDArray[np.float32]], list[str]]:
        """Return predictions averaged over flips and turns, and the standard deviation over them.

        Parameters are those of `predict`; ``tta`` is ``"all"`` unless given.

        Returns
        -------
        predictions, spreads : list of numpy.ndarray
            Of equal shapes.
        sources : list of str
            As for `predict`.
        """
        sink = ArraySink()
        options = {"tile_size": None, "tta": "all", **options}
        data, order, loading = _order(pred_data, loading, options)
        order = order.model_copy(update={"spread": True})
        sources = self.predict_into(sink, data, order, loading, checkpoint)
        return list(sink.arrays.values()), list(sink.spreads.values()), sources

    def predict_to_disk(
        self,
        pred_data: Any,
        *,
        prediction_dir: str | Path = "predictions",
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
        write_type: str | None = None,
        write_extension: str | None = None,
        write_func: WriteFunc | None = None,
        write_func_kwargs: dict[str, Any] | None = None,
        compression: str = "default",
        overwrite: Overwrite = "error",
        share: tuple[int, int] | None = None,
        **options: Any,
    ) -> list[Path]:
        """Write restored images, one file per source, with its axes and pixel size.

        What a stopped or killed run has begun is taken up again by the next one that would make it
        in the same way. An image that cannot be restored does not keep others from it.
        Parameters are those of `predict` (but ``tile_size="auto"`` when not given), and:

        Parameters
        ----------
        prediction_dir : path
            Where files go, from `work_dir`; folders of the sources are repeated in it.
        write_type : {"tiff", "zarr", "ome-zarr", "custom"}, optional
            TIFF when not given, for Zarr images Zarr.
        write_extension, write_func, write_func_kwargs
            For ``"custom"``: ``write_func(file_path=..., img=..., **write_func_kwargs)``.
        compression : str
            ``"default"`` (none for TIFF, zstd for Zarr), ``"none"``, ``"zstd"``, ``"zlib"``, ...
        overwrite : {"error", "skip", "replace"}
            What happens where a file is there already.
        share : (int, int), optional
            (k, n): do share k, from 0, of n; other processes do the others.

        Returns
        -------
        list of Path
            The file of each image that is complete.

        Raises
        ------
        OutputExistsError
            If a file is there and ``overwrite="error"``.
        DiskFullError
            If the results do not fit on the disk.
        SomeFailedError
            If some images could not be restored; the others are complete.
        """
        data, order, loading = _order(pred_data, loading, options)
        custom = (write_func, write_extension, write_func_kwargs)
        sink = DiskSink(
            self.work_dir / Path(prediction_dir).expanduser(),
            writer_of(write_type or default_writer(order.data_type, data), *custom),
            overwrite=overwrite,
            root=root_of(data),
            options=WriteOptions(compression=compression),
            share=share,
            check=lambda: self._runner.stop_signal.check(),
        )
        self.predict_into(sink, data, order, loading, checkpoint, failures={})
        return [path for _, path in sorted(sink.paths.items()) if path.exists()]

    def predict_into(
        self,
        sink: Sink,
        pred_data: Any,
        options: PredictionConfig | None = None,
        loading: Loading | None = None,
        checkpoint: str | Path | None = None,
        *,
        wanted_first: WantedFirst | None = None,
        failures: Failures | None = None,
    ) -> list[str]:
        """Predict every image into a sink: the one road for arrays, files and layers.

        Parameters
        ----------
        sink : Sink
            What receives the regions.
        pred_data : array, path, URI, or list of these
            The images.
        options : PredictionConfig, optional
            How they are restored.
        loading, checkpoint
            As for `predict`.
        wanted_first : callable, optional
            Tells, for the index of an image, the place (sample, then (Z)YX, in pixels) that is
            wanted first; asked before every tile, in the thread of the run.
        failures : dict, optional
            Given, an image that fails does not end the run: see `predict_outputs`.

        Returns
        -------
        list of str
            The source of each image; empty for arrays.
        """
        stacks: list[ImageStack] = []
        options = options or PredictionConfig()
        with self._runner.frame("predict", options.num_threads) as run:
            run.stop.check()
            stacks = predict(
                self._model.to_predict_with(checkpoint),
                sink,
                pred_data,
                options,
                loading,
                run,
                device=options.device or usable_device(self._model.config.training_config.device),
                wanted_first=wanted_first,
                failures=failures,
            )
        return [str(stack.source) for stack in stacks if is_path(pred_data) or loading]


def _order(
    data: Any, loading: Loading | None, options: dict[str, Any]
) -> tuple[Any, PredictionConfig, Loading | None]:
    """Return the images, how they are restored and how they are read, from what was given."""
    if isinstance(data, PredictDataModule):
        return data.pred_data, data.pred_config, data.loading
    how = [options.pop(name, None) for name in ("read_source_func", "extension_filter")]
    if options.pop("tta_transforms", False):  # the older name
        options["tta"] = "all"
    return data, PredictionConfig.of(**options), as_loading(loading, how[0], how[1] or "")
