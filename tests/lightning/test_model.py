"""Which weights predict, where checkpoints go, and which targets are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from careamist import CAREamist
from careamist.config import N2N
from careamist.errors import (
    CareamistError,
    DataError,
    NotTrainedError,
    SettingsError,
    SourceNotFoundError,
)
from careamist.events import Noticed, RunFailed
from careamist.lightning import TrainDataModule
from tiny import (
    NETWORK,
    assert_same_weights,
    loaded,
    module_of,
    new,
    noise,
    small,
    small_care,
    stopping_after,
    waves,
    weights,
)

IMAGE, TARGET = noise(64, 64), waves(64, 64)
PAIRS = {"train_data": IMAGE, "train_data_target": TARGET}


def predicted(careamist, checkpoint=None):
    (restored,), _ = careamist.predict(IMAGE, checkpoint=checkpoint)
    return restored


def rising(**settings):
    """A training whose best weights are not its last ones: the steps are far too large."""
    training = {"steps_per_epoch": 1, "learning_rate": 1.0, "ema_decay": 0.0}
    training |= {"lr_schedule": {"name": "constant"}}
    return small_care(settings.pop("num_steps", 5), training=training, **settings)


@pytest.fixture(scope="module")
def care(tmp_path_factory):
    careamist = new(rising(), tmp_path_factory.mktemp("care"))
    careamist.train(**PAIRS)
    losses = [loss for _, loss in careamist.get_losses()["val_loss"]]
    assert losses[-1] > min(losses)
    return careamist


# -- which weights ---------------------------------------------------------------------------------


def test_care_predicts_with_its_best_weights(care):
    best, last = predicted(care, "best"), predicted(care, "last")
    assert np.abs(best - last).max() > 0
    np.testing.assert_array_equal(predicted(care), best)
    np.testing.assert_array_equal(predicted(care, care.run_dir / "best.ckpt"), best)
    np.testing.assert_array_equal(predicted(care, str(care.run_dir / "last.ckpt")), last)


def test_a_folder_of_care_means_its_best_and_a_file_means_itself(care, tmp_path):
    best, last = predicted(care, "best"), predicted(care, "last")
    folder = loaded(care.run_dir, tmp_path)
    np.testing.assert_array_equal(predicted(folder), best)
    np.testing.assert_array_equal(predicted(folder, "last"), last)
    file = loaded(care.run_dir / "last.ckpt", tmp_path)
    np.testing.assert_array_equal(predicted(file), last)
    np.testing.assert_array_equal(predicted(file, "best"), best)


def test_best_goes_along_when_a_training_is_continued(tmp_path):
    config = rising(num_steps=6)
    whole = new(config, tmp_path / "whole")
    whole.train(**PAIRS)
    first = stopping_after(new(config, tmp_path / "parts"), 4)
    first.train(**PAIRS)
    second = loaded(first.run_dir / "last.ckpt", tmp_path / "parts")
    second.train(**PAIRS)
    assert second.run_dir != first.run_dir
    np.testing.assert_array_equal(predicted(second), predicted(whole))


def test_a_best_that_is_later_than_what_is_continued_stays_behind(tmp_path):
    careamist = new(small_care(4, training={"steps_per_epoch": 4}), tmp_path)
    careamist.train(**PAIRS)
    assert (careamist.run_dir / "best.ckpt").is_file()  # of step 4
    second = loaded(careamist.run_dir / "step_000003.ckpt", tmp_path)
    second._model.folder_in(tmp_path)
    assert not (second.run_dir / "best.ckpt").exists()


def test_a_training_that_is_continued_from_a_lone_file_has_a_best_of_its_own(tmp_path):
    first = stopping_after(new(rising(num_steps=6), tmp_path / "parts"), 4)
    first.train(**PAIRS)
    lone = tmp_path / "lone.ckpt"
    (first.run_dir / "last.ckpt").rename(lone)
    second = loaded(lone, tmp_path)
    second.train(**PAIRS)
    best = second._model.to_predict_with("best")
    assert best.steps_done in (5, 6)
    losses = dict(map(tuple, second.get_losses()["val_loss"]))
    assert losses[best.steps_done] == min(losses[5], losses[6])


def test_best_without_validation_is_refused(tmp_path):
    careamist = new(small_care(2, n_val_patches=0), tmp_path)
    careamist.train(**PAIRS)
    np.testing.assert_array_equal(predicted(careamist), predicted(careamist, "last"))
    with pytest.raises(SettingsError, match="no validation loss was measured"):
        predicted(careamist, "best")


@pytest.mark.parametrize("algorithm", [None, N2N(model=NETWORK)], ids=["N2V", "N2N"])
def test_where_noise_is_the_target_there_is_no_best(tmp_path, algorithm):
    careamist = new(small(2, algorithm=algorithm), tmp_path)
    careamist.train(**(PAIRS if algorithm else {"train_data": IMAGE}))
    with pytest.raises(SettingsError, match=r"no best checkpoint: .*noise") as caught:
        predicted(careamist, "best")
    assert str(careamist.run_dir / "best.ckpt") in caught.value.hint
    predicted(careamist, careamist.run_dir / "best.ckpt")  # as the hint says
    np.testing.assert_array_equal(predicted(careamist), predicted(careamist, "last"))


def test_prediction_uses_the_weights_of_the_end(tmp_path):
    # not those of the latest kept checkpoint, which may be many epochs old
    careamist = new(small(5, training={"checkpoint_every": 4}), tmp_path)
    careamist.train(train_data=IMAGE)
    kept = predicted(careamist, careamist.run_dir / "step_000004.ckpt")
    assert np.abs(predicted(careamist) - kept).max() > 0
    module = module_of(careamist)
    normalization = module.config.data_config.normalization
    with torch.no_grad():
        network = module.averaged.eval()
        expected = normalization.undo(
            network(normalization.apply(torch.from_numpy(IMAGE)[None, None]))
        )
    np.testing.assert_allclose(predicted(careamist), expected[0, 0].numpy(), rtol=1e-5)


def test_predicting_with_a_checkpoint_does_not_touch_the_model_in_training(tmp_path):
    whole = new(small(6), tmp_path / "whole")
    whole.train(train_data=IMAGE)
    careamist = stopping_after(new(small(6), tmp_path / "parts"), 5)
    careamist.train(train_data=IMAGE)
    before = {name: value.clone() for name, value in weights(careamist).items()}
    predicted(careamist, careamist.run_dir / "step_000003.ckpt")
    predicted(careamist)
    for name, value in weights(careamist).items():
        assert torch.equal(value, before[name]), name
    careamist.train(train_data=IMAGE)
    assert_same_weights(whole, careamist)


def test_nothing_is_predicted_before_training_and_training_again_goes_on(tmp_path):
    events = []
    careamist = new(small(2), tmp_path, [events.append])
    for checkpoint in (None, "last"):
        with pytest.raises(NotTrainedError, match=r"no trained model yet\. Train first"):
            predicted(careamist, checkpoint)
    assert isinstance(events[-1], RunFailed)
    careamist.train(train_data=IMAGE)
    first = predicted(careamist)
    careamist.train(train_data=IMAGE)
    assert careamist.steps_done == 4
    assert np.abs(predicted(careamist) - first).max() > 0


@pytest.mark.parametrize("given", ["nowhere.ckpt", "", "  "])
def test_a_checkpoint_that_is_not_there(tmp_path, given):
    careamist = new(small(1), tmp_path)
    careamist.train(train_data=IMAGE)
    with pytest.raises(CareamistError):
        predicted(careamist, given)
    with pytest.raises((SourceNotFoundError, SettingsError)):
        CAREamist(checkpoint_path=given)


# -- folders ---------------------------------------------------------------------------------------


def test_folders_are_numbered_and_named_by_the_experiment(tmp_path):
    config = small(1).model_copy(update={"experiment_name": "My cells"})
    names = []
    for _ in range(2):
        careamist = new(config, tmp_path)
        careamist.train(train_data=IMAGE)
        careamist.train(train_data=IMAGE)  # the same model: the same folder
        names.append(careamist.run_dir.relative_to(tmp_path).as_posix())
    assert names == ["checkpoints/My_cells_1", "checkpoints/My_cells_2"]


# -- targets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [None, N2N(model=NETWORK)], ids=["CARE", "N2N"])
@pytest.mark.parametrize("as_module", [False, True])
def test_pairs_are_asked_for(tmp_path, algorithm, as_module):
    config = small(1, algorithm=algorithm) if algorithm else small_care(1)
    events = []
    careamist = new(config, tmp_path, [events.append])
    data = {"train_data": "not even opened"}
    if as_module:
        data = {"datamodule": TrainDataModule(config.data_config, IMAGE)}
    with pytest.raises(SettingsError, match=r"learns from pairs.*Give train_data_target"):
        careamist.train(**data)
    assert isinstance(events[-1], RunFailed)
    assert careamist.steps_done == 0


def test_a_subclass_with_targets_of_its_own_is_not_refused(tmp_path):
    class Mine(TrainDataModule):
        def setup(self, stage=None):
            self.train_data_target = TARGET
            super().setup(stage)

    careamist = new(small_care(1), tmp_path)
    careamist.train(datamodule=Mine(careamist.config.data_config, IMAGE))
    assert careamist.steps_done == 1


@pytest.mark.parametrize("as_module", [False, True])
def test_targets_that_are_not_needed_are_ignored_and_that_is_told(tmp_path, as_module):
    config = small(2)
    plain = new(config, tmp_path)
    plain.train(train_data=IMAGE)
    events = []
    careamist = new(config, tmp_path, [events.append])
    data = {**PAIRS, "val_data": None}
    if as_module:
        data = {"datamodule": TrainDataModule(config.data_config, IMAGE, None, TARGET)}
    careamist.train(**data)
    told = [event.message for event in events if isinstance(event, Noticed)]
    assert "Noise2Void learns without targets: those given are ignored." in told
    assert_same_weights(plain, careamist)


def test_validation_images_need_targets_where_training_has_them(tmp_path):
    with pytest.raises(SettingsError, match=r"Validation needs.*Give val_data_target"):
        new(small_care(1), tmp_path).train(**PAIRS, val_data=IMAGE)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (np.where(TARGET > 125, np.nan, TARGET), "NaN or Inf"),
        (np.where(TARGET > 125, np.inf, TARGET), "NaN or Inf"),
        (np.zeros((64, 64)), "constant"),
        (TARGET * 1j, "complex"),
    ],
)
def test_targets_that_nothing_can_be_learnt_from_are_refused(tmp_path, target, words):
    careamist = new(small_care(1), tmp_path)
    with pytest.raises(DataError, match=words):
        careamist.train(train_data=IMAGE, train_data_target=target)
    assert careamist.steps_done == 0
