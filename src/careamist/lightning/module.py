"""The one LightningModule: normalise, augment, loss; averaged weights and counters beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch.optim.swa_utils import AveragedModel

from careamist.dataset.region import Batch

if TYPE_CHECKING:
    from careamist.config.configuration import Configuration
    from careamist.dataset.patch_dataset import PatchDataset
    from careamist.models.unet import UNetModel

_PREPARE_PATCHES = 64


class RestorationModule(pl.LightningModule):
    """A network in training.

    Parameters
    ----------
    config : Configuration
        Resolved: with channels and statistics.

    Attributes
    ----------
    model : UNetModel
        The weights that are optimised.
    ema : torch.optim.swa_utils.AveragedModel
        Their running average: what validates, predicts and is saved first.
    steps_done, samples_done : int
        Optimizer steps and samples of the stream that went into the weights.
    segment : tuple of int
        First and last step of the learning rate schedule in force.
    history : dict
        ``train_loss`` and ``val_loss`` as lists of [step, value].
    """

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        self.config = config
        n_channels = config.data_config.n_channels or 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.data_config.seed)
            self.model = config.algorithm_config.build_model(
                config.data_config.dims, n_channels, n_channels
            )
        if config.data_config.dims == 2:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = AveragedModel(
            self.model, multi_avg_fn=partial(_moving_average, config.training_config.ema_decay)
        )
        self.steps_done, self.samples_done = 0, 0
        self.segment = (0, 0)
        self.history: dict[str, list[list[float]]] = {"train_loss": [], "val_loss": []}
        self.loss_sum, self.loss_count = torch.zeros(()), 0
        self.optimizer_state: dict[str, Any] | None = None

    def prepare(self, dataset: PatchDataset) -> None:
        """Let the algorithm fit what it fits before the first step, on the first patches."""
        patches = dataset.__getitems__(range(min(len(dataset), _PREPARE_PATCHES)))
        images = self.config.data_config.normalization.apply(patches.inputs)
        self.config.algorithm_config.prepare(self.model, images)
        self.averaged.load_state_dict(self.model.state_dict())

    @property
    def averaged(self) -> UNetModel:
        """The averaged network."""
        network: UNetModel = self.ema.module  # type: ignore[assignment]
        return network

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        return self._loss(self.model, batch, augment=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam, with its state from before if this training is continued."""
        rate = self.config.training_config.learning_rate
        optimizer = torch.optim.Adam(self.model.parameters(), lr=rate)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Set the rate, step, and count the step in the same breath."""
        for group in optimizer.param_groups:
            group["lr"] = self.config.training_config.rate(self.steps_done, *self.segment)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.steps_done += 1
        self.samples_done += self.config.data_config.batch_size
        self.ema.update_parameters(self.model)
        self.optimizer_state = optimizer.optimizer.state_dict()

    def add_loss(self, loss: torch.Tensor) -> None:
        """Remember the loss of a step, on its device, for the mean over the epoch."""
        self.loss_sum = self.loss_sum.to(loss.device) + loss
        self.loss_count += 1

    def take_mean_loss(self) -> float:
        """Return the mean loss since the last call."""
        mean = float(self.loss_sum) / max(self.loss_count, 1)
        self.loss_sum, self.loss_count = torch.zeros(()), 0
        return mean

    def drop_partial_step(self) -> None:
        """Undo what a forward pass without a step left behind: running batch statistics."""
        buffers = dict(self.averaged.named_buffers())
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> float | None:
        """Return the mean loss of the averaged network, None without batches."""
        network = self.averaged.eval()
        total, count = 0.0, 0
        for batch in batches:
            n = len(batch.keys)
            batch = Batch(batch.inputs.to(self.device), batch.keys.to(self.device))
            total += float(self._loss(network, batch, augment=False)) * n
            count += n
        return total / count if count else None

    def _loss(self, network: UNetModel, batch: Batch, *, augment: bool) -> torch.Tensor:
        data = self.config.data_config
        inputs = data.normalization.apply(batch.inputs)
        for augmentation in data.augmentations if augment else ():
            inputs = augmentation.apply(inputs, batch.keys)
        if data.dims == 2:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self.config.algorithm_config.loss(network, inputs, batch.keys)


@torch.no_grad()
def _moving_average(
    decay: float,
    averaged: list[torch.Tensor],
    current: list[torch.Tensor],
    count: torch.Tensor | int,
) -> None:
    """Move the average towards the current weights, faster while it has seen little."""
    seen = int(count)
    torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + seen) / (10 + seen)))
