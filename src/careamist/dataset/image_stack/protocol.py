"""What an image stack is, and what it says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class ImageStack(Protocol):
    """Any class with these members can be trained on and predicted; no base class is needed.

    Two more are used where a class has them. `chunk_shape`: the part, in SC(Z)YX, that is read
    whole however little of it is asked for; without it, any pixel is equally cheap. `info`: an
    `ImageInfo`, whose pixel sizes the results carry on.
    """

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


@dataclass(frozen=True)
class ImageInfo:
    """What an image says about itself, told without reading its pixels.

    Parameters
    ----------
    source : str
        What the image is called; opening it gives stacks of this source.
    shape : tuple of int
        As stored.
    dtype : numpy.dtype
        As stored.
    axes : str or None
        One letter of STCZYX per dimension as the metadata propose them; None where they do not
        say, or not in these letters: the user is asked.
    pixel_size : mapping
        Distance between two pixels along some of Z, Y, X, or T, in `units`.
    units : mapping
        For the axes of `pixel_size`: ``"µm"``, ``"nm"``, ``"s"``, ...
    channel_names : tuple of str
        One per channel, or empty.
    level : int
        Level of the pyramid, 0 is the finest.
    n_levels : int
        How many levels there are.
    stored_as : str
        How it is read, for a person: "memory-mapped", "chunks of 1 × 256 × 256, zstd".
    chunk_shape : tuple of int or None
        The part that is read whole, in the order of `shape`; None where any pixel is equally
        cheap.
    warnings : tuple of str
        What a careful person would want to know before training on it.
    """

    source: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str | None = None
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    level: int = 0
    n_levels: int = 1
    stored_as: str = ""
    chunk_shape: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()
