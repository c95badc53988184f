"""The rows that choose slices and channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from careamist.gui.data.data_source import DataChoice
from careamist.gui.data.region import in_words, pick
from careamist.gui.data.slices_row import ChannelsRow, SlicesRow

pytestmark = pytest.mark.gui


def chosen(viewer: Any, shape: tuple[int, ...], axes: str, **looks: Any) -> DataChoice:
    layer = viewer.add_image(np.zeros(shape, np.uint8), **looks)
    return DataChoice(layer, None, axes, shape)


@pytest.fixture
def channels(qtbot: Any) -> ChannelsRow:
    row = ChannelsRow(None)
    qtbot.addWidget(row)
    row.setChoice(chosen(ViewerModel(), (5, 8, 8), "CYX"))
    return row


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("0, 2", (0, 2)),
        ("2 0", (0, 2)),
        ("1-3", (1, 2, 3)),
        ("0 - 1; 4", (0, 1, 4)),
        ("3,3,", (3,)),
        ("0-4", None),  # all of them
    ],
)
def test_channels_are_typed(channels: ChannelsRow, text: str, expected: Any) -> None:
    channels.edit.setText(text)
    assert channels.problem() == ""
    assert channels.value() == expected


@pytest.mark.parametrize("text", ["red", "3-1", "1-2-3", "-1", "0.5", "0, 5", "0-99999"])
def test_what_names_no_channel_is_told(channels: ChannelsRow, text: str) -> None:
    channels.edit.setText(text)
    assert channels.problem()
    assert channels.message() == channels.problem()
    assert channels.value() is None
    channels.edit.setText("1")
    assert channels.message() == ""


def test_channels_are_of_one_image(channels: ChannelsRow) -> None:
    viewer = ViewerModel()
    image = chosen(viewer, (4, 8, 8), "CYX")
    channels.setChoice(image)
    channels.setValue((0, 1, 3))
    assert channels.edit.text() == "0-1, 3"
    channels.setChoice(image)
    assert channels.value() == (0, 1, 3)
    channels.setChoice(chosen(viewer, (4, 8, 8), "CYX"))
    assert channels.value() is None
    assert channels.edit.placeholderText() == "All 4"
    channels.setChoice(chosen(viewer, (8, 8, 3), "YXC", rgb=True))
    assert not channels.isOffered()


def test_each_axis_has_a_range(qtbot: Any) -> None:
    viewer = ViewerModel()
    row = SlicesRow(viewer, None)
    qtbot.addWidget(row)
    image = chosen(viewer, (4, 6, 8, 8), "STYX")
    row.setChoice(image, "TS")
    assert row.ranges() == {}
    assert row.segments.button("all").text() == "All 24"
    row.segments.setValue("range")
    row.axis.setCurrentText("T")
    row.last.setValue(3)
    row.axis.setCurrentText("S")
    assert (row.first.value(), row.last.value()) == (0, 3)
    row.first.setValue(2)
    assert row.ranges() == {"T": (0, 4), "S": (2, 4)}
    assert row.hint() == "T 0 to 3, S 2 to 3"
    row.axis.setCurrentText("T")
    assert (row.first.value(), row.last.value()) == (0, 3)
    row.first.setValue(5)
    row.axis.setCurrentText("S")
    assert "Swap" in row.problem()  # of the axis that is not on show too
    row.segments.setValue("current")
    assert row.problem() == ""
    viewer.dims.set_current_step(1, 2)
    assert row.ranges()["T"] == (2, 3)


def test_parts_have_short_names() -> None:
    assert in_words((), {"T": (0, 21), "S": (3, 4)}, (0, 1, 2, 5)) == "t0-20 s3 c0-2_5"
    assert in_words(()) == ""


@pytest.mark.parametrize(("places", "is_view"), [((0, 2), True), ((1,), True), ((0, 1, 4), False)])
def test_channels_are_picked(places: tuple[int, ...], is_view: bool) -> None:
    array = np.arange(5 * 6).reshape(5, 6)
    picked = pick(array, 0, places)
    np.testing.assert_array_equal(picked, array[list(places)])
    assert np.shares_memory(picked, array) is is_view
