"""Predictions that come image by image, in batches of samples: put together and written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from careamist.errors import ShapeError
from careamist.prediction.writers.file_paths import create_write_file_path
from careamist.utils.reshape_array import AxesTransform

if TYPE_CHECKING:
    from careamist.dataset.region import ImageRegionData


class WriteFunc(Protocol):
    """A function that writes an image; its arguments are given by these names."""

    def __call__(self, file_path: Path, img: NDArray[Any], *args: Any, **kwargs: Any) -> None:
        """Write `img`, in the axes of its source, to `file_path`."""


@runtime_checkable
class WriteStrategy(Protocol):
    """What is done with predictions as they come."""

    def write_batch(self, dirpath: Path, predictions: list[ImageRegionData]) -> None:
        """Take some predictions; write below `dirpath` what is complete."""


class WriteImage(WriteStrategy):
    """Keeps the samples of an image until all are there, then writes them as one file.

    Parameters
    ----------
    write_func : callable
        Called as ``write_func(file_path=..., img=..., **write_func_kwargs)``.
    write_extension : str
        Ending of the files.
    write_func_kwargs : dict
        More keyword arguments for it.

    Attributes
    ----------
    image_cache : dict of int to list of ImageRegionData
        The predictions of images that are not complete, by ``data_idx``.
    """

    def __init__(
        self, write_func: WriteFunc, write_extension: str, write_func_kwargs: dict[str, Any]
    ) -> None:
        self.write_func = write_func
        self.write_extension = write_extension
        self.write_func_kwargs = write_func_kwargs
        self.image_cache: dict[int, list[ImageRegionData]] = defaultdict(list)
        self._written: dict[Path, int] = {}  # files → the image in each

    def write_batch(self, dirpath: Path, predictions: list[ImageRegionData]) -> None:
        """Keep predictions of whole samples, and write the images that are complete.

        Parameters
        ----------
        dirpath : Path
            Folder of the files; made when needed.
        predictions : list of ImageRegionData
            Of any images, in any order; ``data`` in C(Z)YX.

        Raises
        ------
        ValueError
            If an image gets more predictions than it has samples.
        """
        for prediction in predictions:
            self.image_cache[prediction.region_spec["data_idx"]].append(prediction)
        for data_idx, kept in list(self.image_cache.items()):
            expected = int(kept[0].data_shape[0])  # S·T, whatever the axes of the source
            if len(kept) > expected:
                raise ShapeError(
                    f"More samples came for data_idx {data_idx} than it has: "
                    f"expected {expected}, found {len(kept)}.",
                    "Write each sample once.",
                )
            if len(kept) == expected:
                self._write(Path(dirpath), data_idx, self.image_cache.pop(data_idx))

    def _write(self, dirpath: Path, data_idx: int, regions: list[ImageRegionData]) -> None:
        (image,), (source,) = combine_samples(regions)
        postfix = f"_{data_idx}" if Path(source).stem == "array" else ""
        path = create_write_file_path(dirpath, Path(source), self.write_extension, postfix)
        if self._written.get(path, data_idx) != data_idx:  # another image of this name
            path = create_write_file_path(
                dirpath, Path(source), self.write_extension, f"_{data_idx}"
            )
        self._written[path] = data_idx
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write_func(file_path=path, img=image, **self.write_func_kwargs)


ImageWriteStrategy = WriteImage


def combine_samples(
    regions: Sequence[ImageRegionData],
) -> tuple[list[NDArray[Any]], list[str]]:
    """Put predictions of whole samples together to images.

    Parameters
    ----------
    regions : sequence of ImageRegionData
        All samples of one or several images, in any order; ``data`` in C(Z)YX.

    Returns
    -------
    images : list of numpy.ndarray
        In the axes and shape of the sources, by rising ``data_idx``; C is put before the first
        spatial axis where a source has none but its prediction has several channels.
    sources : list of str
        What each image is called.

    Raises
    ------
    ShapeError
        If a sample is missing, there twice, or not of the size of its image.
    """
    by_image: dict[int, list[ImageRegionData]] = defaultdict(list)
    for region in regions:
        by_image[region.region_spec["data_idx"]].append(region)
    images, sources = [], []
    for data_idx, samples in sorted(by_image.items()):
        samples.sort(key=lambda region: region.region_spec["sample_idx"])
        first = samples[0]
        layout = AxesTransform(first.axes, first.original_data_shape)
        n_samples, _, *spatial = layout.transformed_shape
        found = [region.region_spec["sample_idx"] for region in samples]
        if found != list(range(n_samples)):
            raise ShapeError(
                f"Image {data_idx} ({first.source}) has the samples 0 to {n_samples - 1}, "
                f"but {found} came.",
                "Give each sample once.",
            )
        for region in samples:
            if region.data.shape != (len(first.data), *spatial):
                raise ShapeError(
                    f"A sample of {region.source} has the shape {region.data.shape}:",
                    f"expected C(Z)YX of {(len(first.data), *spatial)}, the whole image.",
                )
        image = layout.restore(np.stack([region.data for region in samples]))
        images.append(np.ascontiguousarray(image))
        sources.append(first.source)
    return images, sources
