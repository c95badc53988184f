"""The one LightningModule: normalise, augment, loss; averaged weights and counters beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from careamist.models.network import memory_format

if TYPE_CHECKING:
    from careamist.config.configuration import Configuration
    from careamist.dataset.patch_dataset import PatchDataset
    from careamist.dataset.region import Batch
    from careamist.models.unet import UNetModel

_PREPARE_PATCHES = 64
_NO_END = 10**9  # steps of a trainer without an end


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
    averaged : UNetModel
        Their running average: what validates, predicts and is saved first.
    ema_updates : int
        Steps that went into the average.
    steps_done, samples_done : int
        Optimizer steps and samples of the stream that went into the weights.
    segment : tuple of int
        First and last step of the learning rate schedule in force.
    epoch_steps : int
        Steps of an epoch.
    history : dict
        ``train_loss`` and ``val_loss`` as lists of [step, value].
    optimizer_state, scaler_state : dict or None
        Of the optimizer, and of what scales the loss in float16; a training goes on with them.

    Examples
    --------
    With a trainer of one's own, data first, because the configuration is resolved with them::

        data = TrainDataModule(config.data_config, train_data)
        data.setup()
        resolved = config.model_copy(update={"data_config": data.resolved()})
        module = RestorationModule(resolved)
        module.prepare(data.train_dataset)
        pytorch_lightning.Trainer(max_epochs=10).fit(module, datamodule=data)
    """

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        self.config = config
        data = config.data_config
        n_in = data.n_channels or 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            self.model = config.algorithm_config.build_model(
                data.dims, n_in, data.n_channels_out or n_in
            )
        self.model.to(memory_format=memory_format(data.dims))  # type: ignore[call-overload]
        self.averaged: UNetModel = copy.deepcopy(self.model).requires_grad_(False)
        self.ema_updates = 0
        self.steps_done, self.samples_done = 0, 0
        self.segment = (0, 0)
        self.epoch_steps = 1
        self.history: dict[str, list[list[float]]] = {"train_loss": [], "val_loss": []}
        self.loss_sum, self.loss_count = torch.zeros(()), 0
        self.optimizer_state: dict[str, Any] | None = None
        self.scaler_state: dict[str, Any] | None = None

    def prepare(self, dataset: PatchDataset) -> None:
        """Let the algorithm fit what it fits before the first step, on the first patches."""
        batch = dataset.__getitems__(range(min(len(dataset), _PREPARE_PATCHES)))
        inputs, targets = self._normalized(batch)
        settled = self.config.algorithm_config.prepare(self.model, inputs, targets)
        self.config = self.config.model_copy(update={"algorithm_config": settled})
        self.averaged.load_state_dict(self.model.state_dict())

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        return self._loss(self.model, batch, augment=True)

    def on_fit_start(self) -> None:
        """Plan the steps, where a trainer that is not ours has not been told how many."""
        if self.steps_done >= self.segment[1]:
            total = self.trainer.estimated_stepping_batches
            self.segment = (self.steps_done, self.steps_done + int(min(total, _NO_END)))
            self.epoch_steps = int(min(self.trainer.num_training_batches, _NO_END))

    def validation_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of a validation batch, of the averaged network."""
        loss = self._loss(self.averaged.eval(), batch, augment=False)
        self.log("val_loss", loss, batch_size=len(batch.keys))
        return loss

    def on_validation_epoch_end(self) -> None:
        """Remember the loss, for the schedule."""
        if not self.trainer.sanity_checking and "val_loss" in self.trainer.callback_metrics:
            loss = float(self.trainer.callback_metrics["val_loss"])
            self.history["val_loss"].append([self.steps_done, loss])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer, with its state from before if this training is continued."""
        training = self.config.training_config
        optimizer = training.optimizer.build(
            self.model.parameters(),
            training.learning_rate,
            fuse=not self.trainer.gradient_clip_val,  # Lightning clips for no fused one
        )
        if self.optimizer_state is not None:
            _restore(optimizer, self.optimizer_state)
        return optimizer

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return self.config.training_config.rate(
            self.steps_done, *self.segment, self.epoch_steps, self.history["val_loss"]
        )

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Set the rate, step, and count the step in the same breath."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.steps_done += 1
        self.samples_done += self.config.data_config.batch_size
        self.average()
        self.optimizer_state = optimizer.optimizer.state_dict()
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None:  # its step has waited for the device already
            self.scaler_state = scaler.state_dict()

    @torch.no_grad()
    def average(self) -> None:
        """Move the average towards the weights, faster while it has seen little."""
        seen, decay = self.ema_updates, self.config.training_config.ema_decay
        share = 1 - min(decay, (1 + seen) / (10 + seen)) if seen else 1.0
        mine: list[torch.Tensor] = list(self.averaged.parameters())
        torch._foreach_lerp_(mine, list(self.model.parameters()), share)
        torch._foreach_copy_(list(self.averaged.buffers()), list(self.model.buffers()))
        self.ema_updates += 1

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

    @property
    def is_finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(value.isfinite().all()) for value in self.state_dict().values())

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> float | None:
        """Return the mean loss of the averaged network, None without batches."""
        network = self.averaged.eval()
        total, count = 0.0, 0
        for batch in batches:
            n = len(batch.keys)
            total += float(self._loss(network, batch.to(self.device), augment=False)) * n
            count += n
        return total / count if count else None

    def _loss(self, network: UNetModel, batch: Batch, *, augment: bool) -> torch.Tensor:
        inputs, targets = self._normalized(batch)
        for augmentation in self.config.augmentations if augment else ():
            inputs = augmentation.apply(inputs, batch.keys)
            if targets is not None:  # the same keys: the same flips and turns
                targets = augmentation.apply(targets, batch.keys)
        return self.config.algorithm_config.loss(network, inputs, batch.keys, targets)

    def _normalized(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        normalization = self.config.data_config.normalization
        if batch.targets is None:
            return normalization.apply(batch.inputs), None
        return normalization.apply(batch.inputs), normalization.apply_target(batch.targets)


def _restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer its state from before; how it computes is its own affair."""
    own = [(group["foreach"], group.get("fused")) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, (foreach, fused) in zip(optimizer.param_groups, own, strict=True):
        group["foreach"] = foreach
        if "fused" in group:
            group["fused"] = fused
    for weights, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, torch.Tensor) and value.shape == weights.shape:
                # a fused optimizer walks through the memory of both: of the same layout
                kept[name] = torch.empty_like(weights, dtype=value.dtype).copy_(value)
