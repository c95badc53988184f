"""Pixels in memory, kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr

from careamist.dataset.image_stack import array as array_format
from careamist.errors import UnreadableError
from careamist.export import data
from careamist.export.data import keep_array

IMAGE = np.arange(7 * 6 * 8, dtype=np.uint16).reshape(7, 6, 8)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        IMAGE[:, ::2, ::-1],
        IMAGE.astype(">f4"),
        IMAGE[0] > 3,
        xarray.DataArray(IMAGE, dims=("t", "y", "x")),
        da.from_array(IMAGE, chunks=(2, 3, 8)),
        zarr.create_array({}, data=IMAGE, chunks=(3, 4, 4)),
    ],
    ids=["numpy", "strided", "big-endian", "bool", "xarray", "dask", "zarr"],
)
def test_every_pixel_is_kept(image: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_BLOCK", 100)  # several blocks
    reference = keep_array(image, tmp_path / "new", "my layer: 1")
    kept = reference.open()
    np.testing.assert_array_equal(kept[:], np.asarray(image))
    ours, theirs = array_format.describe(kept), array_format.describe(image)
    assert ours.dtype == theirs.dtype
    assert ours.chunk_shape == theirs.chunk_shape  # patches are drawn in their order
    assert Path(str(reference.path)).name.startswith("my_layer_1_")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_the_same_pixels_are_kept_once(tmp_path: Path) -> None:
    first = keep_array(IMAGE, tmp_path, "a")
    assert keep_array(IMAGE.copy(), tmp_path, "a") == first
    assert keep_array(IMAGE + 1, tmp_path, "a") != first
    assert len(list(tmp_path.iterdir())) == 2
    chunked = da.from_array(IMAGE, chunks=(2, 3, 8))
    assert keep_array(chunked, tmp_path, "a") == keep_array(chunked, tmp_path, "a") != first


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreadableError, match="cannot be kept"):
        keep_array(IMAGE, tmp_path / "file" / "x", "a")


def test_nothing_is_left_of_an_array_that_fails(tmp_path: Path) -> None:
    class Failing:
        shape, dtype = (4, 4), np.dtype(float)

        def __getitem__(self, key: Any) -> Any:
            raise OSError("the disk is gone")

    with pytest.raises(UnreadableError, match="the disk is gone"):
        keep_array(Failing(), tmp_path, "a")
    assert list(tmp_path.iterdir()) == []
