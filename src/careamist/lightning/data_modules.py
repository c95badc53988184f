"""The data of a training: images in, batches out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler

from careamist.dataset.patch_dataset import PatchDataset
from careamist.dataset.patching import StratifiedPatching, grid_patches, validation_patches
from careamist.dataset.sources import check_dtypes, open_stacks
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from careamist.config.data import DataConfig
    from careamist.dataset.region import Batch, PatchSpecs

_VALIDATION = 1


class StreamBatches(Sampler[list[int]]):
    """Sample numbers `first`, `first` + 1, ... in batches; the stream of a run has no end."""

    def __init__(self, first: int, n_batches: int, batch_size: int) -> None:
        self.first, self.n_batches, self.batch_size = first, n_batches, batch_size

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.n_batches):
            start = self.first + batch * self.batch_size
            yield list(range(start, start + self.batch_size))


class TrainDataModule(pl.LightningDataModule):
    """Training and validation data of a run.

    Parameters
    ----------
    data_config : DataConfig
        What the images are and how patches of them are made.
    train_data : array, path, or list of these
        The noisy images.
    val_data : array, path, or list of these, optional
        Separate images for validation; when not given, patches of the training data are kept
        out of training.
    """

    def __init__(
        self, data_config: DataConfig, train_data: Any, val_data: Any | None = None
    ) -> None:
        super().__init__()
        self.data_config = data_config
        self.train_data, self.val_data = train_data, val_data
        self.first_sample, self.n_steps = 0, 0  # 0 steps: one epoch

    def setup(self, stage: str | None = None) -> None:
        """Open the images and lay out their patches."""
        if hasattr(self, "train_dataset"):
            return
        config = self.data_config
        self.train_stacks = open_stacks(self.train_data, config.data_type, config.axes)
        check_dtypes(self.train_stacks)
        shapes = [tuple(stack.data_shape) for stack in self.train_stacks]
        self.n_channels = _one_channel_count(shapes, config.n_channels)
        excluded: list[PatchSpecs] = []
        if self.val_data is None:
            val_stacks = self.train_stacks
            excluded = validation_patches(
                shapes, config.patch_size, config.n_val_patches, config.seed
            )
            val_specs = excluded
        else:
            val_stacks = open_stacks(self.val_data, config.data_type, config.axes)
            val_shapes = [tuple(stack.data_shape) for stack in val_stacks]
            _one_channel_count(val_shapes, self.n_channels)
            val_specs = grid_patches(val_shapes, config.patch_size)
        patching = StratifiedPatching(shapes, config.patch_size, config.seed, excluded)
        self.train_dataset = PatchDataset(
            self.train_stacks, patching.specs, patching.n_patches, config.seed
        )
        self.val_dataset = PatchDataset(
            val_stacks, val_specs.__getitem__, len(val_specs), config.seed, _VALIDATION
        )

    def plan(self, first_sample: int, n_steps: int) -> None:
        """Let the training loader deliver `n_steps` batches from sample `first_sample` on."""
        self.first_sample, self.n_steps = first_sample, n_steps

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the planned batches, of one epoch if nothing was planned."""
        config = self.data_config
        one_epoch = -(-len(self.train_dataset) // config.batch_size)
        batches = StreamBatches(self.first_sample, self.n_steps or one_epoch, config.batch_size)
        return DataLoader(
            self.train_dataset,  # type: ignore[arg-type]  # a map-style dataset by protocol
            batch_sampler=batches,
            collate_fn=_same,  # __getitems__ has made the batch
            num_workers=config.num_workers,
            # forked workers and zarr's event-loop thread can lock each other
            multiprocessing_context="spawn" if config.num_workers else None,
        )

    def val_batches(self) -> Iterator[Batch]:
        """Yield the validation patches in batches; their masks never change."""
        numbers = np.arange(len(self.val_dataset))
        for start in range(0, len(numbers), self.data_config.batch_size):
            yield self.val_dataset.__getitems__(
                numbers[start : start + self.data_config.batch_size].tolist()
            )


def _same(batch: Any) -> Any:
    return batch


def _one_channel_count(shapes: list[tuple[int, ...]], expected: int | None) -> int:
    counts = {shape[1] for shape in shapes} | ({expected} if expected else set())
    if len(counts) != 1:
        raise SettingsError(
            f"The images do not have the same number of channels: {sorted(counts)}"
            + (f" (n_channels={expected})." if expected else "."),
            "Train on images with equal channels.",
        )
    return counts.pop()
