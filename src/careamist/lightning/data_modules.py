"""The data of a training: images in, batches out."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from careamist.dataset import validation
from careamist.dataset.blocks import lay_out
from careamist.dataset.image_stack import ImageStack
from careamist.dataset.image_stack.custom import as_loading
from careamist.dataset.image_stack.views import ChannelsView
from careamist.dataset.pairing import open_pairs
from careamist.dataset.patch_choices import Ground
from careamist.dataset.patch_dataset import PatchDataset
from careamist.dataset.patch_filter import MaskFilter, open_masks
from careamist.dataset.patching import grid_patches
from careamist.dataset.sources import (
    check_channels,
    check_dtypes,
    fit_in_memory,
    keep_in_memory,
    open_stacks,
    warnings_of,
)
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from careamist.config.data import DataConfig
    from careamist.dataset.blocks import BlockLayout
    from careamist.dataset.image_stack.custom import Loading
    from careamist.dataset.region import Batch, PatchSpecs
    from careamist.dataset.thinning import Thinning

_VALIDATION = 1
Stacks = list[ImageStack]


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
    train_data : array, path, URI, or list of these
        The images.
    val_data : array, path, URI, or list of these, optional
        Separate images for validation; when not given, patches of the training data are kept
        out of training.
    train_data_target, val_data_target : array, path, URI, or list of these, optional
        What the images should become, where the algorithm learns from examples. Files are
        paired by name.
    read_source_func : callable, optional
        Reads a file of the user's own format; short for ``loading=ReadFuncLoading(...)``.
    extension_filter : str
        Which files of a folder are of that format: ``"*.npy"``.
    val_percentage : float, optional
        Share of the training data that is kept for validation, between 0 and 1, instead of the
        configured number of patches: of the patches, or of the files where these are not kept
        in memory.
    val_minimum_split : int
        At least so many patches or files are kept, if a share is given.
    use_in_memory : bool, optional
        False reads files patch by patch, True keeps them if they fit; as configured if not given.
    loading : ReadFuncLoading or ImageStackLoading, optional
        How custom data are read.
    train_data_mask : array, path, URI, or list of these, optional
        For a `MaskFilter`: images of the size and axes of the training images (files of their
        names) that are not zero where these are worth training on. Also called `filtering_mask`.
    """

    def __init__(
        self,
        data_config: DataConfig,
        train_data: Any,
        val_data: Any | None = None,
        train_data_target: Any | None = None,
        val_data_target: Any | None = None,
        read_source_func: Callable[..., Any] | None = None,
        extension_filter: str = "",
        val_percentage: float | None = None,
        val_minimum_split: int = 5,
        use_in_memory: bool | None = None,
        *,
        loading: Loading | None = None,
        train_data_mask: Any | None = None,
        filtering_mask: Any | None = None,
    ) -> None:
        super().__init__()
        self.data_config = data_config
        self.train_data, self.val_data = train_data, val_data
        self.train_data_target, self.val_data_target = train_data_target, val_data_target
        self.train_data_mask = filtering_mask if train_data_mask is None else train_data_mask
        self.check: Callable[[], None] = lambda: None  # may raise to end the patch filter's pass
        self.val_percentage, self.val_minimum_split = val_percentage, val_minimum_split
        self.loading = as_loading(loading, read_source_func, extension_filter)
        auto: bool | str = data_config.in_memory if use_in_memory is None else "auto"
        self.in_memory = False if use_in_memory is False else auto
        self.num_workers = data_config.num_workers
        self.first_sample, self.n_steps = 0, 0  # 0 steps: one epoch
        self.batch_size = data_config.batch_size
        if val_percentage is not None and not 0 <= val_percentage < 1:
            raise SettingsError(
                f"val_percentage={val_percentage} is not a share:", "expected 0 <= share < 1."
            )
        if isinstance(data_config.patch_filter, MaskFilter) == (self.train_data_mask is None):
            raise SettingsError(
                "A mask of the training images and a MaskFilter go together.",
                "Give filtering_mask and patch_filter=MaskFilter(), or none of them.",
            )
        self.notices: list[str] = []
        has_target, val_has_target = train_data_target is not None, val_data_target is not None
        if val_has_target if val_data is None else has_target != val_has_target:
            raise SettingsError(
                "Validation needs images and targets exactly where training has them.",
                "Give val_data_target with val_data if there is train_data_target, else leave "
                "it out.",
            )

    def setup(self, stage: str | None = None) -> None:
        """Open the images and lay out their patches."""
        if hasattr(self, "train_dataset"):
            return
        config = self.data_config
        val_stacks, val_targets = self._open_all()
        self.notices += warnings_of([*self.train_stacks, *(self.train_targets or ())])
        shapes = [tuple(stack.data_shape) for stack in self.train_stacks]
        self.n_channels = _one_channel_count([*self.train_stacks, *val_stacks], config.n_channels)
        self.n_channels_out = self.n_channels
        if self.train_targets is not None:
            targets = [*self.train_targets, *(val_targets or ())]
            self.n_channels_out = _one_channel_count(targets, config.n_channels_out)
        excluded: list[PatchSpecs] = []
        val_specs: Sequence[PatchSpecs]
        val_layout = None  # a few patches of the training data are kept, not pooled
        if val_stacks:
            val_specs = grid_patches([tuple(s.data_shape) for s in val_stacks], config.patch_size)
            val_layout = lay_out(val_stacks, config.patch_size, val_targets)
        else:
            val_stacks, val_targets = self.train_stacks, self.train_targets
            excluded = self._split_patches(shapes)
            val_specs = excluded
        layout = lay_out(self.train_stacks, config.patch_size, self.train_targets)
        thinning = self._thinning(layout)
        patching = config.patching.patching(
            Ground(shapes, config.patch_size, config.seed, excluded, layout, thinning)
        )
        self.train_dataset = PatchDataset(
            self.train_stacks,
            patching.specs,
            patching.n_patches,
            config.seed,
            targets=self.train_targets,
            layout=layout,
        )
        self.val_dataset = PatchDataset(
            val_stacks,
            val_specs.__getitem__,
            len(val_specs),
            config.seed,
            _VALIDATION,
            targets=val_targets,
            layout=val_layout,
        )

    def _thinning(self, layout: BlockLayout) -> Thinning | None:
        """Look for what the patch filter keeps, if there is one."""
        config = self.data_config
        if config.patch_filter is None:
            return None
        images = self.train_masks or self.train_stacks
        thinning = config.patch_filter.thinning(images, layout, config.patch_size, self.check)
        self.notices.append(f"The patch filter keeps {thinning.kept.mean():.0%} of the images.")
        return thinning

    def resolved(self, check: Callable[[], None] = lambda: None) -> DataConfig:
        """Return the configuration with what the data say: channels, statistics.

        `check` is called while the data are read, and may raise to end that.
        """
        config = self.data_config
        return config.model_copy(
            update={
                "n_channels": self.n_channels,
                "n_channels_out": self.n_channels_out,
                "normalization": config.normalization.fit(
                    self.train_stacks,
                    check,
                    self.train_targets,
                    seed=config.seed,
                    report=self._read,
                ),
            }
        )

    def _read(self, share: float) -> None:
        if share < 1:
            self.notices.append(
                f"The statistics come from {share:.0%} of the pixels: chunks spread over all."
            )

    def _open_all(self) -> tuple[Stacks, Stacks | None]:
        """Open the images of training, and return those of validation."""
        self.train_stacks, self.train_targets = self._open(self.train_data, self.train_data_target)
        how = (self.data_config.data_type, self.data_config.axes, self.loading)
        self.train_masks = open_masks(self.train_data, self.train_data_mask, *how)
        stacks: Stacks = []
        targets: Stacks | None = None
        if self.val_data is not None:
            stacks, targets = self._open(self.val_data, self.val_data_target)
        everything = [*self.train_stacks, *stacks, *(self.train_targets or ()), *(targets or ())]
        if self.in_memory == "auto" and not fit_in_memory(everything):
            self.in_memory = False
        if self.val_data is None and self.val_percentage is not None and self._iterates:
            stacks, targets = self._split_files()
        if self.train_targets is not None:
            self.train_targets = self._keep(self.train_targets)
        self.train_stacks = self._keep(self.train_stacks)
        self.train_masks = self._keep(self.train_masks)
        self.num_workers = self._able_workers([*self.train_stacks, *(self.train_targets or ())])
        return self._keep(stacks), None if targets is None else self._keep(targets)

    def _able_workers(self, stacks: Stacks) -> int:
        """Return how many processes read: none where a stack cannot be sent to them."""
        for stack in stacks if self.data_config.num_workers else ():
            try:
                pickle.dumps(stack, 5, buffer_callback=lambda buffer: None)  # no copies
            except Exception as error:  # each class has its own
                self.notices.append(
                    f"{stack.source} cannot be sent to other processes ({error}): "
                    "the training thread reads."
                )
                return 0
        return self.data_config.num_workers

    def _open(self, data: Any, target: Any) -> tuple[Stacks, Stacks | None]:
        """Open images, and their targets if there are any."""
        config = self.data_config
        how = (config.data_type, config.axes)
        partners: Stacks | None = None
        if target is None:
            stacks = open_stacks(data, *how, self.loading)
        else:
            stacks, partners = open_pairs(data, target, *how, config.target_axes, self.loading)
        if config.channels is not None:
            check_channels(stacks, config.channels)
            stacks = [ChannelsView(stack, config.channels) for stack in stacks]
        check_dtypes([*stacks, *(partners or ())])
        return stacks, partners

    def _keep(self, stacks: Stacks) -> Stacks:
        return keep_in_memory(stacks, self.in_memory, self.data_config.data_type)

    @property
    def _iterates(self) -> bool:
        """Whether files are too large for memory, or are not to be kept there."""
        return self.data_config.data_type != "array" and not self.in_memory

    def _split_files(self) -> tuple[Stacks, Stacks | None]:
        """Keep a share of the files for validation."""
        stacks, targets, masks = self.train_stacks, self.train_targets, self.train_masks
        share, least, seed = self.val_percentage or 0, self.val_minimum_split, self.data_config.seed
        val = validation.validation_files(len(stacks), share, least, seed)
        train = [i for i in range(len(stacks)) if i not in set(val)]
        self.train_stacks = [stacks[i] for i in train]
        self.train_masks = [masks[i] for i in train] if masks else []
        if targets is None:
            return [stacks[i] for i in val], None
        self.train_targets = [targets[i] for i in train]
        return [stacks[i] for i in val], [targets[i] for i in val]

    def _split_patches(self, shapes: list[tuple[int, ...]]) -> list[PatchSpecs]:
        """Choose the patches that are kept for validation."""
        config = self.data_config
        if self.val_percentage is not None:
            share, least = self.val_percentage, self.val_minimum_split
            return validation.validation_share(shapes, config.patch_size, share, least, config.seed)
        wanted = config.n_val_patches
        kept = validation.validation_patches(shapes, config.patch_size, wanted, config.seed)
        if len(kept) < wanted:
            self.notices.append(
                f"{len(kept)} instead of {wanted} patches are kept for validation: at most every "
                "tenth."
            )
        return kept

    def release(self) -> None:
        """Forget the pixels that were read; they are read again when they are needed."""
        for dataset in (vars(self).get("train_dataset"), vars(self).get("val_dataset")):
            if dataset is not None:
                dataset.release()

    def plan(self, first_sample: int, n_steps: int, batch_size: int | None = None) -> None:
        """Let the training loader deliver `n_steps` batches from sample `first_sample` on."""
        self.first_sample, self.n_steps = first_sample, n_steps
        self.batch_size = batch_size or self.data_config.batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the planned batches, of one epoch if nothing was planned."""
        one_epoch = -(-len(self.train_dataset) // self.batch_size)
        batches = StreamBatches(self.first_sample, self.n_steps or one_epoch, self.batch_size)
        return DataLoader(
            self.train_dataset,  # type: ignore[arg-type]  # a map-style dataset by protocol
            batch_sampler=batches,
            collate_fn=_same,  # __getitems__ has made the batch
            generator=torch.Generator(),  # it draws a seed: not from that of the process
            num_workers=self.num_workers,
            # forked workers and zarr's event-loop thread can lock each other
            multiprocessing_context="spawn" if self.num_workers else None,
        )

    def val_batches(self) -> Iterator[Batch]:
        """Yield the validation patches in batches; their masks never change."""
        return map(self.val_dataset.__getitems__, self._val_numbers())

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return a loader of `val_batches`, for a trainer of the user's own."""
        if not len(self.val_dataset):
            return []
        return DataLoader(
            self.val_dataset,  # type: ignore[arg-type]
            batch_sampler=self._val_numbers(),
            collate_fn=_same,
            generator=torch.Generator(),
        )

    def _val_numbers(self) -> list[list[int]]:
        numbers = range(len(self.val_dataset))
        return [
            list(numbers[start : start + self.batch_size])
            for start in range(0, len(numbers), self.batch_size)
        ]


def _same(batch: Any) -> Any:
    return batch


def _one_channel_count(stacks: Stacks, expected: int | None) -> int:
    counts = {stack.data_shape[1] for stack in stacks} | ({expected} if expected else set())
    if len(counts) != 1:
        raise SettingsError(
            f"The images do not have the same number of channels: {sorted(counts)}"
            + (f" (configured: {expected})." if expected else "."),
            "Train on images with equal channels.",
        )
    return int(counts.pop())
