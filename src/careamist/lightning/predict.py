"""One prediction: the model at hand, the images as ordered, a sink."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist import __version__
from careamist.compute import describe_device, resolve_device
from careamist.dataset.symmetry import symmetries
from careamist.errors import SettingsError
from careamist.failures import explain_failure
from careamist.fingerprint import fingerprint
from careamist.lightning.timing import fastest_precision
from careamist.models.folded import folded
from careamist.prediction.output import Output
from careamist.prediction.plan import plan_tiling
from careamist.prediction.predictor import Predictor
from careamist.prediction.run import Telling, predict_outputs

if TYPE_CHECKING:
    from careamist.config.prediction import PredictionConfig
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.image_stack.custom import Loading
    from careamist.dataset.tiling import Tiling
    from careamist.lightning.module import RestorationModule
    from careamist.models.unet import UNetModel
    from careamist.prediction.run import Failures, WantedFirst
    from careamist.prediction.sinks import Sink
    from careamist.runner import Frame

# what may be another the next time without making another result
_FREE = {"batch_size", "in_memory", "num_threads", "num_workers"}


def predict(
    module: RestorationModule,
    sink: Sink,
    data: Any,
    options: PredictionConfig,
    loading: Loading | None,
    run: Frame,
    *,
    device: str = "auto",
    wanted_first: WantedFirst | None = None,
    failures: Failures | None = None,
) -> list[ImageStack]:
    """Predict images into a sink.

    Parameters
    ----------
    module : RestorationModule
        With trained weights.
    sink : Sink
        What receives the regions.
    data : array, path, URI, or list of these
        The images.
    options : PredictionConfig
        How they are restored.
    loading : ReadFuncLoading or ImageStackLoading, optional
        How custom data are read.
    run : Frame
        Of this prediction.
    device : str
        Where to compute.
    wanted_first, failures
        As for `predict_outputs`.

    Returns
    -------
    list of ImageStack
        The images.
    """
    config = module.config
    if options.fuse_noisy and config.algorithm_config.needs_target:
        raise SettingsError(
            "fuse_noisy=True is for networks that do not look at the pixel itself.",
            f"Leave it out for {config.algorithm_config.short_name}.",
        )
    stacks, channels = options.open(data, config.data_config, loading, failures)
    network = folded(module.averaged).to(resolve_device(device))
    precision = options.precision
    if precision == "auto":
        n_pixels = sum(math.prod(stack.data_shape) for stack in stacks)
        precision = fastest_precision(network, n_pixels, run.stop.check)
    threads = _threads(network)
    value_bytes = 4 if precision == "float32" else 2
    tiling = _tiling(network, options, stacks, value_bytes=value_bytes, at_once=threads)
    tiles = [tiling.specs(index, tuple(s.data_shape)) for index, s in enumerate(stacks)]
    workers = max(min(threads, sum(map(len, tiles))), 1)
    predictor = Predictor(
        network,
        config.data_config.normalization,
        channels,
        symmetries=symmetries(options.tta, config.augmentations),
        spread=options.spread,
        batch_size=options.batch_size,
        fuse=options.fuse_noisy,
        precision=precision,
        workers=workers,
        stop=run.stop,
    )
    recipe = {
        "version": __version__,
        "model": fingerprint(module.averaged.state_dict()),
        "configuration": config.model_dump(mode="json"),
        "prediction": options.model_dump(mode="json", exclude=_FREE) | {"precision": precision},
        "tile_size": tiling.tile_size,
        "halo": tiling.halo,
    }
    outputs = [
        Output(
            index,
            stack,
            tiles[index],
            network.head.out_channels,
            options.dtype,
            options.spread,
            recipe | {"source": str(stack.source), "identity": _identity(str(stack.source))},
            options.output_axes,
        )
        for index, stack in enumerate(stacks)
    ]
    resolved = {
        "device": describe_device(next(network.parameters()).device),
        "tile_size": tiling.tile_size,
        "halo": tiling.halo,
        "precision": precision,
        "workers": workers,
    }
    telling = Telling(run.run_id, run.emit, explain_failure, resolved)
    predict_outputs(sink, outputs, predictor, telling, wanted_first=wanted_first, failures=failures)
    return stacks


def _tiling(
    network: UNetModel, options: PredictionConfig, stacks: Sequence[ImageStack], **room: int
) -> Tiling:
    """Return how images are cut, with a warning where that is not exact."""
    shapes = [tuple(stack.data_shape) for stack in stacks]
    tiling = plan_tiling(network, options.tile_size, options.tile_overlap, shapes, **room)
    if any(h < exact for h, exact in zip(tiling.halo, network.halo, strict=True)):
        warnings.warn(
            f"tile_overlap={options.tile_overlap} is smaller than what this network "
            f"sees: tiles are exact from {tuple(2 * h for h in network.halo)} on.",
            stacklevel=5,
        )
    return tiling


def _threads(network: UNetModel) -> int:
    """Return how many tiles can be computed at a time: on the CPU, as many as it has threads.

    A tile in one thread is faster than one tile in all of them, which wait for each other.
    """
    import torch

    on_cpu = next(network.parameters()).device.type == "cpu"
    return torch.get_num_threads() if on_cpu else 1


def _identity(source: str) -> list[int] | None:
    """Return size and time of the file an image comes from; None if it comes from no file.

    An unfinished result is taken up again only for the same file.
    """
    place = Path(source.removeprefix("file://"))
    try:
        for path in (place, *place.parents):
            if path.exists():  # what is inside a file or a store stands for it
                known = path.stat()
                return [known.st_size, known.st_mtime_ns] if path != Path(path.anchor) else None
    except OSError:
        return None
    return None
