"""Which target belongs to which image."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from careamist import ImageStackLoading, ReadFuncLoading
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.pairing import open_pairs
from careamist.errors import DataError, SettingsError, SourceNotFoundError


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def write(folder, names, add=0, shape=(8, 9)):
    """Write files that are told apart by their pixels; return their paths."""
    paths = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        number = sum(map(ord, path.relative_to(folder).as_posix().partition("/")[2])) + add
        tifffile.imwrite(path, np.full(shape, number % 60_000, np.uint16))
        paths.append(path)
    return paths


def firsts(stacks):
    place = (0,) * (len(stacks[0].data_shape) - 2)
    return [float(s.extract_patch(0, None, place, (1,) * len(place)).flat[0]) for s in stacks]


def check(inputs, targets, **kwargs):
    """Open pairs of TIFFs; each target must be what its image is."""
    stacks, partners = open_pairs(inputs, targets, "tiff", "YX", **kwargs)
    assert firsts(stacks) == firsts(partners)
    assert len(stacks) == len(partners) > 0
    return [stack.source for stack in stacks], [stack.source for stack in partners]


NAMES = ["a.tif", "b.tif", "deep/a.tif", "deep/er/c.tif"]


def test_folders_are_paired_by_the_place_below_them(folder):
    write(folder, [f"noisy/{name}" for name in NAMES])
    write(folder, [f"clean/{name}" for name in NAMES])
    stacks, partners = check(folder / "noisy", str(folder / "clean"))
    assert [path.replace("noisy", "clean") for path in stacks] == partners


def test_endings_do_not_matter(folder):
    write(folder, ["noisy/a.b.tif", "noisy/c.TIF"], add=-sum(map(ord, ".tif")))
    for name in ("a.b.tiff", "c.tif"):
        write(folder, [f"clean/{name}"])
    stacks, partners = open_pairs(folder / "noisy", folder / "clean", "tiff", "YX")
    assert [s.source[-7:] for s in stacks] == ["a.b.tif", "y/c.TIF"]
    assert [s.source[-8:] for s in partners] == ["a.b.tiff", "an/c.tif"]


def test_lists_are_paired_by_name_in_whatever_order(folder):
    noisy = write(folder, ["noisy/a.tif", "noisy/b.tif", "noisy/c.tif"])
    clean = write(folder, ["clean/a.tif", "clean/b.tif", "clean/c.tif"])
    stacks, partners = check(noisy, [clean[i] for i in (2, 0, 1)])
    assert [path.replace("noisy", "clean") for path in stacks] == partners
    check(list(reversed(noisy)), folder / "clean")
    check(folder / "noisy", tuple(map(str, clean)))


def test_lists_are_paired_by_name_across_folders(folder):
    noisy = write(folder, ["x/a.tif", "y/b.tif"])
    clean = write(folder, ["z/b.tif", "z/a.tif"])
    check(noisy, clean)


def test_files_of_equal_names_are_told_apart_by_their_folders(folder):
    noisy = write(folder, ["noisy/1/img.tif", "noisy/2/img.tif"])
    clean = write(folder, ["clean/2/img.tif", "clean/1/img.tif"])
    check(noisy, clean)
    check([str(path) for path in noisy], [folder / "clean" / "1", folder / "clean" / "2"])


def test_equal_names_in_folders_of_other_names_are_paired_by_order(folder):
    noisy = write(folder, ["n1/img.tif", "n2/img.tif"])
    clean = write(folder, ["c1/img.tif", "c2/img.tif"])
    stacks, partners = open_pairs(noisy, clean, "tiff", "YX")
    assert [s.source for s in stacks] == [str(path) for path in noisy]
    assert [s.source for s in partners] == [str(path) for path in clean]


def test_lists_without_a_common_name_are_paired_by_order(folder):
    noisy = write(folder, ["low_b.tif", "low_a.tif"])
    clean = write(folder, ["high_1.tif", "high_2.tif"])
    _, partners = open_pairs(noisy, clean, "tiff", "YX")
    assert [s.source for s in partners] == [str(path) for path in clean]


def test_a_single_pair_needs_no_common_name(folder):
    (noisy,) = write(folder, ["n/low.tif"])
    (clean,) = write(folder, ["c/high.tif"])
    for inputs in (noisy, [noisy], folder / "n"):
        for targets in (str(clean), [clean], folder / "c"):
            _, (partner,) = open_pairs(inputs, targets, "tiff", "YX")
            assert partner.source == str(clean)


def test_what_has_no_partner_is_listed(folder):
    write(folder, ["noisy/a.tif", "noisy/b.tif", "noisy/deep/c.tif"])
    write(folder, ["clean/a.tif", "clean/deep/d.tif", "clean/c.tif"])
    with pytest.raises(DataError) as caught:
        open_pairs(folder / "noisy", folder / "clean", "tiff", "YX")
    assert caught.value.message.splitlines() == [
        "3 images and 3 targets cannot be paired by their names:",
        "  b: no target",
        "  deep/c: no target",
        "  c: no image",
        "  deep/d: no image",
    ]
    assert "Give each target the name of its image" in caught.value.hint


def test_a_long_table_is_cut(folder):
    noisy = write(folder, [f"noisy/{number:02}.tif" for number in range(30)])
    clean = write(folder, ["clean/00.tif"])
    with pytest.raises(DataError) as caught:
        open_pairs(noisy, clean, "tiff", "YX")
    lines = caught.value.message.splitlines()
    assert len(lines) == 12
    assert lines[1] == "  01: no target"
    assert lines[-1] == "  ... and 19 more"


def test_what_is_given_twice_is_told(folder):
    noisy = write(folder, ["noisy/a.tif", "noisy/b.tif"])
    clean = write(folder, ["clean/a.tif", "clean/b.tif"])
    with pytest.raises(DataError, match="a: given more than once"):
        open_pairs([*noisy, noisy[0]], clean, "tiff", "YX")
    with pytest.raises(DataError, match="b: more than one target"):
        open_pairs(noisy, [*clean, clean[1]], "tiff", "YX")


def test_a_folder_and_another_without_a_common_name_are_not_guessed(folder):
    write(folder, ["noisy/a.tif", "noisy/b.tif", "clean/c.tif", "clean/d.tif"])
    with pytest.raises(DataError, match="cannot be paired by their names"):
        open_pairs(folder / "noisy", folder / "clean", "tiff", "YX")


def test_a_missing_target_is_an_error(folder):
    noisy = write(folder, ["noisy/a.tif", "noisy/b.tif"])
    clean = write(folder, ["clean/a.tif"])
    with pytest.raises(SourceNotFoundError, match="gone"):
        open_pairs(noisy, [*clean, folder / "gone.tif"], "tiff", "YX")


def test_images_of_other_sizes_are_listed(folder):
    noisy = write(folder, ["noisy/a.tif", "noisy/b.tif", "noisy/c.tif"])
    write(folder, ["clean/a.tif"])
    (clean,) = write(folder, ["clean/b.tif"], shape=(8, 10))
    write(folder, ["clean/c.tif"], shape=(4, 4))
    with pytest.raises(DataError) as caught:
        open_pairs(folder / "noisy", folder / "clean", "tiff", "YX")
    first, second, third = caught.value.message.splitlines()
    assert first == "Images and their targets differ in samples or size (S(Z)YX):"
    assert second == f"  {noisy[1]}: (1, 8, 9) – {clean}: (1, 8, 10)"
    assert "(1, 4, 4)" in third
    assert "Crop" in caught.value.hint


# -- arrays and loaders ----------------------------------------------------------------------


def test_arrays_are_paired_by_order():
    images = [np.full((8, 9), n) for n in range(3)]
    stacks, partners = open_pairs(images, images, "array", "YX")
    assert firsts(stacks) == firsts(partners) == [0, 1, 2]
    (stack,), (partner,) = open_pairs(images[1], [images[1]], "array", "YX")
    assert firsts([stack]) == firsts([partner]) == [1]


def test_targets_may_have_other_axes_and_channels():
    stacks, partners = open_pairs(
        np.zeros((3, 8, 9)), np.zeros((8, 9, 2, 3)), "array", "TYX", "YXCT"
    )
    assert stacks[0].data_shape == (3, 1, 8, 9)
    assert partners[0].data_shape == (3, 2, 8, 9)
    with pytest.raises(DataError, match=r"\(3, 8, 9\) – array: \(2, 8, 9\)"):
        open_pairs(np.zeros((3, 8, 9)), np.zeros((2, 8, 9)), "array", "TYX")


def test_numbers_of_images_must_agree():
    with pytest.raises(DataError, match=r"images \(2\) and targets \(1\) differ in number"):
        open_pairs([np.zeros((8, 9))] * 2, np.zeros((8, 9)), "array", "YX")


def test_arrays_and_paths_do_not_go_together(folder):
    (path,) = write(folder, ["a.tif"])
    for inputs, targets in ((path, np.zeros((8, 9))), ([np.zeros((8, 9))], [path])):
        with pytest.raises(SettingsError, match="given in different ways"):
            open_pairs(inputs, targets, "tiff", "YX")


def test_files_of_ones_own_format_are_paired_by_name_too(folder):
    for kind in ("noisy", "clean"):
        (folder / kind).mkdir()
        for number, name in enumerate("abc"):
            np.save(folder / kind / f"{name}.npy", np.full((8, 9), number))
    loading = ReadFuncLoading(np.load, extension_filter="*.npy")
    clean = [folder / "clean" / f"{name}.npy" for name in "cab"]
    stacks, partners = open_pairs(folder / "noisy", clean, "custom", "YX", loading=loading)
    assert firsts(stacks) == firsts(partners) == [0, 1, 2]


def test_what_a_loader_makes_is_paired_by_name_else_by_order():
    images = {name: np.full((8, 9), number) for number, name in enumerate("abc")}

    def load(names, axes):
        return [ArrayStack(images[name[-1]], axes, f"{name[:-1]}#{name[-1]}") for name in names]

    loading = ImageStackLoading(load)
    given = (["xa", "xb", "xc"], ["yc", "ya", "yb"])
    stacks, partners = open_pairs(*given, "custom", "YX", loading=loading)
    # sources without a folder have no name in common: as they come
    assert firsts(stacks) == [0, 1, 2]
    assert firsts(partners) == [2, 0, 1]
    same = ImageStackLoading(lambda names, axes: [ArrayStack(images[n], axes, n) for n in names])
    stacks, partners = open_pairs("abc", "cab", "custom", "YX", loading=same)
    assert firsts(stacks) == firsts(partners) == [0, 1, 2]
    unnamed = ImageStackLoading(lambda names, axes: [ArrayStack(images[n], axes) for n in names])
    stacks, partners = open_pairs("abc", "abc", "custom", "YX", loading=unnamed)
    assert firsts(stacks) == firsts(partners) == [0, 1, 2]


# -- several images of one file ------------------------------------------------------------------


@pytest.fixture
def stores(folder):
    def make(name, arrays):
        group = zarr.create_group(folder / name)
        for array, number in arrays.items():
            group.create_array(array, data=np.full((8, 9), number))
        return folder / name

    return make


def test_arrays_of_a_store_are_paired_by_name(stores):
    noisy = stores("noisy.zarr", {"b": 1, "a": 0, "c": 2})
    clean = stores("clean.zarr", {"c": 2, "a": 0, "b": 1})
    stacks, partners = open_pairs(noisy, clean, "zarr", "YX")
    assert firsts(stacks) == firsts(partners) == [0, 1, 2]


def test_arrays_of_a_store_without_a_common_name_are_paired_by_order(stores):
    noisy = stores("noisy.zarr", {"noisy_1": 1, "noisy_2": 2})
    clean = stores("clean.zarr", {"clean_1": 1, "clean_2": 2})
    stacks, partners = open_pairs(noisy, clean, "zarr", "YX")
    assert firsts(stacks) == firsts(partners) == [1, 2]


def test_stores_of_other_contents_are_refused(stores):
    noisy = stores("noisy.zarr", {"a": 0, "b": 1, "c": 2})
    with pytest.raises(DataError, match=r"c: no target\n  d: no image"):
        open_pairs(noisy, stores("clean.zarr", {"a": 0, "b": 1, "d": 3}), "zarr", "YX")
    with pytest.raises(DataError, match=r"\(3\) and .* \(1\) differ in number"):
        open_pairs(noisy, stores("other.zarr", {"a": 0}), "zarr", "YX")


def test_uris_of_arrays_are_paired_by_name(stores):
    noisy, clean = (stores(name, {"x": 1, "y": 2}) for name in ("n.zarr", "c.zarr"))
    stacks, partners = open_pairs(
        [f"file://{noisy}/{name}" for name in "xy"],
        [f"file://{clean}/{name}" for name in "yx"],
        "zarr",
        "YX",
    )
    assert firsts(stacks) == firsts(partners) == [1, 2]


def test_arrays_of_one_name_are_told_apart_by_their_stores(stores):
    noisy = [f"file://{stores(f'noisy/{n}.zarr', {'0': n})}/0" for n in (1, 2)]
    clean = [f"file://{stores(f'clean/{n}.zarr', {'0': n})}/0" for n in (2, 1)]
    stacks, partners = open_pairs(noisy, clean, "zarr", "YX")
    assert firsts(stacks) == firsts(partners) == [1, 2]


def test_numbers_are_no_endings(stores):
    noisy, clean = (stores(name, {"t.1": 1, "t.2": 2}) for name in ("n.zarr", "c.zarr"))
    stacks, partners = open_pairs(
        [f"file://{noisy}/t.{n}" for n in (1, 2)],
        [f"file://{clean}/t.{n}" for n in (2, 1)],
        "zarr",
        "YX",
    )
    assert firsts(stacks) == firsts(partners) == [1, 2]


def test_scenes_of_a_czi_are_told_apart(folder):
    from pylibCZIrw.czi import create_czi

    for name in ("noisy", "clean"):
        (folder / name).mkdir()
        with create_czi(str(folder / name / "a.czi")) as file:
            for scene in range(2):
                plane = np.full((8, 9), scene + 1, np.uint8)
                file.write(plane, (100 * scene, 0), {"C": 0}, scene=scene)
    noisy, clean = (
        [folder / name / f"a.czi@{n}" for n in order]
        for name, order in (("noisy", (1, 0)), ("clean", (0, 1)))
    )
    stacks, partners = open_pairs(noisy, clean, "czi", "SCYX")
    assert firsts(stacks) == firsts(partners) == [2, 1]
    stacks, partners = open_pairs(folder / "noisy", folder / "clean" / "a.czi", "czi", "SCYX")
    assert firsts(stacks) == firsts(partners) == [1, 2]
