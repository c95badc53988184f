"""What TIFF files say about themselves, and files that must be refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import tifffile

from careamist.dataset.image_stack.tiff import TiffStack, read_info
from careamist.errors import SourceNotFoundError, UnreadableError

MOVIE = np.random.default_rng(0).integers(0, 60_000, (12, 64, 48), dtype=np.uint16)

WRITTEN = {
    "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
    "tifffile": {"metadata": {"axes": "TYX"}},
    "plain": {"metadata": None},
    "ome": {"ome": True, "metadata": {"axes": "TYX"}},
    "compressed": {"compression": "zlib"},
    "imagej compressed": {"imagej": True, "compression": "zlib", "metadata": {"axes": "TYX"}},
    "plain compressed": {"metadata": None, "compression": "zlib"},
    "tiled": {"tile": (16, 16)},
    "ome compressed": {"ome": True, "metadata": {"axes": "TYX"}, "compression": "zlib"},
    "bigtiff": {"bigtiff": True, "metadata": None},
}
every_way = pytest.mark.parametrize("way", WRITTEN)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "movie.tif"


@every_way
def test_every_way_of_writing_is_read(way, path):
    tifffile.imwrite(path, MOVIE, **WRITTEN[way])
    assert read_info(path).shape == MOVIE.shape
    stack = TiffStack(path, "TYX")
    np.testing.assert_array_equal(stack.extract_patch(7, None, (0, 0), (64, 48))[0], MOVIE[7])


@every_way
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_file_that_is_cut_short_is_refused(way, share, path):
    tifffile.imwrite(path, MOVIE, **WRITTEN[way])
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(UnreadableError) as caught:
        TiffStack(path, "TYX")
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_cut_imagej_stack_tells_how_many_images_are_missing(path):
    tifffile.imwrite(path, MOVIE, imagej=True)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnreadableError, match="declares 12 images but holds 1"):
        read_info(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\0\0" + bytes(20)]
)
def test_what_is_not_a_tiff_is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="cannot be read as a TIFF") as caught:
        read_info(path)
    assert str(path) in caught.value.message
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_missing_file_is_told_apart_from_a_broken_one(make, path):
    make(path)
    with pytest.raises(SourceNotFoundError, match="There is no file"):
        read_info(path)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YX", (20, 30)), ("TYX", (4, 20, 30)), ("ZYX", (4, 20, 30)), ("TZCYX", (2, 3, 4, 20, 30))],
)
def test_axes_of_imagej_files_are_known(axes, shape, path):
    tifffile.imwrite(path, np.zeros(shape, np.float32), imagej=True, metadata={"axes": axes})
    info = read_info(path)
    assert (info.axes, info.shape, info.dtype) == (axes, shape, np.dtype("float32"))


def test_colour_samples_are_channels_but_an_axis_of_samples_is_not(path):
    tifffile.imwrite(path, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    assert read_info(path).axes == "YXC"
    options = {"photometric": "minisblack", "metadata": {"axes": "SYX"}}
    tifffile.imwrite(path, np.zeros((3, 20, 30), np.uint8), **options)
    assert read_info(path).axes == "SYX"


def test_unknown_axes_are_not_guessed(path):
    tifffile.imwrite(path, MOVIE)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == "QYX"
    assert read_info(path).axes is None


@pytest.mark.parametrize(
    ("metadata", "pixel_size", "unit"),
    [
        ({"axes": "ZYX", "unit": "um", "spacing": 0.5}, (0.5, 0.25, 0.125), "µm"),
        ({"axes": "ZYX", "unit": "micron"}, (0.25, 0.125), "µm"),
        ({"axes": "ZYX", "unit": "nm", "spacing": 90}, (90, 0.25, 0.125), "nm"),
        ({"axes": "ZYX"}, None, None),
    ],
)
def test_pixel_size_of_imagej_files(metadata, pixel_size, unit, path):
    tifffile.imwrite(path, MOVIE, imagej=True, resolution=(8, 4), metadata=metadata)
    info = read_info(path)
    assert info.unit == unit
    assert info.pixel_size == (None if pixel_size is None else pytest.approx(pixel_size))


def test_a_resolution_of_zero_is_no_pixel_size(path):
    tifffile.imwrite(path, MOVIE, imagej=True, resolution=(0, 0), metadata={"unit": "um"})
    assert read_info(path).pixel_size is None


def test_other_files_have_no_pixel_size(path):
    tifffile.imwrite(path, MOVIE, resolution=(8, 4))
    assert read_info(path).pixel_size is None


def test_contiguous_files_are_mapped_not_read(path):
    tifffile.imwrite(path, MOVIE, imagej=True)
    pixels = TiffStack(path, "TYX").pixels
    assert isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable


def test_pickling_drops_the_pixels(path):
    tifffile.imwrite(path, MOVIE, compression="zlib")
    stack = TiffStack(path, "TYX")
    stack.extract_patch(0, None, (0, 0), (4, 4))
    assert stack._pixels is not None
    pickled = pickle.dumps(stack)
    assert len(pickled) < 2000 < MOVIE.nbytes
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy.extract_patch(3, None, (0, 0), (64, 48))[0], MOVIE[3])


def test_opening_a_stack_reads_no_pixels(path, monkeypatch):
    tifffile.imwrite(path, MOVIE, compression="zlib")
    monkeypatch.setattr(tifffile, "imread", pytest.fail)
    monkeypatch.setattr(tifffile, "memmap", pytest.fail)
    assert TiffStack(path, "TYX").data_shape == (12, 1, 64, 48)
