"""Where predicted regions go. A sink gets the data first and synchronously, and may end the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from careamist.prediction.output import SPREAD, Output

if TYPE_CHECKING:
    from careamist.dataset.region import ImageRegionData


class Sink(Protocol):
    """Receives images region by region, one image after the other."""

    def check(self, outputs: Sequence[Output]) -> None:
        """Raise before the first pixel is computed if a result could not be kept."""

    def start(self, output: Output) -> NDArray[np.intp]:
        """Make room for a result; return the numbers of the tiles that are still missing."""

    def write(self, region: ImageRegionData) -> None:
        """Take one region, in C(Z)YX and in the dtype of the result."""

    def finish(self, index: int) -> str | None:
        """Complete image `index`; return the file it was written to, if any."""

    def leave(self, index: int, error: BaseException) -> None:
        """Let go of image `index`, which `error` has ended."""

    def view(self, index: int) -> Any:
        """Return the result of image `index` as far as it is there: an array, or levels of it."""


class ArraySink:
    """Results in memory, in the axes and shape of the source; NaN or 0 where still missing.

    Attributes
    ----------
    arrays, spreads : dict of int to numpy.ndarray
        By index of the image.
    """

    def __init__(self) -> None:
        self.arrays: dict[int, NDArray[Any]] = {}
        self.spreads: dict[int, NDArray[np.float32]] = {}
        self._outputs: dict[int, Output] = {}

    def check(self, outputs: Sequence[Output]) -> None:
        """Memory is there when it is asked for."""

    def start(self, output: Output) -> NDArray[np.intp]:
        """Allocate the result."""
        self._outputs[output.index] = output
        nothing = np.nan if output.dtype.kind == "f" else 0
        self.arrays[output.index] = np.full(output.shape, nothing, dtype=output.dtype)
        if output.spread:
            self.spreads[output.index] = np.full(output.shape, np.nan, dtype=np.float32)
        return np.arange(len(output.tiles))

    def write(self, region: ImageRegionData) -> None:
        """Put one region in its place."""
        specs: Any = region.region_spec
        output = self._outputs[specs["data_idx"]]
        box = output.box(specs)
        self.arrays[output.index][box] = output.pixels(region.data)
        if output.spread:
            self.spreads[output.index][box] = output.pixels(region.additional_metadata[SPREAD])

    def finish(self, index: int) -> str | None:
        """Nothing is left to do."""
        return None

    def leave(self, index: int, error: BaseException) -> None:
        """Keep what is there."""

    def view(self, index: int) -> Any:
        """Return the array itself."""
        return self.arrays[index]
