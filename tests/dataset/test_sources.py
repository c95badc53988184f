"""The door: what is opened, in which order, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile

from careamist.dataset.image_stack import ImageStack
from careamist.dataset.sources import check_dtypes, guess_data_type, is_path, open_stacks
from careamist.errors import AxesError, DataError, SettingsError, SourceNotFoundError

IMAGE = np.arange(12 * 14, dtype=np.uint16).reshape(12, 14)


@pytest.fixture
def folder(tmp_path):
    """A folder with three TIFFs and other things in it."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(["b.tif", "a.TIFF", "deep/er/c.tiff"]):
        tifffile.imwrite(tmp_path / name, IMAGE + number)
    (tmp_path / "._b.tif").write_text("what macOS leaves on other disks")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "deep" / "old.tif.bak").write_text("no image either")
    return tmp_path


def firsts(stacks):
    """Return the first pixel of each stack, which names the image."""
    return [int(stack.extract_patch(0, None, (0, 0), (1, 1))[0, 0, 0]) for stack in stacks]


def test_a_folder_stands_for_its_files_sorted_and_with_those_below(folder):
    stacks = open_stacks(folder, "tiff", "YX")
    assert firsts(stacks) == [1, 0, 2]
    assert [stack.source for stack in stacks] == [
        str(folder / name) for name in ("a.TIFF", "b.tif", "deep/er/c.tiff")
    ]
    assert all(isinstance(stack, ImageStack) for stack in stacks)


def test_a_path_may_be_text(folder):
    assert firsts(open_stacks(str(folder / "b.tif"), "tiff", "YX")) == [0]


def test_a_list_keeps_its_order_and_may_mix_files_and_folders(folder):
    given = [folder / "b.tif", str(folder / "deep"), folder / "a.TIFF"]
    assert firsts(open_stacks(given, "tiff", "YX")) == [0, 2, 1]


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert firsts(open_stacks("~/b.tif", "tiff", "YX")) == [0]


@pytest.mark.parametrize("kind", [list, tuple])
def test_arrays_are_opened_alone_or_in_a_list(kind):
    assert firsts(open_stacks(IMAGE, "array", "YX")) == [0]
    assert firsts(open_stacks(kind([IMAGE + 5, IMAGE]), "array", "YX")) == [5, 0]


def test_anything_that_is_sliced_like_an_array_will_do(tmp_path):
    mapped = np.memmap(tmp_path / "raw", dtype=np.uint16, mode="w+", shape=(12, 14))
    mapped[:] = IMAGE + 3
    assert firsts(open_stacks(mapped, "array", "YX")) == [3]


@pytest.mark.parametrize(
    ("data", "data_type", "error", "told"),
    [
        ("missing.tif", "tiff", SourceNotFoundError, r"no file or folder missing\.tif"),
        ("", "tiff", SourceNotFoundError, "empty path"),
        ([], "tiff", SourceNotFoundError, "No images were given"),
        ([], "array", SourceNotFoundError, "No images were given"),
        (IMAGE, "tiff", SettingsError, "data_type='tiff' was chosen but ndarray was given"),
        ("a.tif", "array", SettingsError, r"a path was given \(a\.tif\)"),
        ([IMAGE, "a.tif"], "array", SettingsError, "a path was given"),
        (3.5, "array", SettingsError, "An image of type float"),
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


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"holds no tiff files \(\.tif, \.tiff\)"):
        open_stacks(tmp_path, "tiff", "YX")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float64"])
def test_real_numbers_are_welcome(dtype):
    check_dtypes(open_stacks(IMAGE.astype(dtype), "array", "YX"))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "S3", "O"])
def test_other_pixels_are_refused(dtype):
    with pytest.raises(DataError, match=re.escape(str(np.dtype(dtype)))):
        check_dtypes(open_stacks([IMAGE, IMAGE.astype(dtype)], "array", "YX"))


@pytest.mark.parametrize(
    ("data", "path"),
    [("a.tif", True), (["a.tif"], True), (IMAGE, False), ([IMAGE], False), ([], False)],
)
def test_paths_are_told_from_arrays(data, path):
    assert is_path(data) is path
    assert guess_data_type(data) == ("tiff" if path else "array")
