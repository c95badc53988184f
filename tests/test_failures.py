"""Any exception as what went wrong and what to do about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from careamist.config import DataConfig
from careamist.errors import CareamistError, SettingsError
from careamist.failures import explain_failure

SMALLER = "Use a smaller batch, patch or tile."


def caught(call: object, *arguments: object, **options: object) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011
        call(*arguments, **options)  # type: ignore[operator]
    return info.value


@pytest.mark.parametrize("kind", [CareamistError, *CareamistError.__subclasses__()])
def test_our_errors_explain_themselves(kind: type[CareamistError]) -> None:
    assert explain_failure(kind("What happened.", "What to do.")) == (
        "What happened.",
        "What to do.",
    )
    assert explain_failure(kind("What happened.")) == ("What happened.", "")


def test_settings_name_the_field() -> None:
    message, hint = explain_failure(caught(DataConfig, batch_size=0, seed=-1))
    assert message.startswith("batch_size: ")
    assert "; seed: " in message
    assert "\n" not in message
    assert hint == "Correct the settings."


def test_our_errors_inside_settings_keep_their_words() -> None:
    message, _ = explain_failure(caught(DataConfig, axes="YYX"))
    assert message.startswith("axes: axes='YYX' names an axis twice")
    assert "Value error" not in message


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
    ],
)
def test_memory_of_the_device(error: Exception) -> None:
    assert explain_failure(error) == ("The device ran out of memory.", SMALLER)


def test_memory_of_the_computer() -> None:
    expected = ("The computer ran out of memory.", SMALLER)
    assert explain_failure(MemoryError()) == expected
    assert explain_failure(caught(np.zeros, 2**58)) == expected
    assert explain_failure(caught(torch.empty, 2**58)) == expected


def test_the_system_is_quoted_with_its_path(tmp_path: object) -> None:
    error = caught(open, f"{tmp_path}/none/file")
    assert explain_failure(error) == (f"No such file or directory: {tmp_path}/none/file.", "")
    assert explain_failure(OSError(28, "No space left on device"))[0] == "No space left on device."
    assert explain_failure(OSError("odd"))[0] == "OSError: odd"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no good"), "ValueError: no good"),
        (KeyError("name"), "KeyError: 'name'"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (RuntimeError("\n  first\n second"), "RuntimeError: first"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_anything_else_is_its_kind_and_first_line(error: BaseException, message: str) -> None:
    assert explain_failure(error) == (message, "")


def test_our_kind_comes_before_the_builtin_it_also_is() -> None:
    error = SettingsError("It ran out of memory.", "Ours.")
    assert explain_failure(error) == ("It ran out of memory.", "Ours.")
