"""The engine, imported in a thread while the window goes on."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MODULES = ("torch", "pytorch_lightning", "careamist.careamist")  # a second or more each
_lock = threading.Lock()


def is_imported() -> bool:
    """Tell whether all that a run needs is imported."""
    return all(name in sys.modules for name in _MODULES)


def import_engine(check: Callable[[], None], *modules: str) -> None:
    """Import torch and what trains with it, without stopping the other threads for long.

    An import takes turns with the window but for two things: loading the libraries of torch, and
    the garbage collector, which walks through all the new objects again and again. Together they
    would stop the window for half a second.

    Parameters
    ----------
    check : callable
        Is called between modules, and may raise to end this.
    *modules : str
        What is imported; all that a run needs when not given.
    """
    wanted = modules or _MODULES
    with _lock:
        if all(name in sys.modules for name in wanted):
            return
        collects = gc.isenabled()
        gc.disable()
        try:
            check()
            _load_libraries()
            for name in wanted:
                check()
                import_module(name)
        finally:
            if collects:
                gc.freeze()
                gc.unfreeze()  # what is new counts as old: it is not walked through at once
                gc.enable()


def _load_libraries() -> None:
    """Load the libraries of torch as torch does, but without holding the interpreter meanwhile."""
    spec = find_spec("torch") if "torch" not in sys.modules and os.name == "posix" else None
    if spec is None or spec.origin is None:
        return
    load = ctypes.CDLL(None).dlopen  # a foreign function lets other threads run, `CDLL` does not
    load.restype = ctypes.c_void_p
    load.argtypes = [ctypes.c_char_p, ctypes.c_int]
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    for name, mode in (("libtorch_global_deps", os.RTLD_GLOBAL), ("libtorch", os.RTLD_LOCAL)):
        path = Path(spec.origin).parent / "lib" / f"{name}{suffix}"
        if path.exists():  # where it cannot be loaded so, `import torch` says why
            load(os.fsencode(path), os.RTLD_NOW | mode)
