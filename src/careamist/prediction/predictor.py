"""One image through the network, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.compute import describe_device, free_memory
from careamist.dataset.region import ImageRegionData, TileSpecs
from careamist.dataset.sources import warnings_of
from careamist.dataset.tiling import Tiling, read_window
from careamist.errors import SettingsError
from careamist.events import (
    Event,
    ImageFinished,
    ImageStarted,
    Noticed,
    RegionPredicted,
    RunStarted,
)
from careamist.models.interrupt import interruptible
from careamist.prediction.fusion import Fusion

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.normalization import Normalization
    from careamist.models.unet import UNetModel
    from careamist.prediction.sinks import Sink
    from careamist.stop import StopSignal

# Larger activations are mapped and zeroed anew by each operation (glibc). In a volume the halo
# weighs more: there fewer, larger tiles win.
_ACTIVATION_BYTES = {2: 32 * 2**20, 3: 512 * 2**20}
_FUSION_TILES = 8  # of an image, that its fusion is fitted on
_ACTIVATIONS_AT_ONCE = 12  # as large as the largest: skips, and what the convolution needs


def plan_tiling(
    model: UNetModel,
    tile_size: Sequence[int] | str | None,
    tile_overlap: Sequence[int] | str = "auto",
    data_shapes: Sequence[Sequence[int]] = (),
) -> Tiling:
    """Return the tiling for a network.

    Parameters
    ----------
    model : UNetModel
        States its grid and halo.
    tile_size : sequence of int, "auto" or None
        Window in (Z)YX, halo included; None for whole images, "auto" for windows whose largest
        activation stays below 32 MiB, less where memory is short.
    tile_overlap : sequence of int or "auto"
        Overlap of neighbouring windows in (Z)YX; "auto" is twice the halo, which is exact.
    data_shapes : sequence of sequence of int
        SC(Z)YX shapes of the images: "auto" gives what a thin axis does not need to the others.
    """
    grid, halo = model.grid, model.halo
    if tile_size == "auto":
        values_per_pixel = 3 * model.head.in_channels  # the concatenation at full resolution
        room = min(_ACTIVATION_BYTES[len(grid)], free_memory() // _ACTIVATIONS_AT_ONCE)
        pixels = room / (4 * values_per_pixel)
        return Tiling(grid, halo, _auto_tile(pixels, grid, halo, data_shapes))
    if isinstance(tile_size, str) or (isinstance(tile_overlap, str) and tile_overlap != "auto"):
        raise SettingsError(
            f"tile_size={tile_size!r}, tile_overlap={tile_overlap!r} is not understood:",
            "expected numbers of pixels, 'auto' or (for tile_size) None.",
        )
    if not isinstance(tile_overlap, str):
        if len(tile_overlap) != len(grid):
            raise SettingsError(
                f"tile_overlap={tuple(tile_overlap)} does not fit {len(grid)} spatial axes:",
                f"give {len(grid)} numbers, or 'auto'.",
            )
        halo = tuple(
            -(-int(overlap) // (2 * step)) * step
            for overlap, step in zip(tile_overlap, grid, strict=True)
        )
    return Tiling(grid, halo, None if tile_size is None else tuple(map(int, tile_size)))


def _auto_tile(
    pixels: float,
    grid: Sequence[int],
    halo: Sequence[int],
    data_shapes: Sequence[Sequence[int]],
) -> tuple[int, ...]:
    """Return windows of about `pixels` that are no longer than the longest image on any axis."""
    dims = len(grid)
    longest = [max((shape[2 + i] for shape in data_shapes), default=2**31) for i in range(dims)]
    tile = [0] * dims
    for place, axis in enumerate(sorted(range(dims), key=longest.__getitem__)):
        edge = int(pixels ** (1 / (dims - place)))
        least = 3 * halo[axis]  # a core as large as the halo: less would mostly compute context
        wanted = min(max(edge, least), -(-longest[axis] // grid[axis]) * grid[axis])
        tile[axis] = wanted // grid[axis] * grid[axis]
        pixels /= max(tile[axis], 1)
    return tuple(tile)


def predict_stacks(
    sink: Sink,
    stacks: Sequence[ImageStack],
    model: UNetModel,
    normalization: Normalization,
    tiling: Tiling,
    run_id: str,
    emit: Callable[[Event], None],
    stop: StopSignal,
    channels: Sequence[int] | None = None,
    *,
    fuse: bool = False,
) -> None:
    """Predict images into a sink, one after the other, and tell it.

    Parameters
    ----------
    sink : Sink
        Asked first whether it can keep the results; gets each region before anybody hears of it.
    stacks : sequence of ImageStack
        The images.
    model, normalization, stop, channels
        As for `predict_tiles`.
    tiling : Tiling
        How images are cut.
    run_id : str
        The run that events belong to.
    emit : callable
        Takes the events.
    fuse : bool
        Whether a part of the noisy pixel is given back, see `fusion`.
    """
    sink.check(stacks)
    plans = [tiling.specs(index, tuple(stack.data_shape)) for index, stack in enumerate(stacks)]
    total, done = sum(len(tiles) for tiles in plans), 0
    weight = next(model.parameters())
    resolved = {
        "device": describe_device(weight.device),
        "tile_size": tiling.tile_size,
        "halo": tiling.halo,
    }
    emit(RunStarted(run_id, "predict", total, resolved=resolved))
    for warning in warnings_of(stacks):
        emit(Noticed(run_id, warning))
    for index, (stack, tiles) in enumerate(zip(stacks, plans, strict=True)):
        shape, axes = sink.start(index, stack, model.head.out_channels)
        emit(ImageStarted(run_id, index, str(stack.source), shape, "float32", axes))
        fusion = None
        if fuse:
            some = tiles[:: -(-len(tiles) // _FUSION_TILES)]
            parts = predict_tiles(stack, some, model, normalization, stop, channels)
            fusion = Fusion.fit(
                (_core(read_window(stack, specs, channels), specs), region.data)
                for specs, region in zip(some, parts, strict=True)
            )
        for region in predict_tiles(stack, tiles, model, normalization, stop, channels, fusion):
            sink.write(region)
            done += 1
            emit(RegionPredicted(run_id, index, region.region_spec, done, total))
        emit(ImageFinished(run_id, index, str(stack.source), sink.finish(index)))


def predict_tiles(
    stack: ImageStack,
    tiles: Sequence[TileSpecs],
    model: UNetModel,
    normalization: Normalization,
    stop: StopSignal,
    channels: Sequence[int] | None = None,
    fusion: Fusion | None = None,
) -> Iterator[ImageRegionData]:
    """Yield the core of each tile, in the units of the file.

    Parameters
    ----------
    stack : ImageStack
        The image.
    tiles : sequence of TileSpecs
        Its tiles, in the order in which they are wanted.
    model : UNetModel
        In evaluation mode; its dtype and device are those of the computation.
    normalization : Normalization
        The one of the training.
    stop : StopSignal
        Checked between tiles and between layers.
    channels : sequence of int, optional
        Channels of the image to use.
    fusion : Fusion, optional
        Gives back a part of the noisy pixel.

    Raises
    ------
    StopRequested
        If the signal was set.
    """
    import torch

    weight = next(model.parameters())
    with interruptible(model, stop):
        for specs in tiles:
            stop.check()
            window = read_window(stack, specs, channels)
            pixels = torch.from_numpy(np.array(window, dtype=np.float32, order="C"))
            # an inference-mode block must not stay open across a yield: it belongs to the thread
            with torch.inference_mode():
                pixels = pixels.unsqueeze(0).to(weight.device, weight.dtype)
                restored = normalization.undo(model(normalization.apply(pixels)))
                restored = restored[0].cpu().numpy()
            data = _core(restored, specs)
            if fusion is not None:
                data = fusion.apply(_core(window, specs), data)
            yield ImageRegionData(
                data=data,
                source=str(stack.source),
                data_shape=(stack.data_shape[0], data.shape[0], *stack.data_shape[2:]),
                dtype=str(data.dtype),
                axes=stack.original_axes,
                original_data_shape=tuple(stack.original_data_shape),
                region_spec=specs,
            )


def _core(window: NDArray[Any], specs: TileSpecs) -> NDArray[Any]:
    """Return the part of a window, in C(Z)YX, that belongs into the result."""
    core = (
        slice(start, start + size)
        for start, size in zip(specs["crop_coords"], specs["crop_size"], strict=True)
    )
    return window[(slice(None), *core)]
