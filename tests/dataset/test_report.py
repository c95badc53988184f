"""What is told of images: their header, and each trap in their pixels."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from careamist.dataset.image_stack import ImageInfo
from careamist.dataset.report import (
    ImageReport,
    describe,
    find_files,
    format_name,
    list_choices,
    pixel_size_in_words,
    report,
    sentence,
)
from careamist.dataset.tally import Tally
from careamist.errors import (
    AxesError,
    SettingsError,
    SourceNotFoundError,
    UnreadableError,
)


def noise(*shape: int, dtype: Any = np.uint16, mean: float = 100) -> np.ndarray:
    return np.random.default_rng(0).poisson(mean, shape).astype(dtype)


def one(data: Any, **options: Any) -> ImageReport:
    (found,) = report(data, **options)
    return found


def findings(data: Any) -> str:
    return " ".join(one(data).findings)


# -- figures


@pytest.mark.parametrize(
    "dtype",
    ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4"],
)
def test_range_and_mean_of_each_type(dtype: str) -> None:
    image = noise(40, 50, mean=20).astype(dtype)
    image[::2] = image[::2] // 9 if dtype != "bool" else False
    found = one(image)
    assert (found.share, found.n_nan, found.n_inf, found.constant) == (1, 0, 0, False)
    assert (found.low, found.high) == (image.min(), image.max())
    assert found.mean == pytest.approx(image.mean(dtype=np.float64))
    assert (found.data_type, found.failure) == ("array", "")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 9), (3, 8, 8), (2, 3, 8, 8), (1,) * 6])
def test_any_shape(shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    found = one(image)
    assert (found.low, found.high) == (image.min(), image.max())
    assert found.info.axes is None


def test_integers_are_exact() -> None:
    image = np.array([[2**63 - 1, -(2**63)], [0, 1]])
    found = one(image)
    assert (found.low, found.high) == (-(2**63), 2**63 - 1)


def test_a_nice_image_needs_no_attention() -> None:
    assert findings(noise(64, 64)) == ""
    smooth = np.linspace(0, 60_000, 64 * 64).reshape(64, 64).astype(np.uint16)
    assert findings(smooth) == ""
    spots = np.random.default_rng(0).exponential(1000, (64, 64))  # bright, but not alone
    assert findings(spots) == ""


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint16, (64, 1024, 1024))
    mapped[::7] = 3
    mapped.flush()
    tracemalloc.start()
    try:
        found = one(tmp_path / "a.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.share, found.high) == (1, 3)
    assert peak < mapped.nbytes / 2


def test_a_budget_is_spread_over_the_image() -> None:
    image = np.arange(16 * 256 * 256, dtype=np.float32).reshape(16, 256, 256)
    found = one(image, budget=image.nbytes // 8)
    assert 0 < found.share < 0.2
    assert found.mean == pytest.approx(image.mean(), rel=0.1)
    assert "% of the pixels read" in dict(describe(found))["Intensity"]


def test_it_can_be_ended() -> None:
    with pytest.raises(InterruptedError):
        report(noise(8, 8), check=_raise)


def _raise() -> None:
    raise InterruptedError


def test_without_pixels() -> None:
    found = one(noise(8, 8), pixels=False)
    assert (found.share, found.low, found.findings) == (0, None, ())
    assert "Intensity" not in dict(describe(found))


def test_dask_is_read_block_by_block() -> None:
    image = noise(4, 64, 64)
    found = one(da.from_array(image, chunks=(1, 32, 64)))
    assert (found.low, found.high) == (image.min(), image.max())


# -- traps


def test_constant() -> None:
    assert one(np.full((9, 9), 7)).constant
    assert findings(np.full((9, 9), 7)).startswith("Every pixel is 7: nothing can be learnt")


def test_nan_and_inf_are_counted_and_passed_over() -> None:
    image = noise(50, 20, dtype=np.float32)
    image[:2, :5] = np.nan
    image[5, :3] = np.inf, -np.inf, np.inf
    found = one(image)
    finite = image[np.isfinite(image)]
    assert (found.n_nan, found.n_inf) == (10, 3)
    assert (found.low, found.high) == (finite.min(), finite.max())
    assert found.mean == pytest.approx(finite.mean(), rel=1e-6)
    assert "10 pixels (1 %) are NaN" in found.findings[0]
    assert "3 pixels (0.3 %) are infinite" in found.findings[1]
    assert dict(describe(found))["Not finite"] == "10 NaN, 3 Inf"
    one_nan = np.where(np.arange(100).reshape(10, 10) == 5, np.nan, 1.5)
    assert "1 pixel (1 %) is NaN" in findings(one_nan)
    assert one(one_nan).constant


def test_nothing_but_nan() -> None:
    found = one(np.full((4, 4), np.nan))
    assert (found.low, found.mean, found.n_nan) == (None, None, 16)
    assert found.findings == (
        "No pixel is a finite number. Check that the right image was chosen.",
    )
    assert "Intensity" not in dict(describe(found))


def test_complex_is_refused_in_words() -> None:
    found = one(noise(8, 8).astype(np.complex64))
    assert found.low is None
    assert "complex64" in found.findings[0]
    assert "magnitude" in found.findings[0]


@pytest.mark.parametrize(
    ("dtype", "end"),
    [
        *(("u1", 255), ("i1", 127), ("i2", 4095), ("i2", 32767), ("u4", 2**32 - 1)),
        *(("u2", end) for end in (1023, 4095, 16383, 65535, 32768 + 4095)),
    ],
)
def test_saturation(dtype: str, end: int) -> None:
    base = max(end - 90, 0)
    image = (base + np.random.default_rng(0).integers(0, 80, (50, 50))).astype(dtype)
    image[:5, :10] = end
    found = one(image)
    assert found.saturated == pytest.approx(50 / 2500)
    assert f"2 % of the pixels are saturated at {end}" in " ".join(found.findings)
    image[:5, :10] = base
    image[0, 0] = end  # one pixel may be there
    assert one(image).saturated == 0
    image[:5, :10] = end - 1  # many at another value are none
    image[0, 0] = end - 2
    assert one(image).saturated == 0


def test_floats_are_not_called_saturated() -> None:
    image = noise(50, 50, dtype=np.float32)
    image[:5] = 4095
    assert one(image).saturated == 0


@pytest.mark.parametrize("n", [1, 3, 8])
def test_hot_pixels(n: int) -> None:
    image = noise(64, 64)
    image.reshape(-1)[:: 4096 // n][:n] = 60_000
    assert findings(image).startswith(f"{n} pixel{'s lie' if n > 1 else ' lies'} far above all")
    assert f"end at {np.sort(image, axis=None)[-n - 1]})" in findings(image)


def test_many_bright_pixels_are_not_hot() -> None:
    image = noise(64, 64)
    image[:4, :4] = 60_000
    assert findings(image) == ""


def test_offset_of_signed_numbers() -> None:
    image = 32768 + noise(32, 32)
    assert "offset of 32768" in findings(image)
    assert "8-bit" in findings(image)
    assert findings(noise(32, 32, mean=33_000)) == findings(noise(32, 32, dtype=np.int32)) == ""


def test_a_mask() -> None:
    image = (noise(32, 32) > 100).astype(np.uint8) * 255
    found = one(image)
    assert "only two values, 0 and 255: a mask?" in found.findings[0]
    assert found.saturated == 0


def test_a_broken_chunk_keeps_the_header(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", data=noise(32, 32), chunks=(16, 32))
    (tmp_path / "a.zarr" / "c" / "1" / "0").write_bytes(b"broken")
    found = one(tmp_path / "a.zarr")
    assert found.info.shape == array.shape
    assert "c/1/0" in found.failure
    assert describe(found)[-1] == ("Attention", found.failure)


def test_axes_that_cannot_be_named() -> None:
    assert "7 axes" in one(np.zeros((1,) * 7)).failure


# -- axes, formats, choices


def test_axes_are_taken_or_refused() -> None:
    image = noise(3, 8, 8)
    assert one(image, axes="tyx").info.axes == "TYX"
    for axes in ("YX", "QYX", "YYX"):
        with pytest.raises(AxesError):
            report(image, axes=axes)


def test_rows_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path,
        noise(3, 2, 8, 16),
        metadata={
            "axes": "TCYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm",
            "Channel": {"Name": ["DAPI", "GFP"]},
        },
        ome=True,
    )
    rows = dict(describe(one(path)))
    intensity = rows.pop("Intensity")
    assert intensity.startswith(f"{noise(3, 2, 8, 16).min()} to ")
    assert rows == {
        "Image": str(path),
        "Format": "TIFF",
        "Shape": "3 × 2 × 8 × 16 (TCYX)",
        "Type": "uint16",
        "Pixel size": "0.5 × 0.25 µm (YX)",
        "Channels": "DAPI, GFP",
        "Read": "memory-mapped",
        "In memory": "1.54 kB",
    }


def test_rows_of_a_level() -> None:
    info = ImageInfo("a.zarr/1", (8, 8), np.dtype("u1"), "YX", level=1, n_levels=4)
    rows = dict(describe(ImageReport(info, "zarr")))
    assert rows["Level"] == "level 1 of 4"
    assert rows["Format"] == "Zarr"


def test_pixel_size_in_words() -> None:
    sizes = {"X": 0.25, "Y": 0.25, "Z": 1, "T": 2}
    units = {"X": "µm", "Y": "µm", "Z": "µm", "T": "s"}
    info = ImageInfo("a", (1, 1), np.dtype("u1"), pixel_size=sizes, units=units)
    assert pixel_size_in_words(info) == "2 s (T), 1 × 0.25 × 0.25 µm (ZYX)"


def test_words() -> None:
    assert sentence("its tiles cover 5 %") == "Its tiles cover 5 %."
    assert sentence("Done.") == "Done."
    names = [format_name("image", name) for name in ("a.npy", "b.PNG", "c.jpeg", "d")]
    assert names == ["NumPy", "PNG", "JPEG", "image"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    group.create_array("a", data=noise(8, 8))
    group.create_array("b", data=noise(3, 8, 8))
    group.create_group("deep").create_array("c", data=noise(8, 8))
    return tmp_path / "s.zarr"


def test_images_of_several_shapes_in_one_store(store: Path) -> None:
    found = report(store)
    assert [item.info.shape for item in found] == [(8, 8), (3, 8, 8)]
    assert all(item.low is not None for item in found)


def test_all_that_can_be_chosen(store: Path, tmp_path: Path) -> None:
    sources = [info.source for info in list_choices(store, "zarr")]
    assert [source.rpartition("s.zarr/")[2] for source in sources] == ["a", "b", "deep/c"]
    assert one(sources[2]).info.shape == (8, 8)
    np.save(tmp_path / "a.npy", noise(8, 8))
    assert len(list_choices(tmp_path / "a.npy", "image")) == 1


def test_a_folder_may_hold_several_formats(store: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(8, 8))
    tifffile.imwrite(tmp_path / "t.tif", noise(8, 8))
    found = [(Path(path).name, data_type) for path, data_type in find_files(tmp_path)]
    assert found == [("a.npy", "image"), ("s.zarr", "zarr"), ("t.tif", "tiff")]
    assert find_files(tmp_path, "tiff") == [(tmp_path / "t.tif", "tiff")]
    assert find_files(store) == [(store, "zarr")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="no file of a format that is known"):
        find_files(tmp_path / "empty")
    with pytest.raises(SourceNotFoundError):
        find_files(tmp_path / "none.tif")


def test_what_is_no_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no pixels")
    with pytest.raises(UnreadableError, match=r"a\.tif"):
        report(tmp_path / "a.tif")


def test_a_tally_does_not_depend_on_the_blocks() -> None:
    pixels = noise(4000)
    pixels[[5, 900]] = 5000
    whole, parts = Tally(), Tally()
    whole.add(pixels)
    for part in np.array_split(pixels, 13):
        parts.add(part)
    for name in ("count", "low", "high", "n_low", "n_high", "is_mask"):
        assert getattr(whole, name) == getattr(parts, name), name
    np.testing.assert_array_equal(whole.top, parts.top)
    assert whole.n_hot() == parts.n_hot() == 2
    assert parts.mean == pytest.approx(whole.mean)
