"""Every kind of array and of number that a layer holds trains and predicts through the docks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr
from napari.components import ViewerModel
from qtpy.QtWidgets import QComboBox

from careamist.gui.jobs import jobs_of
from careamist.gui.live.preview import preview_of
from careamist.gui.predict_widget import PredictWidget
from careamist.gui.train_widget import TrainWidget

pytestmark = pytest.mark.gui

SECONDS = 90_000  # a busy machine may take that long to import torch
SHAPE = (64, 64)


def counts(shape: tuple[int, ...] = SHAPE) -> Any:
    return np.random.default_rng(0).poisson(50, shape).astype(np.uint16)


def mapped(path: Path) -> Any:
    target = np.memmap(path / "mapped.dat", np.uint16, "w+", shape=SHAPE)
    target[:] = counts()
    return target


def stored(path: Path) -> Any:
    return zarr.create_array(path / "stored.zarr", data=counts(), chunks=(32, 32))


KINDS: dict[str, Callable[[Path], Any]] = {
    "numpy": lambda _: counts(),
    "dask": lambda _: da.from_array(counts(), chunks=(32, 32)),
    "xarray": lambda _: xarray.DataArray(counts(), dims=("y", "x")),
    "zarr": stored,
    "memmap": mapped,
    "multiscale": lambda _: [counts(), counts((32, 32))],
    "rgb": lambda _: counts((*SHAPE, 3)).astype(np.uint8),
    "bool": lambda _: counts() > 50,
    "int16": lambda _: counts().astype(np.int16) - 50,
    "float64": lambda _: counts().astype(np.float64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_and_predicts(
    kind: str, tmp_path: Path, qtbot: Any, make_quick: Callable[..., None]
) -> None:
    viewer = ViewerModel()
    jobs = jobs_of(viewer)
    preview_of(viewer).setLive(False)
    layer = viewer.add_image(KINDS[kind](tmp_path), name=kind)
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    train = TrainWidget(viewer)
    qtbot.addWidget(train)
    make_quick(train, steps=2)
    assert train.problem() == ""
    assert train.picker.value().level == 0
    train.train_and_denoise()
    qtbot.waitUntil(lambda: jobs.state("predict") == "finished", timeout=SECONDS)
    first = viewer.layers[f"{kind} (N2V)"]
    assert first.data.shape == shape
    assert np.isfinite(first.data).all()
    predict = PredictWidget(viewer)
    qtbot.addWidget(predict)
    predict.picker.setLayer(layer)
    assert predict.problem() == ""
    predict.predict()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3 and not jobs.is_busy, timeout=SECONDS)
    np.testing.assert_array_equal(viewer.layers[-1].data, first.data)


def test_another_level_is_chosen(
    tmp_path: Path, qtbot: Any, make_quick: Callable[..., None]
) -> None:
    viewer = ViewerModel()
    jobs = jobs_of(viewer)
    preview_of(viewer).setLive(False)
    viewer.add_image(KINDS["multiscale"](tmp_path), name="pyramid")
    train = TrainWidget(viewer)
    qtbot.addWidget(train)
    levels = next(box for box in train.findChildren(QComboBox) if box.accessibleName() == "Part")
    assert [levels.itemText(at) for at in range(2)] == ["Level 0 · 64 × 64", "Level 1 · 32 × 32"]
    levels.setCurrentIndex(1)
    levels.activated.emit(1)
    make_quick(train, steps=2)
    assert train.problem() == ""
    train.train_and_denoise()
    qtbot.waitUntil(lambda: jobs.state("predict") == "finished", timeout=SECONDS)
    result = viewer.layers["pyramid (N2V)"]
    assert result.data.shape == (32, 32)
    np.testing.assert_allclose(result.scale, (2, 2))
