"""Any exception as what went wrong and what to do about it, for a person."""

from __future__ import annotations

from pydantic import ValidationError

from careamist.compute import is_out_of_memory
from careamist.config.configuration import explain
from careamist.errors import CareamistError

_SMALLER = "Use a smaller batch, patch or tile."


def explain_failure(error: BaseException) -> tuple[str, str]:
    """Return (message, hint); the hint may be empty."""
    if isinstance(error, CareamistError):
        return error.message, error.hint
    if isinstance(error, ValidationError):
        return explain(error), "Correct the settings."
    text = str(error).strip().split("\n")[0]
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}.", ""
    if is_out_of_memory(error):
        on_cpu = isinstance(error, MemoryError) or "DefaultCPUAllocator" in text
        return f"The {'computer' if on_cpu else 'device'} ran out of memory.", _SMALLER
    return f"{type(error).__name__}: {text}" if text else type(error).__name__, ""
