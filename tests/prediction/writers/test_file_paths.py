"""Names of results: those of the sources, and no two alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamist.errors import OutputExistsError
from careamist.prediction.writers.file_paths import create_write_file_path, output_paths

OUT = Path("/out")


def names(*sources, extension=".tiff", root=None):
    """The results below their folder."""
    paths = output_paths(OUT, sources, extension, root)
    return [path.relative_to(OUT).as_posix() for path in paths]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("/data/cells.tif", "cells.tiff"),
        ("/data/cells.TIFF", "cells.tiff"),
        ("/data/day.3.well.A1.tif", "day.3.well.A1.tiff"),
        ("/data/plate.ome.tif", "plate.ome.tiff"),
        ("/data/scan.v2", "scan.v2.tiff"),
        ("/data/.hidden.tif", ".hidden.tiff"),
        ("/data/x.czi@0", "x_0.tiff"),
        ("/data/x.czi", "x.tiff"),
        ("/data/x.h5#/group/data", "x_group_data.tiff"),
        ("/data/x.h5#data", "x_data.tiff"),
        ("/data/x.zarr", "x.tiff"),
        ("/data/x.ome.zarr", "x.tiff"),
        ("file:///data/x.zarr/group/array", "x_group_array.tiff"),
        ("file:///data/x%20y.zarr/0", "x y_0.tiff"),
        ("file://data/x.zarr/group/array", "x_group_array.tiff"),
        ("https://host.org/data/x.ome.zarr/A/1/0/0?key=1", "x_A_1_0_0.tiff"),
        ("s3://bucket/x.zarr/0", "x_0.tiff"),
        ("s3://bucket", "bucket.tiff"),
        ("zip:///data/x.ome.zarr.zip/0", "x_0.tiff"),
        ("/data/picture.png", "picture.tiff"),
        ("sample 3", "sample 3.tiff"),
        ("", "_.tiff"),
    ],
)
def test_a_result_is_called_like_its_source(source, result):
    assert names(source) == [result]


def test_arrays_are_numbered():
    assert names("array", "/data/b.tif", "array") == ["array_0.tiff", "b.tiff", "array_2.tiff"]


def test_endings_of_two_parts_are_not_doubled():
    assert names("/data/plate.ome.tif", extension=".ome.zarr") == ["plate.ome.zarr"]
    assert names("/data/x.ome.zarr", extension=".ome.zarr") == ["x.ome.zarr"]
    assert names("/data/plate.ome.tif", extension=".npy") == ["plate.npy"]


def test_folders_of_the_sources_are_repeated_below_the_root():
    sources = ["/d/a.tif", "/d/one/a.tif", "/d/one/two/a.tif", "/d/one/x.zarr/g/a"]
    assert names(*sources, root=Path("/d")) == [
        "a.tiff",
        "one/a.tiff",
        "one/two/a.tiff",
        "one/x_g_a.tiff",
    ]
    assert names("/elsewhere/one/a.tif", root=Path("/d")) == ["a.tiff"]


def test_folders_with_relative_names_are_repeated_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names("in/one/a.tif", root=Path("in")) == ["one/a.tiff"]
    assert names(str(tmp_path / "in" / "one" / "a.tif"), root=Path("in")) == ["one/a.tiff"]


@pytest.mark.parametrize(
    ("sources", "results"),
    [
        # folders in which they differ, only where that is needed
        (("/d/one/a.tif", "/d/two/a.tif", "/d/b.tif"), ["one/a", "two/a", "b"]),
        (("/d/one/e/a.tif", "/d/two/e/a.tif"), ["one/e/a", "two/e/a"]),
        (("/d/a.tif", "/d/one/a.tif"), ["a", "one/a"]),
        (("/d/a/x.tif", "/e/a/x.tif"), ["d/a/x", "e/a/x"]),
        # then their endings
        (("/d/x.tif", "/d/x.tiff", "/d/y.tif"), ["x.tif", "x.tiff", "y"]),
        (("/d/x.tif", "/d/x.czi@0", "/d/x_0.tif"), ["x", "x.czi_0", "x_0.tif"]),
        # then numbers
        (("/d/X.tif", "/d/x.tif"), ["X_0", "x_1"]),
        (("s", "s", "s"), ["s_0", "s_1", "s_2"]),
        (("s", "s_0", "s"), ["s_0", "s_0_1", "s_2"]),
        # arrays and stores of the same name
        (("file:///d/x.zarr/g/a", "file:///d/x.zarr/h/a"), ["x_g_a", "x_h_a"]),
        (("file:///d/x.zarr/g/a", "file:///d/y.zarr/g/a"), ["x_g_a", "y_g_a"]),
        (("file:///d/one/x.zarr/a", "file:///d/two/x.zarr/a"), ["one/x_a", "two/x_a"]),
        (("file:///d/one/g/a", "file:///d/two/g/a"), ["one/g/a", "two/g/a"]),
        (("/d/x.h5#/g/a", "/d/x.h5#/h/a", "/d/y.h5#/g/a"), ["x_g_a", "x_h_a", "y_g_a"]),
        (("/d/x.zarr/a/b", "/d/x.zarr/a_b"), ["x_a_b_0", "x_a_b_1"]),
        (("https://h.org/x.zarr/a", "https://i.org/x.zarr/a"), ["h.org/x_a", "i.org/x_a"]),
        (("/d/x.zarr/a", "https://h.org/x.zarr/a"), ["d/x_a", "h.org/x_a"]),
        (("/d/x.zarr/a", "zip:///d/x.zarr.zip/a"), ["x.zarr_a", "x.zarr.zip_a"]),
        # names that Windows does not take
        (("con.tif", "lpt1.x.tif", "cons.tif"), ["_con", "_lpt1.x", "cons"]),
        (("12:30.tif", 'a<b>"c|d?*.tif'), ["12_30", "a_b__c_d__"]),
        (("/d/a:b/x.tif", "/d/a?b/x.tif"), ["a_b/x_0", "a_b/x_1"]),
        (("end. .tif",), ["end"]),
    ],
)
def test_two_results_are_never_one_file(sources, results):
    if os.name != "posix" and any(set(source) & set(':?*"<>|') for source in sources):
        pytest.skip("these are no paths here")
    found = names(*sources)
    assert found == [f"{name}.tiff" for name in results]
    assert len({name.casefold() for name in found}) == len(sources)


PARTS = st.sampled_from(
    ["a", "A", "a.tif", "a.tiff", "a_0", "a_1", "x.zarr", "con", "a:", "b.h5#/a"]
)
SOURCES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(SOURCES | st.just("array"), max_size=8), st.booleans())
def test_whatever_the_sources_are(sources, with_root):
    found = names(*sources, root=Path.cwd() / "a" if with_root else None)
    assert len({name.casefold() for name in found}) == len(sources)
    assert found == names(*sources, root=Path.cwd() / "a" if with_root else None)
    for name in found:
        assert name.endswith(".tiff")
        assert ".." not in Path(name).parts


@pytest.mark.parametrize("extension", [".tiff", ".zarr"])
def test_a_result_is_never_its_own_source(tmp_path, extension):
    source = tmp_path / f"x{extension}"
    source.touch()
    for text in (str(source), f"file://{source}", os.path.relpath(source)):
        with pytest.raises(OutputExistsError, match="is the image that is restored") as raised:
            output_paths(tmp_path, [text], extension)
        assert raised.value.hint == "Choose another folder for the results."
    (fine,) = output_paths(tmp_path / "out", [str(source)], extension)
    assert fine == tmp_path / "out" / f"x{extension}"


def test_a_result_is_never_another_source(tmp_path):
    for name in ("x.tif", "y.tiff"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path)
    sources = [str(tmp_path / "x.tif"), str(tmp_path / "y.tiff")]
    with pytest.raises(OutputExistsError, match=r"y\.tiff is the image"):
        output_paths(tmp_path / "link", sources, ".tiff")


def test_another_name_of_the_same_file_is_the_same_file(tmp_path):
    (tmp_path / "X.TIFF").touch()
    (tmp_path / "other").mkdir()
    os.link(tmp_path / "X.TIFF", tmp_path / "other" / "X.tiff")
    with pytest.raises(OutputExistsError, match="is the image that is restored"):
        output_paths(tmp_path / "other", [str(tmp_path / "X.TIFF")], ".tiff")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/data/a.b.tiff", "a.b_7.npy"),
        ("/data/cells", "cells_7.npy"),
        ("array", "array_7.npy"),
        ("day 1/well/a.tif", "day 1/well/a_7.npy"),
        ("../a.tif", "a_7.npy"),
        ("in/x.h5#/g/d", "in/x_g_d_7.npy"),
        ("in/x.zarr/g/d", "in/x_g_d_7.npy"),
    ],
)
def test_path_of_one_result(source, path):
    assert create_write_file_path(OUT, Path(source), ".npy", "_7") == OUT / path


def test_path_of_one_result_without_a_postfix():
    path = create_write_file_path(dirpath=OUT, file_path=Path("a.b.tiff"), write_extension=".tiff")
    assert path == OUT / "a.b.tiff"
