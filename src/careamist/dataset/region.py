"""The records that travel from an image to a patch, and from a tile to a written file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class PatchSpecs(TypedDict):
    """Where a patch lies: which image stack, which sample, first pixel and size in (Z)YX."""

    data_idx: int
    sample_idx: int
    coords: Sequence[int]
    patch_size: Sequence[int]


class TileSpecs(PatchSpecs):
    """Where a tile lies, and which part of it (the core) goes where in the result.

    `coords` and `patch_size` are the window, halo included; `crop_coords` is the first pixel of
    the core within the window, `stitch_coords` the same pixel within the image.
    """

    crop_coords: Sequence[int]
    crop_size: Sequence[int]
    stitch_coords: Sequence[int]
    total_tiles: int


class ImageRegionData(NamedTuple):
    """Pixels and where they come from; `data` is C(Z)YX, `data_shape` SC(Z)YX."""

    data: NDArray[Any]
    source: str
    data_shape: Sequence[int]
    dtype: str
    axes: str
    original_data_shape: Sequence[int]
    region_spec: PatchSpecs
    additional_metadata: Mapping[str, Any] = {}


class Batch(NamedTuple):
    """What the training step gets.

    `inputs` and `targets` are float32 (N, C, (Z), Y, X) in the units of the file, `keys` int64
    (N,): the random key of each sample, from which its augmentation and its mask are drawn.
    """

    inputs: torch.Tensor
    keys: torch.Tensor
    targets: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(self.inputs.to(device), self.keys.to(device), targets)
