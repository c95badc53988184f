"""NumPy files, PNG and JPEG pictures."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from careamist.dataset.image_stack import image
from careamist.dataset.image_stack.file_utils import PartCache
from careamist.dataset.image_stack.image import inspect, load
from careamist.errors import SourceNotFoundError, UnreadableError

DATA = Path(__file__).parents[1] / "data" / "image"
RANDOM = np.random.default_rng(0)

# shape, axes, type, smallest and largest pixel, found without careamist
REAL = {
    "colour.jpg": ((256, 256, 3), "YXC", "uint8", 0, 249),
    "gray.jpg": ((256, 256), "YX", "uint8", 1, 251),
    "nuclei.png": ((512, 512), "YX", "uint8", 0, 255),
    "ramp.npy": ((1, 1, 10, 10), None, "float32", 0, 18),
}


def describe(path):
    (info,) = inspect(path)
    return info


def whole(path, axes):
    (stack,) = load(path, axes)
    return stack._read(tuple(slice(None) for _ in stack.original_data_shape))


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_what_they_are_known_to_be(name):
    shape, axes, dtype, low, high = REAL[name]
    info = describe(DATA / name)
    assert (info.shape, info.axes, info.dtype) == (shape, axes, np.dtype(dtype))
    pixels = whole(DATA / name, axes or "SCYX")
    assert (pixels.shape, pixels.dtype) == (shape, np.dtype(dtype))
    assert (pixels.min(), pixels.max()) == (low, high)


def test_every_real_file_is_checked():
    assert {file.name for file in DATA.iterdir()} == set(REAL)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("seed", range(10))
def test_no_damage_raises_anything_but_our_errors(name, seed, tmp_path):
    random = np.random.default_rng([seed, *name.encode()])
    content = bytearray((DATA / name).read_bytes())
    for place in random.integers(0, [len(content), 200, 30], (6, 3)).ravel():
        content[place] = random.choice([0, 1, 255, random.integers(256)])
    path, told = tmp_path / name, None
    path.write_bytes(content[: random.integers(len(content) // 2, 2 * len(content))])
    try:
        shape = describe(path).shape
        whole(path, {2: "YX", 3: "YXC", 4: "SCYX"}[len(shape)])
    except UnreadableError as error:
        told = error
    assert told is None or (str(path) in told.message and told.hint)


# -- NumPy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "uint8", "<i2", ">u2", "float16", ">f8", "complex64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_mapped(dtype, order, tmp_path):
    path = tmp_path / "movie.npy"
    movie = np.asarray(RANDOM.integers(0, 100, (4, 20, 30)).astype(dtype), order=order)
    np.save(path, movie)
    info = describe(path)
    assert (info.shape, info.axes, info.chunk_shape) == ((4, 20, 30), None, None)
    assert info.stored_as == "memory-mapped"
    (stack,) = load(path, "TYX")
    patch = stack.extract_patch(2, None, (-1, 3), (5, 6))
    assert patch.dtype == info.dtype == movie.dtype.newbyteorder("=")
    assert not patch[:, 0].any()
    np.testing.assert_array_equal(patch[0, 1:], movie[2, :4, 3:9])


def test_a_patch_does_not_keep_the_file_mapped(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((20, 30)))
    (stack,) = load(path, "YX")
    patch = stack.extract_patch(0, None, (0, 0), (20, 30))
    assert patch.flags.writeable
    patch[...] = 5
    assert (np.load(path) == 1).all()


def test_an_array_that_was_replaced_is_read_anew(tmp_path):
    path = tmp_path / "a.npy"
    for value in range(3):
        path.unlink(missing_ok=True)
        np.save(path, np.full((4, 5), value))
        assert (whole(path, "YX") == value).all()


@pytest.mark.parametrize(
    "array",
    [np.array(3.0), np.zeros(5), np.zeros((0, 5)), np.array([["a", "b"]]),
     np.zeros((2, 2), [("x", "f4")]), np.array([[None]])],
    ids=["number", "line", "nothing", "text", "records", "objects"],
)  # fmt: skip
def test_what_is_no_image_is_refused(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableError, match=r"a\.npy"):
        describe(tmp_path / "a.npy")


def test_an_array_larger_than_its_file_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((64, 64)))
    content = path.read_bytes()
    for changed in (content.replace(b"(64, 64)", b"(9999,9)"), content[:-1]):
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(UnreadableError, match="a NumPy file"):
            describe(path)


def test_an_archive_is_not_taken_for_an_array(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.savez(file, a=np.zeros((4, 4)), b=np.zeros((4, 4)))
    with pytest.raises(UnreadableError, match="archive"):
        describe(tmp_path / "a.npy")


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_every_png_is_read(dtype, channels, tmp_path):
    path = tmp_path / "a.png"
    picture = RANDOM.integers(0, np.iinfo(dtype).max, (17, 23, *channels), dtype=dtype)
    path.write_bytes(imagecodecs.png_encode(picture))
    info = describe(path)
    assert (info.shape, info.dtype) == (picture.shape, picture.dtype)
    assert info.axes == ("YXC" if channels else "YX")
    assert info.chunk_shape == picture.shape
    assert info.warnings == (("Its last channel is opacity.",) if channels in [(2,), (4,)] else ())
    np.testing.assert_array_equal(whole(path, info.axes), picture)


def png(bits, colour, *chunks, size=(16, 5)):
    """Write a PNG by hand: types that the encoder does not make."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes([0, *[0b00011011] * ((16 * bits * samples + 7) // 8)])
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(row * 5)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


PALETTE = (b"PLTE", bytes(range(120)))


@pytest.mark.parametrize(
    ("bits", "colour", "chunks"),
    [(1, 0, ()), (2, 0, ()), (4, 0, ()), (8, 0, [(b"tRNS", b"\0\1")]),
     (16, 0, [(b"tRNS", b"\0\1")]), (8, 2, [(b"tRNS", b"\0\1\0\1\0\1")]), (2, 3, [PALETTE]),
     (8, 3, [PALETTE]), (8, 3, [PALETTE, (b"tRNS", b"\1\2")]), (16, 6, ())],
)  # fmt: skip
def test_the_header_of_a_png_tells_what_is_decoded(bits, colour, chunks, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(bits, colour, *chunks))
    decoded, info = imagecodecs.png_decode(path.read_bytes()), describe(path)
    assert (info.shape, info.dtype) == (decoded.shape, decoded.dtype)
    assert any("palette" in warning for warning in info.warnings) == (colour == 3)
    np.testing.assert_array_equal(whole(path, info.axes), decoded)


def test_a_small_picture_cannot_claim_any_size(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 6, size=(60_000, 60_000)))
    with pytest.raises(UnreadableError, match=r"claims that \d+ bytes of it hold 13.4 GiB"):
        describe(path)


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("ending", ["jpg", "jpeg", "JPG"])
def test_every_jpeg_is_read(channels, ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(imagecodecs.jpeg_encode(np.full((17, 23, *channels), 77, np.uint8)))
    info = describe(path)
    assert info.shape == (17, 23, *channels)
    assert "noise is altered" in info.warnings[0]
    assert whole(path, info.axes).shape == info.shape


def test_jpeg_of_twelve_bits_is_read(tmp_path):
    picture = np.full((17, 23), 3000, np.uint16)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(picture, bitspersample=12))
    assert describe(tmp_path / "a.jpg").dtype == np.uint16
    assert abs(whole(tmp_path / "a.jpg", "YX").astype(int) - 3000).max() < 20


def test_pictures_are_decoded_once_and_at_the_first_use(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "CACHE", PartCache(2**20))
    picture = RANDOM.integers(0, 255, (40, 50, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture))
    (stack,) = load(tmp_path / "a.png", "YXC")
    assert image.CACHE.nbytes == 0
    stack.extract_patch(0, [2], (0, 0), (8, 8))
    assert image.CACHE.nbytes == picture.nbytes
    (tmp_path / "a.png").unlink()
    patch = stack.extract_patch(0, [2, 0], (10, 10), (8, 8))
    np.testing.assert_array_equal(patch, picture[10:18, 10:18, [2, 0]].transpose(2, 0, 1))
    copy = pickle.loads(pickle.dumps(stack))
    assert len(pickle.dumps(copy)) < 2000


# -- what must be refused ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npy", "png", "jpg"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_what_it_is_called_is_refused(ending, content, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"read as a (NumPy|PNG|JPEG) file"):
        describe(path)


@pytest.mark.parametrize("name", ["nuclei.png", "ramp.npy"])
def test_a_file_that_is_cut_short_is_refused(name, tmp_path):
    path = tmp_path / name
    path.write_bytes((DATA / name).read_bytes()[:-200])
    with pytest.raises(UnreadableError):
        whole(path, "YX" if name.endswith("png") else "SCYX")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(SourceNotFoundError, match="There is no file"):
        describe(tmp_path / "a.png")
