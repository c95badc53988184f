"""Train and apply image-restoration networks on microscopy images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamist.careamist import CAREamist

__version__ = "0.1.0"
__all__ = ["CAREamist", "__version__"]


def __getattr__(name: str) -> Any:
    # torch and Lightning take seconds to import: only who trains waits for them
    if name == "CAREamist":
        from careamist.careamist import CAREamist

        return CAREamist
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
