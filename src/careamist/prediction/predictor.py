"""The network at work: windows of an image become regions of its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.region import ImageRegionData, TileSpecs
from careamist.dataset.symmetry import IDENTITY, Symmetry
from careamist.dataset.tiling import read_window
from careamist.models.interrupt import interruptible
from careamist.models.network import memory_format
from careamist.prediction.fusion import Fusion
from careamist.prediction.output import SPREAD
from careamist.stop import StopSignal

if TYPE_CHECKING:
    import torch

    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.normalization import Normalization
    from careamist.models.unet import UNetModel

Precision = Literal["float32", "bfloat16", "float16"]
Window = NDArray[Any]
"""As it was read: C(Z)YX."""
Pixels = NDArray[np.floating]

_FUSION_TILES = 8  # of an image, that its fusion is fitted on


@dataclass(frozen=True)
class Predictor:
    """Predicts tiles of images.

    Parameters
    ----------
    model : UNetModel
        In evaluation mode; its dtype and device are those of the computation.
    normalization : Normalization
        The one of the training.
    channels : sequence of int, optional
        Channels of the images to use.
    symmetries : sequence of Symmetry
        Orientations that are averaged.
    spread : bool
        Whether regions bring the standard deviation over the orientations along.
    batch_size : int
        Tiles at a time.
    fuse : bool
        Whether a part of the noisy pixel is given back, see `fusion`.
    precision : {"float32", "bfloat16", "float16"}
        What the layers of the network compute in, except the last one, if its weights are float32.
    workers : int
        Threads that compute, each a batch of its own. The thread that asks for the regions reads
        the next windows and keeps the last regions meanwhile.
    stop : StopSignal
        Checked between tiles and between layers.
    """

    model: UNetModel
    normalization: Normalization
    channels: Sequence[int] | None = None
    symmetries: Sequence[Symmetry] = (IDENTITY,)
    spread: bool = False
    batch_size: int = 1
    fuse: bool = False
    precision: Precision = "float32"
    workers: int = 1
    stop: StopSignal = field(default_factory=StopSignal)

    def regions(
        self, stack: ImageStack, tiles: Iterable[TileSpecs], fusion: Fusion | None = None
    ) -> Iterator[ImageRegionData]:
        """Yield the core of each tile, float, in the units of the file.

        Pixels of the image that are no number are not predicted: they are NaN in the result, and
        their neighbours are predicted as if the mean of the window stood there.

        Parameters
        ----------
        stack : ImageStack
            The image.
        tiles : iterable of TileSpecs
            Its tiles, in the order in which they are wanted.
        fusion : Fusion, optional
            Gives back a part of the noisy pixel.

        Raises
        ------
        StopRequested
            If the signal was set: it is checked between tiles and between layers.
        """
        with interruptible(self.model, self.stop), self._pool() as pool:
            waiting: deque[tuple[list[TileSpecs], list[Window], Future[Pixels]]] = deque()
            try:
                for batch in _batches(tiles, self.batch_size):
                    self.stop.check()
                    given = [read_window(stack, specs, self.channels) for specs in batch]
                    waiting.append((batch, given, pool.submit(self._restored, given)))
                    if len(waiting) > self.workers:
                        yield from self._cores(stack, *waiting.popleft(), fusion)
                while waiting:
                    yield from self._cores(stack, *waiting.popleft(), fusion)
            finally:
                for _, _, future in waiting:
                    future.cancel()

    def _pool(self) -> ThreadPoolExecutor:
        """Return threads that compute, and share the cores among them."""
        import torch

        each = max(torch.get_num_threads() // self.workers, 1)
        return ThreadPoolExecutor(
            self.workers, "careamist-tiles", initializer=torch.set_num_threads, initargs=(each,)
        )

    def _cores(
        self,
        stack: ImageStack,
        batch: Sequence[TileSpecs],
        windows: Sequence[Window],
        results: Future[Pixels],
        fusion: Fusion | None,
    ) -> Iterator[ImageRegionData]:
        """Yield what a batch of windows has become, once it has."""
        for specs, window, restored in zip(batch, windows, results.result(), strict=True):
            data, *spread = (_core(pixels, specs) for pixels in restored)
            given = _core(window, specs)
            if fusion is not None:
                data = fusion.apply(_without_gaps(given), data)
            if given.dtype.kind == "f":
                data[:, ~np.isfinite(given).all(axis=0)] = np.nan
            yield ImageRegionData(
                data=data,
                source=str(stack.source),
                data_shape=(stack.data_shape[0], data.shape[0], *stack.data_shape[2:]),
                dtype=str(data.dtype),
                axes=stack.original_axes,
                original_data_shape=tuple(stack.original_data_shape),
                region_spec=specs,
                additional_metadata={SPREAD: spread[0]} if spread else {},
            )

    def fusion(self, stack: ImageStack, tiles: Sequence[TileSpecs]) -> Fusion | None:
        """Return how much of the noisy pixels of an image is given back, None if nothing is."""
        if not self.fuse:
            return None
        some = [tiles[number] for number in range(0, len(tiles), -(-len(tiles) // _FUSION_TILES))]
        return Fusion.fit(
            (
                _core(_without_gaps(read_window(stack, specs, self.channels)), specs),
                np.nan_to_num(region.data),
            )
            for specs, region in zip(some, self.regions(stack, some), strict=True)
        )

    def _restored(self, windows: Sequence[Window]) -> Pixels:
        """Return the predictions of windows, perhaps their spread: (N, 1 or 2, C, (Z), Y, X)."""
        import torch

        weight = next(self.model.parameters())
        pixels = torch.from_numpy(np.stack([_without_gaps(window) for window in windows]))
        half = None if self.precision == "float32" else getattr(torch, self.precision)
        # an inference-mode block must not stay open across a yield: it belongs to the thread
        with (
            torch.inference_mode(),
            torch.autocast(weight.device.type, half, enabled=half is not None),
        ):
            inputs = self.normalization.apply(pixels.to(weight.device, weight.dtype))
            mean, spread = self._averaged(inputs)
            return torch.stack([mean, *([spread] if spread is not None else [])], 1).cpu().numpy()

    def _averaged(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return mean and standard deviation over the orientations, by Welford's formula."""
        import torch

        mean = squares = torch.zeros((), device=inputs.device, dtype=inputs.dtype)
        for count, symmetry in enumerate(self.symmetries, 1):
            outputs = self.model(
                symmetry.apply(inputs).contiguous(memory_format=memory_format(inputs.ndim - 2))
            )
            one = self.normalization.undo(symmetry.undo(outputs))
            delta = one - mean
            mean = mean + delta / count
            squares = squares + delta * (one - mean)
        return mean, (squares / len(self.symmetries)).sqrt() if self.spread else None


def _batches(tiles: Iterable[TileSpecs], size: int) -> Iterator[list[TileSpecs]]:
    """Yield tiles that follow each other and have windows of one size, at most `size` at a time."""
    batch: list[TileSpecs] = []
    for specs in tiles:
        if batch and (len(batch) == size or batch[0]["patch_size"] != specs["patch_size"]):
            yield batch
            batch = []
        batch.append(specs)
    if batch:
        yield batch


def _without_gaps(window: NDArray[Any]) -> NDArray[np.float32]:
    """Return a window as float32, each channel's mean in place of what is no number."""
    pixels = np.array(window, dtype=np.float32, order="C")
    if window.dtype.kind == "f" and not (known := np.isfinite(pixels)).all():
        for channel, there in zip(pixels, known, strict=True):
            channel[~there] = channel[there].mean(dtype=np.float64) if there.any() else 0
    return pixels


def _core(window: NDArray[Any], specs: TileSpecs) -> NDArray[Any]:
    """Return the part of a window, in C(Z)YX, that belongs into the result."""
    core = (
        slice(start, start + size)
        for start, size in zip(specs["crop_coords"], specs["crop_size"], strict=True)
    )
    return window[(slice(None), *core)]
