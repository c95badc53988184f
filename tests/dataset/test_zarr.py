from __future__ import annotations

import http.server
import itertools
import json
import multiprocessing
import pickle
import shutil
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path

import fsspec
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore, ZipStore

from careamist.dataset.image_stack import zarr_chunks, zarr_places
from careamist.dataset.image_stack.protocol import ImageStack
from careamist.dataset.image_stack.zarr import EXTENSIONS, FOLDERS, inspect, list_images, load
from careamist.errors import (
    AxesError,
    CareamistError,
    DataError,
    SettingsError,
    SourceNotFoundError,
    UnreadableError,
)

PIXELS = np.random.default_rng(0).integers(1, 4000, (3, 40, 50)).astype(np.uint16)


def write(path, pixels=PIXELS, chunks=(1, 16, 16), **options):
    return zarr.create_array(path, data=pixels, chunks=chunks, **options)


def whole(stack):
    return stack.extract_block(range(stack.data_shape[0]), (0, 0), stack.data_shape[2:])


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The example of the documentation, at a relative path."""
    monkeypatch.chdir(tmp_path)
    zarr_path = Path("train_data.zarr")
    zarr_file = zarr.open(zarr_path, mode="w")
    zarr_file.create_array("array_1", data=np.random.rand(128, 128))
    zarr_file.create_array("array_2", data=np.random.rand(128, 128))
    group = zarr_file.create_group("others")
    group.create_array("array_2", data=np.random.rand(128, 128))
    group.create_array("array_3", data=np.random.rand(128, 128))
    return zarr_file


# what a source stands for


def test_the_toy_example(toy):
    group = toy["others"]
    arrays = [toy["array_1"], toy["array_2"], group["array_2"], group["array_3"]]
    uris = [str(array.store_path) for array in arrays]

    assert [stack.source for stack in load(Path("train_data.zarr"), "YX")] == uris[:2]
    assert [stack.source for stack in load(str(group.store_path), "YX")] == uris[2:]
    for array, uri in zip(arrays, uris, strict=True):
        (stack,) = load(uri, "YX")
        assert stack.source == uri
        np.testing.assert_array_equal(whole(stack)[0, 0], array[:])


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("train_data.zarr", ["array_1", "array_2"]),
        ("train_data.zarr/", ["array_1", "array_2"]),
        ("./train_data.zarr/others", ["others/array_2", "others/array_3"]),
        ("train_data.zarr/others/array_3", ["others/array_3"]),
        ("train_data.zarr/others/zarr.json", ["others/array_2", "others/array_3"]),
        ("train_data.zarr/others/array_3/zarr.json", ["others/array_3"]),
    ],
)
def test_paths_and_uris_are_the_same(toy, tmp_path, source, names, absolute):
    source = f"{tmp_path}/{source}" if absolute else source
    start = f"file://{tmp_path}/train_data.zarr" if absolute else "file://train_data.zarr"
    for given in (source, Path(source), f"file://{source}"):
        assert [info.source for info in inspect(given)] == [f"{start}/{name}" for name in names]


def test_the_root_may_be_the_array(tmp_path):
    array = write(tmp_path / "x.zarr")
    (stack,) = load(tmp_path / "x.zarr", "TYX")
    assert isinstance(stack, ImageStack)
    assert stack.source == str(array.store_path)
    assert (stack.data_shape, stack.data_dtype) == ((3, 1, 40, 50), np.uint16)
    np.testing.assert_array_equal(whole(stack)[:, 0], PIXELS)


def test_arrays_come_in_natural_order(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    for name in ("image10", "image2", "b", "image1", "1", "²"):
        group.create_array(name, data=PIXELS[0])
    found = [info.source.rpartition("/")[2] for info in inspect(tmp_path / "x.zarr")]
    assert found == ["1", "b", "image1", "image2", "image10", "²"]


@pytest.mark.parametrize("name", ["two words", "100%", "50%20", "a#1", "µm & ü", "q?x=1"])
def test_any_name_in_a_uri(tmp_path, name):
    store = zarr.open_group(tmp_path / f"{name}.zarr", mode="w")
    array = store.create_array(name, data=PIXELS)
    (stack,) = load(str(array.store_path), "TYX")
    assert stack.source == str(array.store_path)
    np.testing.assert_array_equal(whole(stack)[:, 0], PIXELS)
    assert [info.source for info in inspect(str(store.store_path))] == [stack.source]


def test_escaped_uris_of_other_programs(tmp_path):
    array = write(tmp_path / "two words 100%.zarr")
    (info,) = inspect((tmp_path / "two words 100%.zarr").as_uri())
    assert info.source == str(array.store_path)


def test_windows_drives():
    assert zarr_places._spellings("/C:/data/x.zarr")[-1] == "C:/data/x.zarr"
    assert "C:/two words/x.zarr" in zarr_places._spellings("/C:/two%20words/x.zarr")
    assert zarr_places._spellings("C:/x.zarr")[0] == "C:/x.zarr"


def test_coordinates_are_no_images(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("image", data=PIXELS, dimension_names=["time", "y", "x"])
    group.create_array("x", data=np.arange(50.0))
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.source[-5:], info.axes) == ("image", "TYX")


def test_hidden_folders_are_passed_over(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("image", data=PIXELS)
    shutil.copytree(tmp_path / "x.zarr" / "image", tmp_path / "x.zarr" / ".trash")
    assert len(inspect(tmp_path / "x.zarr")) == 1


def test_axes_of_xarray_in_version_2(tmp_path):
    array = write(tmp_path / "x.zarr", zarr_format=2)
    array.attrs["_ARRAY_DIMENSIONS"] = ["z", "y", "x"]
    assert inspect(tmp_path / "x.zarr")[0].axes == "ZYX"
    array.attrs["_ARRAY_DIMENSIONS"] = ["angle", "y", "x"]
    assert inspect(tmp_path / "x.zarr")[0].axes is None


def test_a_group_without_metadata_of_its_own(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    group.create_array("image", data=PIXELS)
    (tmp_path / "x.zarr" / ".zgroup").unlink()
    (tmp_path / "x.zarr" / ".zattrs").unlink()
    assert len(inspect(tmp_path / "x.zarr")) == 1


# how it is stored


V2 = {"zarr_format": 2}
STORED = {
    "v2": ({**V2, "compressors": numcodecs.Blosc()}, "chunks of 1 × 16 × 16, blosc"),
    "v2 nested": (
        {**V2, "compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        "chunks of 1 × 16 × 16, not compressed",
    ),
    "v3": ({"zarr_format": 3}, "chunks of 1 × 16 × 16, zstd"),
    "v3 dots": (
        {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "chunks of 1 × 16 × 16, zstd",
    ),
    "plain": ({"compressors": None}, "chunks of 1 × 16 × 16, not compressed"),
    "checksum": (
        {"compressors": {"name": "crc32c", "configuration": {}}},
        "chunks of 1 × 16 × 16, not compressed",
    ),
    "sharded": (
        {"shards": (2, 32, 32)},
        "chunks of 1 × 16 × 16 in shards of 2 × 32 × 32, zstd",
    ),
}


@pytest.mark.parametrize(("options", "told"), STORED.values(), ids=STORED)
def test_every_way_to_store_gives_the_same_pixels(tmp_path, options, told):
    write(tmp_path / "x.zarr", **options)
    (stack,) = load(tmp_path / "x.zarr", "ZYX")
    assert (stack.info.stored_as, stack.info.warnings) == (told, ())
    assert stack.info.chunk_shape == (1, 16, 16)
    assert stack.chunk_shape == (1, 1, 1, 16, 16)
    patch = stack.extract_patch(0, None, (1, 30, -4), (4, 16, 16))
    assert patch.shape == (1, 4, 16, 16)
    np.testing.assert_array_equal(patch[0, :2, :10, 4:], PIXELS[1:, 30:, :12])
    assert not patch[0, 2:].any()
    assert not patch[..., :4].any()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["|b1", "<i1", ">u2", "<u4", ">f4", "<f2", "<f8", "<i8", "<c8"])
def test_numbers_of_every_type(tmp_path, version, kind):
    pixels = PIXELS[0].astype(kind)
    write(tmp_path / "x.zarr", pixels, (16, 16), zarr_format=version)
    (stack,) = load(tmp_path / "x.zarr", "YX")
    assert np.dtype(stack.data_dtype).kind == np.dtype(kind).kind
    np.testing.assert_array_equal(whole(stack)[0, 0], pixels)


def test_chunks_larger_than_the_array(tmp_path):
    write(tmp_path / "x.zarr", chunks=(1, 256, 256))
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.chunk_shape, info.stored_as[:27]) == ((1, 40, 50), "chunks of 1 × 256 × 256, zs")


def test_channels_that_do_not_lie_side_by_side(tmp_path):
    pixels = np.random.default_rng(1).random((2, 5, 20, 20), dtype=np.float32)
    write(tmp_path / "x.zarr", pixels, (1, 1, 10, 10))
    (stack,) = load(tmp_path / "x.zarr", "TCYX")
    patch = stack.extract_patch(1, [4, 1, 1], (3, 5), (8, 8))
    np.testing.assert_array_equal(patch, pixels[1, [4, 1, 1], 3:11, 5:13])


def test_only_the_chunks_that_are_asked_for_are_read(tmp_path):
    write(tmp_path / "x.zarr")
    for chunk in (tmp_path / "x.zarr" / "c").rglob("*"):
        if chunk.is_file() and chunk.relative_to(tmp_path / "x.zarr").as_posix() != "c/1/1/1":
            chunk.write_bytes(b"broken")
    (stack,) = load(tmp_path / "x.zarr", "TYX")
    patch = stack.extract_patch(1, None, (16, 16), (16, 16))
    np.testing.assert_array_equal(patch[0], PIXELS[1, 16:32, 16:32])


# other processes


def read_whole(stack):
    return whole(stack)


def test_a_pickled_stack_opens_its_array_again(tmp_path):
    write(tmp_path / "x.zarr")
    (stack,) = load(tmp_path / "x.zarr", "TYX")
    expected = whole(stack)
    assert len(pickle.dumps(stack)) < 5000
    assert b"LocalStore" not in pickle.dumps(stack)
    again = pickle.loads(pickle.dumps(stack))
    assert again.info == stack.info
    np.testing.assert_array_equal(whole(again), expected)


@pytest.mark.slow
def test_a_spawned_process_reads(tmp_path):
    write(tmp_path / "x.zarr")
    (stack,) = load(tmp_path / "x.zarr", "TYX")
    whole(stack)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(read_whole, (stack,))[:, 0], PIXELS)


def test_a_store_that_moved_after_opening(tmp_path):
    write(tmp_path / "x.zarr")
    (stack,) = load(tmp_path / "x.zarr", "TYX")
    (tmp_path / "x.zarr").rename(tmp_path / "y.zarr")
    with pytest.raises(SourceNotFoundError, match=r"x\.zarr"):
        whole(stack)


# zip files


@pytest.mark.parametrize("version", [2, 3])
def test_zip_stores(tmp_path, version):
    with ZipStore(tmp_path / "x.zarr.zip", mode="w") as store:
        group = zarr.create_group(store, zarr_format=version)
        array = group.create_array("image", data=PIXELS)
        group.create_group("inner").create_array("other", data=PIXELS[:2])
        uris = [str(array.store_path), str(group["inner/other"].store_path)]
    (stack,) = load(tmp_path / "x.zarr.zip", "TYX")
    assert (stack.source, stack.info.warnings) == (uris[0], ())
    for again in (stack, pickle.loads(pickle.dumps(stack))):
        np.testing.assert_array_equal(whole(again)[:, 0], PIXELS)
    assert [info.source for info in inspect(tmp_path / "x.zarr.zip" / "inner")] == uris[1:]
    assert [info.source for info in inspect(uris[1])] == uris[1:]
    assert [info.source for info in list_images(tmp_path / "x.zarr.zip")] == uris


@pytest.mark.parametrize("inner", ["", "/image"])
def test_a_zipped_folder(tmp_path, inner):
    zarr.open_group(tmp_path / "data.zarr", mode="w")
    write(tmp_path / f"data.zarr{inner}", overwrite=not inner)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "data.zarr").rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
        archive.writestr("__MACOSX/data.zarr/._x", b"")
    shutil.rmtree(tmp_path / "data.zarr")
    (stack,) = load(tmp_path / "x.zip", "TYX")
    assert stack.source == f"zip://{tmp_path}/x.zip/data.zarr{inner}"
    np.testing.assert_array_equal(whole(stack)[:, 0], PIXELS)
    assert len(load(stack.source, "TYX")) == 1


def test_a_broken_zip_file(tmp_path):
    with ZipStore(tmp_path / "x.zip", mode="w") as store:
        zarr.create_array(store, data=PIXELS, compressors=None)
    content = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "short.zip").write_bytes(content[:1000])
    with pytest.raises(UnreadableError, match="zip file"):
        inspect(tmp_path / "short.zip")
    start = content.index(PIXELS[0].tobytes()[:50])
    (tmp_path / "x.zip").write_bytes(content[:start] + b"?" * 9 + content[start + 9 :])
    (stack,) = load(tmp_path / "x.zip", "TYX")
    with pytest.raises(UnreadableError, match=r"chunk c/0/0/0 of zip://.*x\.zip"):
        whole(stack)


# chunks that are not there


@pytest.mark.parametrize("options", [STORED[kind][0] for kind in STORED if kind != "sharded"])
def test_missing_chunks_are_counted(tmp_path, options):
    write(tmp_path / "x.zarr", **options)
    files = [file for file in (tmp_path / "x.zarr").rglob("*") if file.is_file()]
    chunks = sorted(file for file in files if file.name[-1].isdigit())
    assert len(chunks) == 36
    for chunk in chunks[:5]:
        chunk.unlink()
    (tmp_path / "x.zarr" / ".DS_Store").write_bytes(b"")
    (info,) = inspect(tmp_path / "x.zarr")
    assert info.warnings == ("5 of 36 chunks are not in the store and read as 0.",)
    for chunk in chunks[5:]:
        chunk.unlink()
    (info,) = inspect(tmp_path / "x.zarr")
    assert info.warnings == ("None of its 36 chunks is in the store: all pixels read as 0.",)


def test_missing_shards_and_the_fill_value(tmp_path):
    array = zarr.create_array(
        tmp_path / "x.zarr", shape=(4, 64), chunks=(1, 8), shards=(2, 16), dtype="i2", fill_value=-7
    )
    array[:2] = 1
    (info,) = inspect(tmp_path / "x.zarr")
    assert info.warnings == ("4 of 8 shards are not in the store and read as -7.",)


def test_too_many_chunks_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_chunks, "MAX_COUNTED", 35)
    zarr.create_array(tmp_path / "x.zarr", shape=(3, 40, 50), chunks=(1, 16, 16), dtype="u1")
    assert inspect(tmp_path / "x.zarr")[0].warnings == ()
    assert list_images(tmp_path / "x.zarr")[0].warnings == ()


# what goes wrong


def test_an_empty_group_lists_what_to_choose_from(tmp_path):
    root = zarr.open_group(tmp_path / "x.zarr", mode="w")
    with pytest.raises(SourceNotFoundError, match="no image directly in it"):
        inspect(tmp_path / "x.zarr")
    groups = [root.create_group(name) for name in ("b", "a")]
    groups[0].create_array("image", data=PIXELS)
    with pytest.raises(SourceNotFoundError) as caught:
        inspect(tmp_path / "x.zarr")
    assert [str(group.store_path) in caught.value.hint for group in groups] == [True, True]


def test_what_is_not_there(tmp_path, toy):
    (tmp_path / "folder").mkdir()
    for source in ("none.zarr", tmp_path / "folder", "file://none.zarr/0", "zip://x.zip/a"):
        with pytest.raises(SourceNotFoundError, match=r"[Tt]here is no|nothing|no Zarr"):
            inspect(source)
    with pytest.raises(SourceNotFoundError) as caught:
        inspect("train_data.zarr/others/array_9")
    assert "array_2, array_3" in caught.value.hint
    with pytest.raises(SourceNotFoundError, match=r"There is no Zarr store"):
        list_images(tmp_path / "folder")


@pytest.mark.parametrize("source", ["", "  ", None, 3, np.zeros((4, 4)), "foo://host/x.zarr"])
def test_what_is_no_source(source):
    for act in (inspect, list_images, lambda given: load(given, "YX")):
        with pytest.raises(SettingsError):
            act(source)


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"II*\0")
    with pytest.raises(UnreadableError, match=r"x\.tif is a file"):
        inspect(tmp_path / "x.tif")


def test_axes_that_do_not_fit(tmp_path):
    write(tmp_path / "x.zarr")
    with pytest.raises(AxesError):
        load(tmp_path / "x.zarr", "YX")


ARRAY = b'{"node_type": "array"}'  # and nothing else
BROKEN = {
    "zarr.json": [
        b"{",
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"node_type": "leaf"}',
        b'{"node_type": "array"}',
    ],
    ".zarray": [b"{", b"3", b"{}", b'{"zarr_format": 2, "shape": [4, 4]}'],
    ".zattrs": [b"{"],
}


@pytest.mark.parametrize(
    ("key", "content"), [(key, text) for key, texts in BROKEN.items() for text in texts]
)
def test_broken_metadata(tmp_path, key, content):
    write(tmp_path / "x.zarr" / "a", zarr_format=3 if key == "zarr.json" else 2)
    (tmp_path / "x.zarr" / "a" / key).write_bytes(content)
    for source in (tmp_path / "x.zarr", tmp_path / "x.zarr" / "a"):
        with pytest.raises(UnreadableError, match=r"x\.zarr/a"):
            inspect(source)
    with pytest.raises(UnreadableError, match=r"x\.zarr/a"):
        list_images(tmp_path / "x.zarr" / "a")
    assert list_images(tmp_path / "x.zarr") == []


CHANGES = {
    "unknown codec": ("codecs", [{"name": "bytes"}, {"name": "imagecodecs_jpegxl"}], "jpegxl"),
    "unknown grid": ("chunk_grid", {"name": "odd", "configuration": {}}, ""),
    "negative shape": ("shape", [-3, 40, 50], ""),
    "chunks of another number": (
        "chunk_grid",
        {"name": "regular", "configuration": {"chunk_shape": [16, 16]}},
        "",
    ),
    "no fill value": ("fill_value", None, ""),
}


@pytest.mark.parametrize(("key", "value", "said"), CHANGES.values(), ids=CHANGES)
def test_arrays_that_zarr_cannot_open(tmp_path, key, value, said):
    write(tmp_path / "x.zarr")
    file = tmp_path / "x.zarr" / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(UnreadableError, match=rf"x\.zarr.*{said}"):
        inspect(tmp_path / "x.zarr")


def test_an_unknown_codec_of_version_2(tmp_path):
    write(tmp_path / "x.zarr", zarr_format=2)
    file = tmp_path / "x.zarr" / ".zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), "compressor": {"id": "jpegls"}}))
    with pytest.raises(UnreadableError, match=r"x\.zarr.*jpegls") as caught:
        inspect(tmp_path / "x.zarr")
    assert "install" in caught.value.hint


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "kind",
    ["<U5", "|S5", "|O", "<M8[s]", [["a", "<u2"], ["b", "<f4"]], "string", {"name": "structured"}],
)
def test_pixels_that_are_no_numbers(tmp_path, version, kind):
    write(tmp_path / "x.zarr", zarr_format=version)
    file = tmp_path / "x.zarr" / (".zarray" if version == 2 else "zarr.json")
    key = "dtype" if version == 2 else "data_type"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: kind}))
    with pytest.raises(DataError, match=r"x\.zarr"):
        inspect(tmp_path / "x.zarr")


def test_arrays_that_are_no_images(tmp_path):
    zarr.create_array(tmp_path / "line.zarr", data=np.arange(5))
    zarr.create_array(tmp_path / "empty.zarr", shape=(0, 5), dtype="u1")
    for name in ("line", "empty"):
        with pytest.raises(DataError, match="shape"):
            inspect(tmp_path / f"{name}.zarr")


@pytest.mark.parametrize(
    ("options", "chunk"),
    [
        ({}, "c/1/2/3"),
        ({"zarr_format": 2}, "1.2.3"),
        ({"shards": (1, 32, 32)}, "c/1/1/1"),
    ],
)
def test_a_corrupt_chunk_is_named(tmp_path, options, chunk):
    write(tmp_path / "x.zarr", **options)
    (tmp_path / "x.zarr" / chunk).write_bytes(b"these are no pixels")
    (stack,) = load(tmp_path / "x.zarr", "ZYX")
    stack.extract_patch(0, None, (0, 0, 0), (1, 40, 50))
    for read in (
        lambda: stack.extract_patch(0, None, (0, 0, 0), (3, 40, 50)),
        lambda: stack.extract_block(range(1), (0, 0, 0), (3, 40, 50)),
    ):
        with pytest.raises(UnreadableError, match=rf"chunk {chunk} of file://.*x\.zarr"):
            read()


def test_a_truncated_chunk_without_compression(tmp_path):
    write(tmp_path / "x.zarr", compressors=None)
    chunk = tmp_path / "x.zarr" / "c" / "0" / "1" / "1"
    chunk.write_bytes(chunk.read_bytes()[:100])
    (stack,) = load(tmp_path / "x.zarr", "TYX")
    with pytest.raises(UnreadableError, match="chunk c/0/1/1"):
        whole(stack)


@pytest.mark.skipif(sys.platform == "win32", reason="names of 256 letters")
def test_paths_that_the_system_refuses(tmp_path):
    for source in (tmp_path / ("x" * 300), f"{tmp_path}/\0.zarr"):
        with pytest.raises(CareamistError):
            inspect(source)


# everything below


def test_everything_that_could_be_chosen(toy, tmp_path):
    (tmp_path / "train_data.zarr" / "broken").mkdir()
    (tmp_path / "train_data.zarr" / "broken" / "zarr.json").write_text("{")
    toy.create_array("text", data=np.arange(3))
    deep = toy.create_group("deep").create_group("er").create_array("image", data=PIXELS)
    expected = [
        "file://train_data.zarr/array_1",
        "file://train_data.zarr/array_2",
        str(deep.store_path),
        "file://train_data.zarr/others/array_2",
        "file://train_data.zarr/others/array_3",
    ]
    assert [info.source for info in list_images("train_data.zarr")] == expected
    assert [info.source for info in list_images("train_data.zarr", limit=2)] == expected[:2]
    assert [info.source for info in list_images(expected[2])] == expected[2:3]
    assert [info.source for info in list_images("file://train_data.zarr/others")] == expected[3:]


def test_a_folder_of_stores_is_looked_into_but_not_a_disk(tmp_path):
    write(tmp_path / "a.zarr")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er" / "b.zarr")
    assert [info.source for info in list_images(tmp_path)] == [f"file://{tmp_path}/a.zarr"]


# remote


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, no listing, and 403 below ``forbidden``."""

    def list_directory(self, path):
        self.send_error(404)

    def do_GET(self):
        if "fails" in self.path:
            self.send_error(500)
        elif "forbidden" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """The URL of `tmp_path`."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Handler(*args, directory=tmp_path)
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_on_a_web_server(server, tmp_path, version):
    group = zarr.open_group(tmp_path / "two words.zarr", mode="w", zarr_format=version)
    group.create_array("image", data=PIXELS, chunks=(1, 16, 16))
    (stack,) = load(f"{server}/two words.zarr/image", "TYX")
    assert stack.source == f"{server}/two words.zarr/image"
    for again in (stack, pickle.loads(pickle.dumps(stack))):
        np.testing.assert_array_equal(whole(again)[:, 0], PIXELS)


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_on_a_web_server_needs_consolidated_metadata(server, tmp_path, version):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=version)
    group.create_array("image", data=PIXELS)
    group.create_group("others").create_array("image", data=PIXELS)
    for act in (inspect, lambda source: load(source, "TYX")):
        with pytest.raises(UnreadableError, match="does not list") as caught:
            act(f"{server}/x.zarr")
        assert "Give the URL of the array" in caught.value.hint
    if version == 3:
        with pytest.warns(UserWarning, match="Consolidated"):
            zarr.consolidate_metadata(tmp_path / "x.zarr")
    else:
        zarr.consolidate_metadata(tmp_path / "x.zarr")
    assert [info.source for info in inspect(f"{server}/x.zarr")] == [f"{server}/x.zarr/image"]


def test_answers_of_a_web_server(server, tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"no Zarr store at http"):
        inspect(f"{server}/none.zarr")
    with pytest.raises(SourceNotFoundError, match=r"no Zarr store at http"):
        inspect(f"{server}/forbidden.zarr")
    with pytest.raises(UnreadableError, match="500"):
        inspect(f"{server}/fails.zarr")


def test_a_host_that_is_down():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = time.monotonic()
    for act in (inspect, list_images):
        with pytest.raises(UnreadableError, match="cannot be fetched"):
            act(f"http://127.0.0.1:{port}/x.zarr")
    assert time.monotonic() - start < 5


def test_a_host_that_keeps_silent(monkeypatch):
    monkeypatch.setattr(zarr_places, "SILENCE_SECONDS", 0.3)
    start = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(UnreadableError, match="cannot be fetched"),
    ):
        inspect(f"http://127.0.0.1:{silent.getsockname()[1]}/x.zarr")
    assert time.monotonic() - start < 5


def test_a_server_that_dies_while_pixels_are_read(tmp_path):
    write(tmp_path / "x.zarr")
    httpd = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Handler(*args, directory=tmp_path)
    )
    with httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        (stack,) = load(f"http://127.0.0.1:{httpd.server_port}/x.zarr", "TYX")
        stack.extract_patch(0, None, (0, 0), (8, 8))
        httpd.shutdown()
        thread.join()
    with pytest.raises(UnreadableError, match=r"x\.zarr cannot be read"):
        stack.extract_patch(2, None, (20, 20), (8, 8))


def test_stores_that_can_be_listed():
    url = "memory://test_zarr/x.zarr"
    try:
        group = zarr.open_group(FsspecStore.from_url(url), mode="w")
        for path in ("image", "others/image"):
            group.create_array(path, data=PIXELS)
        (stack,) = load(url, "TYX")
        assert stack.source == f"{url}/image"
        np.testing.assert_array_equal(whole(stack)[:, 0], PIXELS)
        np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(stack)))[:, 0], PIXELS)
        assert [info.source for info in inspect(f"{url}/others")] == [f"{url}/others/image"]
        assert len(list_images(url)) == 2
        with pytest.raises(SourceNotFoundError, match="no Zarr store"):
            inspect("memory://test_zarr/none.zarr")
        in_memory = zarr.create_array({}, data=PIXELS)
        with pytest.raises(SourceNotFoundError, match="data_type='array'"):
            inspect(str(in_memory.store_path))
    finally:
        fsspec.filesystem("memory").rm("/test_zarr", recursive=True)


@pytest.mark.parametrize(("url", "package"), [("s3://b/x.zarr", "s3fs"), ("gs://b/x", "gcsfs")])
def test_a_missing_package_is_named(monkeypatch, url, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnreadableError) as caught:
        inspect(url)
    assert caught.value.hint == f"Run: pip install {package}"


def test_what_the_module_says_of_itself():
    assert (EXTENSIONS, FOLDERS) == ((".zarr",), True)


def test_chunk_keys_are_those_of_zarr(tmp_path):
    for number, (options, _) in enumerate(STORED.values()):
        array = write(tmp_path / f"{number}.zarr", **options)
        node = zarr_places.place_of(str(array.store_path)).node
        for at in itertools.product(range(3), repeat=3):
            assert zarr_chunks._key(node, at) == array.metadata.encode_chunk_key(at)
        if node.zarr_format == 3:
            encoding = node.metadata["chunk_key_encoding"]
            expected = zarr_chunks._key(node, (1, 2))
            del encoding["configuration"]  # where the separator may be left out
            assert zarr_chunks._key(node, (1, 2)) == expected
