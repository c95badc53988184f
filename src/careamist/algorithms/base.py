"""What every algorithm has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from careamist.errors import SettingsError
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
    full_name: ClassVar[str] = ""

    model: UNet = Field(
        UNet(),
        title="Network",
        description="The network that is trained.",
        json_schema_extra={"level": "advanced"},
    )

    @property
    def variant(self) -> str:
        """What the algorithm is called with these settings, as in "structN2V"."""
        return self.short_name

    @property
    def references(self) -> tuple[str, ...]:
        """The publications to cite, one line each."""
        return ()

    @property
    def may_flip(self) -> bool:
        """Whether mirrored patches are as good to learn from."""
        return True

    @property
    def may_turn(self) -> bool:
        """Whether patches turned by a quarter are as good to learn from."""
        return True

    def build_model(self, dims: int, n_in: int, n_out: int) -> UNetModel:
        """Return a new network for `dims` spatial axes, with random weights."""
        return self.model.build(dims, n_in, n_out, filter_per_channel=not self.needs_target)

    def prepare(
        self, model: UNetModel, images: torch.Tensor, targets: torch.Tensor | None = None
    ) -> Self:
        """Fit what is fitted before the first step: the linear path, where there is one.

        Parameters
        ----------
        model : UNetModel
            The new network.
        images : torch.Tensor
            Some normalised patches of the training data, (N, C, (Z), Y, X).
        targets : torch.Tensor, optional
            Theirs, where the algorithm needs them.

        Returns
        -------
        Algorithm
            With what was left to the data settled.

        Raises
        ------
        SettingsError
            If targets are needed and missing.
        """
        aims = self.checked(targets) if self.needs_target else None
        if model.linear_filter is None:
            return self
        from careamist.models.linear import fit_filter

        shape = model.linear_filter.shape
        free = self.free_coefficients(shape[2:])
        if free.any():
            per_channel = shape[1] < images.shape[1]
            model.set_filter(fit_filter(images, free, aims, per_channel=per_channel))
        return self

    def free_coefficients(self, shape: Sequence[int]) -> torch.Tensor:
        """Return bool ((k), k, k): where the linear path may look at."""
        import torch

        return torch.ones(tuple(shape), dtype=torch.bool)

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

    def checked(self, targets: torch.Tensor | None) -> torch.Tensor:
        """Return the targets; raise `SettingsError` if there are none."""
        if targets is None:
            raise SettingsError(
                f"{self.full_name} learns from pairs, but no targets were given.",
                "Give train_data_target, or choose Noise2Void, which needs none.",
            )
        return targets


class Supervised(Algorithm):
    """What algorithms that learn from pairs of images share."""

    needs_target: ClassVar[bool] = True

    loss_function: Literal["mae", "mse"] = Field(
        "mse",
        validation_alias=AliasChoices("loss_function", "loss"),  # `loss` itself is the act
        title="Loss",
        description="What is made small: the mean square, or the mean absolute value of the "
        "difference to the target.",
        json_schema_extra={
            "level": "advanced",
            "choices": {"mse": "mean square", "mae": "mean absolute"},
        },
    )

    def loss(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        keys: torch.Tensor,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean difference of the restored images to their targets."""
        difference: torch.Tensor = model(inputs) - self.checked(targets)
        return difference.abs().mean() if self.loss_function == "mae" else (difference**2).mean()
