"""The journal of an unfinished result: exact after a kill, of several workers, of one recipe."""

from __future__ import annotations

import numpy as np
import pytest

from careamist.errors import UnreadableError
from careamist.prediction.journal import Journal

RECIPE = {"model": "abc", "halo": [24, 24]}


def written(path, numbers, recipe=RECIPE, worker=""):
    journal = Journal(path, recipe, worker)
    journal.begin()
    for number in numbers:
        journal.add(number)
    journal.close()
    return journal


def test_what_was_written_is_there(tmp_path):
    written(tmp_path / "a.tiles", [3, 0])
    journal = written(tmp_path / "a.tiles", [4])  # begun again
    assert journal.fits()
    np.testing.assert_array_equal(np.flatnonzero(journal.done(6)), [0, 3, 4])


def test_nothing_fits_where_nothing_is(tmp_path):
    assert not Journal(tmp_path / "a.tiles", RECIPE).fits()
    assert not Journal(tmp_path / "no" / "a.tiles", RECIPE).fits()
    assert not Journal(tmp_path / "no" / "a.tiles", RECIPE).done(3).any()


def test_another_recipe_does_not_fit(tmp_path):
    written(tmp_path / "a.tiles", [1])
    assert not Journal(tmp_path / "a.tiles", RECIPE | {"model": "other"}).fits()


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_line_that_was_cut_off_does_not_count(tmp_path, cut):
    path = tmp_path / "a.tiles"
    written(path, [7, 12345])
    path.write_text(path.read_text()[:-cut])
    assert np.flatnonzero(Journal(path, RECIPE).done(20000)).tolist() == [7]


def test_after_a_cut_line_the_next_one_is_whole(tmp_path):
    path = tmp_path / "a.tiles"
    written(path, [7, 12345])
    path.write_text(path.read_text()[:-3])
    journal = written(path, [9])
    assert np.flatnonzero(journal.done(20000)).tolist() == [7, 9]


def test_a_cut_first_line_does_not_fit(tmp_path):
    path = tmp_path / "a.tiles"
    written(path, [])
    path.write_text(path.read_text()[:-5])
    assert not Journal(path, RECIPE).fits()


def test_several_workers_see_what_each_has_done(tmp_path):
    path = tmp_path / "a.tiles"
    written(path, [0, 1], worker="-0")
    second = written(path, [5], worker="-1")
    assert second.fits()
    assert np.flatnonzero(second.done(6)).tolist() == [0, 1, 5]
    second.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_journal_of_another_result_is_left_alone(tmp_path):
    written(tmp_path / "a.tiff.tiles", [0])
    other = written(tmp_path / "a.tiff.tiles2", [1])  # not a name that is given, but near
    Journal(tmp_path / "b.tiff.tiles", RECIPE).remove()
    assert len(list(tmp_path.iterdir())) == 2
    assert other.done(2).any()


def test_what_is_no_journal_is_told(tmp_path):
    (tmp_path / "a.tiles").write_text("recipe\nx\n1\n")
    with pytest.raises(UnreadableError, match="does not say which tiles"):
        Journal(tmp_path / "a.tiles", RECIPE).done(3)
