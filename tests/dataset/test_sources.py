"""The door: what is opened, in which order, what is kept, and what is refused."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import tifffile
import zarr

from careamist.dataset import sources
from careamist.dataset.image_stack import FORMATS, ImageStack
from careamist.dataset.image_stack.views import HeldStack
from careamist.dataset.sources import (
    check_channels,
    check_dtypes,
    find_sources,
    fit_in_memory,
    guess_data_type,
    inspect,
    is_path,
    is_store,
    is_uri,
    keep_in_memory,
    open_stacks,
)
from careamist.errors import (
    AxesError,
    DataError,
    SettingsError,
    SourceNotFoundError,
    UnreadableError,
)

IMAGE = np.arange(12 * 14, dtype=np.uint16).reshape(12, 14)


@pytest.fixture
def folder(tmp_path):
    """A folder with three TIFFs and other things in it."""
    for name in ("deep/er", ".hidden", "store.zarr/c", "Other.ZARR"):
        (tmp_path / name).mkdir(parents=True)
    for number, name in enumerate(["b.tif", "a.TIFF", "deep/er/c.tiff"]):
        tifffile.imwrite(tmp_path / name, IMAGE + number)
    for name in (".hidden/d.tif", "store.zarr/e.tif", "store.zarr/c/f.tif", "Other.ZARR/g.tif"):
        tifffile.imwrite(tmp_path / name, IMAGE + 9)
    (tmp_path / "._b.tif").write_text("what macOS leaves on other disks")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "deep" / "old.tif.bak").write_text("no image either")
    return tmp_path


def firsts(stacks):
    """Return the first pixel of each stack, which names the image."""
    return [int(stack.extract_patch(0, None, (0, 0), (1, 1))[0, 0, 0]) for stack in stacks]


# -- what is opened -------------------------------------------------------------------------


def test_a_folder_stands_for_its_files_sorted_and_with_those_below(folder):
    stacks = open_stacks(folder, "tiff", "YX")
    assert firsts(stacks) == [1, 0, 2]
    assert [stack.source for stack in stacks] == [
        str(folder / name) for name in ("a.TIFF", "b.tif", "deep/er/c.tiff")
    ]
    assert all(isinstance(stack, ImageStack) for stack in stacks)


def test_a_path_may_be_text(folder):
    assert firsts(open_stacks(str(folder / "b.tif"), "tiff", "YX")) == [0]


def test_a_file_is_opened_whatever_its_ending(folder):
    shutil.move(folder / "b.tif", folder / "b.stk")
    assert firsts(open_stacks(folder / "b.stk", "tiff", "YX")) == [0]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_keeps_its_order_and_may_mix_files_and_folders(folder, kind):
    given = kind([folder / "b.tif", str(folder / "deep"), folder / "a.TIFF"])
    assert firsts(open_stacks(given, "tiff", "YX")) == [0, 2, 1]


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert firsts(open_stacks("~/b.tif", "tiff", "YX")) == [0]
    assert guess_data_type("~/b.tif") == "tiff"


@pytest.mark.parametrize("kind", [list, tuple])
def test_arrays_are_opened_alone_or_in_a_list(kind):
    assert firsts(open_stacks(IMAGE, "array", "YX")) == [0]
    assert firsts(open_stacks(kind([IMAGE + 5, IMAGE]), "array", "YX")) == [5, 0]


def test_nothing_but_the_paths_is_looked_at_to_find_them(folder):
    (folder / "z.tif").write_text("not a TIFF at all")
    assert len(find_sources(folder, "tiff")) == 4
    with pytest.raises(UnreadableError, match=r"z\.tif"):
        open_stacks(folder, "tiff", "YX")


# -- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "data_type", "error", "told"),
    [
        ("missing.tif", "tiff", SourceNotFoundError, r"no file or folder missing\.tif"),
        ("", "tiff", SourceNotFoundError, "empty path"),
        ("  ", "tiff", SourceNotFoundError, "empty path"),
        ([], "tiff", SourceNotFoundError, "No images were given"),
        ((), "array", SourceNotFoundError, "No images were given"),
        ("a\0b.tif", "tiff", SourceNotFoundError, "no file or folder"),
        ("n" * 5000, "tiff", UnreadableError, "n cannot be looked for"),
        (IMAGE, "tiff", SettingsError, "data_type='tiff' was chosen but ndarray was given"),
        (["a.tif", IMAGE], "tiff", (SettingsError, SourceNotFoundError), "ndarray|no file"),
        ("a.tif", "array", SettingsError, r"a path was given \(a\.tif\)"),
        ([IMAGE, "a.tif"], "array", SettingsError, "a path was given"),
        (3.5, "array", SettingsError, "An image of type float"),
        ([[1, 2], [3, 4]], "array", SettingsError, "An image of type list"),
        (IMAGE, "jpeg", SettingsError, r"data_type='jpeg' is not known: expected one of array, "),
        (IMAGE, "array", AxesError, "'ZYX' names 3 axes but the image has 2"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_reason(data, data_type, error, told):
    axes = "ZYX" if error is AxesError else "YX"
    with pytest.raises(error, match=told):
        open_stacks(data, data_type, axes)


def test_one_missing_file_of_a_list_is_not_dropped(folder):
    with pytest.raises(SourceNotFoundError, match="gone"):
        open_stacks([folder / "b.tif", folder / "gone.tif"], "tiff", "YX")


@pytest.mark.parametrize("first", ["path", "uri"])
def test_paths_and_uris_are_not_mixed(folder, first):
    given = [folder / "store.zarr", f"file://{folder}/store.zarr/c"]
    with pytest.raises(SettingsError, match="Paths and URIs were given together"):
        find_sources(given if first == "path" else given[::-1], "zarr")


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"holds no tiff files \(\.tif, \.tiff\)"):
        open_stacks(tmp_path, "tiff", "YX")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", ">u2", "float16", "float64"])
def test_real_numbers_are_welcome(dtype):
    check_dtypes(open_stacks(IMAGE.astype(dtype), "array", "YX"))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "S3", "O"])
def test_other_pixels_are_refused(dtype):
    with pytest.raises(DataError, match=re.escape(str(np.dtype(dtype)))):
        check_dtypes(open_stacks([IMAGE, IMAGE.astype(dtype)], "array", "YX"))


def test_channels_that_are_not_there_are_refused():
    stacks = open_stacks([np.zeros((3, 4, 4)), np.zeros((2, 4, 4))], "array", "CYX")
    check_channels(stacks, [1, 0])
    with pytest.raises(SettingsError, match=r"channels=\[2\] were chosen, but array has 2"):
        check_channels(stacks, [2])
    with pytest.raises(SettingsError, match="Choose among 0 to 2"):
        check_channels(stacks, [-1])


# -- what it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "path"),
    [("a.tif", True), (["a.tif"], True), (IMAGE, False), ([IMAGE], False), ([], False)],
)
def test_paths_are_told_from_arrays(data, path):
    assert is_path(data) is path
    if not path:
        assert guess_data_type(data) == "array"


def test_the_format_is_told_by_the_name(folder):
    assert guess_data_type(folder / "deep") == "tiff"
    assert guess_data_type(str(folder / "a.TIFF")) == "tiff"
    assert guess_data_type([folder / "b.tif", folder / "deep"]) == "tiff"
    for name, module in FORMATS.items():
        for ending in module.EXTENSIONS:
            (folder / f"x{ending.upper()}").touch()
            assert guess_data_type(folder / f"x{ending.upper()}") == name


@pytest.mark.parametrize("uri", ["file://x.zarr/a", "https://host/x.zarr", "s3://bucket/x"])
def test_a_uri_is_zarr(uri):
    assert is_uri(uri)
    assert guess_data_type(uri) == guess_data_type([uri, uri]) == "zarr"


def test_places_inside_of_a_file_are_told_too(folder):
    assert guess_data_type(folder / "store.zarr") == "zarr"
    assert guess_data_type(folder / "store.zarr" / "c") == "zarr"
    assert guess_data_type("not/there.zarr/group") == "zarr"
    assert guess_data_type("not/there.czi@2") == "czi"
    (folder / "x.zarr.zip").touch()
    assert guess_data_type(folder / "x.zarr.zip") == "zarr"
    zarr.create_group(folder / "plain", zarr_format=2)
    assert is_store(folder / "plain")
    assert guess_data_type(folder / "plain") == "zarr"


def test_a_name_that_only_looks_like_a_store_is_none(tmp_path):
    (tmp_path / "x.zarr_export").mkdir()
    tifffile.imwrite(tmp_path / "x.zarr_export" / "a.tif", IMAGE)
    assert guess_data_type(tmp_path / "x.zarr_export") == "tiff"


def test_what_cannot_be_guessed_is_refused_with_the_reason(folder):
    tifffile.imwrite(folder / "deep" / "d.czi", IMAGE)
    with pytest.raises(SettingsError, match=r"deep holds files of several formats \(1 \w+, 1 \w+"):
        guess_data_type(folder / "deep")
    with pytest.raises(SettingsError, match="The files are of several formats"):
        guess_data_type([folder / "b.tif", folder / "deep" / "d.czi"])
    with pytest.raises(SettingsError, match=r"notes\.txt is of no format that is known \(\.tif, "):
        guess_data_type(folder / "notes.txt")
    with pytest.raises(SettingsError, match=r"folder\.tif holds no file of a format that is known"):
        guess_data_type(folder / "folder.tif")
    with pytest.raises(SourceNotFoundError, match=r"no file or folder gone\.tif"):
        guess_data_type("gone.tif")
    with pytest.raises(SettingsError, match="Paths and ndarray were given together"):
        guess_data_type([folder / "b.tif", IMAGE])


def test_images_are_described_without_opening_them(folder):
    infos = inspect(folder, "tiff")
    assert [info.shape for info in infos] == [(12, 14)] * 3
    assert infos[0].source == str(folder / "a.TIFF")
    assert inspect([IMAGE, IMAGE[:5]], "array")[1].shape == (5, 14)


# -- in memory ----------------------------------------------------------------------------


@pytest.fixture
def compressed(tmp_path):
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", IMAGE, compression="zlib")
    return tmp_path


BYTES = 2 * IMAGE.nbytes


@pytest.mark.parametrize(("free", "kept"), [(BYTES / 0.8 + 1, True), (BYTES / 0.8 - 1, False)])
def test_files_are_kept_if_they_fit_into_80_percent_of_the_memory(
    compressed, monkeypatch, free, kept
):
    monkeypatch.setattr(sources, "free_memory", lambda: free)
    monkeypatch.setattr(sources, "POOL_BYTES", 0)
    stacks = open_stacks(compressed, "tiff", "YX")
    assert fit_in_memory(stacks) is kept
    for stack in keep_in_memory(stacks, "auto", "tiff"):
        assert isinstance(stack, HeldStack) is kept
    assert firsts(keep_in_memory(stacks, "auto", "tiff")) == [0, 0]


def test_what_is_cheap_to_read_stays_where_it_is(folder):
    mapped = open_stacks(folder / "b.tif", "tiff", "YX")
    assert keep_in_memory(mapped, "auto", "tiff") == mapped  # memory-mapped
    assert isinstance(keep_in_memory(mapped, True, "tiff")[0], HeldStack)
    arrays = open_stacks(IMAGE, "array", "YX")
    assert keep_in_memory(arrays, "auto", "array") == arrays
    assert keep_in_memory(arrays, True, "array") == arrays


@pytest.mark.parametrize("data_type", ["zarr", "czi"])
def test_what_is_made_to_be_read_in_parts_is_only_kept_where_it_is_small(
    compressed, monkeypatch, data_type
):
    stacks = open_stacks(compressed, "tiff", "YX")  # what matters is what it is called
    monkeypatch.setattr(sources, "POOL_BYTES", BYTES)
    assert all(isinstance(s, HeldStack) for s in keep_in_memory(stacks, "auto", data_type))
    monkeypatch.setattr(sources, "POOL_BYTES", BYTES - 1)
    assert keep_in_memory(stacks, "auto", data_type) == stacks
    assert all(isinstance(s, HeldStack) for s in keep_in_memory(stacks, True, data_type))


def test_nothing_is_kept_where_that_is_not_wanted(compressed):
    stacks = open_stacks(compressed, "tiff", "YX")
    assert keep_in_memory(stacks, False, "tiff") == stacks
