from __future__ import annotations

import http.server
import json
import pickle
import threading

import numpy as np
import pytest
import zarr

from careamist.dataset.image_stack import ome_zarr
from careamist.dataset.image_stack.protocol import ImageInfo
from careamist.dataset.image_stack.zarr import inspect, list_images, load
from careamist.errors import DataError, SourceNotFoundError, UnreadableError

PIXELS = np.random.default_rng(0).integers(1, 4000, (2, 3, 4, 32, 48)).astype(np.uint16)
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
MICROSCOPE = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


def axes_of(names, units=MICROSCOPE):
    axes = [{"name": name, "type": TYPES[name]} for name in names]
    return [
        {**axis, "unit": units[axis["name"]]} if axis["name"] in units else axis for axis in axes
    ]


def entry_of(axes, scales, paths=None):
    """An entry of `multiscales`: one scale, or list of transformations, per level."""
    return {
        "axes": axes,
        "datasets": [
            {
                "path": str(number) if paths is None else paths[number],
                "coordinateTransformations": scale
                if scale and isinstance(scale[0], dict)
                else [{"type": "scale", "scale": scale}],
            }
            for number, scale in enumerate(scales)
        ],
    }


def attributes_of(entry, version, **others):
    if version == "0.5":
        return {"ome": {"version": version, "multiscales": [entry], **others}}
    return {"multiscales": [{"version": version, **entry}], **others}


def write_image(path, version="0.5", pixels=PIXELS, n_levels=3, entry=None, **others):
    """Write a pyramid; the axes are the last of tczyx."""
    group = zarr.open_group(path, mode="a", zarr_format=3 if version == "0.5" else 2)
    for level in range(n_levels):
        step = 2**level
        group.create_array(str(level), data=pixels[..., ::step, ::step])
    names = "tczyx"[-pixels.ndim :]
    size = {"t": 10.0, "c": 1.0, "z": 0.5, "y": 0.1, "x": 0.1}
    scales = [
        [size[name] * (2**level if name in "yx" else 1) for name in names]
        for level in range(n_levels)
    ]
    group.attrs.update(attributes_of(entry or entry_of(axes_of(names), scales), version, **others))
    return group


def read(stack):
    spatial = stack.data_shape[2:]
    return stack.extract_block(range(stack.data_shape[0]), (0,) * len(spatial), spatial)


def names_below(infos, path):
    return [info.source.removeprefix(f"file://{path}/") for info in infos]


# images


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_finest_level_with_its_axes_and_sizes(tmp_path, version):
    path = tmp_path / "x.ome.zarr"
    group = write_image(path, version, omero={"channels": [{"label": n} for n in ("a", "b", "µ")]})
    for source in (path, str(group.store_path), path / "0", str(group["0"].store_path)):
        (info,) = inspect(source)
        assert info.source == str(group["0"].store_path)
        assert (info.axes, info.shape) == ("TCZYX", PIXELS.shape)
        assert info.pixel_size == {"T": 10.0, "Z": 0.5, "Y": 0.1, "X": 0.1}
        assert info.units == {"T": "s", "Z": "µm", "Y": "µm", "X": "µm"}
        assert info.channel_names == ("a", "b", "µ")
        assert (info.level, info.n_levels, info.warnings) == (0, 3, ())
    (stack,) = load(path, "TCZYX")
    np.testing.assert_array_equal(read(stack), PIXELS)
    np.testing.assert_array_equal(read(pickle.loads(pickle.dumps(stack))), PIXELS)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_another_level_is_taken_with_a_warning(tmp_path, version):
    group = write_image(tmp_path / "x.zarr", version)
    for source in (tmp_path / "x.zarr" / "2", str(group["2"].store_path)):
        (info,) = inspect(source)
        assert (info.source, info.level, info.shape[-2:]) == (
            str(group["2"].store_path),
            2,
            (8, 12),
        )
        assert info.pixel_size == {"T": 10.0, "Z": 0.5, "Y": 0.4, "X": 0.4}
        (warning,) = info.warnings
        assert "level 2 of a pyramid of 3" in warning
        assert "Noise2Void" in warning


def test_all_levels_can_be_chosen(tmp_path):
    zarr.open_group(tmp_path / "x.zarr", mode="w")
    write_image(tmp_path / "x.zarr" / "series" / "image")
    infos = list_images(tmp_path / "x.zarr")
    assert [info.level for info in infos] == [0, 1, 2]
    assert names_below(infos, tmp_path / "x.zarr/series/image") == ["0", "1", "2"]


def test_an_image_inside_a_group_of_a_plain_store(tmp_path):
    zarr.open_group(tmp_path / "x.zarr", mode="w")
    write_image(tmp_path / "x.zarr" / "a", n_levels=2)
    with pytest.raises(SourceNotFoundError) as caught:
        inspect(tmp_path / "x.zarr")
    assert f"file://{tmp_path}/x.zarr/a" in caught.value.hint
    (info,) = inspect(tmp_path / "x.zarr" / "a")
    assert (info.axes, info.n_levels) == ("TCZYX", 2)


def test_levels_in_folders_of_their_own(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("full/image", data=PIXELS[0, 0, 0])
    group.create_array("half/image", data=PIXELS[0, 0, 0, ::2, ::2])
    scales = [[0.1, 0.1], [0.2, 0.2]]
    entry = entry_of(axes_of("yx"), scales, ["full/image", "./half/image"])
    group.attrs.update(attributes_of(entry, "0.5"))
    assert names_below(inspect(tmp_path / "x.zarr"), tmp_path) == ["x.zarr/full/image"]
    (info,) = inspect(tmp_path / "x.zarr" / "full" / "image")
    assert (info.axes, info.pixel_size) == ("YX", {"Y": 0.1, "X": 0.1})


def test_scales_of_the_image_and_of_the_level_are_multiplied(tmp_path):
    scaled = [{"type": "scale", "scale": [1, 0.5]}, {"type": "translation", "translation": [3, 3]}]
    entry = entry_of(axes_of("yx", {"y": "nanometer", "x": "Micrometer"}), [scaled])
    entry["coordinateTransformations"] = [{"type": "scale", "scale": [200.0, 0.4]}]
    write_image(tmp_path / "x.zarr", pixels=PIXELS[0, 0, 0], n_levels=1, entry=entry)
    (info,) = inspect(tmp_path / "x.zarr")
    assert info.pixel_size == {"Y": 200.0, "X": 0.2}
    assert info.units == {"Y": "nm", "X": "µm"}


@pytest.mark.parametrize(
    "scales",
    [
        [[1, 1]],  # without a unit this says nothing
        [[]],
        [[0.5]],
        [[0.5, 0.5, 0.5]],
        [["a", None]],
        [[0, -1]],
        [[float("inf"), float("nan")]],
        [[{"type": "affine"}]],
    ],
)
def test_scales_that_say_nothing(tmp_path, scales):
    entry = entry_of(axes_of("yx", {}), scales)
    write_image(tmp_path / "x.zarr", pixels=PIXELS[0, 0, 0], n_levels=1, entry=entry)
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.axes, info.pixel_size, info.units, info.warnings) == ("YX", {}, {}, ())


def test_a_size_without_a_unit_still_gives_the_ratio(tmp_path):
    entry = entry_of(axes_of("zyx", {}), [[3, 1, 1]])
    write_image(tmp_path / "x.zarr", pixels=PIXELS[0, 0], n_levels=1, entry=entry)
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.pixel_size, info.units) == ({"Z": 3.0}, {})


@pytest.mark.parametrize(
    "omero",
    [
        None,
        [],
        {},
        {"channels": 3},
        {"channels": [{"label": "one of three"}]},
        {"channels": [{}] * 3},
    ],
)
def test_channel_names_that_do_not_fit_are_left_out(tmp_path, omero):
    write_image(tmp_path / "x.zarr", n_levels=1, omero=omero)
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.channel_names, info.axes) == ((), "TCZYX")


# older and newer versions, and files that break the rules


@pytest.mark.parametrize("version", ["0.1", "0.2", None])
def test_versions_without_axes_are_tczyx(tmp_path, version):
    entry = {"datasets": [{"path": "0"}, {"path": "1"}]}
    if version is not None:
        entry["version"] = version
    group = write_image(tmp_path / "x.zarr", "0.2", n_levels=2)
    group.attrs["multiscales"] = [entry]
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.axes, info.pixel_size, info.warnings) == ("TCZYX", {}, ())
    assert inspect(tmp_path / "x.zarr" / "1")[0].level == 1


def test_version_03_names_axes_only(tmp_path):
    entry = {"version": "0.3", "axes": ["c", "y", "x"], "datasets": [{"path": "0"}]}
    write_image(tmp_path / "x.zarr", "0.3", PIXELS[0, :, 0], 1, entry)
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.axes, info.pixel_size, info.warnings) == ("CYX", {}, ())


ODD = {
    "wrong order": (axes_of("xyz"), "order x, y, z"),
    "channel first": (axes_of("cty"), "not those of an image"),
    "unknown type": ([{"name": "a", "type": "angle"}, *axes_of("yx")], "axis a of type angle"),
    "unknown name": (["q", "y", "x"], "axis q, which"),
    "unknown space": ([{"name": "k", "type": "space"}, *axes_of("yx")], "axis k of type space"),
    "twice": (axes_of("yyx"), "not those of an image"),
    "too few": (axes_of("yx"), "3 dimensions"),
    "too many": (axes_of("tzyx"), "3 dimensions"),
    "none": (None, "has no axes"),
    "not a list": ("zyx", "has no axes"),
    "no names": ([{}, {}, {}], "axis None, which"),
}


@pytest.mark.parametrize(("axes", "said"), ODD.values(), ids=ODD)
def test_odd_axes_are_told_and_not_followed(tmp_path, axes, said):
    entry = {**entry_of([], [[2, 2, 2]]), "axes": axes}
    write_image(tmp_path / "x.zarr", "0.4", PIXELS[0, 0], 1, entry)
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.axes, info.pixel_size) == (None, {})
    assert info.warnings[0].startswith("The OME metadata ")
    assert said in info.warnings[0]
    (stack,) = load(tmp_path / "x.zarr", "ZYX")
    np.testing.assert_array_equal(read(stack)[0, 0], PIXELS[0, 0])


def test_axes_of_other_types_that_are_known():
    for axes, expected in (
        ([{"name": "Frame", "type": "time"}, "y", "x"], "TYX"),
        ([{"name": "wavelength", "type": "channel"}, "y", "x"], "CYX"),
        ([{"name": "s", "type": "sample"}, "y", "x"], "SYX"),
        (["time", "Y", "X"], "TYX"),
    ):
        (pyramid,) = ome_zarr.pyramids(attributes_of(entry_of(axes, [[1, 1, 1]]), "0.5"))
        info = ImageInfo("x", (2, 3, 4), np.dtype("u1"))
        assert pyramid.describe(info, 0).axes == expected


def test_version_06_is_read_without_axes(tmp_path):
    group = write_image(tmp_path / "x.zarr", n_levels=1)
    entry = {
        "coordinateSystems": [{"name": "physical", "axes": axes_of("tczyx")}],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale"}]}],
    }
    group.attrs["ome"] = {"version": "0.6.dev2", "multiscales": [entry]}
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.axes, info.pixel_size) == (None, {})
    assert "0.6.dev2" in info.warnings[0]


@pytest.mark.parametrize(
    "multiscales", [None, [], {}, [None], [{}], [{"datasets": []}], [{"datasets": [{"path": 3}]}]]
)
def test_an_image_without_levels_is_refused_but_its_arrays_are_not(tmp_path, multiscales):
    group = write_image(tmp_path / "x.zarr")
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    with pytest.raises(UnreadableError, match="names none of its levels") as caught:
        inspect(tmp_path / "x.zarr")
    assert str(group["0"].store_path) in caught.value.hint
    assert len(inspect(tmp_path / "x.zarr" / "0")) == 1
    assert len(list_images(tmp_path / "x.zarr")) == 3


@pytest.mark.parametrize("path", ["3", "..", "../y", "/etc", "."])
def test_a_level_that_is_not_there(tmp_path, path):
    entry = entry_of(axes_of("yx"), [[1, 1]], [path])
    write_image(tmp_path / "x.zarr", pixels=PIXELS[0, 0, 0], n_levels=1, entry=entry)
    with pytest.raises(UnreadableError, match=r"x\.zarr"):
        inspect(tmp_path / "x.zarr")


def test_a_level_outside_of_the_image_is_not_opened(tmp_path):
    zarr.create_array(tmp_path / "secret.zarr", data=PIXELS[0, 0, 0])
    entry = entry_of(axes_of("yx"), [[1, 1]], ["../secret.zarr"])
    write_image(tmp_path / "x.zarr", pixels=PIXELS[0, 0, 0], n_levels=1, entry=entry)
    with pytest.raises(UnreadableError, match="outside of it"):
        inspect(tmp_path / "x.zarr")


def test_attributes_that_are_no_dict(tmp_path):
    group = write_image(tmp_path / "x.zarr", n_levels=1)
    group.attrs["ome"] = [1, 2]
    assert len(inspect(tmp_path / "x.zarr")) == 1  # a plain group, then
    file = tmp_path / "x.zarr" / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attributes": 3}))
    assert len(inspect(tmp_path / "x.zarr")) == 1


def test_attributes_without_the_key_of_a_group(tmp_path):
    write_image(tmp_path / "x.zarr", "0.4", n_levels=1)
    (tmp_path / "x.zarr" / ".zgroup").unlink()
    (info,) = inspect(tmp_path / "x.zarr")
    assert (info.axes, info.pixel_size["Z"]) == ("TCZYX", 0.5)


def test_several_images_in_one_group(tmp_path):
    group = write_image(tmp_path / "x.zarr", n_levels=1, pixels=PIXELS[0, 0, 0])
    group.create_array("other", data=PIXELS[0, 0, 0])
    entry = entry_of(axes_of("yx"), [[1, 1]])
    other = entry_of(axes_of("yx"), [[3, 3]], ["other"])
    group.attrs["ome"] = {"version": "0.5", "multiscales": [entry, other]}
    infos = inspect(tmp_path / "x.zarr")
    assert names_below(infos, tmp_path / "x.zarr") == ["0", "other"]
    assert infos[1].pixel_size == {"Y": 3.0, "X": 3.0}


# labels


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_no_images(tmp_path, version):
    path = tmp_path / "x.zarr"
    write_image(path, version)
    labels = {"labels": ["cells"]}
    group = zarr.open_group(path / "labels", mode="a", zarr_format=3 if version == "0.5" else 2)
    group.attrs.update({"ome": labels} if version == "0.5" else labels)
    write_image(path / "labels" / "cells", version, **{"image-label": {}})
    write_image(path / "labels" / "unmarked", version)
    assert names_below(inspect(path), path) == ["0"]
    assert names_below(list_images(path), path) == ["0", "1", "2"]
    assert list_images(path / "labels") == []
    with pytest.raises(SourceNotFoundError):
        inspect(path / "labels")
    (info,) = inspect(path / "labels" / "cells")
    assert info.warnings == ("These are labels of objects, not intensities.",)


# plates and series


def write_plate(path, version):
    zarr_format = 3 if version == "0.5" else 2
    plate = zarr.open_group(path, mode="w", zarr_format=zarr_format)

    def put(group, attributes):
        group.attrs.update({"ome": attributes} if version == "0.5" else attributes)

    put(plate, {"plate": {"wells": [{"path": f"A/{n}"} for n in (10, 2, 1)]}})
    for well in ("A/1", "A/2", "A/10"):
        group = plate.create_group(well)
        put(group, {"well": {"images": [{"path": "1"}, {"path": "0"}]}})
        for field in ("0", "1"):
            pixels = PIXELS[0, 0, 0] + len(well) + int(field)
            write_image(path / well / field, version, pixels, n_levels=2)
    return plate


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_plates(tmp_path, version):
    path = tmp_path / "plate.zarr"
    plate = write_plate(path, version)
    expected = [f"A/{well}/{field}/0" for well in (1, 2, 10) for field in (0, 1)]
    infos = inspect(path)
    assert names_below(infos, path) == expected
    assert {(info.axes, info.level, info.pixel_size["Y"]) for info in infos} == {("YX", 0, 0.1)}
    assert names_below(inspect(path / "A" / "2"), path) == expected[2:4]
    assert names_below(inspect(str(plate["A/10/1"].store_path)), path) == expected[5:]
    assert len(list_images(path)) == 12
    assert [stack.source for stack in load(path, "YX")] == [info.source for info in infos]
    with pytest.raises(SourceNotFoundError) as caught:
        inspect(path / "A")
    assert str(plate["A/2"].store_path) in caught.value.hint


def test_a_plate_of_which_a_part_was_copied(tmp_path):
    plate = write_plate(tmp_path / "plate.zarr", "0.4")
    del plate["A/2"]
    infos = inspect(tmp_path / "plate.zarr")
    assert len(infos) == 4
    assert "1 of 3 groups with images" in infos[0].warnings[0]
    assert not any(info.warnings for info in infos[1:])
    del plate["A"]
    with pytest.raises(SourceNotFoundError, match="3 groups with images, but none"):
        inspect(tmp_path / "plate.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("named", [["1", "0"], None])
def test_series_of_bioformats2raw(tmp_path, version, named):
    path = tmp_path / "x.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update({"ome": layout} if version == "0.5" else layout)
    around = root.create_group("OME")
    if named is not None:
        around.attrs.update({"ome": {"series": named}} if version == "0.5" else {"series": named})
    for number in ("0", "1"):
        write_image(path / number, version, n_levels=2)
    expected = [f"{number}/0" for number in named or ["0", "1"]]
    assert names_below(inspect(path), path) == expected
    assert names_below(inspect(path / "1"), path) == ["1/0"]
    assert len(list_images(path)) == 4


# on a web server, which does not list folders


class Handler(http.server.SimpleHTTPRequestHandler):
    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Handler(*args, directory=tmp_path)
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_metadata_stand_for_a_listing(server, tmp_path, version):
    write_plate(tmp_path / "plate.zarr", version)
    url = f"{server}/plate.zarr"
    infos = inspect(url)
    assert [info.source for info in infos][-1] == f"{url}/A/10/1/0"
    assert len(infos) == 6
    assert len(list_images(f"{url}/A/1")) == 4
    (info,) = inspect(f"{url}/A/1/0/1")
    assert (info.level, info.axes) == (1, "YX")
    (stack,) = load(f"{url}/A/1/0", "YX")
    np.testing.assert_array_equal(read(stack)[0, 0], PIXELS[0, 0, 0] + 3)


def test_series_on_a_web_server(server, tmp_path):
    root = zarr.open_group(tmp_path / "x.zarr", mode="w")
    root.attrs["ome"] = {"bioformats2raw.layout": 3}
    for number in ("0", "1", "2"):
        write_image(tmp_path / "x.zarr" / number, n_levels=1, pixels=PIXELS[0, 0, 0])
    assert len(inspect(f"{server}/x.zarr")) == 3


def test_pixels_of_a_pyramid_must_be_numbers(tmp_path):
    write_image(tmp_path / "x.zarr", n_levels=1)
    file = tmp_path / "x.zarr" / "0" / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "data_type": "string"}))
    with pytest.raises(DataError, match=r"x\.zarr/0 holds 'string'"):
        inspect(tmp_path / "x.zarr")
    assert list_images(tmp_path / "x.zarr") == []
