"""Table of contents: one file per algorithm, one name in the union."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from careamist.algorithms.base import Algorithm
from careamist.algorithms.care import CARE
from careamist.algorithms.n2n import N2N
from careamist.algorithms.n2v import N2V


def _tagged(value: Any) -> Any:
    """Take settings that do not name their algorithm for Noise2Void's."""
    if isinstance(value, dict) and "algorithm" not in value:
        return {"algorithm": "n2v"} | value
    return value


AnyAlgorithm = Annotated[
    N2V | CARE | N2N, Field(discriminator="algorithm"), BeforeValidator(_tagged)
]
ALGORITHMS: dict[str, type[Algorithm]] = {"n2v": N2V, "care": CARE, "n2n": N2N}

__all__ = ["ALGORITHMS", "CARE", "N2N", "N2V", "Algorithm", "AnyAlgorithm"]
