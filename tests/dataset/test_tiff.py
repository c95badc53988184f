"""What TIFF files say about themselves, how they are read, and which must be refused."""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamist.dataset.image_stack import tiff_pages
from careamist.dataset.image_stack.file_utils import PartCache
from careamist.dataset.image_stack.tiff import TiffStack, inspect, load
from careamist.errors import SourceNotFoundError, UnreadableError

DATA = Path(__file__).parents[1] / "data" / "tiff"
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


# Real files: shape, axes, type, smallest and largest pixel, found without careamist.
REAL = {
    "12bit.cropped.rgb.tiff": ((64, 64, 3), "YXC", "uint16", 0, 27),
    "big_g4.tif": ((65537, 1), "YX", "bool", 0, 0),
    "flybrain_lzw.tiff": ((256, 256, 3), "YXC", "uint8", 0, 90),
    "gradient-1c-64b.tiff": ((1, 256), "YX", "uint64", 3837672, 4287516159),
    "imagemagick_group4.tiff": ((200, 640), "YX", "bool", 0, 1),
    "img3d.tif": ((31, 61, 57), None, "uint16", 104, 375),
    "int16_zstd.tif": ((64, 64), "YX", "int16", -5000, 4998),
    "miniswhite-1c-12b.tiff": ((2, 4), "YX", "uint16", 0, 4095),
    "multipage.tif": ((2, 15, 10), None, "uint8", 0, 255),
    "multipage_rgb.tif": (
        (2, 3, 10, 10),
        None,
        "float64",
        6.435685245809175e-05,
        0.9986702200821348,
    ),
    "predictor-3-rgb-f32.tif": ((200, 200, 3), "YXC", "float32", 0.07058823108673096, 1),
    "random-fp16-pred3.tiff": ((16, 16), "YX", "float16", 0.384765625, 1),
    "seq-1c-16b-bigendian.tiff": ((16, 16), "YX", "uint16", 0, 255),
    "seq-1c-2b.tiff": ((16, 16), "YX", "uint8", 0, 3),
    "seq-1c-4b-palette.tiff": ((16, 16), "YX", "uint8", 0, 15),
    "seq-1c-64f-deflate-fpredict.tiff": ((16, 16), "YX", "float64", 0, 1),
    "seq-1c-8b-multipage.tiff": ((3, 16, 16), None, "uint8", 0, 255),
    "seq-1c-8b-tiled-lzw.tiff": ((16, 16), "YX", "uint8", 0, 255),
    "seq-1c-i32.tiff": ((16, 16), "YX", "int32", -128, 127),
    "seq-1c-i8.tiff": ((16, 16), "YX", "int8", -128, 127),
    "seq-3c-12b-planar.tiff": ((3, 16, 16), "CYX", "uint16", 0, 455),
    "seq-3c-i16.tiff": ((16, 16, 3), "YXC", "int16", -128, 127),
    "seq-4c-16b-cmyk.tiff": ((16, 16, 4), "YXC", "uint16", 0, 1023),
    "tiled-gray-i1.tif": ((51, 37), "YX", "bool", 0, 1),
    "tiled-jpeg-ycbcr.tif": ((499, 374, 3), "YXC", "uint8", 0, 255),
    "xy_8bit__nuclei_noisy_small.tif": ((220, 202), "YX", "uint8", 0, 89),
    "xy_float__h2b_bg_corr.tif": ((42, 60), "YX", "float32", -2.0430002212524414, 244.957),
    "xyzc_8bit_spheres.tif": ((25, 2, 50, 50), "ZCYX", "uint8", 0, 239),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "movie.tif"


@pytest.fixture
def cache(monkeypatch):
    """The cache of decoded parts, empty."""
    monkeypatch.setattr(tiff_pages, "CACHE", PartCache(2**20))
    return tiff_pages.CACHE


def describe(path):
    (info,) = inspect(path)
    return info


def whole(path, axes):
    """Read an image through its stack, in the order of the file."""
    (stack,) = load(path, axes)
    return stack._read(tuple(slice(None) for _ in stack.original_data_shape))


# -- real files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_what_they_are_known_to_be(name):
    shape, axes, dtype, low, high = REAL[name]
    info = describe(DATA / name)
    assert (info.shape, info.axes, info.dtype) == (shape, axes, np.dtype(dtype))
    assert info.source == str(DATA / name)
    pixels = whole(DATA / name, axes or {3: "TYX", 4: "TCYX"}[len(shape)])
    assert (pixels.shape, pixels.dtype) == (shape, np.dtype(dtype))
    assert pixels.min() == pytest.approx(low, rel=1e-6)
    assert pixels.max() == pytest.approx(high, rel=1e-6)


def test_every_real_file_is_checked():
    assert {file.name for file in DATA.iterdir()} == set(REAL)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("seed", range(3))
def test_no_damage_raises_anything_but_our_errors(name, seed, path):
    random = np.random.default_rng([seed, *name.encode()])
    content = bytearray((DATA / name).read_bytes())
    for place in random.integers(0, [len(content), 300, 60, 10], (6, 4)).ravel():
        content[place % len(content)] = random.choice([0, 1, 255, random.integers(256)])
    path.write_bytes(content)
    start, told = time.monotonic(), None
    try:
        info = describe(path)
        assert np.prod(info.shape) < 2**28
        whole(path, {2: "YX", 3: "TYX", 4: "TCYX", 5: "TCZYX"}[len(info.shape)])
    except UnreadableError as error:
        told = error
    assert told is None or (str(path) in told.message and told.hint)
    assert time.monotonic() - start < 20


# -- every way of writing ------------------------------------------------------------------------


@every_way
def test_every_way_of_writing_is_read(way, path):
    tifffile.imwrite(path, MOVIE, **WRITTEN[way])
    assert describe(path).shape == MOVIE.shape
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
        describe(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\0\0" + bytes(20)]
)
def test_what_is_not_a_tiff_is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="cannot be read as a TIFF") as caught:
        describe(path)
    assert str(path) in caught.value.message
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_missing_file_is_told_apart_from_a_broken_one(make, path):
    make(path)
    with pytest.raises(SourceNotFoundError, match="There is no file"):
        describe(path)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YX", (20, 30)), ("TYX", (4, 20, 30)), ("ZYX", (4, 20, 30)), ("TZCYX", (2, 3, 4, 20, 30))],
)
def test_axes_of_imagej_files_are_known(axes, shape, path):
    tifffile.imwrite(path, np.zeros(shape, np.float32), imagej=True, metadata={"axes": axes})
    info = describe(path)
    assert (info.axes, info.shape, info.dtype) == (axes, shape, np.dtype("float32"))


def test_colour_samples_are_channels_but_an_axis_of_samples_is_not(path):
    tifffile.imwrite(path, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    assert describe(path).axes == "YXC"
    options = {"photometric": "minisblack", "metadata": {"axes": "SYX"}}
    tifffile.imwrite(path, np.zeros((3, 20, 30), np.uint8), **options)
    assert describe(path).axes == "SYX"


def test_unknown_axes_are_not_guessed(path):
    tifffile.imwrite(path, MOVIE)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == "QYX"
    assert describe(path).axes is None


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
@pytest.mark.parametrize("timing", [{"finterval": 2.0}, {"fps": 0.5}])
def test_a_frame_interval_tells_a_movie(axes, timing, path):
    stored = {"axes": axes, **timing} if axes == "ZYX" else {"axes": axes, "frames": 1, **timing}
    tifffile.imwrite(path, MOVIE, imagej=True, metadata=stored)
    if axes == "TYX":  # as programs write it that know of no axes: so many images, no more
        path.write_bytes(path.read_bytes().replace(b"frames=12", b"flames=12"))
    info = describe(path)
    assert info.axes == axes
    if axes == "TYX":
        assert (info.pixel_size, info.units) == ({"T": 2.0}, {"T": "s"})
    else:
        assert any("really time" in warning for warning in info.warnings)


@pytest.mark.parametrize(
    ("metadata", "pixel_size", "unit"),
    [
        ({"axes": "ZYX", "unit": "um", "spacing": 0.5}, {"Z": 0.5, "Y": 0.25, "X": 0.125}, "µm"),
        ({"axes": "ZYX", "unit": "micron"}, {"Y": 0.25, "X": 0.125}, "µm"),
        ({"axes": "ZYX", "unit": "\\u00B5m"}, {"Y": 0.25, "X": 0.125}, "µm"),
        ({"axes": "ZYX", "unit": "nm", "spacing": -90}, {"Z": 90, "Y": 0.25, "X": 0.125}, "nm"),
        ({"axes": "TYX", "unit": "um", "spacing": 0.5}, {"Y": 0.25, "X": 0.125}, "µm"),
        ({"axes": "ZYX", "unit": "pixel", "spacing": 1}, {}, ""),
        ({"axes": "ZYX"}, {}, ""),
    ],
)
def test_pixel_size_of_imagej_files(metadata, pixel_size, unit, path):
    tifffile.imwrite(path, MOVIE, imagej=True, resolution=(8, 4), metadata=metadata)
    info = describe(path)
    assert info.pixel_size == pytest.approx(pixel_size)
    assert info.units == dict.fromkeys(pixel_size, unit)


def test_a_resolution_of_zero_is_no_pixel_size(path):
    tifffile.imwrite(path, MOVIE, imagej=True, resolution=(0, 0), metadata={"unit": "um"})
    assert describe(path).pixel_size == {}


def test_ome_tells_pixel_sizes_and_channel_names(path):
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 120,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.12,
        "PhysicalSizeZ": 3,
        "TimeIncrement": 0.5,
        "Channel": {"Name": ["DAPI", "actin"]},
    }
    tifffile.imwrite(path, MOVIE.reshape(6, 2, 64, 48), ome=True, metadata=metadata)
    info = describe(path)
    assert (info.axes, info.channel_names) == ("TCYX", ("DAPI", "actin"))
    assert info.pixel_size == {"T": 0.5, "Y": 0.12, "X": 120}
    assert info.units == {"T": "s", "Y": "µm", "X": "nm"}


@pytest.mark.parametrize(
    ("unit", "density", "size"),
    [("INCH", 72, None), ("INCH", 600, None), ("INCH", 50_800, 0.5), ("CENTIMETER", 118.11, None),
     ("CENTIMETER", 20_000, 0.5), ("NONE", 20_000, None)],
)  # fmt: skip
def test_the_resolution_of_a_print_is_no_pixel_size(unit, density, size, path):
    tifffile.imwrite(path, MOVIE, resolution=(density, density), resolutionunit=unit)
    expected = {} if size is None else {"Y": size, "X": size}
    assert describe(path).pixel_size == pytest.approx(expected)
    assert describe(path).units == dict.fromkeys(expected, "µm")


# -- reading part by part ------------------------------------------------------------------------


def test_contiguous_files_are_mapped_not_read(path):
    tifffile.imwrite(path, MOVIE, imagej=True)
    info = describe(path)
    assert (info.stored_as, info.chunk_shape) == ("memory-mapped", None)
    assert TiffStack(path, "TYX").chunk_shape is None


@pytest.mark.skipif(sys.platform == "win32", reason="files with holes take their whole size")
def test_a_file_larger_than_memory_is_read(path):
    shape = (40_000, 1024, 1024)
    tifffile.memmap(path, shape=shape, dtype=np.uint16, bigtiff=True, metadata={"axes": "TYX"})
    (stack,) = load(path, "TYX")
    assert stack.data_shape == (40_000, 1, 1024, 1024)  # 78 GiB
    assert not stack.extract_patch(39_999, None, (960, 960), (64, 64)).any()


def test_pages_apart_from_each_other_are_mapped_one_by_one(path):
    with tifffile.TiffWriter(path) as file:
        for image in MOVIE:
            file.write(image, contiguous=False, metadata=None)
    assert describe(path).stored_as == "memory-mapped"
    np.testing.assert_array_equal(whole(path, "TYX"), MOVIE)


LAYOUTS = {
    "strips": ("TYX", {"compression": "zlib", "rowsperstrip": 5}, (1, 5, 48)),
    "tiles": ("TYX", {"compression": "zstd", "tile": (16, 32)}, (1, 16, 32)),
    "uncompressed tiles": ("TYX", {"tile": (16, 16)}, (1, 16, 16)),
    "predictor": ("TYX", {"compression": "lzw", "predictor": True}, (1, 64, 48)),
    "big-endian": ("TYX", {"byteorder": ">", "compression": "zlib"}, (1, 64, 48)),
    "big-endian mapped": ("TYX", {"byteorder": ">"}, None),
    "RGB": ("TYXC", {"photometric": "rgb", "compression": "zlib", "rowsperstrip": 7}, (1, 7, 4, 3)),
    "planar": ("TCYX", {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16)},
               (1, 1, 16, 16)),
    "channels": ("TCYX", {"photometric": "minisblack", "compression": "zlib"}, (1, 1, 16, 12)),
    "volumes": ("ZYX", {"volumetric": True, "tile": (4, 16, 16), "compression": "zlib"},
                (4, 16, 16)),
}  # fmt: skip
SHAPES = {"TYXC": (4, 64, 4, 3), "TCYX": (4, 3, 64, 4)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_box_is_the_same_as_of_the_whole_image(layout, path):
    axes, options, chunk = LAYOUTS[layout]
    shape = {"RGB": (4, 64, 4, 3), "planar": (4, 3, 40, 24), "channels": (8, 4, 16, 12)}
    size = shape.get(layout, (12, 64, 48))
    image = MOVIE.ravel()[: np.prod(size)].reshape(size)
    tifffile.imwrite(path, image, metadata={"axes": axes.replace("C", "S")}, **options)
    info = describe(path)
    assert (info.shape, info.chunk_shape) == (image.shape, chunk)
    (stack,) = load(path, axes)
    random = np.random.default_rng(1)
    for _ in range(40):
        ends = [sorted(random.integers(0, n + 1, 2)) for n in image.shape]
        box = tuple(slice(int(first), int(last)) for first, last in ends)
        read = stack._read(box)
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, image[box])
    if "C" in axes:
        c = axes.index("C")
        picked = [slice(0, n) for n in image.shape]
        picked[c] = [2, 0]
        np.testing.assert_array_equal(stack._read(tuple(picked)), image.take([2, 0], axis=c))


def test_only_the_tiles_that_a_patch_touches_are_decoded(path, cache):
    tifffile.imwrite(path, MOVIE, tile=(16, 16), compression="zlib", metadata={"axes": "TYX"})
    (stack,) = load(path, "TYX")
    assert cache.nbytes == 0  # opening decodes none
    stack.extract_patch(3, None, (16, 16), (16, 16))
    assert cache.nbytes == 16 * 16 * 2
    stack.extract_patch(3, None, (20, 20), (16, 16))
    assert cache.nbytes == 4 * 16 * 16 * 2


def test_the_file_need_not_be_there_for_a_tile_that_is_kept(path, cache):
    tifffile.imwrite(path, MOVIE, tile=(16, 16), compression="zlib", metadata={"axes": "TYX"})
    (stack,) = load(path, "TYX")
    first = stack.extract_patch(3, None, (0, 0), (16, 16))
    path.unlink()
    np.testing.assert_array_equal(stack.extract_patch(3, None, (0, 0), (16, 16)), first)
    with pytest.raises(UnreadableError, match=r"movie\.tif cannot be read"):
        stack.extract_patch(4, None, (0, 0), (16, 16))


def test_two_stacks_do_not_mix_up_their_tiles(tmp_path, cache):
    stacks = []
    for index in range(2):
        path = tmp_path / f"{index}.tif"
        tifffile.imwrite(path, np.full((32, 32), index, np.uint8), compression="zlib")
        stacks += load(path, "YX")
    for index, stack in enumerate(stacks):
        assert (stack.extract_patch(0, None, (0, 0), (32, 32)) == index).all()


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
     "float32", "float64", "complex64", "complex128"],
)  # fmt: skip
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pixels_of_every_type_are_read(dtype, compression, path):
    image = (MOVIE[0] % 100).astype(dtype)
    tifffile.imwrite(path, image, compression=compression, photometric="minisblack")
    assert describe(path).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(whole(path, "YX"), image)


def test_empty_tiles_are_zero_and_told(path):
    tiles = iter([np.ones((16, 16), np.uint8), None, None, np.ones((16, 16), np.uint8)])
    options = {"shape": (32, 32), "dtype": "uint8", "tile": (16, 16), "compression": "zlib"}
    tifffile.imwrite(path, tiles, **options)
    expected = np.kron(np.eye(2, dtype=np.uint8), np.ones((16, 16), np.uint8))
    np.testing.assert_array_equal(whole(path, "YX"), expected)
    assert describe(path).warnings == ("2 of its strips or tiles are empty and read as zeros.",)


def test_several_images_and_levels_are_told(path):
    with tifffile.TiffWriter(path, ome=True) as file:
        options = {"tile": (16, 16), "metadata": {"axes": "YX"}}
        file.write(MOVIE[0], subifds=1, **options)
        file.write(MOVIE[0, ::2, ::2], subfiletype=1, tile=(16, 16))
        file.write(MOVIE[1, :32], **options)
    info = describe(path)
    assert (info.shape, info.n_levels) == ((64, 48), 2)
    assert info.warnings == (
        "It holds 2 images; the first is read.",
        "It holds 2 resolutions; the finest is read.",
    )
    np.testing.assert_array_equal(whole(path, "YX"), MOVIE[0])


# -- files that must be refused ------------------------------------------------------------------


def ome_xml(path, **changed):
    """Write an OME-TIFF of three planes with something else in its XML."""
    options = {"photometric": "minisblack"}
    tifffile.imwrite(path, MOVIE[:3], ome=True, metadata={"axes": "ZYX"}, **options)
    text = tifffile.tiffcomment(path)
    for name, value in changed.items():
        assert f'{name}="' in text
        text = text.replace(f'{name}="', f'{name}="{value}" old{name}="')
    tifffile.imwrite(path, MOVIE[:3], description=text, metadata=None, **options)


@pytest.mark.parametrize("name", ["SizeZ", "SizeT", "SizeX", "PlaneCount"])
def test_ome_xml_cannot_claim_any_number_of_planes(name, path):
    ome_xml(path, **{name: 999_999_999})
    start = time.monotonic()
    with pytest.raises(UnreadableError, match="claims more than 10000000 planes"):
        describe(path)
    assert time.monotonic() - start < 2


def test_planes_that_are_missing_are_told(path):
    ome_xml(path, SizeZ=9, PlaneCount=9)
    info = describe(path)
    assert info.shape == (9, 64, 48)
    assert info.warnings == ("6 of its 9 planes are missing and read as zeros.",)
    pixels = whole(path, "ZYX")
    np.testing.assert_array_equal(pixels[:3], MOVIE[:3])
    assert not pixels[3:].any()


def test_a_description_of_a_larger_image_is_told(path):
    tifffile.imwrite(path, MOVIE, compression="zlib")
    path.write_bytes(path.read_bytes().replace(b"[12, 64, 48]", b"[99, 64, 48]"))
    assert "Its description tells of an image of 99 × 64 × 48." in describe(path).warnings


@pytest.fixture
def ome_set(tmp_path):
    """Two files, one plane each, that name each other."""
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"'
        ' SizeX="48" SizeY="64" SizeZ="2" SizeC="1" SizeT="1">'
        + "".join(
            f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
            f'<UUID FileName="z{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
            for z in range(2)
        )
        + "</Pixels></Image></OME>"
    )
    for z in range(2):
        file = tmp_path / f"z{z}.ome.tif"
        tifffile.imwrite(file, MOVIE[z], description=xml.format(z), metadata=None)
    return tmp_path


@pytest.mark.parametrize("file", ["z0.ome.tif", "z1.ome.tif"])
def test_the_files_of_a_set_are_read_through_any_of_them(file, ome_set):
    assert describe(ome_set / file).shape == (2, 64, 48)
    np.testing.assert_array_equal(whole(ome_set / file, "ZYX"), MOVIE[:2])


def test_a_file_that_is_missing_of_a_set_is_named(ome_set):
    (ome_set / "z1.ome.tif").unlink()
    with pytest.raises(UnreadableError, match=r"of which z1\.ome\.tif is missing") as caught:
        describe(ome_set / "z0.ome.tif")
    assert "one folder" in caught.value.hint


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_size_that_the_bytes_cannot_hold_is_refused(compression, tiled, path):
    options = {"tile": (64, 64)} if tiled else {}
    tifffile.imwrite(path, MOVIE[0], compression=compression, metadata=None, **options)
    large = 2**16 - 16
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tags = tif.pages.first.tags
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip", "TileWidth", "TileLength"):
            if name in tags:
                tags[name].overwrite(large)
    with pytest.raises(UnreadableError, match=r"cut short|damaged"):
        describe(path)


def test_an_unknown_compression_is_refused_when_it_is_read(path):
    tifffile.imwrite(path, MOVIE[0], compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages.first.tags["Compression"].overwrite(34676)
    with pytest.raises(UnreadableError, match="34676"):
        whole(path, "YX")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits", "jpeg", "png"])
def test_damaged_pixels_are_refused_when_they_are_read(compression, path):
    image = MOVIE[0].astype(np.uint8)
    tifffile.imwrite(path, image, compression=compression)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        (start,), (count,) = page.dataoffsets, page.databytecounts
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"\x80" * count
    path.write_bytes(content)
    (stack,) = load(path, "YX")
    with pytest.raises(UnreadableError, match=r"movie\.tif"):
        stack.extract_patch(0, None, (0, 0), (8, 8))


def test_nothing_is_logged_or_warned_about_a_broken_file(path, caplog):
    tifffile.imwrite(path, MOVIE, imagej=True)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnreadableError):
        describe(path)  # a warning would be an error
    assert caplog.records == []
    with tifffile.TiffFile(path) as tif:  # those who use tifffile themselves hear it still
        assert len(tif.series) == 1
    assert caplog.records


def test_pickling_drops_the_pixels(path):
    tifffile.imwrite(path, MOVIE, compression="zlib")
    stack = TiffStack(path, "TYX")
    stack.extract_patch(0, None, (0, 0), (4, 4))
    pickled = pickle.dumps(stack)
    assert len(pickled) < 2000 < MOVIE.nbytes
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy.extract_patch(3, None, (0, 0), (64, 48))[0], MOVIE[3])
