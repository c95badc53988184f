"""How a result was made, and its settings back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from careamist import __version__
from careamist.config import PredictionConfig
from careamist.errors import SettingsError
from careamist.library import write_card
from careamist.recipe import checkpoint_of, model_id, recipe_of, settings_of
from tiny import loaded, new, noise, small, small_care, waves


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("recipe")
    new(small(3), home).train(train_data=noise())
    return home


def test_a_recipe_holds_all_that_made_a_result(home: Path) -> None:
    model = loaded(home / "checkpoints" / "careamist_1", home)
    options = PredictionConfig(axes="TYX", tile_size=(64, 64))
    recipe = json.loads(json.dumps(recipe_of(model, options, "a layer")))
    assert recipe["version"] == __version__
    assert (recipe["source"], recipe["axes"], recipe["steps"]) == ("a layer", "TYX", 3)
    assert recipe["model_id"] == write_card(home / "checkpoints" / "careamist_1").fingerprint
    assert recipe["date"].startswith("20")
    found = settings_of(recipe)
    assert found.configuration == model.config
    assert found.options == options
    assert found.checkpoint == str(home / "checkpoints" / "careamist_1")


def test_the_settings_train_the_same_model_again(home: Path, tmp_path: Path) -> None:
    model = loaded(home, home)
    again = new(settings_of(recipe_of(model)).configuration, tmp_path)
    assert model_id(again) == ""
    again.train(train_data=noise())
    assert model_id(again) == model_id(model)
    other = new(
        again.config.model_copy(update={"data_config": small(seed=7).data_config}), tmp_path
    )
    other.train(train_data=noise())
    assert model_id(other) != model_id(model)


def test_the_id_is_that_of_the_weights_that_predict(tmp_path: Path) -> None:
    model = new(small_care(6), tmp_path)
    model.train(train_data=noise(), train_data_target=waves(64, 64))
    best = loaded(model.run_dir / "best.ckpt", tmp_path)
    assert model_id(model) == model_id(best)
    np.testing.assert_array_equal(model.predict(noise())[0][0], best.predict(noise())[0][0])


def test_where_a_model_is_kept(home: Path, tmp_path: Path) -> None:
    model = new(small(1), tmp_path)
    assert checkpoint_of(model) is None
    assert recipe_of(model)["checkpoint"] is None
    model.train(train_data=noise())
    assert checkpoint_of(model) == model.run_dir
    file = shutil.copy(home / "checkpoints" / "careamist_1" / "last.ckpt", tmp_path / "x.ckpt")
    assert checkpoint_of(loaded(file, home)) == file
    recipe = recipe_of(model)
    shutil.rmtree(model.run_dir)
    assert settings_of(recipe).checkpoint is None


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (None, "does not say"),
        ({}, "does not say"),
        ("text", "does not say"),
        ({"configuration": {}, "format": 2, "version": "9"}, "newer"),
        ({"configuration": {"speed": 3}}, "speed"),
        ({"configuration": {}, "prediction": {"axes": "QQ"}}, "axes"),
    ],
)
def test_what_is_no_recipe(recipe: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settings_of(recipe)  # type: ignore[arg-type]


def test_results_of_the_first_version_can_be_read() -> None:
    old = {"source": "x", "axes": "YX", "steps": 3, "configuration": {}, "date": "2026-11-01"}
    assert settings_of(old).options == PredictionConfig()
