"""What every algorithm has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from careamist.models.network import UNet

if TYPE_CHECKING:
    import torch

    from careamist.models.unet import UNetModel


class Algorithm(BaseModel):
    """A way to learn: its parameters, its network and its loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_target: ClassVar[bool] = False
    default_checkpoint: ClassVar[Literal["last", "best"]] = "last"
    short_name: ClassVar[str] = ""

    model: UNet = Field(
        UNet(),
        title="Network",
        description="The network that is trained.",
        json_schema_extra={"level": "advanced"},
    )

    def build_model(self, dims: int, n_in: int, n_out: int) -> UNetModel:
        """Return a new network for `dims` spatial axes, with random weights."""
        return self.model.build(dims, n_in, n_out)

    def prepare(self, model: UNetModel, images: torch.Tensor) -> None:
        """Fit what is fitted before the first step.

        Parameters
        ----------
        model : UNetModel
            The new network.
        images : torch.Tensor
            Some normalised patches of the training data, (N, C, (Z), Y, X).
        """

    def check_patch(self, patch_size: Sequence[int]) -> None:
        """Raise `ValueError` if nothing can be learnt from patches of this size."""

    def loss(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        keys: torch.Tensor,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        model : torch.nn.Module
            The network.
        inputs : torch.Tensor
            Normalised and augmented, (N, C, (Z), Y, X).
        keys : torch.Tensor
            int64 (N,), the random key of each sample.
        targets : torch.Tensor, optional
            Like `inputs`, where the algorithm needs one.

        Returns
        -------
        torch.Tensor
            A scalar.
        """
        raise NotImplementedError
