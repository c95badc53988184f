"""Formats of the user's own: functions that read, functions that make stacks."""

from __future__ import annotations

import functools
from pathlib import Path

import h5py
import numpy as np
import pytest

from careamist import ImageStackLoading, ReadFuncLoading
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.custom import as_loading
from careamist.dataset.sources import keep_in_memory, open_stacks
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
    """A folder of .npy files, and other things."""
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "store.zarr").mkdir()
    names = ("b.npy", "a.npy", "deep/c.npy", ".d.npy", ".hidden/e.npy", "store.zarr/f.npy")
    for number, name in enumerate(names):
        np.save(tmp_path / name, IMAGE + number)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.npy").mkdir()
    return tmp_path


def firsts(stacks):
    return [int(stack.extract_patch(0, None, (0, 0), (1, 1))[0, 0, 0]) for stack in stacks]


def only_path(path):
    return path, None


def anything(path, *args, **kwargs):
    assert not kwargs
    return path, args


def path_and_axes(path, axes):
    return path, axes


def other_name(file_path, letters):
    return file_path, letters


def axes_by_default(file_path, axes="XY"):
    return file_path, axes


def axes_by_keyword(file_path, *, axes):
    return file_path, axes


def scale_first(path, scale=1, *args):
    return path, (scale, args)


def by_place(path, axes, /):
    return path, axes


class Reader:
    def __call__(self, path, axes):
        return path, axes

    def read(self, path, axes):
        return path, axes


@pytest.mark.parametrize(
    ("function", "kwargs", "expected"),
    [
        (only_path, {}, None),
        (anything, {}, ("YX",)),
        (path_and_axes, {}, "YX"),
        (path_and_axes, {"axes": "SYX"}, "SYX"),
        (other_name, {}, "YX"),
        (other_name, {"letters": "a"}, "a"),
        (axes_by_default, {}, "YX"),
        (axes_by_keyword, {}, "YX"),
        (scale_first, {}, (1, ())),
        (scale_first, {"scale": 3}, (3, ())),
        (by_place, {}, "YX"),
        (functools.partial(other_name, letters="b"), {}, "b"),
        (Reader(), {}, "YX"),
        (Reader().read, {}, "YX"),
        (lambda *args: args, {}, "YX"),
    ],
)
def test_a_function_is_given_what_it_takes(function, kwargs, expected, folder):
    told = []

    @functools.wraps(function)
    def watched(*args, **kwargs):
        told.append(function(*args, **kwargs))
        return np.load(args[0])

    loading = ReadFuncLoading(watched, read_kwargs=kwargs)
    (stack,) = open_stacks(str(folder / "a.npy"), "custom", "YX", loading)
    assert firsts([stack]) == [1]
    assert told == [(folder / "a.npy", expected)]
    assert isinstance(told[0][0], Path)
    assert stack.source == str(folder / "a.npy")


def test_a_builtin_without_a_signature_is_given_the_path(folder):
    loading = ReadFuncLoading(np.lib.format.open_memmap)
    assert firsts(open_stacks(folder / "b.npy", "custom", "YX", loading)) == [0]


def test_of_a_folder_the_files_that_fit_are_read(folder):
    loading = ReadFuncLoading(np.load, extension_filter="*.npy")
    stacks = open_stacks(folder, "custom", "YX", loading)
    assert firsts(stacks) == [1, 0, 2]
    assert [stack.source for stack in stacks] == [
        str(folder / name) for name in ("a.npy", "b.npy", "deep/c.npy")
    ]
    deep = ReadFuncLoading(np.load, extension_filter="deep/*.npy")
    assert firsts(open_stacks(folder, "custom", "YX", deep)) == [2]
    given = [folder / "deep", folder / "b.npy"]
    assert firsts(open_stacks(given, "custom", "YX", loading)) == [2, 0]
    nothing = ReadFuncLoading(np.load, extension_filter="*.raw")
    with pytest.raises(SourceNotFoundError, match=r"holds no custom files \(\*\.raw\)"):
        open_stacks(folder, "custom", "YX", nothing)
    (folder / "empty").mkdir()
    with pytest.raises(SourceNotFoundError, match=r"holds no custom files \(any\)"):
        open_stacks(folder / "empty", "custom", "YX", ReadFuncLoading(np.load))


def test_without_a_filter_every_file_is_meant(folder):
    with pytest.raises(UnreadableError, match=r"notes\.txt could not be read by load"):
        open_stacks(folder, "custom", "YX", ReadFuncLoading(np.load))


def test_one_file_at_a_time_is_in_memory(folder):
    read = []

    def reading(path):
        read.append(path.name)
        return np.load(path)

    loading = ReadFuncLoading(reading, extension_filter="*.npy")
    stacks = open_stacks(folder, "custom", "YX", loading)
    assert read == ["a.npy", "b.npy", "c.npy"]
    read.clear()
    firsts([stacks[2], stacks[2], stacks[0], stacks[0], stacks[2]])
    assert read == ["a.npy", "c.npy"]
    held = type(stacks[0])._held
    assert len(held) == 1
    del stacks
    assert len(held) == 0  # and none once nobody needs it
    kept = keep_in_memory(open_stacks(folder, "custom", "YX", loading), True, "custom")
    firsts(kept)
    read.clear()
    assert firsts(kept) == [1, 0, 2]
    assert read == []


def broken(path):
    raise KeyError("pixels")


def in_our_words(path):
    raise DataError("Nothing in it.", "Look again.")


@pytest.mark.parametrize(
    ("function", "error", "told"),
    [
        (broken, UnreadableError, r"a\.npy could not be read by broken \(KeyError: 'pixels'\)"),
        (lambda path, more, still: 0, UnreadableError, r"missing 1 required positional"),
        (in_our_words, DataError, "^Nothing in it. Look again.$"),
        (lambda path: None, UnreadableError, "returned NoneType for .*a.npy: expected an array"),
        (lambda path: [[1, 2], [3, 4]], UnreadableError, "returned list for"),
        (lambda path: np.zeros((2, 3, 4)), AxesError, "names 2 axes but the image has 3"),
    ],
)
def test_what_goes_wrong_in_a_function_is_told(function, error, told, folder):
    with pytest.raises(error, match=told):
        open_stacks(folder / "a.npy", "custom", "YX", ReadFuncLoading(function))


def test_want_of_memory_is_not_called_a_broken_file(folder):
    def hungry(path):
        raise MemoryError

    with pytest.raises(MemoryError):
        open_stacks(folder / "a.npy", "custom", "YX", ReadFuncLoading(hungry))


# -- stacks of one's own ----------------------------------------------------------------------


@pytest.mark.parametrize("made", [list, tuple, iter])
def test_a_loader_may_return_any_series(made):
    given = {"any": "thing"}

    def load(data, axes, offset=0):
        assert data is given
        return made([ArrayStack(IMAGE + offset, axes), ArrayStack(IMAGE, axes)])

    loading = ImageStackLoading(load, {"offset": 7})
    assert firsts(open_stacks(given, "custom", "YX", loading)) == [7, 0]


def test_a_loader_may_return_one_stack():
    loading = ImageStackLoading(lambda data, axes: ArrayStack(data, axes))
    assert firsts(open_stacks(IMAGE + 3, "custom", "YX", loading)) == [3]


def loads_none(data, axes):
    return None


def loads_arrays(data, axes):
    return [data]


class Half:
    source, data_shape = "half", (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("load", "error", "told"),
    [
        (loads_none, SettingsError, "loads_none returned NoneType, which lacks source, data_shape"),
        (loads_arrays, SettingsError, "loads_arrays returned ndarray, which lacks source"),
        (
            lambda data, axes: [ArrayStack(data, axes), Half()],
            SettingsError,
            "returned Half, which lacks data_dtype, original_data_shape, original_axes, "
            "extract_patch: expected",
        ),
        (lambda data, axes: [], SourceNotFoundError, "returned no images"),
        (lambda data, axes: 1 / 0, UnreadableError, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_goes_wrong_in_a_loader_is_told(load, error, told):
    with pytest.raises(error, match=told):
        open_stacks(IMAGE, "custom", "YX", ImageStackLoading(load))


def test_a_loader_is_given_an_open_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = IMAGE
        loading = ImageStackLoading(lambda data, axes: [ArrayStack(data["image"], axes)])
        assert firsts(open_stacks(file, "custom", "YX", loading)) == [0]


# -- how it is said -----------------------------------------------------------------------------


@pytest.mark.parametrize("loading", [ReadFuncLoading(np.load), ImageStackLoading(loads_arrays)])
def test_the_data_type_and_the_loading_belong_together(loading):
    with pytest.raises(SettingsError, match="data_type='custom' needs a way to read the data"):
        open_stacks("a.npy", "custom", "YX")
    with pytest.raises(SettingsError, match="was given, but data_type='tiff'"):
        open_stacks("a.npy", "tiff", "YX", loading)


def test_the_older_spelling_means_the_same():
    assert as_loading(None) is None
    assert as_loading(None, np.load, "*.npy") == ReadFuncLoading(np.load, extension_filter="*.npy")
    with pytest.raises(SettingsError, match="Both loading and read_source_func"):
        as_loading(ReadFuncLoading(np.load), np.load)
    with pytest.raises(SettingsError, match="extension_filter"):
        as_loading(None, None, "*.npy")
