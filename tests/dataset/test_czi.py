"""CZI files: scenes, dimensions, pixel types, and files that must be refused."""

from __future__ import annotations

import os
import pickle
import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from careamist.dataset.image_stack import czi_file
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.czi import AXES, inspect, load
from careamist.errors import (
    AxesError,
    DataError,
    SourceNotFoundError,
    UnreadableError,
)

pylib = pytest.importorskip("pylibCZIrw.czi")

DATA = Path(__file__).parents[1] / "data" / "czi"


def noise(*shape, dtype=np.uint16):
    return np.random.default_rng(list(shape)).integers(1, 250, shape).astype(dtype)


def write(path, *scenes, compression=None, **metadata):
    """Write scenes of (T, Z, C, Y, X[, RGB]), given as (image, location of its corner)."""
    with pylib.create_czi(str(path), exist_ok=True, compression_options=compression) as file:
        for index, (image, location) in enumerate(scenes):
            for t, z, c in np.ndindex(*image.shape[:3]):
                plane = image[t, z, c] if image.ndim == 5 else image[t, z, c, ..., ::-1]
                file.write(plane, location, {"T": t, "Z": z, "C": c}, scene=index)
        if metadata:
            file.write_metadata(**metadata)
    return path


def entries(content):
    """Find the directory entries of a CZI: where each starts, and where its dimensions are."""
    for match in re.finditer(b"DV", content):
        start = match.start()
        n = struct.unpack_from("<i", content, start + 28)[0] if start + 32 < len(content) else 0
        at = [start + 32 + 20 * i for i in range(n)] if 2 <= n <= 12 else []
        names = {content[i : i + 1].decode("latin1"): i for i in at}
        if {"X", "Y"} <= set(names):
            yield start, names


def whole(stack):
    n, _, *size = stack.data_shape
    return stack.extract_block(range(n), [0] * len(size), size)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "image.czi"


MOVIE = noise(3, 4, 2, 20, 30)  # TZCYX
SCZYX = MOVIE.transpose(0, 2, 1, 3, 4)
AS_STACK = {
    "SCYX": MOVIE.reshape(12, 2, 20, 30),
    "SCZYX": SCZYX,
    "SCTYX": SCZYX.transpose(2, 1, 0, 3, 4),
}


@pytest.mark.parametrize("axes", AXES)
def test_time_and_depth_go_where_the_axes_say(axes, path):
    (stack,) = load(write(path, (MOVIE, (0, 0))), axes)
    assert stack.data_shape == AS_STACK[axes].shape == stack.info.shape
    assert stack.original_axes == axes.replace("T", "Z")
    np.testing.assert_array_equal(whole(stack), AS_STACK[axes])


@pytest.mark.parametrize("axes", AXES)
def test_patches_are_those_of_an_array(axes, path):
    (stack,) = load(write(path, (MOVIE, (-11, -500))), axes)
    array = ArrayStack(AS_STACK[axes], axes.replace("T", "Z"))
    rng = np.random.default_rng(0)
    for channels in (None, [1], [1, 0]):
        for _ in range(20):
            sample = int(rng.integers(stack.data_shape[0]))
            coords = [int(rng.integers(-6, n)) for n in stack.data_shape[2:]]
            size = [int(n) for n in rng.integers(1, 9, len(coords))]
            patch = stack.extract_patch(sample, channels, coords, size)
            expected = array.extract_patch(sample, channels, coords, size)
            np.testing.assert_array_equal(patch, expected)
            assert patch.dtype == expected.dtype


@pytest.mark.parametrize("axes", ["YX", "SZCYX", "CZYX", "SCZTYX", "SCYXZ", ""])
def test_other_axes_are_refused(axes, path):
    write(path, (MOVIE, (0, 0)))
    with pytest.raises(AxesError, match="SCYX, SCTYX, SCZYX") as caught:
        load(path, axes)
    assert f"'{axes}'" in caught.value.message


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((3, 4, 2, 8, 9), "SCZYX", (3, 2, 4, 8, 9)),
        ((3, 1, 1, 8, 9), "SCYX", (3, 1, 8, 9)),
        ((1, 1, 1, 8, 9), "SCYX", (1, 1, 8, 9)),
    ],
)
def test_proposed_axes(shape, axes, expected, path):
    (info,) = inspect(write(path, (noise(*shape), (0, 0))))
    assert (info.axes, info.shape, info.warnings) == (axes, expected, ())
    assert load(path, info.axes)[0].data_shape == expected


def test_each_scene_is_a_stack_of_its_own_size(path):
    first, second = noise(1, 1, 1, 30, 20), noise(1, 3, 1, 7, 50)
    write(path, (first, (-100, -7)), (second, (40_000, 39_000)))
    assert [info.source for info in inspect(path)] == [f"{path}@0", f"{path}@1"]
    one, other = load(path, "SCZYX")
    assert (one.data_shape, other.data_shape) == ((1, 1, 1, 30, 20), (1, 1, 3, 7, 50))
    np.testing.assert_array_equal(whole(one)[0, 0], first[0, :, 0])
    np.testing.assert_array_equal(whole(other)[0, 0], second[0, :, 0])


def test_one_scene_can_be_named(path):
    write(path, (noise(1, 1, 1, 8, 9), (0, 0)), (noise(1, 1, 1, 5, 6), (0, 0)))
    (stack,) = load(f"{path}@1", "SCYX")
    assert (stack.source, stack.data_shape) == (f"{path}@1", (1, 1, 5, 6))
    assert [info.shape for info in inspect(f"{path}@0")] == [(1, 1, 8, 9)]
    with pytest.raises(SourceNotFoundError, match=r"no scene 7.*scenes are 0, 1"):
        inspect(f"{path}@7")


def test_a_file_without_scenes_is_named_by_its_path(path):
    image = noise(8, 9)
    add(path, {"C0": image})
    (stack,) = load(str(path), "SCYX")
    assert stack.source == str(path)
    np.testing.assert_array_equal(whole(stack)[0, 0], image)
    with pytest.raises(SourceNotFoundError, match="no scene 0"):
        load(f"{path}@0", "SCYX")


def test_an_at_sign_may_be_part_of_the_name(tmp_path):
    path = write(tmp_path / "a.czi@1", (noise(1, 1, 1, 8, 9), (0, 0)))
    assert inspect(path)[0].source == f"{path}@0"


def add(path, planes):
    """Write planes at any coordinates, which the writer proper does not allow."""
    with pylib.create_czi(str(path)) as file:
        for coordinates, plane in planes.items():
            pixels = file._format_data(plane)
            assert file._czi_writer.AddTile(coordinates, pixels, 0, 0, 0, "tile")


def test_what_was_cut_out_of_another_file_starts_anywhere(path):
    planes = {(t, z): noise(t, z, 8, 9)[0, 0] for t in (2, 5) for z in (3, 4, 5)}
    add(path, {f"T{t}Z{z}C1S4": plane for (t, z), plane in planes.items()})
    (stack,) = load(path, "SCZYX")
    assert (stack.source, stack.data_shape) == (f"{path}@4", (2, 1, 3, 8, 9))
    for s, t in enumerate((2, 5)):
        for k, z in enumerate((3, 4, 5)):
            np.testing.assert_array_equal(whole(stack)[s, 0, k], planes[t, z])


def test_other_dimensions_are_samples_and_one_is_told(path):
    planes = {(h, t, z): noise(8, 9) * h + 10 * t + z for h, t, z in np.ndindex(3, 2, 2)}
    typed = {key: plane.astype(np.uint16) for key, plane in planes.items()}
    add(path, {f"H{h}T{t}Z{z}C0": plane for (h, t, z), plane in typed.items()})
    (info,) = inspect(path)
    assert (info.axes, info.shape) == ("SCZYX", (6, 1, 2, 8, 9))
    assert info.warnings == ("its 3 phases (H) are read as separate samples",)
    flat, deep, timed = (whole(load(path, axes)[0]) for axes in ("SCYX", "SCZYX", "SCTYX"))
    for (h, t, z), plane in typed.items():
        np.testing.assert_array_equal(flat[4 * h + 2 * t + z, 0], plane)
        np.testing.assert_array_equal(deep[2 * h + t, 0, z], plane)
        np.testing.assert_array_equal(timed[2 * h + z, 0, t], plane)


def test_planes_that_were_not_recorded_are_zero_and_one_is_told(path):
    plane = noise(8, 9)
    add(path, {"T0Z0C0": plane, "T0Z1C0": plane, "T1Z0C0": plane})
    (stack,) = load(path, "SCZYX")
    assert stack.info.warnings == ("1 of its planes were not recorded: they are read as 0",)
    assert not whole(stack)[1, 0, 1].any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_types_of_pixels(dtype, path):
    image = noise(1, 1, 1, 20, 30, dtype=dtype)
    if dtype == "float32":
        image = image * np.float32(-123.456)
    (stack,) = load(write(path, (image, (0, 0))), "SCYX")
    assert stack.data_dtype == np.dtype(dtype) == whole(stack).dtype
    np.testing.assert_array_equal(whole(stack), image[:, 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_are_channels_in_the_order_rgb(dtype, path):
    image = noise(1, 1, 2, 20, 30, 3, dtype=dtype)
    write(path, (image, (0, 0)), channel_names={0: "left", 1: "right"})
    (stack,) = load(path, "SCYX")
    expected = image[0, 0].transpose(0, 3, 1, 2).reshape(6, 20, 30)
    np.testing.assert_array_equal(whole(stack)[0], expected)
    picked = stack.extract_patch(0, [5, 0, 1], (2, 3), (4, 5))
    np.testing.assert_array_equal(picked, expected[[5, 0, 1], 2:6, 3:8])
    assert stack.chunk_shape == (1, 3, 20, 30)
    assert stack.info.channel_names[2:4] == ("left blue", "right red")
    assert stack.info.warnings == (
        "colour image: its red, green and blue are read as three channels",
    )


def test_a_single_colour_image_names_its_colours(path):
    (info,) = inspect(write(path, (noise(1, 1, 1, 8, 9, 3, dtype=np.uint8), (0, 0))))
    assert info.channel_names == ("red", "green", "blue")


def test_channels_of_several_types_are_refused(path):
    with pylib.create_czi(str(path)) as file:
        file.write(noise(8, 9, dtype=np.uint8), plane={"C": 0})
        file.write(noise(8, 9), plane={"C": 1})
    with pytest.raises(DataError, match=r"several types \(Gray16, Gray8\)") as caught:
        inspect(path)
    assert str(path) in caught.value.message


def test_colours_in_floating_point_are_refused(path):
    content = bytearray(write(path, (noise(1, 1, 1, 8, 9), (0, 0))).read_bytes())
    for start, _ in entries(content):
        struct.pack_into("<i", content, start + 2, 8)
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bgr96Float; expected one of Gray8"):
        load(path, "SCYX")


@pytest.mark.parametrize(
    "compression", ["zstd0:ExplicitLevel=3", "zstd1:ExplicitLevel=2;PreProcess=HiLoByteUnpack"]
)
def test_compressed_files(compression, path):
    (stack,) = load(write(path, (MOVIE, (0, 0)), compression=compression), "SCZYX")
    assert stack.info.stored_as == "tiles of 20 × 30, zstd"
    np.testing.assert_array_equal(whole(stack), SCZYX)
    patch = stack.extract_patch(1, None, (2, 5, 6), (1, 7, 8))
    np.testing.assert_array_equal(patch, SCZYX[1, :, 2:3, 5:12, 6:14])


def test_jpeg_xr():
    (stack,) = load(DATA / "jpegxr.czi", "SCYX")
    y, x = np.mgrid[:24, :32]
    np.testing.assert_array_equal(whole(stack)[0, 0], 1000 + 3 * x + 7 * y)
    assert stack.info.stored_as == "tiles of 24 × 32, JPEG XR"


def mosaic(path, corners, compression=None):
    """Write tiles of 40 × 50 at (x, y), the last on top, and return what they make up."""
    left, top = np.min(corners, axis=0)
    right, bottom = np.max(corners, axis=0) + np.array([50, 40])
    image = np.zeros((bottom - top, right - left), np.uint16)
    with pylib.create_czi(str(path), compression_options=compression) as file:
        for n, (x, y) in enumerate(corners):
            tile = noise(n + 1, 40, 50)[n]
            file.write(tile, (x, y))
            image[y - top : y - top + 40, x - left : x - left + 50] = tile
    return image


def test_tiles_that_overlap_are_stitched(path):
    image = mosaic(path, [(-60, -9), (-15, -9), (-60, 26), (-15, 26)])
    (stack,) = load(path, "SCYX")
    assert stack.data_shape == (1, 1, 75, 95)
    assert stack.chunk_shape == (1, 1, 40, 50)
    np.testing.assert_array_equal(whole(stack)[0, 0], image)
    patch = stack.extract_patch(0, None, (30, 40), (16, 16))
    np.testing.assert_array_equal(patch[0], image[30:46, 40:56])
    assert stack.info.warnings == ()


def test_gaps_between_tiles_are_zero_and_one_is_told(path):
    image = mosaic(path, [(0, 0), (50, 40)])
    (stack,) = load(path, "SCYX")
    np.testing.assert_array_equal(whole(stack)[0, 0], image)
    assert stack.info.warnings == ("its tiles cover 50% of the image: the rest is read as 0",)


def test_smaller_copies_of_the_image_are_not_read(path):
    image, small = noise(32, 32), np.full((16, 16), 9999, np.uint16)
    with pylib.create_czi(str(path)) as file:
        file.write(image)
        file.write(small, (-4, -4))
    content = bytearray(path.read_bytes())
    for _, at in entries(content):
        if struct.unpack_from("<i", content, at["M"] + 4) == (1,):
            for axis in "XY":  # 16 pixels stand for 40: a level of a pyramid that sticks out
                struct.pack_into("<i", content, at[axis] + 8, 40)
    path.write_bytes(content)
    (stack,) = load(path, "SCYX")
    assert stack.chunk_shape == stack.data_shape == (1, 1, 32, 32)
    np.testing.assert_array_equal(whole(stack)[0, 0], image)


def test_pixel_sizes_and_names_of_channels(path):
    names = {0: "DAPI", 1: "GFP"}
    write(path, (MOVIE, (0, 0)), channel_names=names, scale_x=0.1, scale_y=0.2, scale_z=0.5)
    (info,) = inspect(path)
    assert info.channel_names == ("DAPI", "GFP")
    assert info.pixel_size == pytest.approx({"X": 1e5, "Y": 2e5, "Z": 5e5})
    assert info.units == {"X": "µm", "Y": "µm", "Z": "µm"}
    for axes in ("SCYX", "SCTYX"):  # what is called Z in the second is time
        assert set(load(path, axes)[0].info.pixel_size) == {"X", "Y"}


@pytest.mark.parametrize(
    ("old", "new", "pixel_size"),
    [
        (b"Distance", b"Distanc3", {}),
        (b"Scaling", b"Scalin3", {}),
        (b"Items", b"Item3", {}),
        (b">0.1<", b">???<", {"Y": 2e5, "Z": 5e5}),
        (b">0.1<", b">inf<", {"Y": 2e5, "Z": 5e5}),
        (b'Id="X"', b'I3="X"', {"Y": 2e5, "Z": 5e5}),
        (b' Name="GFP"', b' Nam3="GFP"', {"X": 1e5, "Y": 2e5, "Z": 5e5}),
    ],
)
def test_odd_metadata_are_passed_over(old, new, pixel_size, path):
    names = {0: "DAPI", 1: "GFP"}
    write(path, (MOVIE, (0, 0)), channel_names=names, scale_x=0.1, scale_y=0.2, scale_z=0.5)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    (info,) = inspect(path)
    assert info.pixel_size == pytest.approx(pixel_size)
    assert info.channel_names == (() if b"Name" in old else ("DAPI", "GFP"))
    assert (info.shape, info.warnings) == ((3, 2, 4, 20, 30), ())


def test_one_distance_alone_is_read(path):
    content = write(path, (MOVIE, (0, 0)), scale_x=0.1).read_bytes()
    for axis in "YZ":  # what is left is not in a list
        entry = re.search(
            rb'<Distance Id="%c">\s*<Value>0</Value>\s*</Distance>' % ord(axis), content
        )
        content = content.replace(entry[0], b" " * len(entry[0]))
    path.write_bytes(content)
    assert inspect(path)[0].pixel_size == pytest.approx({"X": 1e5})


@pytest.mark.parametrize("broken", [b"<ImageDocument>", b"</Metadata>"])
def test_metadata_that_cannot_be_read_are_told(broken, path):
    content = write(path, (MOVIE, (0, 0)), scale_x=0.1).read_bytes()
    assert broken in content
    path.write_bytes(content.replace(broken, broken.replace(b"t", b"?")))
    (info,) = inspect(path)
    assert info.pixel_size == {}
    assert info.shape == (3, 2, 4, 20, 30)
    expected = "its metadata cannot be read: pixel size and channel names are not known"
    assert info.warnings == (expected,)


def test_compression_with_loss_is_told(path):
    content = write(path, (MOVIE, (0, 0)), document_name="x" * 80).read_bytes()
    entry = b"<OriginalCompressionParameters>Lossless: False</OriginalCompressionParameters>"
    old = re.search(rb"(</Image>)(.*)x{80}", content, re.DOTALL)
    new = entry + old[1] + old[2] + b"x" * (80 - len(entry))
    assert len(new) == len(old[0])
    path.write_bytes(content.replace(old[0], new))
    (info,) = inspect(path)
    assert info.warnings == ("compressed with loss: the noise is no longer that of the camera",)


def test_a_file_of_a_microscope():
    path = DATA / "two_scenes.czi"
    first, second = infos = inspect(path)
    assert [info.source for info in infos] == [f"{path}@0", f"{path}@1"]
    assert first.shape == second.shape == (1, 1, 2, 251, 251)
    assert (first.axes, first.channel_names, first.warnings) == ("SCZYX", ("ChA",), ())
    expected = {"X": 0.195644, "Y": 0.195644, "Z": 0.3}
    assert first.pixel_size == pytest.approx(expected, rel=1e-5)
    planes = [whole(stack)[0, 0, 0] for stack in load(path, "SCZYX")]  # at the same place
    assert [(int(p.min()), int(p.max())) for p in planes] == [(10157, 20314), (10272, 17468)]


@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000), b"ZISRAWFILE" + bytes(2000)])
def test_what_is_not_a_czi_is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="cannot be read as a CZI") as caught:
        inspect(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_a_file_that_is_cut_short_is_refused(share, path):
    write(path, (MOVIE, (0, 0)))
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(UnreadableError, match=re.escape(str(path))):
        load(path, "SCYX")


def test_a_size_that_is_nonsense_is_refused(path):
    content = bytearray(write(path, (MOVIE, (0, 0))).read_bytes())
    start = content.index(b"ZISRAWSUBBLOCK") + 32
    struct.pack_into("<q", content, start + 8, 2**60)  # bytes of pixels
    path.write_bytes(content)
    (stack,) = load(path, "SCYX")
    with pytest.raises(UnreadableError, match="cannot be read as a CZI"):
        whole(stack)


def test_pixels_that_cannot_be_read_are_told_when_they_are(path):
    content = bytearray(write(path, (MOVIE, (0, 0))).read_bytes())
    path.write_bytes(content.replace(b"ZISRAWSUBBLOCK\0", b"NOTHINGATALL!!\0"))
    (stack,) = load(path, "SCYX")
    with pytest.raises(UnreadableError, match="cannot be read as a CZI"):
        whole(stack)


def test_a_file_without_images_is_refused(path):
    with pylib.create_czi(str(path)):
        pass
    with pytest.raises(UnreadableError, match="holds no image"):
        load(path, "SCYX")


@pytest.mark.parametrize("source", ["nothing.czi", "nothing.czi@0", "."])
def test_a_missing_file_is_told_apart_from_a_broken_one(source, tmp_path):
    with pytest.raises(SourceNotFoundError, match="There is no file"):
        inspect(tmp_path / source)


def test_a_file_that_goes_away_is_told(path):
    (stack,) = load(write(path, (MOVIE, (0, 0))), "SCYX")
    path.unlink()
    with pytest.raises(SourceNotFoundError, match="There is no file"):
        whole(stack)


def test_the_package_that_is_missing_is_named(path, monkeypatch):
    write(path, (MOVIE, (0, 0)))
    monkeypatch.setitem(sys.modules, "pylibCZIrw", None)
    with pytest.raises(UnreadableError, match="pip install pylibCZIrw"):
        inspect(path)


def test_only_what_a_patch_needs_is_read(path, monkeypatch):
    (stack,) = load(write(path, (MOVIE, (7, -3))), "SCZYX")
    asked = []
    read = pylib.CziReader.read

    def spy(self, roi, plane, *args, **kwargs):
        asked.append((tuple(roi), plane))
        return read(self, roi, plane, *args, **kwargs)

    monkeypatch.setattr(pylib.CziReader, "read", spy)
    stack.extract_patch(2, [1], (3, 5, 6), (1, 4, 8))
    assert asked == [((13, 2, 8, 4), {"T": 2, "Z": 3, "C": 1})]


def test_several_threads_read_at_once(path):
    (stack,) = load(write(path, (MOVIE, (0, 0)), compression="zstd0:ExplicitLevel=1"), "SCZYX")

    def check(i):
        patch = stack.extract_patch(i % 3, None, (0, i % 10, i % 20), (4, 10, 10))
        return (patch == SCZYX[i % 3, :, :, i % 10 :, i % 20 :][:, :, :10, :10]).all()

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(check, range(200)))


def test_a_pickled_stack_opens_the_file_anew(path):
    stacks = load(write(path, (MOVIE, (0, 0)), (MOVIE[:, ::-1], (0, 0))), "SCZYX")
    whole(stacks[0])
    pickled = pickle.dumps(stacks)
    assert len(pickled) < 4000 < MOVIE.nbytes
    copies = pickle.loads(pickled)
    np.testing.assert_array_equal(whole(copies[1]), SCZYX[:, :, ::-1])
    assert copies[0]._file is copies[1]._file is not stacks[0]._file


def is_open(path):
    return path.resolve() in {Path(file.path) for file in psutil.Process().open_files()}


def test_a_file_is_open_from_the_first_read_to_the_end_of_its_stacks(path):
    stacks = load(write(path, (MOVIE, (0, 0))), "SCZYX")
    assert not is_open(path)
    whole(stacks[0])
    assert is_open(path)
    stacks.clear()
    assert not is_open(path)


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(czi_file, "MAX_OPEN", 2)
    czi_file.CziFile._opened.clear()
    images = [noise(1, 1, 1, 8, 9 + n) for n in range(5)]
    paths = [write(tmp_path / f"{n}.czi", (image, (0, 0))) for n, image in enumerate(images)]
    stacks = [load(path, "SCYX")[0] for path in paths]
    for _ in range(2):
        for stack, image in zip(stacks, images, strict=True):
            np.testing.assert_array_equal(whole(stack), image[:, 0])
    assert [is_open(path) for path in paths] == [False] * 3 + [True] * 2
