"""TIFF files as image stacks, memory-mapped where the file allows it."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.errors import SourceNotFoundError, UnreadableError
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, reshape_patch

EXTENSIONS = (".tif", ".tiff")


class TiffInfo(NamedTuple):
    """What a TIFF says about itself; `axes` is None where it does not say (or not in our terms)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str | None
    pixel_size: tuple[float, ...] | None
    unit: str | None


class TiffStack:
    """The first series of a TIFF file as an image stack.

    Parameters
    ----------
    path : path
        The file.
    axes : str
        Axes of the stored array.
    """

    def __init__(self, path: str | Path, axes: str) -> None:
        info = read_info(path)
        transform = AxesTransform(axes, info.shape)
        self.path = Path(path)
        self.source = str(path)
        self.original_axes = transform.original_axes
        self.original_data_shape = tuple(transform.original_shape)
        self.data_shape = transform.transformed_shape
        self._dtype = info.dtype
        self._pixels: NDArray[Any] | None = None

    @property
    def data_dtype(self) -> DTypeLike:
        """Data type of the stored pixels."""
        return self._dtype

    @property
    def pixels(self) -> NDArray[Any]:
        """The stored array, mapped or read at the first use."""
        if self._pixels is None:
            self._pixels = _open(self.path)
        return self._pixels

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[Any]:
        """Return one patch in C(Z)YX, zero outside the image."""
        slices = get_patch_slices(
            self.original_axes, self.original_data_shape, sample_idx, channels, coords, patch_size
        )
        patch = reshape_patch(self.pixels[slices], self.original_axes)
        return pad_patch(coords, patch_size, self.data_shape, patch)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # a worker maps the file anew


def read_info(path: str | Path) -> TiffInfo:
    """Return shape, dtype, axes and pixel size of the first series, without its pixels.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    UnreadableError
        If it is not a TIFF, or is cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceNotFoundError(f"There is no file {path}.", "Check the path.")
    try:
        with _quietly(), tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            _refuse_truncated(path, tif)
            pixel_size, unit = _pixel_size(tif)
            shape = tuple(int(n) for n in series.shape)
            return TiffInfo(shape, np.dtype(series.dtype), _known_axes(series), pixel_size, unit)
    except UnreadableError:
        raise
    except Exception as error:  # tifffile raises a dozen kinds on broken files
        raise _unreadable(path, error) from error


def _refuse_truncated(path: Path, tif: tifffile.TiffFile) -> None:
    """Raise if a part of the file is missing; tifffile would return what is left of it."""
    series, size = tif.series[0], path.stat().st_size
    declared = int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1
    stored = math.prod(series.shape[:-2])
    if stored < declared:
        missing = f"it declares {declared} images but holds {stored}"
    elif max(_end_of_pixels(series), _next_page(tif)) > size:
        missing = f"it should go on after its {size} bytes"
    else:
        return
    raise UnreadableError(
        f"{path} is cut short: {missing}.", "Copy the file again from where it was made."
    )


def _end_of_pixels(series: tifffile.TiffPageSeries) -> int:
    if series.dataoffset is not None:
        return int(series.dataoffset + series.nbytes)
    page = series.pages[-1]
    if page is None or page.parent is not series.parent:  # in another file
        return 0
    return max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)


def _next_page(tif: tifffile.TiffFile) -> int:
    """Return where the page after the last one that can be read would be, 0 if there is none."""
    kind, file, start = tif.tiff, tif.filehandle, tif.pages[-1].offset
    file.seek(start)
    (n_tags,) = struct.unpack(kind.tagnoformat, file.read(kind.tagnosize))
    file.seek(start + kind.tagnosize + n_tags * kind.tagsize)
    return int(struct.unpack(kind.offsetformat, file.read(kind.offsetsize))[0])


def _known_axes(series: tifffile.TiffPageSeries) -> str | None:
    axes = str(series.axes)
    if series.keyframe.samplesperpixel > 1:
        axes = axes.replace("S", "C")  # tifffile's S: the samples of a pixel; ours: of a set
    known = set(axes) <= set("STCZYX") and len(set(axes)) == len(axes)  # Q, I: never guessed
    return axes if known and {"Y", "X"} <= set(axes) else None


def _pixel_size(tif: tifffile.TiffFile) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the (Z)YX pixel size and its unit that ImageJ stored."""
    if not tif.is_imagej:
        return None, None
    metadata = tif.imagej_metadata or {}
    tags = tif.pages.first.tags
    if "XResolution" not in tags or not metadata.get("unit"):
        return None, None
    sizes = [tags[f"{axis}Resolution"].value for axis in "YX"]
    if any(numerator == 0 for numerator, _ in sizes):
        return None, None
    yx = tuple(denominator / numerator for numerator, denominator in sizes)
    z = (float(metadata["spacing"]),) if "spacing" in metadata else ()
    unit = str(metadata["unit"])
    return z + yx, {"micron": "µm", "um": "µm", "\\u00B5m": "µm"}.get(unit, unit)


def _open(path: Path) -> NDArray[Any]:
    try:
        return tifffile.memmap(path, mode="r")
    except ValueError:  # compressed or not contiguous
        pass
    try:
        with _quietly():
            return tifffile.imread(path)
    except Exception as error:
        raise _unreadable(path, error) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep tifffile from logging what is raised in our words."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unreadable(path: Path, error: Exception) -> UnreadableError:
    if "imagecodecs" in str(error) or isinstance(error, ImportError):
        return UnreadableError(
            f"{path} is compressed in a way that needs another package.",
            "Run: pip install imagecodecs",
        )
    return UnreadableError(
        f"{path} cannot be read as a TIFF ({str(error) or type(error).__name__}).",
        "Open it in the program that made it and save it again.",
    )


def load(source: Any, axes: str) -> list[TiffStack]:
    """Return the stack of one TIFF file."""
    return [TiffStack(source, axes)]
