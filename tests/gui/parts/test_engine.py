"""The engine is imported in a thread, without stopping the others."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from careamist.errors import CareamistError
from careamist.gui.parts.engine import import_engine

pytestmark = pytest.mark.gui

LOADED = """
import sys
from careamist.gui.parts import engine
engine._load_libraries()
assert "torch" not in sys.modules
assert "libtorch_cpu" in open("/proc/self/maps").read()
import torch
assert torch.ones(3).sum() == 3
"""

# a thread imports torch; this one counts how long it cannot go on
GAPS = """
import gc, sys, threading, time
from careamist.gui.parts.engine import import_engine
thread = threading.Thread(target=import_engine, args=(lambda: None, "torch"))
thread.start()
gaps, last = [], time.perf_counter()
while thread.is_alive():
    time.sleep(0.005)
    now = time.perf_counter()
    gaps.append(now - last)
    last = now
assert "torch" in sys.modules and gc.isenabled()
print(max(gaps))
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_libraries_are_loaded_before_torch_is_imported() -> None:
    run(LOADED)


def test_other_threads_go_on_while_torch_is_imported() -> None:
    assert float(run(GAPS)) < 4 * 0.06  # 0.03 s were measured, 0.30 s with a plain import


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_engine(lambda: None, "careamist.no_such_module")
    assert gc.isenabled()


def test_an_import_can_be_stopped() -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise CareamistError("stopped")

    with pytest.raises(CareamistError, match="stopped"):
        import_engine(check, "json", "careamist.no_such_module")
    assert gc.isenabled()


def test_what_is_imported_is_not_imported_again() -> None:
    def never() -> None:
        raise AssertionError

    import_engine(never, "json", "sys")
