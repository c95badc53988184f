"""What an image stack is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import DTypeLike, NDArray


@runtime_checkable
class ImageStack(Protocol):
    """Any class with these members can be trained on and predicted; no base class is needed."""

    @property
    def source(self) -> str:
        """What the image is called, unique per stack: a path, ``file.h5#/dataset``, ``array``."""

    @property
    def data_shape(self) -> Sequence[int]:
        """Shape in SC(Z)YX."""

    @property
    def data_dtype(self) -> DTypeLike:
        """The numpy equivalent of the data type."""

    @property
    def original_data_shape(self) -> Sequence[int]:
        """Shape in the original axes."""

    @property
    def original_axes(self) -> str:
        """Axes before any transformation."""

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[Any]:
        """Return the patch in C(Z)YX; what lies outside the image is zero."""
