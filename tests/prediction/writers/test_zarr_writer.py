"""The array that tiles are written into: each its own files, and what is seen of it meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np
import pytest
import zarr
from written import RECIPE, mixed, nothing, output_of, pixels_of, write
from zarr.storage import LocalStore

from careamist.dataset.image_stack.zarr import inspect
from careamist.errors import SettingsError, UnreadableError
from careamist.prediction.writers import ome_zarr, overview, zarr_array
from careamist.prediction.writers import zarr as plain
from careamist.prediction.writers.overview import Overview
from careamist.prediction.writers.protocol import WriteOptions

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 7, "Y": 45, "X": 38}


@pytest.fixture
def store_calls(monkeypatch):
    """Counts what is written to the stores, and what is found in them, by file."""
    written, found = Counter(), Counter()
    original_set, original_get = LocalStore.set, LocalStore.get

    async def counting_set(self, key, value):
        written[str(self.root / key)] += 1
        await original_set(self, key, value)

    async def counting_get(self, key, *args, **kwargs):
        value = await original_get(self, key, *args, **kwargs)
        if value is not None:
            found[str(self.root / key)] += 1
        return value

    monkeypatch.setattr(LocalStore, "set", counting_set)
    monkeypatch.setattr(LocalStore, "get", counting_get)
    return written, found


def files_of(path):
    """The chunks and shards in a store."""
    return {str(file) for file in path.rglob("*") if file.is_file() and file.name != "zarr.json"}


@pytest.mark.parametrize("writer", [plain, ome_zarr])
@pytest.mark.parametrize(
    ("axes", "sizes", "tile"),
    [
        ("YX", {"Y": 45, "X": 38}, 20),  # chunks, cut off at the end
        ("TYX", {"T": 3, "Y": 45, "X": 38}, None),  # whole planes
        ("YXC", {"Y": 45, "X": 38, "C": 2}, 20),
        ("XZY", {"X": 38, "Z": 11, "Y": 45}, 20),
        ("YX", {"Y": 1700, "X": 1100}, 900),  # shards of several chunks, cut off at the end
        ("CYX", {"C": 2, "Y": 1300, "X": 700}, None),  # one shard that is larger than the image
    ],
)
def test_each_tile_owns_its_files_and_none_is_read(
    tmp_path, store_calls, writer, axes, sizes, tile
):
    written, found = store_calls
    image = pixels_of([sizes[axis] for axis in axes])
    output = output_of(image, axes, tile=tile)
    path = tmp_path / "image"
    file = writer.create(path, output)
    found.clear()
    before = set()
    for number in mixed(output):
        write(file, output, image, [number])
        now = files_of(path)
        assert now - before  # a tile has files of its own ...
        before = now
    chunks = {name: n for name, n in written.items() if not name.endswith("zarr.json")}
    assert set(chunks) == before
    assert set(chunks.values()) == {1}  # ... which nobody writes again ...
    assert not found  # ... nor reads
    file.complete(nothing)
    assert {n for name, n in written.items() if not name.endswith("zarr.json")} == {1}


def test_a_tile_written_over_a_part_of_a_shard_would_be_noticed(tmp_path, store_calls):
    """The counting of the test above sees what it looks for."""
    written, found = store_calls
    image = pixels_of((1700, 1100))
    output = output_of(image, "YX", tile=900)
    assert output.shard_shape != output.chunk_shape
    file = plain.create(tmp_path / "image", output)
    found.clear()
    half = output.chunk_shape[0]
    for box in [(slice(0, half), slice(0, half)), (slice(half, 2 * half), slice(0, half))]:
        file.write(box, image[box])
    assert max(written.values()) == 2
    assert found


def test_chunks_and_shards_are_those_of_the_result(tmp_path):
    image = pixels_of((1700, 1100), "uint16")
    output = output_of(image, "YX", tile=900)
    plain.create(tmp_path / "image", output)
    array = zarr.open_array(tmp_path / "image", mode="r")
    assert (array.chunks, array.shards) == (output.chunk_shape, output.shard_shape)
    small = output_of(image, "YX", tile=100)
    plain.create(tmp_path / "small", small)
    array = zarr.open_array(tmp_path / "small", mode="r")
    assert (array.chunks, array.shards) == (small.chunk_shape, None)
    assert "zstd" in inspect(tmp_path / "small")[0].stored_as


def test_what_is_known_of_the_image_and_how_it_was_made_are_attributes(tmp_path):
    image = pixels_of([3, 2, 40, 50])
    output = output_of(image, "TCYX", channel_names=("red", "blue"))
    plain.create(tmp_path / "image", output)
    array = zarr.open_array(tmp_path / "image", mode="r")
    assert dict(array.attrs) == {
        "pixel_size": {"t": 1.5, "y": 0.25, "x": 0.25},
        "units": {"t": "s", "y": "µm", "x": "µm"},
        "channel_names": ["red", "blue"],
        "careamist": RECIPE,
    }
    assert array.metadata.dimension_names == ("t", "c", "y", "x")
    assert inspect(tmp_path / "image")[0].axes == "TCYX"


def test_channels_that_the_image_has_not_are_there(tmp_path):
    output = output_of(pixels_of((40, 50)), "YX", n_channels=3)
    image = pixels_of(output.shape)
    file = plain.create(tmp_path / "image", output)
    write(file, output, image, mixed(output))
    assert inspect(tmp_path / "image")[0].axes == "CYX"
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "image", mode="r")[...], image)


@pytest.mark.parametrize("tile", [20, 900])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_a_tile_of_zeros_is_there_and_a_missing_one_is_not(tmp_path, tile, dtype):
    shape = (45, 38) if tile == 20 else (1700, 600)
    output = output_of(np.zeros(shape, dtype), "YX", tile=tile)
    file = plain.create(tmp_path / "image", output)
    file.close()
    file = plain.reopen(tmp_path / "image", output)
    nothing_there = np.full(shape, np.nan if dtype == "float32" else 0)
    np.testing.assert_array_equal(np.asarray(file.view()[...]), nothing_there)
    write(file, output, np.zeros(shape, dtype), range(1, len(output.tiles)))
    assert len(files_of(tmp_path / "image")) == len(output.tiles) - 1
    (warning,) = inspect(tmp_path / "image")[0].warnings
    assert f"1 of {len(output.tiles)}" in warning


@pytest.mark.skipif(np.dtype("longdouble").itemsize == 8, reason="is float64 here")
def test_a_type_that_zarr_has_not_is_told(tmp_path):
    output = output_of(np.zeros((40, 50), "longdouble"), "YX")
    with pytest.raises(SettingsError, match="float32"):
        plain.create(tmp_path / "image", output)


def test_every_name_that_c_has_for_a_type_is_known(tmp_path):
    image = pixels_of((40, 50)).astype("ulonglong")
    output = output_of(image, "YX")
    plain.create(tmp_path / "image", output)
    assert plain.reopen(tmp_path / "image", output).view().dtype == np.uint64


def test_big_endian_pixels_are_stored_in_the_order_of_the_machine(tmp_path):
    image = pixels_of((40, 50)).astype(">u2")
    output = output_of(image, "YX")
    file = plain.create(tmp_path / "image", output)
    write(file, output, image, mixed(output))
    file = plain.reopen(tmp_path / "image", output)
    np.testing.assert_array_equal(file.view()[...], image)
    assert file.view().dtype == np.uint16


@pytest.mark.parametrize(
    "other",
    [
        {"image": np.zeros((40, 51), np.float32)},
        {"image": np.zeros((40, 50), np.uint8)},
        {"tile": 28},
    ],
)
def test_what_differs_is_told(tmp_path, other):
    settings = {"image": np.zeros((40, 50), np.float32), "tile": 20}
    plain.create(tmp_path / "image", output_of(axes="YX", **settings))
    with pytest.raises(UnreadableError, match="instead of"):
        plain.reopen(tmp_path / "image", output_of(axes="YX", **(settings | other)))


@pytest.mark.parametrize("writer", [plain, ome_zarr])
def test_what_a_killed_process_was_writing_is_removed(tmp_path, writer):
    image = pixels_of((40, 50))
    output = output_of(image, "YX")
    file = writer.create(tmp_path / "image", output)
    write(file, output, image, mixed(output))
    chunk = sorted(files_of(tmp_path / "image"))[0]
    (tmp_path / f"{chunk}.0123.partial").write_bytes(b"half of")
    file.complete(nothing)
    assert len(files_of(tmp_path / "image")) == len(output.tiles)


def test_broken_metadata_are_told(tmp_path):
    output = output_of(np.zeros((40, 50), np.float32), "YX")
    plain.create(tmp_path / "image", output)
    (tmp_path / "image" / "zarr.json").write_text("{")
    with pytest.raises(UnreadableError, match="Remove it"):
        plain.reopen(tmp_path / "image", output)


@pytest.mark.parametrize(("name", "level"), [("zstd", 99), ("zlib", 10), ("blosc", None)])
def test_compression_that_is_not_known_is_told(tmp_path, name, level):
    output = output_of(np.zeros((40, 50), np.float32), "YX")
    with pytest.raises(SettingsError):
        plain.create(tmp_path / "image", output, WriteOptions(name, level))


# --- what is seen while tiles are written ---------------------------------------------------------


@pytest.fixture
def small_screens(monkeypatch):
    """Everything beyond 40 pixels is large."""
    monkeypatch.setattr(overview, "LARGE_EDGE", 40)
    monkeypatch.setattr(overview, "MAX_EDGE", 16)


def test_small_planes_are_seen_as_the_array_itself(tmp_path):
    output = output_of(np.zeros((4096, 20), np.uint8), "YX", tile=None)
    assert isinstance(plain.create(tmp_path / "image", output).view(), zarr.Array)


@pytest.mark.parametrize("axes", ["YX", "XY", "TYX", "ZXY", "YXC"])
@pytest.mark.parametrize("writer", [plain, ome_zarr])
def test_an_overview_shows_every_nth_pixel_of_what_is_there(tmp_path, small_screens, writer, axes):
    image = pixels_of([SIZES[axis] for axis in axes])
    output = output_of(image, axes)
    file = writer.create(tmp_path / "image", output)
    numbers = mixed(output)
    before, after, last = np.array_split(numbers, 3)
    write(file, output, image, before)
    array, coarse = file.view()
    assert array.shape == image.shape
    write(file, output, image, after)
    expected = np.full_like(image, np.nan)
    for number in [*before, *after]:
        box = output.box(output.tiles[int(number)])
        expected[box] = image[box]
    places = tuple(slice(1, None, 3) if axis in "YX" else slice(None) for axis in axes)
    until_equal(coarse, expected[places])
    assert file.view()[1].base is coarse.base  # the same pixels
    write(file, output, image, last)
    until_equal(coarse, image[places])
    file.close()

    again = writer.reopen(tmp_path / "image", output)
    until_equal(again.view()[1], image[places])  # filled with what another run has written
    again.close()


def until_equal(found, expected):
    """Wait for the thread that fills an overview."""
    deadline = time.monotonic() + 20
    while not np.array_equal(found, expected, equal_nan=True) and time.monotonic() < deadline:
        time.sleep(0.005)
    np.testing.assert_array_equal(found, expected)


def test_an_overview_asked_for_at_any_moment_misses_nothing(tmp_path, small_screens):
    image = pixels_of((3, 100, 70), "uint16") + 1
    output = output_of(image, "TYX")
    file = plain.create(tmp_path / "image", output)
    half = len(output.tiles) // 2
    started = threading.Event()

    def write_all():
        for place, number in enumerate(mixed(output)):
            write(file, output, image, [number])
            if place == half:
                started.set()

    writing = threading.Thread(target=write_all)
    writing.start()
    started.wait()
    _, coarse = file.view()
    writing.join()
    step = -(-100 // 16)
    until_equal(coarse, image[:, step // 2 :: step, step // 2 :: step])
    file.close()


def test_a_broken_chunk_is_left_out_of_the_overview(tmp_path, small_screens):
    image = pixels_of((64, 64))
    output = output_of(image, "YX", tile=24)
    file = plain.create(tmp_path / "image", output)
    write(file, output, image, mixed(output))
    (tmp_path / "image" / "c" / "0" / "0").write_bytes(b"broken")
    expected = image.copy()
    expected[output.box(output.tiles[0])] = np.nan
    _, coarse = plain.reopen(tmp_path / "image", output).view()
    until_equal(coarse, expected[2::4, 2::4])


def test_an_overview_is_bounded():
    for shape, axes in [
        ((100_000, 90_000), "YX"),
        ((5000, 100), "YX"),
        ((40, 60, 9000, 9000), "TZYX"),
        ((1, 100_000), "YX"),
    ]:
        coarse = Overview(shape, axes, np.dtype("float32")).pixels
        assert coarse.nbytes <= 128 * 2**20
        assert max(coarse.shape[-2:]) <= 2048
        assert min(coarse.shape) >= 1
        assert coarse.shape[:-2] == shape[:-2]
    assert max(coarse.shape) > 1800  # and no coarser than it has to be
    many = Overview((10**6, 5000, 5000), "TYX", np.dtype("uint8")).pixels
    assert many.nbytes <= 128 * 2**20


def test_parts_of_a_box_cover_it_once():
    covered = np.zeros((7, 10), int)
    found = list(zarr_array.boxes((slice(2, 7), slice(0, 9)), (2, 4)))
    for box in found:
        covered[box] += 1
    assert (covered[2:, :9] == 1).all()
    assert covered.sum() == 5 * 9
    assert len(found) == 9
