"""Previews while a network is trained: what somebody looks at, predicted between two steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from careamist.dataset.tiling import Tiling
from careamist.events import Noticed
from careamist.failures import explain_failure
from careamist.lightning import checkpoints
from careamist.lightning.module import RestorationModule
from careamist.prediction.boxes import box_tiles, core_size, n_pixels, shrunk
from careamist.prediction.predictor import Predictor
from careamist.stop import StopRequested, StopSignal

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.region import TileSpecs
    from careamist.models.unet import UNetModel
    from careamist.runner import Frame

logger = logging.getLogger(__name__)

SHARE = 0.1  # of the time of the training, at most
MOST_KEPT = 10  # previews whose weights are kept
_FIRST_STEPS, _FIRST_SECONDS = 20, 3.0  # whichever comes first: earlier there is little to see
_ADVANCE = 0.25  # seconds that previews may be ahead of their share, so that the first comes soon
_MOST = 0.5  # seconds for one preview: with its share, one every five seconds
_EVERY, _EVERY_NEW = 2.0, 0.5  # seconds between two previews of the same, of something new
_PAUSE = 0.2  # seconds for one tile, and one tile between two steps
_PROBE = {2: 64, 3: 1}  # pixels of a core that only measures the speed


@dataclass(frozen=True)
class PreviewRequest:
    """What to show.

    Parameters
    ----------
    stack : ImageStack
        The image.
    sample : int
        Its sample.
    start, size : tuple of int
        A box in (Z)YX pixels, inside the image.
    """

    stack: ImageStack
    sample: int
    start: tuple[int, ...]
    size: tuple[int, ...]


class PreviewResult(NamedTuple):
    """What a preview shows.

    Parameters
    ----------
    request : PreviewRequest
        What was asked for.
    start : tuple of int
        First pixel in (Z)YX of what was predicted: the box that was asked for, or a smaller one
        about its centre.
    data : numpy.ndarray
        float32, C(Z)YX, in the units of the image (of the targets, where there are any).
    channels : tuple of int or None
        Channels of the image that went in; None for all.
    step : int
        Optimizer steps that went into the weights.
    checkpoint : Path or None
        The file that keeps these weights, where they are kept.
    """

    request: PreviewRequest
    start: tuple[int, ...]
    data: NDArray[np.float32]
    channels: tuple[int, ...] | None
    step: int
    checkpoint: Path | None


class PreviewView(Protocol):
    """Somebody who looks at an image while a network learns it.

    Both methods are called in the thread of the training and must return quickly.
    """

    def request(self) -> PreviewRequest | None:
        """Return what to show now; None for nothing."""

    def take(self, result: PreviewResult) -> None:
        """Get a preview."""


class _Job(NamedTuple):
    request: PreviewRequest
    start: tuple[int, ...]
    data: NDArray[np.float32]
    tiles: list[TileSpecs]  # to be done


class PreviewCallback(pl.Callback):
    """Predicts what a view asks for, between training steps, a tile at a time.

    The training is not changed by it: weights, losses and random numbers are the same, bit for
    bit, with and without previews. These cost at most `SHARE` of its time (and a quarter of a
    second, by which the first one may be early). A preview that would take too long is cut to a
    smaller box about the same centre. One that fails ends the previews, not the training.

    Parameters
    ----------
    view : PreviewView
        Who looks.
    run : Frame
        The run; its signal also ends a preview.
    folder : Path
        Where the weights of some previews are kept, as ``preview_000150.ckpt``: at most
        `MOST_KEPT`, at growing distances.
    clock : callable
        Tells the time in seconds.

    Attributes
    ----------
    trained, spent : float
        Seconds that went into the training, and into previews, so far.
    """

    def __init__(
        self,
        view: PreviewView,
        run: Frame,
        folder: Path,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.view, self.run, self.folder, self._clock = view, run, folder, clock
        self.trained, self.spent = 0.0, 0.0
        self._credit, self._need = _ADVANCE, 0.0
        self._mark = 0.0
        self._stop = _Unpaused(run.stop)
        self._pace: float | None = None  # seconds per pixel of a window
        self._probes = 0
        self._job: _Job | None = None
        self._shown: tuple[float, PreviewRequest] | None = None
        self._keep_at, self._growth = 0.0, 0.0
        self._is_off = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._mark = self._clock()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Predict a tile, if it is time for one."""
        assert isinstance(pl_module, RestorationModule)
        if self._is_off or trainer.should_stop:
            return
        passed = self._clock() - self._mark
        self.trained += passed
        # what was not used is lost: a view that comes back must not slow the training down
        self._credit = min(self._credit + SHARE * passed, max(_MOST, self._need))
        network = pl_module.averaged
        was_training = network.training
        try:
            self._go_on(pl_module, network.eval())
        except StopRequested:
            trainer.should_stop = True
        except Exception as error:  # the training matters more
            self._is_off, self._job = True, None
            logger.warning("The preview failed.", exc_info=error)
            text = f"There are no more previews: {explain_failure(error)[0]}"
            self.run.emit(Noticed(self.run.run_id, text))
        finally:
            network.train(was_training)
            self._mark = self._clock()

    def _go_on(self, module: RestorationModule, network: UNetModel) -> None:
        request = self.view.request()
        if self._job is not None and self._job.request != request:
            self._job = None  # nobody looks there any more
        if request is None:
            return
        if self._probes < 2:  # the first one warms up
            self._pace = None
            self._tile(module, network, request, self._probe(network, request))
            self._probes += 1
        elif self._job is None:
            self._begin(module, network, request)
        elif self._credit > 0:
            self._next_tile(module, network, self._job)

    def _begin(
        self, module: RestorationModule, network: UNetModel, request: PreviewRequest
    ) -> None:
        """Plan a preview and predict its first tile, if it is time for one."""
        steps = module.steps_done - module.segment[0]
        if self._shown is None:
            if steps < _FIRST_STEPS and self.trained < _FIRST_SECONDS:
                return
        else:
            last, before = self._shown
            if self.trained - last < (_EVERY if before == request else _EVERY_NEW):
                return
        most = self._credit if self._shown is None else _MOST
        start, size, tiles, self._need = self._plan(network, request, most)
        if self._shown is not None and self._credit < self._need:
            return
        data = np.empty((network.head.out_channels, *size), np.float32)
        self._job = _Job(request, start, data, tiles)
        self._next_tile(module, network, self._job)

    def _next_tile(self, module: RestorationModule, network: UNetModel, job: _Job) -> None:
        self._tile(module, network, job.request, job.tiles.pop(0), job)
        if job.tiles:
            return
        self._job = None
        begin = self._clock()
        checkpoint = self._keep(module)
        channels = _channels(module, job.request)
        self.view.take(
            PreviewResult(job.request, job.start, job.data, channels, module.steps_done, checkpoint)
        )
        self._pay(self._clock() - begin)
        self._shown = self.trained, job.request

    def _tile(
        self,
        module: RestorationModule,
        network: UNetModel,
        request: PreviewRequest,
        specs: TileSpecs,
        job: _Job | None = None,
    ) -> None:
        """Predict a tile, and measure how long it takes."""
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)  # steps still under way are not its time
        begin = self._clock()
        config = module.config.data_config
        channels = _channels(module, request)
        predictor = Predictor(network, config.normalization, channels, stop=self._stop)
        cudnn = torch.backends.cudnn
        before, cudnn.benchmark = cudnn.benchmark, False  # sizes change too often to try all ways
        try:
            region = next(predictor.regions(request.stack, [specs]))
        finally:
            cudnn.benchmark = before
        seconds = self._clock() - begin
        self._pay(seconds)
        pace = max(seconds, 1e-9) / n_pixels([specs])  # no clock is that fine
        self._pace = pace if self._pace is None else (self._pace + pace) / 2
        if job is not None:
            place = zip(specs["stitch_coords"], job.start, specs["crop_size"], strict=True)
            part = tuple(slice(at - first, at - first + n) for at, first, n in place)
            job.data[(slice(None), *part)] = region.data

    def _pay(self, seconds: float) -> None:
        self.spent += seconds
        self._credit -= seconds

    def _probe(self, network: UNetModel, request: PreviewRequest) -> TileSpecs:
        edges = [_PROBE[len(network.grid)]] * len(network.grid)
        start, size = shrunk(request.start, request.size, edges)
        tiling, shape = Tiling(network.grid, network.halo), request.stack.data_shape[2:]
        return box_tiles(tiling, shape, request.sample, start, size, edges)[0]

    def _plan(
        self, network: UNetModel, request: PreviewRequest, most: float
    ) -> tuple[tuple[int, ...], tuple[int, ...], list[TileSpecs], float]:
        """Return a box that can be predicted in `most` seconds, its tiles, and what they take."""
        assert self._pace is not None
        tiling, shape = Tiling(network.grid, network.halo), request.stack.data_shape[2:]
        least = tuple(max(halo, 16) for halo in network.halo)
        factor = 1.0
        while True:
            wanted = [max(round(n * factor), m) for n, m in zip(request.size, least, strict=True)]
            start, size = shrunk(request.start, request.size, wanted)
            core = core_size(tiling, shape, size, least, _PAUSE / self._pace)
            tiles = box_tiles(tiling, shape, request.sample, start, size, core)
            seconds = self._pace * n_pixels(tiles)
            if seconds <= most or all(n <= m for n, m in zip(size, least, strict=True)):
                return start, size, tiles, seconds
            factor *= 2**-0.25

    def _keep(self, module: RestorationModule) -> Path | None:
        """Save the weights of some steps, at growing distances; the optimizer is left out."""
        first, last = module.segment
        step = module.steps_done - first
        if step < self._keep_at:
            return None
        if not self._growth:
            self._growth = max((last - first) / max(step, 1), 1.0) ** (1 / (MOST_KEPT - 1))
        self._keep_at = max(step * self._growth, step + 1)
        path = self.folder / f"preview_{module.steps_done:06d}.ckpt"
        state, module.optimizer_state = module.optimizer_state, None  # half of the file
        try:
            return checkpoints.save(module, path)
        finally:
            module.optimizer_state = state


class _Unpaused(StopSignal):
    """A signal that does not wait: the time of a pause is not the time of a tile."""

    def __init__(self, stop: StopSignal) -> None:
        super().__init__()
        self._other = stop

    def check(self, grace: float = 0.0) -> None:
        if self._other.is_set():
            raise StopRequested


def _channels(module: RestorationModule, request: PreviewRequest) -> tuple[int, ...] | None:
    """Return the channels that the network was made for; None for all."""
    wanted = module.config.data_config.channels
    return None if wanted is None or "C" not in request.stack.original_axes else tuple(wanted)
