"""The settings of a prediction follow what is chosen as the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel

from careamist.gui.forms.remembered import Remembered
from careamist.gui.predicting.predict_form import PredictForm

pytestmark = pytest.mark.gui


@pytest.fixture
def form(qtbot: Any) -> PredictForm:
    made = PredictForm(ViewerModel(), None, Remembered())
    qtbot.addWidget(made)
    return made


def choose(form: PredictForm, qtbot: Any, path: Path) -> None:
    form.picker.setPath(str(path))
    qtbot.waitUntil(lambda: not form.picker.isReading(), timeout=30_000)


def test_a_zarr_store_of_several_images_goes_to_files(
    form: PredictForm, qtbot: Any, tmp_path: Path
) -> None:
    one = zarr.create_array(tmp_path / "one.zarr", shape=(32, 32), dtype=np.uint8, chunks=(16, 16))
    group = zarr.open_group(tmp_path / "several.zarr", mode="w")
    for name in "ab":
        group.create_array(name, shape=(32, 32), dtype=np.uint8, chunks=(16, 16))
    choose(form, qtbot, tmp_path / "several.zarr")
    assert form.output.value() == "files"
    assert form.output.button("files").isChecked()  # and shown, not only meant
    assert not form.folder.isHidden()
    assert not form.format_row.isHidden()
    assert form.name_row.isHidden()
    choose(form, qtbot, Path(str(one.store_path.store.root)))
    assert form.output.value() == "layer"  # one image is shown, as asked before
    assert form.folder.isHidden()
    form.output.setValue("files")
    choose(form, qtbot, tmp_path / "several.zarr" / "a")
    assert form.output.value() == "files"
