"""The kept models: cards, names, pictures, copies, and what is never deleted."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from careamist import library
from careamist.config import N2V
from careamist.errors import (
    CareamistError,
    CheckpointError,
    OutputExistsError,
    SettingsError,
    SourceNotFoundError,
    UnreadableError,
)
from careamist.library import ModelCard
from tiny import loaded, new, noise, small, small_care, waves

NETWORK = small().algorithm_config.model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with N2V and one with CARE, both called "cells", without cards."""
    home = tmp_path_factory.mktemp("library")
    for config, target in ((small(4), None), (small_care(6), waves(64, 64))):
        model = new(config.model_copy(update={"experiment_name": "cells"}), home)
        model.train(train_data=noise(), train_data_target=target)
    for path in (home / "checkpoints" / "cells_1").glob("*.ckpt"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "home")
    return tmp_path / "home"


def read_all(home: Path) -> list[ModelCard]:
    return [library.read_card(card) for card in library.list_models(home)[::-1]]  # oldest first


def test_a_library_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert library.list_models(tmp_path / "none") == []
    (tmp_path / "checkpoints" / "empty").mkdir(parents=True)
    assert library.list_models(tmp_path) == []


def test_models_without_a_card_are_listed_and_read_later(home: Path) -> None:
    cards = library.list_models(home)
    assert [card.name for card in cards] == ["cells_2", "cells_1"]  # the newest first
    assert not any(card.is_read for card in cards)
    assert all(card.size > 0 for card in cards)

    n2v, care = read_all(home)
    assert (n2v.name, n2v.method, n2v.axes, n2v.dims, n2v.steps) == ("cells", "N2V", "YX", 2, 4)
    assert n2v.date == datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC)
    assert len(n2v.description.splitlines()) == 2
    assert care.name == "cells 2"
    assert care.method == "CARE"
    assert care.checkpoint == "best.ckpt"  # what CARE trusts most
    assert n2v.checkpoint == "last.ckpt"
    assert [card.name for card in library.list_models(home)] == ["cells 2", "cells"]
    assert all(card.is_read for card in library.list_models(home))


def test_a_list_needs_no_torch(home: Path) -> None:
    read_all(home)
    code = f"""
import sys
from pathlib import Path
from careamist import library
cards = library.list_models(Path({str(home)!r}))
assert [card.method for card in cards] == ["CARE", "N2V"], cards
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fingerprint_is_that_of_the_weights(home: Path) -> None:
    n2v, care = read_all(home)
    assert n2v.fingerprint != care.fingerprint
    assert len(n2v.fingerprint) == 16
    library.export(n2v, home / "copy.ckpt")
    assert library.import_(home / "copy.ckpt", home).fingerprint == n2v.fingerprint


def test_a_model_that_was_trained_on_is_read_again(home: Path) -> None:
    card = library.rename(read_all(home)[0], "mine")
    model = loaded(card.folder, home)
    model.train(train_data=noise())
    last = model.run_dir / "last.ckpt"
    last.replace(card.folder / "last.ckpt")
    (stale,) = [c for c in library.list_models(home) if c.folder == card.folder]
    assert (stale.name, stale.is_read) == ("mine", False)
    assert (library.read_card(stale).steps, library.read_card(stale).name) == (8, "mine")


def test_what_cannot_be_read_has_a_problem_and_can_be_deleted(home: Path) -> None:
    (home / "checkpoints" / "bad_1").mkdir()
    (home / "checkpoints" / "bad_1" / "last.ckpt").write_bytes(b"no checkpoint")
    card = library.read_card(library.list_models(home)[0])
    assert "not a careamist checkpoint" in card.problem
    assert card.is_read
    with pytest.raises(CheckpointError, match="not a careamist checkpoint"):
        library.export(card, home / "x.ckpt")
    library.delete(card)
    assert len(library.list_models(home)) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99, "name": "x", "date": 0}'])
def test_a_broken_card_is_made_anew(home: Path, text: str) -> None:
    read_all(home)
    card_file = home / "checkpoints" / "cells_1" / library.CARD
    card_file.write_text(text)
    assert [card.method for card in read_all(home)] == ["N2V", "CARE"]
    assert ModelCard.model_validate_json(card_file.read_text()).name == "cells"


# -- write_card ---------------------------------------------------------------------------------


def test_write_card_with_a_picture(home: Path) -> None:
    before, after = noise(3, 200, 150), np.zeros((3, 200, 150), np.float32)
    after[1, 100:190, 50:140] = waves(90, 90)  # the only structure
    card = library.write_card(home / "checkpoints" / "cells_1", "a layer", before, after)
    assert (card.name, card.source, card.steps) == ("cells", "a layer", 4)
    assert card.thumbnail == home / "checkpoints" / "cells_1" / "before_after.png"
    picture = imagecodecs.png_decode(card.thumbnail.read_bytes())
    assert (picture.shape, picture.dtype) == ((96, 192), np.uint8)
    assert picture[:, 96:].std() > 0
    again = library.write_card(card.folder)  # as after "Continue"
    assert (again.source, again.thumbnail) == ("a layer", card.thumbnail)


def test_write_card_of_nothing(tmp_path: Path, home: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no model"):
        library.write_card(tmp_path / "none")
    with pytest.raises(CareamistError, match="same part"):
        library.write_card(home / "checkpoints" / "cells_1", "", noise(8, 8), noise(9, 9))


# -- names --------------------------------------------------------------------------------------


def test_rename_changes_the_name_and_moves_nothing(home: Path) -> None:
    card = read_all(home)[1]  # CARE looks into its folder when it predicts
    model = loaded(card.path, home)
    (before,), _ = model.predict(noise())
    renamed = library.rename(card, "  good   one ")
    assert renamed.name == "good one"
    assert renamed.folder == card.folder
    assert "good one" in [card.name for card in library.list_models(home)]
    np.testing.assert_array_equal(model.predict(noise())[0][0], before)
    library.rename(renamed, "Good One")  # its own name in other letters


@pytest.mark.parametrize("name", ["", "  ", "CELLS 2", "x" * 81, "a\x00b"])
def test_names_that_are_refused(home: Path, name: str) -> None:
    card = read_all(home)[0]
    with pytest.raises(SettingsError):
        library.rename(card, name)
    assert library.list_models(home)[1].name == "cells"


def test_a_name_that_was_not_read_yet_can_be_changed(home: Path) -> None:
    card = library.list_models(home)[0]
    library.rename(card, "early")
    assert library.read_card(library.list_models(home)[0]).name == "early"


def test_copies_of_a_folder_have_names_of_their_own(home: Path) -> None:
    read_all(home)
    runs = home / "checkpoints"
    shutil.copytree(runs / "cells_1", runs / "copy_of_cells_1")
    names = [card.name for card in library.list_models(home)]
    assert sorted(names) == ["cells", "cells 2", "cells 3"]


def test_mark_used(home: Path) -> None:
    used = library.mark_used(read_all(home)[0])
    assert used.used is not None
    assert library.list_models(home)[1].used == used.used


# -- delete -------------------------------------------------------------------------------------


def test_delete_removes_all_of_a_model(home: Path) -> None:
    card = read_all(home)[0]
    library.write_picture(card.folder, noise(), noise())
    (card.folder / "job_data").mkdir()
    (card.folder / "job_train_1.yml").touch()
    library.delete(card)
    assert not card.folder.exists()
    assert len(library.list_models(home)) == 1


@pytest.mark.parametrize("name", ["notes.txt", "last.ckpt.bak", "figures/a.png"])
def test_what_is_foreign_is_never_deleted(home: Path, name: str) -> None:
    card = read_all(home)[0]
    (card.folder / name).parent.mkdir(exist_ok=True)
    (card.folder / name).write_text("mine")
    with pytest.raises(SettingsError, match=name.partition("/")[0]):
        library.delete(card)
    assert (card.folder / "last.ckpt").is_file()


def test_a_link_is_never_deleted(home: Path, tmp_path: Path) -> None:
    card = read_all(home)[0]
    card.folder.rename(tmp_path / "elsewhere")
    card.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="a link"):
        library.delete(card)
    assert (tmp_path / "elsewhere" / "last.ckpt").is_file()


# -- in and out -----------------------------------------------------------------------------------


def test_export_and_import_keep_every_bit(home: Path, tmp_path: Path) -> None:
    card = read_all(home)[1]
    path = library.export(card, tmp_path / "out" / "good")
    assert path == tmp_path / "out" / "good.ckpt"
    with pytest.raises(OutputExistsError):
        library.export(card, path)
    library.export(card, path, replace=True)

    other = tmp_path / "other"
    found = library.import_(path, other)
    assert (found.name, found.method, found.steps) == ("good", "CARE", card.steps)
    assert library.import_(path, other).name == "good 2"
    (expected,), _ = loaded(card.path, home).predict(noise())
    np.testing.assert_array_equal(loaded(found.path, other).predict(noise())[0][0], expected)


def test_import_of_a_file_of_a_run_takes_the_name_of_the_model(home: Path, tmp_path: Path) -> None:
    card = read_all(home)[0]
    library.write_picture(card.folder, noise(), noise())
    found = library.import_(card.folder / "last.ckpt", tmp_path)
    assert found.name == "cells"
    assert found.thumbnail is not None


def _text(path: Path) -> None:
    path.write_text("not a model")


def _pickled(path: Path) -> None:
    import torch

    torch.save({"state_dict": {}}, path)  # as other programs save


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_text, CheckpointError, "not a careamist checkpoint"),
        (_pickled, CheckpointError, "not a careamist checkpoint"),
        (Path.mkdir, SourceNotFoundError, "no checkpoint"),
        (lambda path: None, SourceNotFoundError, "no checkpoint"),
    ],
)
def test_import_of_what_is_no_model(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception], words: str
) -> None:
    make(tmp_path / "x.ckpt")
    with pytest.raises(error, match=words):
        library.import_(tmp_path / "x.ckpt", tmp_path / "home")
    assert library.list_models(tmp_path / "home") == []


def test_what_the_disk_refuses_is_told(home: Path) -> None:
    card = read_all(home)[0]
    with pytest.raises(UnreadableError, match="Check that"):
        library.export(card, card.folder / "last.ckpt" / "x.ckpt")


def test_structured_noise_is_named(tmp_path: Path) -> None:
    config = small(1, algorithm=N2V(model=NETWORK, struct_axes="horizontal"))
    model = new(config, tmp_path)
    model.train(train_data=noise())
    assert library.write_card(model.run_dir).method == "structN2V"
