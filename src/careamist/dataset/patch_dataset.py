"""The dataset: a sample number becomes a patch, a list of them a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.region import Batch, ImageRegionData, PatchSpecs
from careamist.stream import sample_keys

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack


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
        Stream of the run that the keys belong to: 0 training, 1 validation.
    """

    def __init__(
        self,
        stacks: Sequence[ImageStack],
        specs: Callable[[int], PatchSpecs],
        n_patches: int,
        seed: int,
        purpose: int = 0,
    ) -> None:
        self.stacks = list(stacks)
        self._specs = specs
        self._n_patches = n_patches
        self._seed = seed
        self._purpose = purpose

    def __len__(self) -> int:
        return self._n_patches

    def __getitem__(self, k: int) -> ImageRegionData:
        """Return patch `k`; its first element is the float32 pixels in C(Z)YX."""
        specs = self._specs(k)
        stack = self.stacks[specs["data_idx"]]
        return ImageRegionData(
            data=self._pixels(specs),
            source=str(stack.source),
            data_shape=tuple(stack.data_shape),
            dtype=str(np.dtype(stack.data_dtype)),
            axes=stack.original_axes,
            original_data_shape=tuple(stack.original_data_shape),
            region_spec=specs,
        )

    def __getitems__(self, ks: Sequence[int]) -> Batch:
        """Return the batch of samples `ks` (the protocol of torch's loader)."""
        import torch

        pixels = np.stack([self._pixels(self._specs(int(k))) for k in ks])
        keys = sample_keys(self._seed, np.asarray(ks, dtype=np.int64), self._purpose)
        return Batch(torch.from_numpy(pixels), torch.from_numpy(keys))

    def _pixels(self, specs: PatchSpecs) -> NDArray[Any]:
        patch = self.stacks[specs["data_idx"]].extract_patch(
            specs["sample_idx"], None, specs["coords"], specs["patch_size"]
        )
        return np.ascontiguousarray(patch, dtype=np.float32)
