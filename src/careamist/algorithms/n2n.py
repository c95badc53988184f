"""Noise2Noise: learn from pairs of noisy images (Lehtinen et al., ICML 2018)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from careamist.algorithms.base import Supervised
from careamist.models.network import UNet


class N2N(Supervised):
    """Noise2Noise: two noisy images of each scene."""

    short_name: ClassVar[str] = "N2N"
    full_name: ClassVar[str] = "Noise2Noise"

    algorithm: Literal["n2n"] = Field("n2n", title="Method", json_schema_extra={"level": "hidden"})
    model: UNet = Field(
        UNet(independent_channels=True),
        title="Network",
        description="The network that is trained.",
        json_schema_extra={"level": "advanced"},
    )

    @property
    def references(self) -> tuple[str, ...]:
        """The publications to cite, one line each."""
        return (
            "Lehtinen et al., Noise2Noise: learning image restoration without clean data, "
            "ICML 2018, arXiv:1803.04189",
        )
