"""Where predicted regions go. A sink gets the data first and synchronously, and may end the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from careamist.errors import OutputExistsError
from careamist.prediction.writers import tiff
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, restore_patch

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack
    from careamist.dataset.region import ImageRegionData


class Sink(Protocol):
    """Receives images region by region, one image after the other."""

    def check(self, stacks: Sequence[ImageStack]) -> None:
        """Raise before the first pixel is computed if a result could not be kept."""

    def start(self, index: int, stack: ImageStack, n_channels: int) -> tuple[tuple[int, ...], str]:
        """Make room for the result of image `index`; return its shape and axes."""

    def write(self, region: ImageRegionData) -> None:
        """Take one region, in C(Z)YX."""

    def finish(self, index: int) -> str | None:
        """Complete image `index`; return the file it was written to, if any."""

    def view(self, index: int) -> NDArray[Any]:
        """Return the result of image `index` as far as it is there, to be looked at."""


class ArraySink:
    """Results in memory: float32, in the axes and shape of the source, NaN where still missing."""

    def __init__(self) -> None:
        self.arrays: dict[int, NDArray[np.float32]] = {}
        self.axes: dict[int, str] = {}

    def check(self, stacks: Sequence[ImageStack]) -> None:
        """Memory is there when it is asked for."""

    def start(self, index: int, stack: ImageStack, n_channels: int) -> tuple[tuple[int, ...], str]:
        """Allocate the result."""
        layout = AxesTransform(stack.original_axes, stack.original_data_shape)
        shape, axes = layout.restored_shape(n_channels), layout.restored_axes(n_channels)
        self.arrays[index] = np.full(shape, np.nan, dtype=np.float32)
        self.axes[index] = axes
        return shape, axes

    def write(self, region: ImageRegionData) -> None:
        """Put one region in its place."""
        specs: Any = region.region_spec
        index = specs["data_idx"]
        array, axes = self.arrays[index], self.axes[index]
        place = get_patch_slices(
            axes,
            array.shape,
            specs["sample_idx"],
            None,
            specs["stitch_coords"],
            specs["crop_size"],
        )
        array[place] = restore_patch(region.data, axes)

    def finish(self, index: int) -> str | None:
        """Nothing is left to do."""
        return None

    def view(self, index: int) -> NDArray[Any]:
        """Return the array itself."""
        return self.arrays[index]


class TiffSink(ArraySink):
    """Results as TIFF files in a folder, named after their sources.

    Parameters
    ----------
    folder : Path
        Where the files go; made when needed.
    replace : bool
        Whether files that are already there are replaced.
    root : Path, optional
        Folder of the sources: their places below it are repeated below `folder`.
    """

    def __init__(self, folder: Path, *, replace: bool = False, root: Path | None = None) -> None:
        super().__init__()
        self.folder, self.replace, self.root = folder, replace, root
        self._targets: dict[int, Path] = {}
        self._sources: dict[int, str] = {}

    def check(self, stacks: Sequence[ImageStack]) -> None:
        """Make sure that every file can be written, and none twice."""
        sources: dict[Path, str] = {}
        for index, stack in enumerate(stacks):
            source, target = str(stack.source), self._target(index, stack)
            tiff.check_target(target, source, replace=self.replace)
            if target in sources:
                raise OutputExistsError(
                    f"{sources[target]} and {source} would both be written to {target}.",
                    "Predict them into different folders.",
                )
            sources[target] = source

    def start(self, index: int, stack: ImageStack, n_channels: int) -> tuple[tuple[int, ...], str]:
        """Allocate the result."""
        self._targets[index] = self._target(index, stack)
        self._sources[index] = str(stack.source)
        return super().start(index, stack, n_channels)

    def finish(self, index: int) -> str | None:
        """Write the file and forget the pixels."""
        target = self._targets.pop(index)
        tiff.write(target, self.arrays.pop(index), self.axes.pop(index), self._sources.pop(index))
        return str(target)

    def _target(self, index: int, stack: ImageStack) -> Path:
        return tiff.file_path(self.folder, str(stack.source), index, self.root)
