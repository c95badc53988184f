"""Where the losses of a training are written down."""

from __future__ import annotations

import csv
import sys

import pytest

from careamist.errors import SettingsError
from careamist.events import EpochDone, RunFailed
from tiny import loaded, new, noise, small, stopping_after

CONFIG = small(6, training={"steps_per_epoch": 2})


def table(careamist):
    with (careamist.run_dir / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_losses_are_a_table_with_a_row_for_each_epoch(tmp_path):
    events = []
    careamist = new(CONFIG, tmp_path, [events.append])
    careamist.train(train_data=noise(64, 64))
    rows = table(careamist)
    assert list(rows[0]) == ["step", "epoch", "train_loss", "val_loss", "learning_rate"]
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert len(rows) == len(epochs) == 3
    for row, event in zip(rows, epochs, strict=True):
        assert (int(row["step"]), int(row["epoch"])) == (event.step, event.epoch)
        for name, value in event.metrics.items():
            assert float(row[name]) == value


def test_a_training_that_goes_on_appends_to_its_table(tmp_path):
    careamist = stopping_after(new(CONFIG, tmp_path), 4)
    careamist.train(train_data=noise(64, 64))
    assert [row["step"] for row in table(careamist)] == ["2", "4"]
    careamist.train(train_data=noise(64, 64))  # to the end
    careamist.train(train_data=noise(64, 64))  # once more
    assert [row["step"] for row in table(careamist)] == [str(n) for n in range(2, 13, 2)]


def test_a_training_in_another_folder_has_a_table_of_its_own(tmp_path):
    first = stopping_after(new(CONFIG, tmp_path), 4)
    first.train(train_data=noise(64, 64))
    second = loaded(first.run_dir, tmp_path)
    second.train(train_data=noise(64, 64))
    assert [row["step"] for row in table(second)] == ["6"]
    assert len(table(first)) == 2


def test_without_validation_the_column_is_empty(tmp_path):
    careamist = new(small(2, n_val_patches=0), tmp_path)
    careamist.train(train_data=noise(64, 64))
    assert [row["val_loss"] for row in table(careamist)] == [""]


def test_tensorboard_gets_the_losses(tmp_path):
    events_of = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = small(4, training={"steps_per_epoch": 2, "logger": "tensorboard"})
    careamist = new(config, tmp_path)
    careamist.train(train_data=noise(64, 64))
    log = events_of.EventAccumulator(str(careamist.run_dir / "tb_logs"))
    log.Reload()
    assert set(log.Tags()["scalars"]) == {"train_loss", "val_loss", "learning_rate"}
    for name, expected in careamist.get_losses().items():
        written = [(scalar.step, scalar.value) for scalar in log.Scalars(name)]
        assert written == [(step, pytest.approx(value)) for step, value in expected]


@pytest.mark.parametrize(
    ("logger", "module", "package"),
    [("tensorboard", "torch.utils.tensorboard", "tensorboard"), ("wandb", "wandb", "wandb")],
)
def test_a_logger_that_is_not_installed_is_named(tmp_path, monkeypatch, logger, module, package):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    events = []
    careamist = new(small(2, training={"logger": logger}), tmp_path, [events.append])
    with pytest.raises(SettingsError, match=f"logger='{logger}'") as caught:
        careamist.train(train_data=noise(64, 64))
    assert caught.value.hint == f"Run: pip install {package}"
    assert isinstance(events[-1], RunFailed)
    assert careamist.steps_done == 0
