"""CARE: learn from pairs of poor and good images (Weigert et al., Nature Methods 2018)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from careamist.algorithms.base import Supervised


class CARE(Supervised):
    """Content-aware restoration: pairs of poor and good images, with any number of channels."""

    default_checkpoint: ClassVar[Literal["last", "best"]] = "best"
    short_name: ClassVar[str] = "CARE"
    full_name: ClassVar[str] = "Content-aware restoration"

    algorithm: Literal["care"] = Field(
        "care", title="Method", json_schema_extra={"level": "hidden"}
    )

    @property
    def references(self) -> tuple[str, ...]:
        """The publications to cite, one line each."""
        return (
            "Weigert et al., Content-aware image restoration: pushing the limits of fluorescence "
            "microscopy, Nature Methods 15, 2018, doi:10.1038/s41592-018-0216-7",
        )
