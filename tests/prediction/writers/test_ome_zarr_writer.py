"""OME-Zarr: valid metadata at any time, levels that lie where they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaozarrs
import zarr
from written import RECIPE, mixed, nothing, output_of, pixels_of, write

from careamist.dataset.image_stack.zarr import inspect, list_images
from careamist.errors import SettingsError, UnreadableError
from careamist.prediction.writers import levels, ome_zarr


def written(path, image, axes, **settings):
    """Write a whole result; return its metadata."""
    output = output_of(image, axes, **settings)
    file = ome_zarr.create(path, output)
    write(file, output, image, mixed(output))
    file.complete(nothing)
    return metadata(path)


def metadata(path):
    return zarr.open_group(path, mode="r").attrs["ome"]


def level(path, number):
    return zarr.open_array(path / str(number), mode="r")


def smooth(shape):
    """Three waves, so that a shift of half a pixel is seen."""
    grids = np.meshgrid(*(np.linspace(0, 6, n) for n in shape), indexing="ij")
    return sum(np.sin(grid) for grid in grids).astype(np.float32) * 100 + 400


def validated(path):
    """Check a store against the specification, the arrays included."""
    group = zarr.open_group(path, mode="r")
    yaozarrs.validate_zarr_store(str(path))
    return yaozarrs.v05.Image.model_validate(group.attrs["ome"])


@pytest.mark.parametrize(
    ("axes", "stored"),
    [
        ("YX", "yx"),
        ("XY", "yx"),
        ("TYX", "tyx"),
        ("YXC", "cyx"),
        ("STYX", "tsyx"),
        ("XZY", "zyx"),
        ("CZTXY", "tczyx"),
    ],
)
def test_what_is_written_is_valid_from_the_first_moment(tmp_path, axes, stored):
    sizes = {"S": 2, "T": 3, "C": 2, "Z": 4, "Y": 30, "X": 40}
    image = pixels_of([sizes[axis] for axis in axes])
    output = output_of(image, axes)
    file = ome_zarr.create(tmp_path / "image", output)
    begun = validated(tmp_path / "image")
    write(file, output, image, mixed(output))
    file.complete(nothing)
    for found in (begun, validated(tmp_path / "image")):
        (multiscale,) = found.multiscales
        assert "".join(axis.name for axis in multiscale.axes) == stored
    assert level(tmp_path / "image", 0).metadata.dimension_names == tuple(stored)
    kinds = {
        axis.get("name"): axis.get("type")
        for axis in metadata(tmp_path / "image")["multiscales"][0]["axes"]
    }
    assert kinds.get("t", "time") == "time"
    assert kinds.get("c", "channel") == "channel"
    assert {kinds[name] for name in stored if name in "zyx"} == {"space"}
    assert kinds.get("s") is None


def test_samples_and_channels_have_no_place(tmp_path):
    output = output_of(pixels_of((2, 3, 30, 40)), "SCYX")
    with pytest.raises(SettingsError, match="write_type='zarr'"):
        ome_zarr.create(tmp_path / "image", output)
    assert not (tmp_path / "image").exists()


def test_each_pixel_of_a_level_lies_where_its_pixels_are(tmp_path):
    image = smooth((1400, 1100))
    ome = written(tmp_path / "image", image, "YX", tile=300)
    datasets = ome["multiscales"][0]["datasets"]
    assert [entry["path"] for entry in datasets] == ["0", "1", "2"]
    waves = np.arange(1400) * 0.25, np.arange(1100) * 0.25
    for entry in datasets:
        pixels = level(tmp_path / "image", entry["path"])[...]
        kinds = {t["type"]: t[t["type"]] for t in entry["coordinateTransformations"]}
        offset = kinds.get("translation", [0.0, 0.0])
        y, x = (
            start + size * np.arange(n)
            for start, size, n in zip(offset, kinds["scale"], pixels.shape, strict=True)
        )
        expected = np.interp(y, waves[0], image[:, 0])[:, None]
        expected = expected + np.interp(x, waves[1], image[0])[None] - image[0, 0]
        assert np.abs(pixels - expected).max() < 0.02  # a shift by half a pixel would be 0.2
        assert kinds["scale"] == [0.25 * 2 ** int(entry["path"])] * 2
    assert max(pixels.shape) <= 512


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "uint16", "bool", "int64"])
def test_levels_are_means_rounded(tmp_path, dtype):
    image = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 200, (601, 530))
    image = image.astype(dtype)
    written(tmp_path / "image", image, "YX", tile=128)
    found = level(tmp_path / "image", 1)
    padded = np.pad(image, ((0, 1), (0, 0)), mode="edge").astype(float)
    means = padded.reshape(301, 2, 265, 2).mean((1, 3))
    if np.dtype(dtype).kind == "b":
        means = means >= 0.5
    elif np.dtype(dtype).kind != "f":
        means = np.rint(means)
    np.testing.assert_allclose(found[...], means, rtol=1e-3 if dtype == "float16" else 1e-6)
    assert found.dtype == image.dtype
    assert not (tmp_path / "image" / "2").exists()


def test_integers_at_the_ends_of_their_range_stay_there(tmp_path):
    top = np.iinfo(np.uint32).max
    image = np.full((600, 520), top, np.uint32)
    image[:, 260:] = 0
    written(tmp_path / "image", image, "YX", tile=None)
    found = level(tmp_path / "image", 1)[...]
    assert set(np.unique(found)) == {0, top}


def test_a_pixel_that_is_no_number_makes_only_those_above_it_none(tmp_path):
    image = np.ones((600, 520), np.float32)
    image[7, 9], image[300, 300], image[300, 301] = np.nan, np.inf, -np.inf
    written(tmp_path / "image", image, "YX", tile=None)
    found = level(tmp_path / "image", 1)[...]
    assert np.argwhere(np.isnan(found)).tolist() == [[3, 4], [150, 150]]
    assert (found[~np.isnan(found)] == 1).all()


@pytest.mark.parametrize(
    ("z", "expected"),
    [(2.0, [1, 1, 1]), (1.0, [1, 1, 2]), (0.25, [2, 2, 2]), (0.3, [2, 2, 2]), (None, [1, 1, 1])],
)
def test_z_is_halved_only_where_that_makes_voxels_cubes(z, expected):
    sizes = {"Y": 0.25, "X": 0.25} | ({} if z is None else {"Z": z})
    found = levels.steps({"T": 3, "Z": 40, "Y": 4096, "X": 1000}, sizes)
    assert [step["Z"] for step in found] == expected[: len(found)]
    assert [step["Y"] for step in found] == [2, 2, 2]
    assert all(step["T"] == 1 for step in found)


def test_a_single_pixel_is_not_halved():
    assert levels.steps({"Y": 1, "X": 2000}, {}) == [{"Y": 1, "X": 2}] * 2


@pytest.mark.parametrize(
    ("axes", "shape", "tile"),
    [("ZYX", (9, 600, 530), 64), ("CYX", (2, 700, 1030), 300), ("TXY", (2, 530, 700), None)],
)
def test_levels_of_stacks_are_means_too(tmp_path, axes, shape, tile):
    image = pixels_of(shape, "float64")
    ome = written(tmp_path / "image", image, axes, tile=tile)
    steps = ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"]
    base = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    order = [axes.index(axis["name"].upper()) for axis in ome["multiscales"][0]["axes"]]
    expected = image.transpose(order)
    for axis, (coarse, fine) in enumerate(zip(steps, base, strict=True)):
        if coarse == 2 * fine:
            ends = [(0, expected.shape[axis] % 2 if n == axis else 0) for n in range(3)]
            even = np.pad(expected, ends, mode="edge")
            expected = (
                even.take(range(0, even.shape[axis], 2), axis)
                + even.take(range(1, even.shape[axis], 2), axis)
            ) / 2
    np.testing.assert_allclose(level(tmp_path / "image", 1)[...], expected)


def test_memory_is_that_of_a_few_chunks(tmp_path):
    """Parts of a level are read once, each no larger than a block."""
    image = np.zeros((3000, 2000), np.uint8)
    output = output_of(image, "YX", tile=300)
    file = ome_zarr.create(tmp_path / "image", output)
    write(file, output, image, mixed(output))
    base = zarr.open_array(tmp_path / "image" / "0", mode="r")

    class Counted:
        def __init__(self):
            self.count, self.largest = np.zeros(base.shape, int), 0

        def __getattr__(self, name):
            return getattr(base, name)

        def __getitem__(self, box):
            self.count[box] += 1
            pixels = base[box]
            self.largest = max(self.largest, pixels.size)
            return pixels

    counted = Counted()
    calls = []
    levels.add_level(
        counted, tmp_path / "x", "YX", {"Y": 2, "X": 2}, output, lambda: calls.append(1)
    )
    assert (counted.count == 1).all()
    assert counted.largest <= 512**2
    assert len(calls) > 10


def test_completing_makes_all_levels_anew(tmp_path):
    def stop_after(n):
        left = iter(range(n))

        def check():
            if next(left, None) is None:
                raise KeyError

        return check

    image = smooth((1100, 700))
    output = output_of(image, "YX", tile=256)
    file = ome_zarr.create(tmp_path / "image", output)
    write(file, output, image, mixed(output))
    for n in (0, 2, 5, 7):
        with pytest.raises(KeyError):
            ome_zarr.reopen(tmp_path / "image", output).complete(stop_after(n))
        assert len(metadata(tmp_path / "image")["multiscales"][0]["datasets"]) == 1
        validated(tmp_path / "image")
    ome_zarr.reopen(tmp_path / "image", output).complete(nothing)
    written(tmp_path / "undisturbed", image, "YX", tile=256)
    for number in range(3):
        np.testing.assert_array_equal(
            level(tmp_path / "image", number)[...], level(tmp_path / "undisturbed", number)[...]
        )


def test_channels_have_names_colours_and_ranges(tmp_path):
    image = np.stack([smooth((600, 520)), 2 * smooth((600, 520))])
    image[0, 300, 300] = 1e6  # a hot pixel
    ome = written(tmp_path / "image", image, "CYX", channel_names=("actin", "nuclei"), tile=None)
    first, second = ome["omero"]["channels"]
    assert (first["label"], second["label"]) == ("actin", "nuclei")
    assert first["color"] != second["color"]
    assert first["window"]["end"] < 1000  # which does not make all others dark
    assert second["window"]["start"] == pytest.approx(2 * image[0].min(), rel=0.05)
    (info,) = inspect(tmp_path / "image")
    assert info.channel_names == ("actin", "nuclei")
    validated(tmp_path / "image")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_a_constant_image_has_a_range(tmp_path, dtype):
    window = written(tmp_path / "image", np.ones((30, 40), dtype), "YX")["omero"]["channels"][0][
        "window"
    ]
    assert window["start"] < window["end"] <= window["max"]
    assert window["max"] == (255 if dtype == "uint8" else window["end"])


def test_an_image_of_nothing_has_a_range(tmp_path):
    ome = written(tmp_path / "image", np.full((30, 40), np.nan, np.float32), "YX")
    assert ome["omero"]["channels"][0]["window"]["end"] == 1


def test_units_are_spelt_out(tmp_path):
    image = pixels_of((2, 4, 30, 40))
    axes = written(tmp_path / "image", image, "TZYX")["multiscales"][0]["axes"]
    assert [axis.get("unit") for axis in axes] == ["second"] + ["micrometer"] * 3
    axes = written(tmp_path / "none", image, "TZYX", pixel_size=False)["multiscales"][0]["axes"]
    assert [axis.get("unit") for axis in axes] == [None] * 4
    (info,) = inspect(tmp_path / "none")
    assert not info.pixel_size


def test_a_unit_that_is_not_known_is_kept(tmp_path):
    output = output_of(pixels_of((30, 40)), "YX")
    output.stack.info = replace(output.info, units={"Y": "furlong", "X": "furlong"})
    ome_zarr.create(tmp_path / "image", output)
    assert inspect(tmp_path / "image")[0].units == {"Y": "furlong", "X": "furlong"}


def test_the_recipe_is_kept(tmp_path):
    written(tmp_path / "image", pixels_of((30, 40)), "YX")
    assert zarr.open_group(tmp_path / "image", mode="r").attrs["careamist"] == RECIPE


def test_our_reader_lists_the_levels(tmp_path):
    written(tmp_path / "image", smooth((1100, 700)), "YX", tile=256)
    found = list_images(tmp_path / "image")
    assert [(info.level, info.n_levels) for info in found] == [(0, 3), (1, 3), (2, 3)]
    assert [info.pixel_size["Y"] for info in found] == [0.25, 0.5, 1.0]


def test_a_broken_group_is_told(tmp_path):
    output = output_of(pixels_of((30, 40)), "YX")
    ome_zarr.create(tmp_path / "image", output)
    (tmp_path / "image" / "zarr.json").write_text("{")
    with pytest.raises(UnreadableError, match="Remove it"):
        ome_zarr.reopen(tmp_path / "image", output)
