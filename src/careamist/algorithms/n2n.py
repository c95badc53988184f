"""Noise2Noise: learn from pairs of noisy images (Lehtinen et al., ICML 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from careamist.algorithms.base import Supervised
from careamist.algorithms.exchange import exchanged, find_exchange
from careamist.errors import SettingsError
from careamist.models.network import UNet

if TYPE_CHECKING:
    import torch

    from careamist.models.unet import UNetModel


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

    exchange: Literal["auto", "pixels", "patches", "none"] = Field(
        "auto",
        title="Exchange pairs",
        description="Let input and target change places during the training, so that the network "
        "cannot learn their noise by heart: single pixels, whole patches, or as the noise of the "
        "images allows. Where their noise differs, nothing is exchanged.",
        json_schema_extra={
            "level": "advanced",
            "choices": {
                "auto": "as the noise allows",
                "pixels": "pixels",
                "patches": "whole patches",
                "none": "no",
            },
        },
    )

    def prepare(
        self, model: UNetModel, images: torch.Tensor, targets: torch.Tensor | None = None
    ) -> Self:
        """Fit the linear path, and find out how far pairs can change places."""
        super().prepare(model, images, targets)
        aims = self.checked(targets)
        if self.exchange == "auto":
            return self.model_copy(update={"exchange": find_exchange(images, aims)})
        if self.exchange != "none" and images.shape != aims.shape:
            raise SettingsError(
                f"Images of {images.shape[1]} channels and targets of {aims.shape[1]} cannot "
                "change places.",
                "Set exchange to 'none' or 'auto'.",
            )
        return self

    def loss(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        keys: torch.Tensor,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean difference of the restored images to their targets."""
        aims = self.checked(targets)
        if model.training and self.exchange != "auto":  # validation compares like with like
            inputs, aims = exchanged(inputs, aims, keys, self.exchange)
        return super().loss(model, inputs, keys, aims)

    @property
    def references(self) -> tuple[str, ...]:
        """The publications to cite, one line each."""
        return (
            "Lehtinen et al., Noise2Noise: learning image restoration without clean data, "
            "ICML 2018, arXiv:1803.04189",
        )
