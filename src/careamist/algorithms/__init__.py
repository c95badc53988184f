"""Table of contents: one file per algorithm, one name in the union."""

from careamist.algorithms.base import Algorithm
from careamist.algorithms.n2v import N2V

# becomes Annotated[N2V | ..., Field(discriminator="algorithm")] with the second member
AnyAlgorithm = N2V
ALGORITHMS: dict[str, type[Algorithm]] = {"n2v": N2V}

__all__ = ["ALGORITHMS", "N2V", "Algorithm", "AnyAlgorithm"]
