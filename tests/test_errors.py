"""Every error is also the builtin that callers expect."""

from __future__ import annotations

import pickle

import pytest

from careamist import errors

BUILTINS = {
    "AxesError": ValueError,
    "ShapeError": ValueError,
    "DataError": ValueError,
    "SettingsError": ValueError,
    "CheckpointError": ValueError,
    "SourceNotFoundError": FileNotFoundError,
    "OutputExistsError": FileExistsError,
    "UnreadableError": OSError,
    "DiskFullError": OSError,
    "NotTrainedError": RuntimeError,
    "DivergedError": RuntimeError,
    "SomeFailedError": RuntimeError,
}


def test_the_list_is_complete():
    ours = {
        name
        for name, member in vars(errors).items()
        if isinstance(member, type) and issubclass(member, errors.CareamistError)
    }
    assert ours == {*BUILTINS, "CareamistError"}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_error_is_ours_and_the_builtin(name, builtin):
    error = getattr(errors, name)("It is too small.", "Use a larger one.")
    assert isinstance(error, errors.CareamistError)
    assert isinstance(error, builtin)
    assert (error.message, error.hint) == ("It is too small.", "Use a larger one.")
    assert str(error) == "It is too small. Use a larger one."


@pytest.mark.parametrize("name", BUILTINS)
def test_error_crosses_processes(name):
    error = pickle.loads(pickle.dumps(getattr(errors, name)("What.", "Do.")))
    assert type(error) is getattr(errors, name)
    assert (error.message, error.hint, str(error)) == ("What.", "Do.", "What. Do.")


@pytest.mark.parametrize("name", BUILTINS)
def test_error_without_a_hint_has_no_blank_at_its_end(name):
    assert str(getattr(errors, name)("What.")) == "What."
