"""The dataset: a sample number becomes a patch, a list of them a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.blocks import BlockLayout, BlockPool, lay_out, read_block
from careamist.dataset.image_stack.custom import as_loading
from careamist.dataset.image_stack.views import ChannelsView, HeldStack
from careamist.dataset.pairing import open_pairs
from careamist.dataset.patching import StratifiedPatching, grid_patches
from careamist.dataset.region import Batch, ImageRegionData, PatchSpecs
from careamist.dataset.sources import check_channels, check_dtypes, open_stacks
from careamist.stream import sample_keys

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack

_TRAINING, _VALIDATION = 0, 1
_KEPT_BYTES = 2**26


class PatchDataset:
    """Patches by their number in the stream of a run.

    Parameters
    ----------
    stacks : sequence of ImageStack
        The images.
    specs : callable
        Maps a sample number to where its patch lies.
    n_patches : int
        Patches per epoch.
    seed : int
        Seed of the run.
    purpose : int
        Stream of the run that the keys belong to: 0 training, 1 validation. The patches of
        validation are always the same: they are kept in memory if they take at most 64 MiB.
    targets : sequence of ImageStack, optional
        A target for each image, of the same size in S(Z)YX.
    layout : BlockLayout, optional
        Blocks that patches are cut from, from `lay_out`. Those of the present group are kept in
        memory, in the type they are stored in; each process that loads has its own. Without it,
        each patch is read on its own.
    """

    def __init__(
        self,
        stacks: Sequence[ImageStack],
        specs: Callable[[int], PatchSpecs],
        n_patches: int,
        seed: int,
        purpose: int = _TRAINING,
        targets: Sequence[ImageStack] | None = None,
        layout: BlockLayout | None = None,
    ) -> None:
        self.stacks = list(stacks)
        self.targets = None if targets is None else list(targets)
        self._specs = specs
        self._n_patches = n_patches
        self._seed = seed
        self._purpose = purpose
        self._layout = layout
        self._pool = BlockPool(layout.capacity if layout else 0)
        self._kept: dict[tuple[int, bool], NDArray[Any]] | None = None
        if purpose == _VALIDATION and self._epoch_bytes() <= _KEPT_BYTES:
            self._kept = {}

    def __len__(self) -> int:
        return self._n_patches

    def __iter__(self) -> Iterator[ImageRegionData | tuple[ImageRegionData, ImageRegionData]]:
        """Yield the patches of the first epoch."""
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> ImageRegionData | tuple[ImageRegionData, ImageRegionData]:
        """Return patch `k`, with its target if there are targets.

        The first element of a patch is its float32 pixels in C(Z)YX.
        """
        specs = self._specs(k)
        patch = self._region(k, specs, False)
        return patch if self.targets is None else (patch, self._region(k, specs, True))

    def __getitems__(self, ks: Sequence[int]) -> Batch:
        """Return the batch of samples `ks` (the protocol of torch's loader)."""
        import torch

        places = [(int(k), self._specs(int(k))) for k in ks]
        keys = sample_keys(self._seed, np.asarray(ks, dtype=np.int64), self._purpose)
        return Batch(
            torch.from_numpy(self._gather(places, False)),
            torch.from_numpy(keys),
            None if self.targets is None else torch.from_numpy(self._gather(places, True)),
        )

    def __getstate__(self) -> dict[str, Any]:
        own: dict[str, Any] = {"_pool": BlockPool(self._pool.capacity)}  # a worker reads its own
        return {**self.__dict__, **own, "_kept": None if self._kept is None else {}}

    def release(self) -> None:
        """Forget what was read; it is read again when it is needed."""
        self._pool = BlockPool(self._pool.capacity)
        self._kept = None if self._kept is None else {}
        for stack in (*self.stacks, *(self.targets or ())):
            if isinstance(stack, HeldStack):
                stack.release()

    def _gather(self, places: list[tuple[int, PatchSpecs]], target: bool) -> NDArray[np.float32]:
        """Return patches as float32 (N, C, (Z), Y, X)."""
        first = places[0][1]
        n_channels = self._stack(first, target).data_shape[1]
        pixels = np.empty((len(places), n_channels, *first["patch_size"]), np.float32)
        for row, (k, specs) in zip(pixels, places, strict=True):
            row[...] = self._pixels(k, specs, target)
        return pixels

    def _region(self, k: int, specs: PatchSpecs, target: bool) -> ImageRegionData:
        stack = self._stack(specs, target)
        return ImageRegionData(
            data=self._pixels(k, specs, target).astype(np.float32, order="C"),
            source=str(stack.source),
            data_shape=tuple(stack.data_shape),
            dtype=str(np.dtype(stack.data_dtype)),
            axes=stack.original_axes,
            original_data_shape=tuple(stack.original_data_shape),
            region_spec=specs,
        )

    def _pixels(self, k: int, specs: PatchSpecs, target: bool) -> NDArray[Any]:
        """Return a patch as it is stored."""
        if self._kept is None:
            return self._read(specs, target)
        if (k, target) not in self._kept:
            self._kept[k, target] = self._read(specs, target).copy()  # let go of its block
            if len(self._kept) == self._n_patches * (1 if self.targets is None else 2):
                self._pool = BlockPool(self._pool.capacity)
        return self._kept[k, target]

    def _read(self, specs: PatchSpecs, target: bool) -> NDArray[Any]:
        """Cut a patch out of its block, or read it alone if no block holds all of it."""
        stack, data_idx = self._stack(specs, target), specs["data_idx"]
        sample_idx, coords, size = specs["sample_idx"], specs["coords"], specs["patch_size"]
        grid = self._layout.grids[data_idx] if self._layout else None
        around = grid.box_around(sample_idx, coords, size) if grid and grid.pixel_bytes else None
        if around is None:
            return stack.extract_patch(sample_idx, None, coords, size)
        index, box = around
        n_pixels = len(box.samples) * stack.data_shape[1] * math.prod(box.size)
        block = self._pool.get(
            (target, data_idx, index),
            n_pixels * np.dtype(stack.data_dtype).itemsize,
            partial(read_block, stack, box),
        )
        inside = [
            slice(at - start, at - start + n)
            for at, start, n in zip(coords, box.coords, size, strict=True)
        ]
        patch: NDArray[Any] = block[sample_idx - box.samples.start][:, *inside]
        return patch

    def _stack(self, specs: PatchSpecs, target: bool) -> ImageStack:
        stacks = self.targets if target and self.targets is not None else self.stacks
        return stacks[specs["data_idx"]]

    def _epoch_bytes(self) -> int:
        """Return about how much the patches of an epoch take as stored."""
        if not self._n_patches:
            return 0
        both = [stacks[0] for stacks in (self.stacks, self.targets) if stacks]
        pixel = sum(int(s.data_shape[1]) * np.dtype(s.data_dtype).itemsize for s in both)
        return self._n_patches * pixel * math.prod(self._specs(0)["patch_size"])


class DataSettings(Protocol):
    """What the datasets below need to know; `DataConfig` has it."""

    @property
    def data_type(self) -> str:
        """``"array"``, a file format, or ``"custom"``."""

    @property
    def axes(self) -> str:
        """Axes of the images."""

    @property
    def target_axes(self) -> str | None:
        """Axes of the targets, where they differ."""

    @property
    def channels(self) -> Sequence[int] | None:
        """Channels of the images that are used, all if None."""

    @property
    def patch_size(self) -> Sequence[int]:
        """Size of the patches in (Z)YX, in pixels."""

    @property
    def seed(self) -> int:
        """Seed of the run."""


class InMemoryDataset(PatchDataset):
    """All images in memory, and their patches on a grid, one after the other.

    There are ``ceil(size / patch)`` patches along each axis; the last ones are moved inside.

    Parameters
    ----------
    data_config : DataConfig
        What the images are and how large the patches.
    inputs : array, path, URI, or list of these
        The images.
    input_target : array, path, URI, or list of these, optional
        A target for each image.
    read_source_func : callable, optional
        Reads a file of the user's own format, if that is the `data_type`.
    extension_filter : str
        Which files of a folder are of that format: ``"*.npy"``.
    """

    def __init__(
        self,
        data_config: DataSettings,
        inputs: Any,
        input_target: Any | None = None,
        read_source_func: Callable[..., Any] | None = None,
        extension_filter: str = "",
    ) -> None:
        stacks, targets = _open(
            data_config, inputs, input_target, read_source_func, extension_filter
        )
        if data_config.data_type != "array":
            stacks = [HeldStack(stack) for stack in stacks]
            targets = None if targets is None else [HeldStack(stack) for stack in targets]
        specs = grid_patches([stack.data_shape for stack in stacks], data_config.patch_size)
        super().__init__(stacks, specs.__getitem__, len(specs), data_config.seed, targets=targets)


class IterableDataset(PatchDataset):
    """Random patches of one file after the other.

    An epoch covers each file about once. Only parts of one file need to be in memory.

    Parameters
    ----------
    data_config : DataConfig
        What the images are and how large the patches.
    src_files : path, URI, or list of these
        The images.
    target_files : path, URI, or list of these, optional
        A target for each image.
    read_source_func : callable, optional
        Reads a file of the user's own format, if that is the `data_type`.
    extension_filter : str
        Which files of a folder are of that format: ``"*.npy"``.
    """

    def __init__(
        self,
        data_config: DataSettings,
        src_files: Any,
        target_files: Any | None = None,
        read_source_func: Callable[..., Any] | None = None,
        extension_filter: str = "",
    ) -> None:
        stacks, targets = _open(
            data_config, src_files, target_files, read_source_func, extension_filter
        )
        layout = lay_out(stacks, data_config.patch_size, targets)
        files = _FileByFile(stacks, data_config, layout)
        super().__init__(
            stacks, files.specs, files.n_patches, data_config.seed, targets=targets, layout=layout
        )


class _FileByFile:
    """Random patches of each file in turn."""

    def __init__(
        self, stacks: Sequence[ImageStack], settings: DataSettings, layout: BlockLayout
    ) -> None:
        self._files = [
            StratifiedPatching(
                [stack.data_shape],
                settings.patch_size,
                settings.seed + number,
                layout=BlockLayout.of([grid], layout.capacity),
            )
            for number, (stack, grid) in enumerate(zip(stacks, layout.grids, strict=True))
        ]
        self._ends = np.cumsum([file.n_patches for file in self._files])
        self.n_patches = int(self._ends[-1])

    def specs(self, k: int) -> PatchSpecs:
        """Return where sample `k` lies."""
        epoch, place = divmod(k, self.n_patches)
        data_idx = int(np.searchsorted(self._ends, place, side="right"))
        file = self._files[data_idx]
        place -= int(self._ends[data_idx]) - file.n_patches
        specs = file.specs(epoch * file.n_patches + place)
        specs["data_idx"] = data_idx
        return specs


def _open(
    settings: DataSettings,
    inputs: Any,
    target: Any | None,
    read_source_func: Callable[..., Any] | None,
    extension_filter: str,
) -> tuple[list[ImageStack], list[ImageStack] | None]:
    """Open images and their targets as a data configuration says."""
    loading = as_loading(None, read_source_func, extension_filter)
    how = (settings.data_type, settings.axes)
    targets: list[ImageStack] | None = None
    if target is None:
        stacks = open_stacks(inputs, *how, loading)
    else:
        stacks, targets = open_pairs(inputs, target, *how, settings.target_axes, loading)
    if settings.channels is not None:
        check_channels(stacks, settings.channels)
        stacks = [ChannelsView(stack, settings.channels) for stack in stacks]
    check_dtypes([*stacks, *(targets or ())])
    return stacks, targets
