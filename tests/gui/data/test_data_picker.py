"""Choosing an image among layers and files, and what its axes mean."""

from __future__ import annotations

import gc
import time
import weakref
from unittest.mock import Mock

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from careamist.errors import UnreadableError
from careamist.gui.data.axes_chips import AxesChips, axes_problem, describe_axes, open_axes
from careamist.gui.data.data_picker import FILES, DataPicker, SourceInfo, propose_axes
from careamist.gui.data.data_source import clean_path, layer_info
from careamist.gui.data.path_info import inspect_path
from careamist.gui.forms.rows import Combo
from careamist.gui.theme import style

pytestmark = pytest.mark.gui

NAPARI_3D = ("-3", "-2", "-1")
NO_IMAGE = "No image is open. Open one or choose a file."


@pytest.mark.parametrize(
    ("shape", "labels", "rgb", "axes", "ask"),
    [
        # by labels
        ((64, 64), ("y", "x"), False, "YX", False),
        ((9, 64, 64), ("z", "y", "x"), False, "ZYX", False),
        ((9, 64, 64), ("time", "Y", "X"), False, "TYX", False),
        ((3, 64, 64), ("Channel", "y", "x"), False, "CYX", False),
        ((5, 9, 64, 64), ("t", "z", "y", "x"), False, "TZYX", False),
        ((5, 3, 9, 64, 64), ("t", "c", "z", "y", "x"), False, "TCZYX", False),
        ((64, 64, 3), ("y", "x"), True, "YXC", False),
        ((9, 64, 64, 3), ("z", "y", "x"), True, "ZYXC", False),
        ((64, 64, 9), ("row", "col", "depth"), False, "YXZ", False),
        ((9, 64, 64), ("z", "-2", "-1"), False, "ZYX", False),
        # by place
        ((64, 64), ("-2", "-1"), False, "YX", False),
        ((64, 64), (), False, "YX", False),
        ((64, 64, 3), ("-2", "-1"), True, "YXC", False),
        ((1, 64, 64), NAPARI_3D, False, "SYX", False),
        ((9, 64, 64), NAPARI_3D, False, "TYX", True),
        ((9, 64, 64), ("axis 0", "axis 1", "axis 2"), False, "TYX", True),
        ((9, 64, 64), ("z", "z", "z"), False, "TYX", True),
        ((5, 9, 64, 64), (), False, "TZYX", True),
        ((9, 64, 64, 3), (), True, "TYXC", True),
        ((5, 3, 9, 64, 64), (), False, "TCZYX", True),
        ((2, 5, 3, 9, 64, 64), (), False, "STCZYX", True),
        ((1, 9, 64, 64), (), False, "STYX", True),
        ((5, 9, 64, 64), ("t", "", "y", "x"), False, "TZYX", True),
        ((64,), (), False, "X", False),
        ((), (), False, "", False),
    ],
)
def test_propose_axes(shape, labels, rgb, axes, ask):
    assert propose_axes(shape, labels, rgb) == (axes, ask)


@pytest.mark.parametrize("ndim", range(9))
@pytest.mark.parametrize("rgb", [False, True])
def test_a_proposal_names_no_axis_twice(ndim, rgb):
    for labels in ((), ("c",) * ndim, ("c", "t", "x")):
        axes, _ = propose_axes((5,) * ndim, labels, rgb and ndim > 2)
        assert len(set(axes)) == len(axes) <= ndim


def test_open_axes():
    assert open_axes((5, 1, 9, 64, 64)) == (0, 2)
    assert open_axes((5, 64, 64), ("t", "y", "x")) == ()


@pytest.mark.parametrize(
    ("axes", "ndim", "words"),
    [
        ("YX", 2, ""),
        ("STCZYX", 6, ""),
        ("TTX", 3, "T is used 2 times. Give each axis its own letter."),
        ("TX", 2, "Y missing. Say which axis is Y."),
        ("TZ", 2, "Y and X missing. Say which axis is Y and which is X."),
        ("YX", 3, "The image has 3 axes, “YX” names 2. Give each axis a letter."),
        ("STCZYX", 7, "The image has 7 axes, at most 6 can be read. Choose a part of it."),
    ],
)
def test_axes_problem(axes, ndim, words):
    assert axes_problem(axes, ndim) == words


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ("YX", (64, 64), "One 2D image."),
        ("ZYX", (9, 64, 64), "One 3D volume of 9 planes."),
        ("TYX", (12, 64, 64), "12 time points, each as a 2D image."),
        ("TYX", (1, 64, 64), "1 time point, each as a 2D image."),
        ("YXC", (64, 64, 3), "One 2D image with 3 channels."),
        ("STZYX", (2, 3, 4, 8, 8), "2 samples × 3 time points, each as a 3D volume of 4 planes."),
    ],
)
def test_describe_axes(axes, shape, words):
    assert describe_axes(axes, shape) == words


@pytest.fixture
def chips(qtbot):
    made = AxesChips()
    qtbot.addWidget(made)
    qtbot.addWidget(made.question)
    return made


def test_questions_are_asked_one_by_one(chips, qtbot):
    chips.setImage((5, 9, 64, 64))
    assert chips.axes() == "TZYX"
    assert chips.problem() == "2 questions left: what is axis 0?"
    assert chips.question.title() == "What is axis 0?"
    words = [button.text() for button in chips.question.buttons()]
    assert words == ["Time (T)", "Depth (Z)", "Channel (C)", "Separate images (S)"]
    with qtbot.waitSignal(chips.axesChanged):
        chips.question.buttons()[1].click()
    assert chips.problem() == "1 question left: what is axis 1?"
    assert chips.axes() == "ZTYX"
    words = [button.text() for button in chips.question.buttons()]
    assert words == ["Time (T)", "Channel (C)", "Separate images (S)"]
    chips.question.buttons()[1].click()
    assert chips.problem() == ""
    assert chips.axes() == "ZCYX"
    assert chips.question.kind() == ""


def test_a_chip_answers_too(chips):
    chips.setImage((9, 64, 64))
    chip = chips.findChildren(Combo)[0]
    assert chip.shownText() == "? · 9"
    chip.setCurrentIndex(1)
    chip.activated.emit(1)
    assert chips.axes() == "ZYX"
    assert chips.problem() == ""
    assert chip.shownText() == "Z · 9"
    assert [chip.itemText(at) for at in range(6)] == [
        "T  time",
        "Z  depth",
        "C  channel",
        "S  sample",
        "Y",
        "X",
    ]


def test_impossible_axes_are_told(chips):
    chips.setImage((9, 64, 64))
    chips.setAxes("YYX")
    assert chips.problem() == "Y is used 2 times. Give each axis its own letter."
    assert chips.question.text() == chips.problem()
    chips.setAxes("tyx")
    assert chips.problem() == ""


@pytest.mark.parametrize("axes", ["YX", "QYX", "TZYX"])
def test_axes_that_do_not_fit_are_refused(chips, axes):
    chips.setImage((9, 64, 64))
    with pytest.raises(ValueError, match="expected 3 letters of STCZYX"):
        chips.setAxes(axes)


# -- the picker in a viewer


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def make_picker(qtbot, viewer):
    def make(**options):
        picker = DataPicker(viewer, **options)
        qtbot.addWidget(picker)
        picker.show()
        return picker

    return make


def add(viewer, name="image", shape=(64, 64), **options):
    return viewer.add_image(np.zeros(shape, "uint16"), name=name, **options)


def offered(picker):
    combo = picker.findChild(Combo)
    return [combo.itemText(at) for at in range(combo.count())]


def choose(picker, path):
    """Choose a path and wait until it is read."""
    picker.setPath(path)
    settle(picker)


def settle(picker):
    deadline = time.monotonic() + 20
    while picker.isReading():
        assert time.monotonic() < deadline
        QApplication.processEvents()
        time.sleep(0.002)


def inspect(path):
    return SourceInfo((4, 32, 32), "uint8", "CYX", "0.1 µm")


def test_no_image(make_picker, viewer, qtbot):
    viewer.add_labels(np.zeros((8, 8), int))
    viewer.add_points(np.zeros((3, 2)))
    sample = Mock()
    picker = make_picker(sample=sample)
    assert picker.value() is None
    assert picker.problem() == NO_IMAGE
    assert offered(picker) == [FILES]
    next(b for b in picker.findChildren(QPushButton) if b.text() == "Try the sample").click()
    sample.assert_called_once()
    with qtbot.waitSignal(picker.valueChanged):
        add(viewer)
    assert picker.problem() == ""
    assert picker.value().name == "image"


def test_the_active_layer_is_preselected_and_the_choice_is_kept(make_picker, viewer):
    first = add(viewer, "a")
    second = add(viewer, "b")
    viewer.layers.selection.active = first
    picker = make_picker()
    assert picker.value().layer == first
    viewer.layers.selection.active = second
    add(viewer, "c")
    assert picker.value().layer == first
    picker.setLayer(second)
    viewer.layers.selection.active = first
    assert picker.value().layer == second


def test_layers_are_followed(make_picker, viewer):
    first, second = add(viewer, "a"), add(viewer, "b")
    viewer.add_labels(np.zeros((8, 8), int), name="cells")
    picker = make_picker()
    picker.setLayer(second)
    assert offered(picker) == ["a", "b", FILES]
    second.name = "renamed"
    assert offered(picker) == ["a", "renamed", FILES]
    assert picker.value().name == "renamed"
    viewer.layers.move(1, 0)
    assert offered(picker) == ["renamed", "a", FILES]
    assert picker.value().layer == second
    viewer.layers.remove(second)
    assert offered(picker) == ["a", FILES]
    assert picker.value().layer == first
    viewer.layers.clear()
    assert picker.value() is None
    assert picker.problem() == NO_IMAGE


def test_a_target_begins_empty(make_picker, viewer):
    layer = add(viewer)
    picker = make_picker(label="&Target", preselect=False, ask_axes=False)
    assert picker.value() is None
    assert picker.problem() == "No target is chosen. Choose a layer or a file."
    assert picker.findChild(Combo).shownText() == "Choose the target"
    add(viewer, "other")
    assert picker.value() is None
    picker.setLayer(layer)
    assert picker.problem() == ""
    picker.setLayer(None)
    assert picker.value() is None


def test_choosing_in_the_box(make_picker, viewer, qtbot):
    add(viewer, "a")
    second = add(viewer, "b")
    picker = make_picker()
    picker.setLayer(viewer.layers[0])
    with qtbot.waitSignal(picker.valueChanged):
        picker.findChild(Combo).activated.emit(1)
    assert picker.value().layer == second


def test_layer_of_another_viewer_is_refused(make_picker, viewer):
    picker = make_picker()
    labels = viewer.add_labels(np.zeros((8, 8), int))
    with pytest.raises(ValueError, match="not an Image layer of this viewer"):
        picker.setLayer(labels)


def test_hint_and_axes_of_a_stack(make_picker, viewer, qtbot):
    add(viewer, shape=(12, 64, 32), scale=(1, 0.32, 0.32), units=("s", "um", "um"))
    picker = make_picker()
    assert picker._row.hint() == "12 × 64 × 32 · uint16 · 0.32 µm"
    assert picker.problem() == "1 question left: what is axis 0?"
    assert picker.isAxesOpen()
    assert picker.value().axes == "TYX"
    with qtbot.waitSignal(picker.valueChanged):
        picker.setAxes("ZYX")
    assert picker.problem() == ""
    assert picker.value().axes == "ZYX"
    assert picker.value().shape == (12, 64, 32)
    assert picker._axes_row.hint() == "One 3D volume of 12 planes."


def test_an_answer_is_kept_for_its_layer(make_picker, viewer):
    first = add(viewer, "a", (5, 64, 64))
    second = add(viewer, "b", (6, 64, 64))
    picker = make_picker()
    picker.setLayer(first)
    picker.setAxes("CYX")
    first.name = "new name"
    assert picker.value().axes == "CYX"
    picker.setLayer(second)
    assert picker.isAxesOpen()
    picker.setLayer(viewer.layers["new name"])  # another proxy of the same layer
    assert picker.value().axes == "CYX"
    assert picker.problem() == ""


def test_labels_and_data_are_followed(make_picker, viewer):
    layer = add(viewer, shape=(5, 64, 64))
    picker = make_picker()
    layer.axis_labels = ("z", "y", "x")
    assert picker.problem() == ""
    assert picker.value().axes == "ZYX"
    layer.data = np.zeros((7, 32, 32), "float32")
    assert picker.value().shape == (7, 32, 32)
    assert "7 × 32 × 32 · float32" in picker._row.hint()


class Unreadable(np.ndarray):
    """An array of which nobody may read all pixels."""

    def __array__(self, *args, **kwargs):
        raise AssertionError("read")


@pytest.mark.parametrize(
    ("data", "options", "shape", "axes"),
    [
        ([np.zeros((64, 64)), np.zeros((32, 32))], {"multiscale": True}, (64, 64), "YX"),
        (np.zeros((64, 64, 3), "uint8"), {"rgb": True}, (64, 64, 3), "YXC"),
        (np.zeros((5, 64, 64, 4), "uint8"), {"rgb": True}, (5, 64, 64, 4), "TYXC"),
        (da.zeros((64, 32)), {}, (64, 32), "YX"),
        (np.zeros((8, 8), bool), {}, (8, 8), "YX"),
    ],
    ids=["multiscale", "rgb", "rgb stack", "dask", "bool"],
)
def test_kinds_of_layers(make_picker, viewer, data, options, shape, axes):
    layer = viewer.add_image(data, **options)
    picker = make_picker()
    assert picker.value().shape == shape
    assert picker.value().axes == axes
    assert layer_info(layer).shape == shape


def test_layer_info_reads_no_pixels():
    data = np.zeros((4, 8, 8)).view(Unreadable)
    layer = Mock(data=data, multiscale=False, scale=(1, 1, 1), units=("pixel",) * 3)
    assert layer_info(layer) == SourceInfo((4, 8, 8), "float64", None, "")


# -- files


def test_a_path_is_inspected(make_picker, tmp_path, qtbot):
    picker = make_picker(inspect=inspect)
    with qtbot.waitSignals([picker.valueChanged] * 2):  # it is another one; it is read
        picker.setPath(tmp_path)
    choice = picker.value()
    assert (choice.layer, choice.path, choice.axes) == (None, str(tmp_path), "CYX")
    assert choice.name == tmp_path.name
    assert picker.problem() == ""
    assert picker._row.hint() == "4 × 32 × 32 · uint8 · 0.1 µm"
    assert picker.findChild(QLineEdit).text() == str(tmp_path)


def test_back_from_a_path_to_a_layer(make_picker, viewer, tmp_path):
    layer = add(viewer)
    picker = make_picker(inspect=inspect)
    choose(picker, tmp_path)
    add(viewer, "another")
    assert picker.value().path == str(tmp_path)
    picker.setLayer(layer)
    assert picker.value().path is None
    assert not picker.findChild(QLineEdit).isVisible()


@pytest.mark.parametrize("empty", ["", "  ", "''", None])
def test_an_empty_path_is_nothing(make_picker, empty):
    seen = Mock(side_effect=inspect)
    picker = make_picker(inspect=seen)
    picker.setPath(empty)
    assert picker.value() is None
    assert picker.problem() == "No file is chosen. Type a path or use the folder button."
    seen.assert_not_called()


def test_a_path_that_does_not_exist(make_picker, tmp_path):
    picker = make_picker(inspect=inspect_path)
    choose(picker, tmp_path / "none.tif")
    assert picker.value() is None
    assert "none.tif. Check the path." in picker.problem()
    assert picker._row.message() == picker.problem()


def test_what_a_reader_says_is_shown(make_picker, tmp_path):
    picker = make_picker(inspect=Mock(side_effect=UnreadableError("No image.", "Try another.")))
    choose(picker, tmp_path)
    assert picker.problem() == "No image. Try another."
    assert picker.value() is None


def test_without_inspection_the_engine_decides(make_picker, tmp_path):
    picker = make_picker()
    picker.setPath(tmp_path)
    assert picker.problem() == ""
    assert picker.value().shape == ()


def test_an_address_is_left_to_its_reader(make_picker):
    picker = make_picker(inspect=inspect)
    choose(picker, "https://example.org/a.zarr")
    assert picker.problem() == ""
    assert picker.value().name == "a.zarr"


def test_typing_a_path(make_picker, viewer, tmp_path, qtbot):
    add(viewer)
    picker = make_picker(inspect=inspect)
    combo = picker.findChild(Combo)
    combo.activated.emit(combo.count() - 1)
    edit = picker.findChild(QLineEdit)
    assert edit.isVisible()
    assert picker.value() is None
    qtbot.keyClicks(edit, f'"{tmp_path}"')
    assert picker.value() is None  # not while typing
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    settle(picker)
    assert picker.value().path == str(tmp_path)


def test_dialogs(make_picker, viewer, tmp_path, monkeypatch):
    layer = add(viewer)
    picker = make_picker(inspect=inspect)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    picker.chooseFile()
    picker.chooseFolder()
    assert picker.value().layer == layer  # cancelling changes nothing
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    menu = next(b.menu() for b in picker.findChildren(QPushButton) if b.menu())
    words = [action.text() for action in menu.actions()]
    assert words == ["Choose file…", "Choose folder…", "Type a path…"]
    menu.actions()[1].trigger()
    settle(picker)
    assert picker.value().path == str(tmp_path)


def drop(picker, *urls):
    mime = QMimeData()
    mime.setUrls([QUrl(url) for url in urls])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    picker.dropEvent(event)


def test_dropping(make_picker, tmp_path):
    picker = make_picker(inspect=inspect)
    file = tmp_path / "a b.tif"
    file.touch()
    drop(picker, file.as_uri(), file.as_uri())
    assert picker.value() is None
    assert picker._row.message().startswith("2 files were dropped.")
    drop(picker, file.as_uri())
    settle(picker)
    assert picker.value().path == str(file)
    assert picker._row.message() == ""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        (" /a/b ", "/a/b"),
        ("'/a b'", "/a b"),
        ("file:///a%20b", "/a b"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_clean_path(text, path):
    assert clean_path(text) == path


def test_everything_has_a_name_and_a_tip(make_picker, viewer):
    add(viewer, shape=(5, 64, 64))
    picker = make_picker()
    for kind in (Combo, QLineEdit, QPushButton):
        for part in picker.findChildren(kind):
            assert part.accessibleName(), part
            assert part.toolTip(), part


@pytest.mark.parametrize("width", [260, 300, 350, 450, 700])
def test_nothing_is_clipped(make_picker, viewer, qtbot, width):
    add(viewer, "a name that is much too long for a dock " * 3, (2, 3, 4, 5, 64, 64))
    picker = make_picker(inspect=inspect)
    empty = make_picker(label="&Target", preselect=False)
    choose(empty, "/nowhere/" + 20 * "long")
    page = QWidget()
    lines = QVBoxLayout(page)
    lines.addWidget(picker)
    lines.addWidget(empty)
    dock = QScrollArea()
    dock.setWidgetResizable(True)
    dock.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    dock.setWidget(page)
    qtbot.addWidget(dock)
    style(page, viewer)
    dock.resize(width, 900)
    dock.show()
    for _ in range(10):
        QApplication.processEvents()
    edge = dock.viewport().width()
    for child in page.findChildren(QWidget):
        if child.isVisible():
            assert child.mapTo(page, QPoint(child.width(), 0)).x() <= edge, child
    rows = {chip.y() for chip in picker._chips.findChildren(Combo)}
    assert len(rows) == 2  # three chips a line


def test_a_closed_picker_is_left_alone(make_picker, viewer, qtbot):
    layer = add(viewer)
    picker = make_picker()
    with qtbot.waitSignal(picker.destroyed):
        picker.deleteLater()
    layer.name = "other"
    layer.scale = (2, 2)
    add(viewer)
    viewer.layers.clear()


def test_closed_pickers_leave_nothing_behind(viewer, qtbot):
    add(viewer, shape=(5, 64, 64))
    gone = []
    for _ in range(5):
        picker = DataPicker(viewer, inspect=inspect)
        gone.append(weakref.ref(picker))
        with qtbot.waitSignal(picker.destroyed):
            picker.deleteLater()
        del picker
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5
