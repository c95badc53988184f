"""The settings of a training: method, target, region, effort, and what is remembered of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QLabel

from careamist.config import N2V, TrainingConfig, UNet
from careamist.config.methods import METHODS
from careamist.gui.forms.remembered import Remembered
from careamist.gui.training.train_form import TrainForm

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer(noisy: Any) -> Any:
    made = ViewerModel()
    made.add_image(noisy, name="noisy")
    return made


@pytest.fixture
def make(qtbot: Any, viewer: Any) -> Any:
    """Return a function that makes a form, as on another day."""

    def made() -> TrainForm:
        form = TrainForm(viewer, None, Remembered(), lambda: None)
        qtbot.addWidget(form)
        form.resize(330, 600)
        return form

    return made


@pytest.fixture
def form(make: Any) -> TrainForm:
    return make()


def test_the_start_is_valid_and_simple(form: TrainForm) -> None:
    assert form.problem() == ""
    assert form.method.method().title == "Noise2Void"
    assert form.effort.value() == "standard"
    assert form.effort.hint() == "1000 steps."
    assert form.advanced.note() == "all defaults"
    assert form.result_name() == "noisy (N2V)"


@pytest.mark.parametrize("key", ["n2v", "n2v2", "structn2v"])
def test_methods_of_noisy_images(form: TrainForm, key: str) -> None:
    form.setMethod(key)
    assert form.problem() == ""
    assert form.target.isHidden()
    order = form.order()
    assert order.config.algorithm_config.variant == METHODS[key].algorithm.variant
    assert order.target is None
    assert form.changed() == 0
    assert form.result_name() == f"noisy ({METHODS[key].algorithm.variant})"


@pytest.mark.parametrize("key", ["care", "n2n"])
def test_pairs_need_a_target_that_is_not_the_image(
    form: TrainForm, viewer: Any, noisy: Any, key: str
) -> None:
    form.setMethod(key)
    assert not form.target.isHidden()
    assert form.target.value() is None
    assert form.problem() == "No target is chosen. Choose a layer or a file."
    form.target.picker.setLayer(viewer.layers["noisy"])
    assert form.problem() == "Target is the image itself"
    assert form.target.message.kind() == "error"
    viewer.add_image(noisy[::-1], name="other")
    form.target.picker.setLayer(viewer.layers["other"])
    assert form.problem() == ""
    assert form.target.message.kind() == ""
    order = form.order()
    assert order.config.algorithm_config.algorithm == key
    assert order.data()["train_data_target"] is viewer.layers["other"].data


def test_a_target_of_another_size_is_told_and_repaired(form: TrainForm, viewer: Any) -> None:
    form.setMethod("care")
    viewer.add_image(np.zeros((48, 80), np.float32), name="clean crop")
    form.target.picker.setLayer(viewer.layers["clean crop"])
    assert form.problem() == "Target has another size"
    message = form.target.message
    assert message.text() == (
        "noisy is 64 × 64, clean crop is 48 × 80. They must match pixel by pixel."
    )
    assert [button.text() for button in message.buttons()] == ["Crop both to 48 × 64"]
    message.buttons()[0].click()
    assert message.kind() == ""
    assert "64" in form.problem()  # the patch was chosen for the image
    form.setEffort("quick")
    data = form.data_form.value().model_copy(update={"patch_size": (32, 32)})
    form.data_form.setValue(data)
    assert form.problem() == ""
    arrays = form.order().data()
    assert arrays["train_data"][0].shape == arrays["train_data_target"][0].shape == (48, 64)
    form.target.picker.setLayer(viewer.layers["noisy"])
    form.target.picker.setLayer(viewer.layers["clean crop"])
    assert form.problem() == ""  # the answer to that question stays


def test_a_target_of_other_axes_is_told(form: TrainForm, viewer: Any) -> None:
    form.setMethod("care")
    viewer.add_image(np.zeros((3, 64, 64), np.float32), name="stack")
    form.target.picker.setLayer(viewer.layers["stack"])
    assert form.problem() == "Target has other axes"


def test_files_are_paired_by_their_names(
    form: TrainForm, qtbot: Any, tmp_path: Path, noisy: Any
) -> None:
    for folder, names in (("low", "abc"), ("high", "abd")):
        (tmp_path / folder).mkdir()
        for name in names:
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", noisy)
    form.setMethod("care")
    form.picker.setPath(str(tmp_path / "low"))
    form.target.picker.setPath(str(tmp_path / "high"))
    qtbot.waitUntil(lambda: "cannot be paired" in form.problem(), timeout=30_000)
    assert form.target.message.text() == "Give each target the name of its image."
    assert form.target.table.rows() == [("c", "no target"), ("d", "no image")]
    assert not form.target.table.isHidden()
    (tmp_path / "high" / "d.tif").rename(tmp_path / "high" / "c.tif")
    form.target.picker.setPath("")
    form.target.picker.setPath(str(tmp_path / "high"))
    qtbot.waitUntil(lambda: form.problem() == "", timeout=30_000)
    assert form.target.message.title() == "3 pairs of images"
    assert form.target.table.isHidden()
    tifffile.imwrite(tmp_path / "high" / "b.tif", noisy[:32])
    form.target.picker.setPath("")
    form.target.picker.setPath(str(tmp_path / "high"))
    qtbot.waitUntil(lambda: "differ in samples or size" in form.problem(), timeout=30_000)
    ((name, wrong),) = form.target.table.rows()
    assert name == "b.tif"
    assert "(1, 64, 64)" in wrong
    assert "(1, 32, 64)" in wrong
    tifffile.imwrite(tmp_path / "high" / "b.tif", noisy)
    form.target.picker.setPath("")
    form.target.picker.setPath(str(tmp_path / "high"))
    qtbot.waitUntil(lambda: form.problem() == "", timeout=30_000)
    assert not form.canDenoise()  # of a folder it would be many layers
    assert form.order().data()["train_data_target"] == str(tmp_path / "high")


def test_a_layer_and_files_are_no_pair(form: TrainForm, tmp_path: Path, qtbot: Any) -> None:
    np.save(tmp_path / "a.npy", np.zeros((64, 64)))
    form.setMethod("care")
    form.target.picker.setPath(str(tmp_path / "a.npy"))
    qtbot.waitUntil(lambda: not form.target.picker.isReading(), timeout=30_000)
    assert form.problem() == "Layers and files cannot be paired"


def test_what_is_drawn_is_trained_on(form: TrainForm, viewer: Any) -> None:
    form.region.setValue("shapes")
    assert "Nothing is drawn yet." in form.problem()
    assert "Nothing is drawn yet." in form.region.message()
    viewer.add_shapes([[[4, 8], [4, 44], [40, 44], [40, 8]]], shape_type="rectangle")
    data = form.data_form.value().model_copy(update={"patch_size": (16, 16)})
    form.data_form.setValue(data)
    assert form.problem() == ""
    assert form.region.hint() == "37 × 37 pixels of the image."
    order = form.order()
    assert order.config.experiment_name == "noisy y4-41 x8-45"
    (crop,) = order.data()["train_data"]
    assert np.shares_memory(crop, viewer.layers["noisy"].data)
    form.data_form.setValue(data.model_copy(update={"patch_size": (64, 64)}))
    assert form.order().boxes[0].size == (64, 64)  # at least a patch


def test_files_have_no_view(form: TrainForm, qtbot: Any, tmp_path: Path, noisy: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noisy)
    form.region.setValue("view")
    form.picker.setPath(str(tmp_path / "a.tif"))
    qtbot.waitUntil(lambda: form.problem() == "", timeout=30_000)
    assert form.region.value() == "all"
    assert not form.region.segments.button("view").isEnabled()


def test_effort_sets_what_it_stands_for(form: TrainForm) -> None:
    form.setEffort("thorough")
    config = form.value()
    assert config.training_config.num_steps == 10_000
    assert config.algorithm_config.model.num_channels_init == 32
    assert form.changed() == 0
    form.setEffort("quick")
    assert form.value().training_config.num_steps == 300
    assert form.value().algorithm_config.model.num_channels_init == 16
    form.training_form.setValue(form.training_form.value().model_copy(update={"num_steps": 55}))
    assert form.effort.hint() == "55 steps."
    assert form.advanced.note() == "1 changed"
    form.setEffort("standard")  # what was typed gives way
    assert form.value().training_config.num_steps == 1000


def test_settings_are_remembered_by_method(make: Any) -> None:
    form = make()
    form.algorithm_form.setValue(N2V(roi_size=7, model=UNet(depth=3)))
    form.training_form.setValue(TrainingConfig(num_steps=123))
    assert form.advanced.note() == "3 changed"
    form.setMethod("n2v2")
    assert form.advanced.note() == "all defaults"
    form.setEffort("quick")
    form.save()

    again = make()
    assert again.method.key() == "n2v2"
    assert again.effort.value() == "quick"
    again.setMethod("n2v")
    assert again.effort.value() == "standard"
    assert again.algorithm_form.value().roi_size == 7
    assert again.algorithm_form.value().model.depth == 3
    assert again.value().training_config.num_steps == 123
    again.advanced.reset.click()
    assert again.advanced.note() == "all defaults"
    assert again.value().training_config.num_steps == 1000
    assert make().algorithm_form.value() == N2V()


def test_the_patch_follows_the_network(form: TrainForm, viewer: Any) -> None:
    viewer.add_image(np.random.default_rng(0).random((40, 40)), name="small")
    form.picker.setLayer(viewer.layers["small"])
    assert form.data_form.value().patch_size == (40, 40)
    form.algorithm_form.setValue(N2V(model=UNet(depth=4)))
    assert form.data_form.value().patch_size == (32, 32)
    assert form.problem() == ""


def test_channels_are_kept_apart(form: TrainForm, viewer: Any) -> None:
    viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True, name="color")
    form.picker.setLayer(viewer.layers["color"])
    config = form.value()
    assert config.algorithm_config.model.independent_channels
    assert config.data_config.n_channels == 3
    assert form.changed() == 0


def test_an_open_axis_blocks_and_its_answer_frees(form: TrainForm, viewer: Any) -> None:
    viewer.add_image(np.zeros((5, 64, 64)), name="stack")
    form.picker.setLayer(viewer.layers["stack"])
    assert "axis 0" in form.problem()
    assert form.isToldElsewhere()
    form.picker.setAxes("TYX")
    assert form.problem() == ""


def test_invalid_settings_are_told_and_recover(form: TrainForm) -> None:
    good = form.algorithm_form.value()
    form.training_form.setValue(TrainingConfig(num_steps=5))
    form.algorithm_form.setValue(N2V(model=UNet(depth=6)))
    assert "smaller than the patch" in form.problem()
    form.algorithm_form.setValue(good)
    assert form.problem() == ""


@pytest.mark.parametrize("window", ["Window", "Noise span"])
def test_an_even_window_is_told_beside_it_and_recovers(
    form: TrainForm, qtbot: Any, window: str
) -> None:
    spins = form.algorithm_form.findChildren(QAbstractSpinBox)
    (spin,) = [each for each in spins if each.accessibleName() == window]
    before = form.order().config.algorithm_config
    spin.setValue(6)
    assert "must be odd" in form.problem()
    words = [label.text() for label in form.algorithm_form.findChildren(QLabel)]
    assert sum("must be odd" in text for text in words) == 1
    qtbot.keyClick(spin, Qt.Key.Key_Escape)  # applies nothing, closes nothing
    assert "must be odd" in form.problem()
    spin.setValue(7)
    assert form.problem() == ""
    assert form.order().config.algorithm_config != before
    assert not any("must be odd" in label.text() for label in form.findChildren(QLabel))


def test_validation_images_of_ones_own(form: TrainForm, viewer: Any, noisy: Any) -> None:
    viewer.add_image(noisy[::-1], name="other")
    assert form.order().data()["val_data"] is None
    form.val_image.setLayer(viewer.layers["other"])
    assert form.problem() == ""
    assert form.order().data()["val_data"] is viewer.layers["other"].data
    form.setMethod("n2n")
    form.target.picker.setLayer(viewer.layers["other"])
    assert "Validation needs a target" in form.problem()
    form.val_target.picker.setLayer(viewer.layers["noisy"])
    assert form.problem() == ""
    form.val_image.setLayer(None)
    assert form.problem() == ""
