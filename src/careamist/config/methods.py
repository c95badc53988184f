"""The methods by the names that users know: the algorithms, and settings of theirs with a name."""

from __future__ import annotations

from dataclasses import dataclass

from careamist.algorithms import ALGORITHMS, CARE, N2N, N2V, Algorithm
from careamist.config.factories import n2v2_settings


@dataclass(frozen=True)
class Method:
    """An algorithm to begin with.

    Parameters
    ----------
    title : str
        What it is called.
    needs : str
        A few words: which images it learns from.
    about : str
        What it does and when to use it.
    algorithm : Algorithm
        Its settings to begin with.
    """

    title: str
    needs: str
    about: str
    algorithm: Algorithm

    @property
    def needs_target(self) -> bool:
        """Whether it learns from pairs."""
        return self.algorithm.needs_target


METHODS: dict[str, Method] = {
    "n2v": Method(
        "Noise2Void",
        "Noisy images only.",
        "Learns from the noisy images alone what a pixel is likely to be, given those around it. "
        "For noise that is independent from pixel to pixel. Needs nothing else.",
        N2V(),
    ),
    "n2v2": Method(
        "N2V2",
        "Noisy images only. Fewer checkerboard artefacts.",
        "Noise2Void with blurred pooling and the median of the window as replacement. Try it "
        "where Noise2Void leaves a checkerboard. Needs nothing else.",
        N2V(**n2v2_settings(use_n2v2=True, axes="YX")),
    ),
    "structn2v": Method(
        "structN2V",
        "Noisy images only. For noise that runs in lines.",
        "Noise2Void that hides the neighbours too whose noise resembles that of the pixel. For "
        "lines and stripes, as of many cameras and scanners. Choose their direction in Advanced.",
        N2V(struct_axes="horizontal"),
    ),
    "care": Method(
        "CARE",
        "Noisy and clean pairs.",
        "Learns from examples to turn poor images into good ones. Needs for each noisy image a "
        "clean one of the same place.",
        CARE(),
    ),
    "n2n": Method(
        "Noise2Noise",
        "Two noisy pictures of the same scene.",
        "Learns from pairs of noisy images what they have in common. Needs two pictures of each "
        "scene, with noise of their own.",
        N2N(),
    ),
}


def _described(kind: type[Algorithm]) -> Method:
    words = " ".join((kind.__doc__ or "").split())
    needs = words.partition(". ")[0].removesuffix(".").rpartition(": ")[2]
    return Method(kind.full_name, needs[:1].upper() + needs[1:] + ".", words, kind())


METHODS |= {name: _described(kind) for name, kind in ALGORITHMS.items() if name not in METHODS}
