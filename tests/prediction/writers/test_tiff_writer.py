"""TIFF files filled tile by tile, opened by others with the right axes and pixel size."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from written import mixed, nothing, output_of, pixels_of, write

from careamist.dataset.image_stack import FORMATS
from careamist.dataset.image_stack.tiff import inspect
from careamist.dataset.tiling import Tiling
from careamist.errors import SettingsError, ShapeError, UnreadableError
from careamist.prediction.output import Output
from careamist.prediction.writers import tiff, tiff_layout
from careamist.prediction.writers.protocol import WriteOptions

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 6, "Y": 21, "X": 18}


def image_of(axes, dtype=np.float32):
    return pixels_of([SIZES[axis] for axis in axes], dtype)


def sized(output, sizes, units, names=()):
    """The same result, of an image with other pixel sizes."""
    info = replace(output.stack.info, pixel_size=sizes, units=units, channel_names=names)
    output.stack.info = info
    return output


def written(path, image, output, options=None):
    """Write an image to a file and return the file."""
    file = tiff.create(path, output, options)
    write(file, output, image, mixed(output))
    file.complete(nothing)
    return path


# -- what others see -----------------------------------------------------------------------------

KINDS = [
    ("YX", "float32", "imagej", 1),
    ("TZCYX", "uint16", "imagej", 36),
    ("ZYX", "float64", "ome", 6),
    ("CTYX", "float32", "ome", 6),
    ("TCZYX", "uint8", "ome", 36),
    ("XY", "float32", "shaped", 1),
    ("STYX", "float32", "shaped", 6),
    ("YXC", "float32", "shaped", 1),
    ("TYXC", "float32", "shaped", 3),
    ("ZYX", "float16", "shaped", 6),
    ("YX", "int64", "shaped", 1),
    ("XCTYZS", "float32", "shaped", 1),
]


@pytest.mark.parametrize(("axes", "dtype", "kind", "n_pages"), KINDS)
def test_each_image_gets_the_kind_of_tiff_that_can_tell_its_axes(
    tmp_path, axes, dtype, kind, n_pages
):
    image = image_of(axes, dtype)
    path = written(tmp_path / "a.tiff", image, output_of(image, axes, tile=8, halo=0))
    with tifffile.TiffFile(path) as tif:
        assert (tif.series[0].kind, tif.series[0].axes) == (kind, axes)
        assert len(tif.pages) == n_pages
        np.testing.assert_array_equal(tif.asarray(), image)
        assert tif.asarray().dtype == image.dtype
    (info,) = inspect(path)
    assert (info.axes, info.shape, info.warnings) == (axes, image.shape, ())


def test_axes_of_length_one_are_no_obstacle(tmp_path):
    for axes, shape in [("TYX", (1, 21, 18)), ("SYX", (1, 21, 18)), ("YXC", (21, 18, 1))]:
        image = pixels_of(shape)
        path = written(tmp_path / f"{axes}.tiff", image, output_of(image, axes))
        np.testing.assert_array_equal(tifffile.imread(path).squeeze(), image.squeeze())
        begun = tiff.reopen(path, output_of(image, axes))
        np.testing.assert_array_equal(begun.view(), image)
        begun.close()


@pytest.mark.parametrize(
    ("axes", "shape", "dtype", "kind", "stored"),
    [
        ("SCZYX", (1, 1, 6, 21, 18), "float32", "imagej", "ZYX"),
        ("SCZYX", (1, 2, 6, 21, 18), "float32", "ome", "CZYX"),
        ("STCZYX", (1, 3, 2, 6, 21, 18), "float64", "ome", "TCZYX"),
        ("YXC", (21, 18, 1), "uint8", "imagej", "YX"),
        ("XYC", (18, 21, 1), "float32", "shaped", "XY"),
        ("SYX", (1, 21, 18), "float16", "shaped", "YX"),
    ],
)
@pytest.mark.parametrize("options", [None, WriteOptions("zlib")])
def test_one_image_or_one_channel_needs_no_axis(
    tmp_path, axes, shape, dtype, kind, stored, options
):
    image = pixels_of(shape, dtype)
    names = ("DAPI", "GFP")[: shape[axes.find("C")]]
    output = output_of(image, axes, channel_names=names)
    path = written(tmp_path / "a.tiff", image, output, options)
    with tifffile.TiffFile(path) as tif:
        assert (tif.series[0].kind, tif.series[0].axes) == (kind, stored)
        np.testing.assert_array_equal(tif.asarray(), image.squeeze())
    (info,) = inspect(path)
    assert (info.axes, info.pixel_size) == (stored, output.info.pixel_size)


@pytest.mark.parametrize("n_channels", [3, 4])
def test_colours_stay_colours(tmp_path, n_channels):
    image = pixels_of((21, 18, n_channels), np.uint8)
    path = written(tmp_path / "a.tiff", image, output_of(image, "YXC"))
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
        np.testing.assert_array_equal(tif.asarray(), image)
    (info,) = inspect(path)
    assert (info.axes, info.shape) == ("YXC", image.shape)


def test_two_channels_are_no_colours(tmp_path):
    image = image_of("YXC", np.uint8)
    path = written(tmp_path / "a.tiff", image, output_of(image, "YXC"))
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert tif.pages.first.samplesperpixel == 2


LENGTHS = {"Z": 0.5, "Y": 0.25, "X": 0.125}
MICRONS = dict.fromkeys("ZYX", "µm")


@pytest.mark.parametrize(
    ("axes", "sizes", "units"),
    [
        ("YX", {"Y": 65.0, "X": 65.5}, {"Y": "nm", "X": "nm"}),
        ("ZYX", LENGTHS, MICRONS),
        ("ZYX", {"Y": 0.1, "X": 0.1}, {"Y": "µm", "X": "µm"}),
        ("TYX", {"T": 5.0, "Y": 3.0, "X": 3.0}, {"T": "s", "Y": "mm", "X": "mm"}),
        ("TZCYX", {**LENGTHS, "T": 0.25}, {**MICRONS, "T": "s"}),
        ("TYX", {"T": 2.0}, {"T": "s"}),
        ("YX", {"Y": 2.5, "X": 2.5}, {"Y": "Å", "X": "Å"}),
        ("CTYX", {"T": 3.0, "Y": 0.1, "X": 0.2}, {"T": "min", "Y": "µm", "X": "nm"}),
        ("CZYX", {"Z": 1 / 300, "Y": 0.1, "X": 0.2}, {"Z": "inch", "Y": "µm", "X": "nm"}),
        ("XY", {"Y": 0.1, "X": 0.2}, {"Y": "µm", "X": "µm"}),
        ("YXC", {"Y": 0.1, "X": 0.2}, {"Y": "µm", "X": "µm"}),
        ("XCTYZS", {"Y": 0.1, "X": 0.2}, {"Y": "µm", "X": "µm"}),
    ],
)
def test_pixel_size_is_carried_over(tmp_path, axes, sizes, units):
    image = image_of(axes)
    output = sized(output_of(image, axes), sizes, units)
    (info,) = inspect(written(tmp_path / "a.tiff", image, output))
    assert info.pixel_size == pytest.approx(sizes, rel=1e-6)
    assert info.units == units


def test_imagej_has_one_unit_for_all_axes_and_seconds(tmp_path):
    image = image_of("TZYX")
    sizes = {"T": 2.0, "Z": 1.0, "Y": 250.0, "X": 125.0}
    units = {"T": "min", "Z": "µm", "Y": "nm", "X": "nm"}
    path = written(tmp_path / "a.tiff", image, sized(output_of(image, "TZYX"), sizes, units))
    with tifffile.TiffFile(path) as tif:
        told = tif.imagej_metadata
        assert (told["unit"], told["spacing"], told["finterval"]) == ("nm", 1000.0, 120.0)
    (info,) = inspect(path)
    assert info.pixel_size == pytest.approx({"T": 120.0, "Z": 1000.0, "Y": 250.0, "X": 125.0})


def test_other_axes_orders_tell_all_sizes_in_words_too(tmp_path):
    image = image_of("XCTYZS")
    sizes, units = {**LENGTHS, "T": 2.0}, {**MICRONS, "T": "s"}
    output = sized(output_of(image, "XCTYZS"), sizes, units, ("DAPI", "GFP"))
    path = written(tmp_path / "a.tiff", image, output)
    with tifffile.TiffFile(path) as tif:
        told = json.loads(tif.pages.first.description)
    assert told["PhysicalSizeZ"] == 0.5
    assert told["PhysicalSizeZUnit"] == "µm"
    assert told["TimeIncrement"] == 2.0
    assert told["ChannelNames"] == ["DAPI", "GFP"]


@pytest.mark.parametrize(
    ("sizes", "units"),
    [
        ({}, {}),
        ({"Y": 0.1, "X": 0.1}, {}),
        ({"Y": 0.1, "X": 0.1}, {"Y": "parsec", "X": "parsec"}),
        ({"Y": 0.0, "X": np.nan}, {"Y": "µm", "X": "µm"}),
    ],
)
@pytest.mark.parametrize("axes", ["YX", "CTYX", "XY"])
def test_what_is_not_known_is_not_claimed(tmp_path, axes, sizes, units):
    image = image_of(axes)
    (info,) = inspect(written(tmp_path / "a", image, sized(output_of(image, axes), sizes, units)))
    assert info.pixel_size == {}


def test_names_of_channels_are_carried_over(tmp_path):
    image = image_of("TCYX", np.int16)
    output = sized(output_of(image, "TCYX"), {}, {}, ("DAPI", "Å–GFP"))
    (info,) = inspect(written(tmp_path / "ome.tiff", image, output))
    assert info.channel_names == ("DAPI", "Å–GFP")
    image = image_of("TCYX")
    output = sized(output_of(image, "TCYX"), {}, {}, ("DAPI", "Å–GFP"))
    with tifffile.TiffFile(written(tmp_path / "imagej.tiff", image, output)) as tif:
        assert tif.is_imagej
        assert tif.imagej_metadata["Labels"] == ["DAPI", "Å–GFP"] * 3


def test_names_that_do_not_fit_the_channels_of_the_result_are_left_out(tmp_path):
    image = image_of("YX")
    output = sized(output_of(image, "YX", n_channels=2), {}, {}, ("DAPI",))
    file = tiff.create(tmp_path / "a.tiff", output)
    file.complete(nothing)
    with tifffile.TiffFile(tmp_path / "a.tiff") as tif:
        assert tif.series[0].shape == (2, 21, 18)
        assert "Labels" not in tif.imagej_metadata


# -- the range that ImageJ shows -----------------------------------------------------------------


@pytest.mark.parametrize("breaks_off", [False, True])
@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_imagej_is_told_the_range_of_the_pixels(tmp_path, monkeypatch, breaks_off, compression):
    monkeypatch.setattr(tiff, "_AT_ONCE", 200)  # bytes: looked at in many parts
    image = (image_of("TYX") + 1) * -1.5e-7
    image[0, 0, :3] = np.nan, np.inf, -np.inf
    output, options = output_of(image, "TYX"), WriteOptions(compression)
    path, numbers = tmp_path / "a.tiff", mixed(output)
    file = tiff.create(path, output, options)
    if breaks_off:
        write(file, output, image, numbers[:-1])
        file.close()
        file, numbers = tiff.reopen(path, output, options), numbers[-1:]
    write(file, output, image, numbers)
    file.complete(nothing)
    with tifffile.TiffFile(path) as tif:
        shown = tif.imagej_metadata
        np.testing.assert_array_equal(tif.asarray(), image)
    finite = image[np.isfinite(image)]
    assert (shown["min"], shown["max"]) == (finite.min(), finite.max())
    assert shown["min"] < shown["max"] < 0


@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_an_image_of_nothing_but_nan_has_no_range(tmp_path, compression):
    image = np.full((21, 18), np.nan, np.float32)
    path = written(tmp_path / "a.tiff", image, output_of(image, "YX"), WriteOptions(compression))
    with tifffile.TiffFile(path) as tif:
        assert not {"min", "max"} & set(tif.imagej_metadata)
        assert np.isnan(tif.asarray()).all()


# -- tile by tile --------------------------------------------------------------------------------


def test_the_file_is_all_there_before_the_first_tile(tmp_path):
    image = image_of("TZCYX")
    output = output_of(image, "TZCYX")
    path = tmp_path / "a.tiff"
    file = tiff.create(path, output)
    size = path.stat().st_size
    assert size > image.nbytes
    if hasattr(os, "posix_fallocate"):
        assert path.stat().st_blocks * 512 >= image.nbytes  # not a sparse file
    np.testing.assert_array_equal(file.view(), 0)
    write(file, output, image, mixed(output))
    np.testing.assert_array_equal(file.view(), image)
    file.complete(nothing)
    assert path.stat().st_size == size


def test_memory_does_not_grow_with_the_image(tmp_path):
    image = np.zeros((1, 512, 512), np.uint16)
    stack = FORMATS["array"].load(np.broadcast_to(image, (200, 512, 512)), "TYX")[0]
    tiles = Tiling((4, 4), (0, 0), (512, 512)).specs(0, stack.data_shape)
    output = Output(0, stack, tiles, result_type="input")
    options = WriteOptions("zstd", 1)
    tracemalloc.start()
    file = tiff.create(tmp_path / "a.tiff", output, options)
    for number in range(0, 200, 40):
        file.write(output.box(tiles[number]), image + number)
    file.complete(nothing)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert output.n_bytes == 200 * 2**19
    assert peak < 40 * 2**20
    with tifffile.TiffFile(tmp_path / "a.tiff") as tif:
        assert len(tif.pages) == 200
        assert tif.pages[160].asarray()[5, 5] == 160


def test_a_file_beyond_four_gigabytes_is_a_big_tiff():
    shape = (70_000, 512, 64)  # 4.6 GB of holes
    stack = FORMATS["array"].load(np.broadcast_to(np.uint16(0), shape), "TYX")[0]
    tiles = Tiling((4, 4), (0, 0), (512, 512)).specs(0, stack.data_shape)
    output = Output(0, stack, tiles, result_type="input")
    options = tiff_layout.layout(output)
    assert options["bigtiff"]
    assert options["ome"]
    assert "imagej" not in options
    assert not tiff_layout.layout(output_of(image_of("YX"), "YX"))["bigtiff"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file has no holes")
def test_last_pixels_of_a_file_beyond_four_gigabytes(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # else it would take its place
    shape = (36_000, 36_000)
    stack = FORMATS["array"].load(np.broadcast_to(np.float32(0), shape), "YX")[0]
    tiles = Tiling((4, 4), (0, 0), (64, 64)).specs(0, stack.data_shape)
    output = Output(0, stack, tiles, result_type="input")
    specs = tiles[len(tiles) - 1]
    pixels = np.arange(np.prod(specs["crop_size"]), dtype=np.float32).reshape(specs["crop_size"])
    path = tmp_path / "a.tiff"
    file = tiff.create(path, output)
    file.write(output.box(specs), pixels)
    file.complete(nothing)
    corner = specs["stitch_coords"]
    (stack,) = FORMATS["tiff"].load(path, "YX")
    found = stack.extract_patch(0, None, corner, specs["crop_size"])[0]
    np.testing.assert_array_equal(found, pixels)
    assert path.stat().st_blocks * 512 < 2**24


@pytest.mark.parametrize("near", [0, 200, 4096])
@pytest.mark.parametrize("axes", ["YX", "YXS", "YXC", "XZY", "TZCYX", "XCTYZS"])
def test_tiles_get_in_their_places_run_by_run_or_in_blocks(tmp_path, monkeypatch, near, axes):
    monkeypatch.setattr(tiff, "_NEAR", near)
    image = image_of(axes)
    output = output_of(image, axes, tile=8, halo=0)
    path = written(tmp_path / "a.tiff", image, output)
    np.testing.assert_array_equal(tifffile.imread(path), image)


def test_a_box_of_another_shape_is_refused(tmp_path):
    output = output_of(image_of("YX"), "YX")
    file = tiff.create(tmp_path / "a.tiff", output)
    with pytest.raises(ShapeError, match=r"\(3, 4\).*\(3, 5\)"):
        file.write((slice(0, 3), slice(0, 5)), np.zeros((3, 4), np.float32))
    file.close()


def test_the_same_result_is_the_same_file(tmp_path):
    image = image_of("CTYX")
    one = written(tmp_path / "1.tiff", image, output_of(image, "CTYX"))
    two = written(tmp_path / "2.tiff", image, output_of(image, "CTYX", tile=None))
    assert one.read_bytes() == two.read_bytes()
    other = written(tmp_path / "3.tiff", image, output_of(image, "CTYX", recipe={"model": 2}))
    assert other.read_bytes() != one.read_bytes()


# -- compression ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw"])
@pytest.mark.parametrize(
    ("axes", "dtype"),
    [("TYX", "float32"), ("YXC", "uint16"), ("YXZ", "float32"), ("CTYX", "bool")],
)
@pytest.mark.parametrize("page_bytes", [2**24, 100])
def test_compressed_files_hold_the_same_pixels(
    tmp_path, monkeypatch, compression, axes, dtype, page_bytes
):
    monkeypatch.setattr(tiff, "_AT_ONCE", page_bytes)
    monkeypatch.setattr(tiff, "_TILE", 16)
    image = image_of(axes, dtype)
    output = output_of(image, axes)
    path = written(tmp_path / "a.tiff", image, output, WriteOptions(compression))
    assert [file.name for file in tmp_path.iterdir()] == ["a.tiff"]
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert compression.upper().replace("ZLIB", "DEFLATE") in page.compression.name
        assert page.is_tiled == (page_bytes < page.nbytes)
        np.testing.assert_array_equal(tif.asarray(), image)
    (info,) = inspect(path)
    assert (info.axes, info.dtype) == (axes, np.dtype(dtype))


def test_compression_saves_space_and_a_level_is_obeyed(tmp_path):
    image = np.round(np.random.default_rng(0).normal(100, 3, (200, 200))).astype(np.uint16)
    sizes = [
        written(tmp_path / f"{level}", image, output_of(image, "YX"), WriteOptions("zlib", level))
        .stat()
        .st_size
        for level in (1, 9)
    ]
    assert image.nbytes > sizes[0] > sizes[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (WriteOptions("blosc"), "expected one of default, none, zlib, zstd, lzw"),
        (WriteOptions("zlib", 10), "1 to 9"),
        (WriteOptions("zstd", 0), "1 to 22"),
        (WriteOptions("lzw", 5), "expected none"),
    ],
)
def test_compression_that_does_not_exist_is_refused_at_once(tmp_path, options, said):
    with pytest.raises(SettingsError, match=said):
        tiff.create(tmp_path / "a.tiff", output_of(image_of("YX"), "YX"), options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page_bytes", [2**24, 100])
def test_compressing_can_be_stopped_and_begun_again(tmp_path, monkeypatch, page_bytes):
    monkeypatch.setattr(tiff, "_AT_ONCE", page_bytes)
    monkeypatch.setattr(tiff, "_TILE", 16)
    image = image_of("TYX")
    output, path, options = output_of(image, "TYX"), tmp_path / "a.tiff", WriteOptions("zlib")
    calls = []

    def stop():
        calls.append(True)
        if len(calls) == 3:
            raise KeyError

    file = tiff.create(path, output, options)
    write(file, output, image, mixed(output))
    with pytest.raises(KeyError):
        file.complete(stop)
    file.close()
    assert [left.name for left in tmp_path.iterdir()] == ["a.tiff"]
    np.testing.assert_array_equal(tifffile.imread(path), image)  # not compressed yet
    again = tiff.reopen(path, output, options)
    again.complete(nothing)
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.compression == 8
        np.testing.assert_array_equal(tif.asarray(), image)


@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_a_file_that_was_compressed_but_not_published_is_complete(tmp_path, dtype):
    image = image_of("TYX", dtype)
    output, options = output_of(image, "TYX"), WriteOptions("zstd")
    path = written(tmp_path / "a.tiff", image, output, options)
    before = path.read_bytes()
    again = tiff.reopen(path, output, options)
    np.testing.assert_array_equal(again.view(), image)
    again.complete(nothing)
    again.close()
    assert path.read_bytes() == before


# -- what goes wrong -----------------------------------------------------------------------------


def test_what_is_cut_short_or_of_another_type_is_not_gone_on_with(tmp_path):
    path, output = tmp_path / "a.tiff", output_of(image_of("YX"), "YX")
    tiff.create(path, output).close()
    with pytest.raises(UnreadableError, match="float32"):
        tiff.reopen(path, output_of(image_of("YX", np.uint16), "YX"))
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UnreadableError, match="not the unfinished result"):
        tiff.reopen(path, output)
    path.write_bytes(b"")
    with pytest.raises(UnreadableError, match="not the unfinished result"):
        tiff.reopen(path, output)


def test_a_disk_without_room_is_told_at_the_start_and_nothing_is_left(tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_room, raising=False)
    with pytest.raises(OSError, match="No space") as raised:
        tiff.create(tmp_path / "a.tiff", output_of(image_of("YX"), "YX"))
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_is_no_obstacle(tmp_path, monkeypatch):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    image = image_of("YX")
    path = written(tmp_path / "a.tiff", image, output_of(image, "YX"))
    np.testing.assert_array_equal(tifffile.imread(path), image)


def _create_within(path, limit, told):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    image = np.ones((600, 600), np.float32)
    try:
        tiff.create(path, output_of(image, "YX"))
    except OSError as error:
        told.put(error.errno)
    else:
        told.put(0)


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_limit_of_the_system_is_an_error_and_no_signal(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    child = spawn.Process(target=_create_within, args=(tmp_path / "a.tiff", 2**20, told))
    child.start()
    assert told.get(timeout=60) == errno.EFBIG
    child.join()
    assert child.exitcode == 0
    assert list(tmp_path.iterdir()) == []
