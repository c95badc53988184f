"""Files of every format in the picker: read in the background, parts, depth, what to mind."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QLabel

from careamist.errors import SettingsError, UnreadableError
from careamist.gui.data.about import NOTHING, AboutImage
from careamist.gui.data.data_picker import COARSE, READING, DataPicker
from careamist.gui.data.data_source import SourceInfo, layer_info
from careamist.gui.data.latest import Latest
from careamist.gui.data.path_info import inspect_path
from careamist.gui.forms.rows import Combo
from careamist.gui.parts.notes import Notices

pytestmark = pytest.mark.gui
create_czi = pytest.importorskip("pylibCZIrw.czi").create_czi


def noise(*shape: int, dtype: str = "uint16") -> Any:
    return np.random.default_rng(list(shape)).poisson(100, shape).astype(dtype)


def settle(part: Any) -> None:
    deadline = time.monotonic() + 20
    while part.is_busy if isinstance(part, Latest) else part.isReading():
        assert time.monotonic() < deadline
        QApplication.processEvents()
        time.sleep(0.002)


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any) -> Any:
    return make_napari_viewer_proxy()


@pytest.fixture
def picker(viewer: Any, qtbot: Any) -> DataPicker:
    made = DataPicker(viewer, inspect=inspect_path)
    qtbot.addWidget(made)
    made.show()
    return made


def choose(picker: DataPicker, path: Any) -> None:
    picker.setPath(str(path))
    settle(picker)


def write_czi(path: Path, *scenes: Any) -> Path:
    """Write scenes in TZYX."""
    with create_czi(str(path)) as file:
        for scene, image in enumerate(scenes):
            for t, z in np.ndindex(image.shape[:2]):
                file.write(image[t, z], (scene * 500, 0), {"T": t, "Z": z}, scene=scene)
    return path


def write_pyramid(path: Path) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    datasets = []
    for level, size in enumerate((64, 32)):
        group.create_array(str(level), data=noise(2, size, size))
        scale = [{"type": "scale", "scale": [1, 0.25 * 2**level, 0.25 * 2**level]}]
        datasets.append({"path": str(level), "coordinateTransformations": scale})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": datasets}],
    }
    return path


# -- one file of each format


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.png", "a.zarr", "a.czi"])
def test_one_image_of_each_format(picker: DataPicker, tmp_path: Path, name: str) -> None:
    path, image = tmp_path / name, noise(24, 32)
    if name == "a.tif":
        tifffile.imwrite(path, image)
    elif name == "a.npy":
        np.save(path, image)
    elif name == "a.png":
        path.write_bytes(imagecodecs.png_encode(image))
    elif name == "a.zarr":
        zarr.create_array(path, data=image)
    else:
        write_czi(path, image[None, None])
    choose(picker, path)
    assert picker.problem() == ""
    choice = picker.value()
    types = {"a.tif": "tiff", "a.zarr": "zarr", "a.czi": "czi"}
    assert choice.data_type == types.get(name, "image")
    assert choice.axes == ("SCYX" if name == "a.czi" else "YX")
    assert choice.sizes == (24, 32)
    assert choice.source == str(path)
    assert picker._row.hint().endswith("24 × 32 · uint16")
    assert not picker._part.isVisible()
    assert not picker._depth.isVisible()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "There is no file or folder"),
        (lambda path: path.write_text("nothing"), "cannot be read"),
        (lambda path: path.mkdir(), "holds no file of a format that is known"),
    ],
)
def test_what_cannot_be_read_is_explained(
    picker: DataPicker, tmp_path: Path, write: Any, words: str
) -> None:
    write(tmp_path / "a.tif")
    choose(picker, tmp_path / "a.tif")
    assert picker.value() is None
    assert words in picker.problem()
    assert picker._row.message() == picker.problem()


def test_an_ome_zarr(picker: DataPicker, tmp_path: Path) -> None:
    choose(picker, write_pyramid(tmp_path / "p.ome.zarr"))
    assert picker._row.hint() == "2 × 64 × 64 · uint16 · 0.25 µm"
    assert picker.value().axes == "CYX"
    assert picker.problem() == ""
    assert picker._part.words() == ["Level 0 · 2 × 64 × 64", "1 · 2 × 32 × 32 · level 1"]
    picker._part.choose(str(tmp_path / "p.ome.zarr" / "1"))
    settle(picker)
    assert picker.value().shape == (2, 32, 32)
    assert "level" in picker._warning.text().lower()
    assert len(picker._part.words()) == 2
    picker._part.choose(str(tmp_path / "p.ome.zarr"))
    settle(picker)
    assert picker.value().shape == (2, 64, 64)
    assert not picker._warning.isVisible()


def test_the_arrays_of_a_store(picker: DataPicker, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    group.create_array("flat", data=noise(16, 16))
    group.create_array("stack", data=noise(3, 16, 16))
    group.create_group("deep").create_array("inner", data=noise(20, 20))
    choose(picker, tmp_path / "s.zarr")
    assert picker._row.hint().startswith("2 images, first 16 × 16")
    assert picker.problem() == (
        "flat (16 × 16) and stack (3 × 16 × 16) differ in their axes. Choose one of them."
    )
    assert picker._part.words() == [
        "All 2 images",
        "deep/inner · 20 × 20",
        "flat · 16 × 16",
        "stack · 3 × 16 × 16",
    ]
    picker._part.choose(str(tmp_path / "s.zarr" / "deep" / "inner"))
    settle(picker)
    assert picker.problem() == ""
    assert picker.value().name == "inner"
    assert len(picker._part.words()) == 4
    assert picker._part.combo.currentIndex() == 1
    np.save(tmp_path / "a.npy", noise(8, 8))
    choose(picker, tmp_path / "a.npy")
    assert not picker._part.isVisible()


def test_a_store_with_images_only_further_below(picker: DataPicker, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    for name in "ab":
        group.create_group(name).create_array("x", data=noise(8, 8))
    choose(picker, tmp_path / "s.zarr")
    assert "Choose one of its parts" in picker.problem()
    assert picker._part.words() == ["Choose one", "a/x · 8 × 8", "b/x · 8 × 8"]
    picker._part.choose(str(tmp_path / "s.zarr" / "b" / "x"))
    settle(picker)
    assert picker.problem() == ""


def test_the_scenes_of_a_czi(picker: DataPicker, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise(1, 1, 16, 20), noise(1, 1, 24, 20))
    choose(picker, path)
    assert picker.problem() == ""
    assert picker._row.hint().startswith("2 images, first 1 × 1 × 16 × 20")
    assert picker._warning.text() == (
        "Shapes differ: a.czi@0 (1 × 1 × 16 × 20), a.czi@1 (1 × 1 × 24 × 20)."
    )
    picker._part.choose(f"{path}@1")
    settle(picker)
    assert (picker.value().path, picker.value().sizes) == (f"{path}@1", (24, 20))
    assert [words.split(" · ")[0] for words in picker._part.words()] == [
        "All 2 images",
        "Scene 0",
        "Scene 1",
    ]


def test_the_depth_of_a_czi(picker: DataPicker, tmp_path: Path, qtbot: Any) -> None:
    choose(picker, write_czi(tmp_path / "a.czi", noise(3, 4, 16, 20)))
    assert picker.value().axes == "SCZYX"
    assert picker._depth.words() == ["None: 2D images", "T · 3 time points", "Z · 4 planes"]
    with qtbot.waitSignal(picker.valueChanged):
        picker._depth.choose("SCTYX")
    choice = picker.value()
    assert (choice.axes, choice.array_axes) == ("SCTYX", "SCZYX")
    assert (choice.shape, choice.sizes) == ((4, 1, 3, 16, 20), (3, 16, 20))
    assert "3D volume of 3 planes" in picker._axes_row.hint()
    picker._depth.choose("SCYX")
    assert picker.value().shape == (12, 1, 16, 20)
    chip = picker._chips.findChildren(Combo)[0]
    assert "fixes the order" in chip.toolTip()
    chip.showPopup()
    assert not chip.view().isVisible()


def test_a_folder(picker: DataPicker, tmp_path: Path) -> None:
    for at in range(3):
        tifffile.imwrite(tmp_path / f"{at}.tif", noise(16, 16 + 8 * (at == 2)))
    choose(picker, tmp_path)
    assert picker._row.hint() == "3 TIFF files, first 16 × 16 · uint16"
    assert picker._warning.text() == "Shapes differ: 0.tif (16 × 16), 2.tif (16 × 24)."
    assert picker.problem() == ""
    tifffile.imwrite(tmp_path / "3.tif", noise(5, 16, 16))
    choose(picker, tmp_path)
    assert "0.tif (16 × 16) and 3.tif (5 × 16 × 16) differ in their axes" in picker.problem()
    np.save(tmp_path / "x.npy", noise(8, 8))
    choose(picker, tmp_path)
    assert "several formats" in picker.problem()


def test_warnings_of_the_file_are_shown(picker: DataPicker, tmp_path: Path) -> None:
    rgb = noise(16, 16, 3, dtype="uint8")
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(rgb))
    choose(picker, tmp_path / "a.jpg")
    assert picker._warning.isVisible()
    assert "noise is altered" in picker._warning.text()
    assert picker.value().axes == "YXC"


def test_inspection_raises_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.doc").touch()
    with pytest.raises(SettingsError, match="no format that is known"):
        inspect_path(str(tmp_path / "a.doc"))
    (tmp_path / "a.npy").touch()
    with pytest.raises(UnreadableError):
        inspect_path(str(tmp_path / "a.npy"))


# -- in the background


class Slow:
    """An inspection that waits for a signal, per path."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = {}

    def gate(self, path: str) -> threading.Event:
        return self.gates.setdefault(path, threading.Event())

    def __call__(self, path: str) -> SourceInfo:
        assert threading.current_thread() is not threading.main_thread()
        assert self.gate(path).wait(20)
        return SourceInfo((int(path), 8), "uint8", "YX", "")


def test_reading_does_not_hold_up_the_window(viewer: Any, qtbot: Any) -> None:
    slow = Slow()
    picker = DataPicker(viewer, inspect=slow)
    qtbot.addWidget(picker)
    ticks: list[float] = []
    timer = QTimer(picker)
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start(10)
    picker.setPath("1")
    assert picker.isReading()
    assert picker._row.hint() == READING
    assert picker.problem() == "“1” is being read."
    assert picker.value() is None
    qtbot.wait(200)
    assert len(ticks) > 3
    slow.gate("1").set()
    settle(picker)
    assert picker.problem() == ""
    assert picker.value().shape == (1, 8)


def test_late_answers_are_dropped(viewer: Any, qtbot: Any) -> None:
    slow = Slow()
    picker = DataPicker(viewer, inspect=slow)
    qtbot.addWidget(picker)
    picker.setPath("1")
    picker.setPath("2")
    slow.gate("2").set()
    settle(picker)
    assert picker.value().shape == (2, 8)
    slow.gate("1").set()
    qtbot.wait(100)
    assert picker.value().shape == (2, 8)
    picker.setPath("3")
    layer = viewer.add_image(noise(9, 9))
    picker.setLayer(layer)
    slow.gate("3").set()
    qtbot.wait(100)
    assert picker.value().shape == (9, 9)


def test_closing_while_reading_is_safe(viewer: Any, qtbot: Any) -> None:
    slow = Slow()
    picker = DataPicker(viewer, inspect=slow)
    picker.setPath("1")
    with qtbot.waitSignal(picker.destroyed):
        picker.deleteLater()
    slow.gate("1").set()
    qtbot.wait(100)


def test_a_dropped_question_is_told_to_end(qtbot: Any) -> None:
    parent = QLabel()
    qtbot.addWidget(parent)
    latest, ended = Latest(parent), threading.Event()

    def endless(check: Any) -> None:
        try:
            while True:
                check()
                time.sleep(0.005)
        finally:
            ended.set()

    latest.ask(endless)
    latest.drop()
    assert ended.wait(10)
    ended.clear()
    latest.ask(endless)
    with qtbot.waitSignal(parent.destroyed):
        parent.deleteLater()
    assert ended.wait(10)
    qtbot.wait(50)


# -- levels of a layer


def test_levels_of_a_layer(picker: DataPicker, viewer: Any) -> None:
    levels = [noise(64, 64), noise(32, 32), noise(16, 16)]
    layer = viewer.add_image(levels, multiscale=True, scale=(0.5, 0.5), units=("um", "um"))
    picker.setLayer(layer)
    assert picker._part.isVisible()
    assert picker._part.words()[1] == "Level 1 · 32 × 32"
    assert picker.value().source is layer.data[0]
    picker._part.choose(1)
    assert picker.value().shape == (32, 32)
    assert picker.value().source is layer.data[1]
    assert picker._part.hint() == COARSE
    assert layer_info(layer, 1).pixel_size == "1 µm"
    plain = viewer.add_image(noise(8, 8))
    picker.setLayer(plain)
    assert not picker._part.isVisible()
    assert picker.value().level == 0


# -- about this image


@pytest.fixture
def about(picker: DataPicker) -> AboutImage:
    return AboutImage(picker, picker)


def test_about_looks_only_when_it_is_open(
    about: AboutImage, picker: DataPicker, tmp_path: Path
) -> None:
    np.save(tmp_path / "flat.npy", np.full((8, 8), 3))
    choose(picker, tmp_path / "flat.npy")
    assert not about.isOpen()
    assert not about.isLooking()
    about.setOpen(True)
    assert about.isLooking()
    settle(about._latest)
    rows = dict(about.rows())
    assert rows["Image"] == "flat.npy"
    assert rows["Shape"] == "8 × 8 (YX)"
    assert rows["Attention"].startswith("Every pixel is 3")
    shown = [label.text() for label in about.findChildren(QLabel)]
    assert "NumPy" in shown
    np.save(tmp_path / "other.npy", noise(9, 9))
    choose(picker, tmp_path / "other.npy")
    settle(about._latest)
    assert dict(about.rows())["Shape"] == "9 × 9 (YX)"
    assert "Attention" not in dict(about.rows())


def test_about_a_layer(about: AboutImage, picker: DataPicker, viewer: Any) -> None:
    data = noise(3, 16, 16)
    picker.setLayer(viewer.add_image(data, name="cells", scale=(1, 2, 2), units=("s", "um", "um")))
    about.setOpen(True)
    settle(about._latest)
    rows = dict(about.rows())
    assert (rows["Image"], rows["Pixel size"]) == ("cells", "2 µm")
    assert rows["Shape"] == "3 × 16 × 16 (axes not told)"
    assert rows["Intensity"].startswith(f"{data.min()} to {data.max()}")
    picker.setAxes("TYX")
    settle(about._latest)
    assert dict(about.rows())["Shape"] == "3 × 16 × 16 (TYX)"


def test_about_a_folder_tells_of_the_others(
    about: AboutImage, picker: DataPicker, tmp_path: Path
) -> None:
    for at in range(4):
        tifffile.imwrite(tmp_path / f"{at}.tif", noise(16, 16) if at != 2 else noise(16, 16) * 0)
    choose(picker, tmp_path)
    about.setOpen(True)
    settle(about._latest)
    rows = about.rows()
    assert rows[0] == ("Image", "0.tif, first of 4")
    assert rows[-1][1].startswith("2.tif: Every pixel is 0")


def test_about_a_czi_in_its_axes(about: AboutImage, picker: DataPicker, tmp_path: Path) -> None:
    choose(picker, write_czi(tmp_path / "a.czi", noise(3, 4, 16, 20)))
    picker._depth.choose("SCTYX")
    about.setOpen(True)
    settle(about._latest)
    assert dict(about.rows())["Shape"] == "4 × 1 × 3 × 16 × 20 (SCTYX)"


def test_about_nothing_and_about_what_breaks(
    about: AboutImage, picker: DataPicker, tmp_path: Path
) -> None:
    about.setOpen(True)
    assert about.rows() == []
    assert about._table._hint.text() == NOTHING
    zarr.create_array(tmp_path / "a.zarr", data=noise(32, 32), chunks=(16, 32))
    (tmp_path / "a.zarr" / "c" / "1" / "0").write_bytes(b"broken")
    choose(picker, tmp_path / "a.zarr")
    settle(about._latest)
    assert "c/1/0" in dict(about.rows())["Attention"]


def test_notices_are_collected(qtbot: Any) -> None:
    notices = Notices()
    qtbot.addWidget(notices)
    notices.add("One.")
    notices.add("Two.")
    notices.add("One.")
    assert (notices.kind(), notices.text()) == ("info", "One.\nTwo.")
    notices.clear()
    assert notices.kind() == ""
    notices.add("Three.")
    assert notices.text() == "Three."
