"""The ways to choose training patches; each is a setting that lays out its patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from careamist.dataset.patching import (
    ExcludedPatches,
    GridPatches,
    RandomPatching,
    StratifiedPatching,
    check_patch_size,
)
from careamist.dataset.region import PatchSpecs
from careamist.errors import SettingsError, ShapeError

if TYPE_CHECKING:
    from careamist.dataset.blocks import BlockLayout
    from careamist.dataset.thinning import Thinning


class Patching(Protocol):
    """Patches by their number in the stream of a run."""

    n_patches: int

    def specs(self, k: int) -> PatchSpecs:
        """Return where sample `k` of the run lies."""


class Ground(NamedTuple):
    """What patches are chosen from: the parameters of `StratifiedPatching`."""

    data_shapes: Sequence[Sequence[int]]
    patch_size: Sequence[int]
    seed: int
    excluded: Sequence[PatchSpecs] = ()
    layout: BlockLayout | None = None
    thinning: Thinning | None = None  # only for `Stratified`


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stratified(_Choice):
    """A grid at a random offset in each epoch, so that every pixel is seen about once."""

    name: Literal["stratified"] = "stratified"

    def patching(self, ground: Ground) -> Patching:
        """Lay out the patches."""
        return StratifiedPatching(*ground)


class Random(_Choice):
    """Anywhere: some pixels are seen more often in an epoch than others."""

    name: Literal["random"] = "random"

    def patching(self, ground: Ground) -> Patching:
        """Lay out the patches."""
        return RandomPatching(*ground[:5])


class Sequential(_Choice):
    """A grid, the same in each epoch and in its order; the last patches are moved inside.

    Those that touch a validation patch are left out.
    """

    name: Literal["sequential"] = "sequential"

    def patching(self, ground: Ground) -> Patching:
        """Lay out the patches."""
        return SequentialPatching(ground.data_shapes, ground.patch_size, ground.excluded)


class PatchPlace(_Choice):
    """Where a patch begins: image, sample, first pixel in (Z)YX."""

    data_idx: NonNegativeInt = 0
    sample_idx: NonNegativeInt = 0
    coords: tuple[NonNegativeInt, ...] = Field(min_length=2, max_length=3)


class Fixed(_Choice):
    """Given places, the same in each epoch and in their order.

    Those that touch a validation patch are left out.
    """

    name: Literal["fixed"] = "fixed"
    patches: tuple[PatchPlace, ...] = Field(
        min_length=1,
        title="Patches",
        description="Where patches begin: image, sample, first pixel in (Z)YX.",
        json_schema_extra={"level": "hidden"},
    )

    def patching(self, ground: Ground) -> Patching:
        """Lay out the patches."""
        return FixedPatching(self.patches, ground.data_shapes, ground.patch_size, ground.excluded)


AnyPatching = Annotated[Stratified | Random | Sequential | Fixed, Field(discriminator="name")]


class SequentialPatching:
    """The patches of a grid in their order, but for those that touch an excluded one.

    Parameters
    ----------
    data_shapes, patch_size, excluded
        As for `StratifiedPatching`.

    Attributes
    ----------
    n_patches : int
        Patches per epoch.

    Raises
    ------
    ShapeError
        If an image is smaller than a patch, or nothing is left.
    """

    def __init__(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sequence[int],
        excluded: Sequence[PatchSpecs] = (),
    ) -> None:
        self._grid = GridPatches(data_shapes, patch_size)
        left_out = sorted({place for spec in excluded for place in self._grid.touching(spec)})
        self._gaps = np.asarray(left_out, np.int64) - np.arange(len(left_out))
        self.n_patches = len(self._grid) - len(left_out)
        if not self.n_patches:
            raise ShapeError(
                f"The validation patches touch all {len(left_out)} patches of the grid.",
                "Use smaller patches or fewer validation patches.",
            )

    def specs(self, k: int) -> PatchSpecs:
        """Return where sample `k` of the run lies."""
        place = k % self.n_patches
        return self._grid[place + int(np.searchsorted(self._gaps, place, side="right"))]


class FixedPatching:
    """Patches at given places, but for those that touch an excluded one.

    Parameters
    ----------
    places : sequence of PatchPlace
        Where the patches begin.
    data_shapes, patch_size, excluded
        As for `StratifiedPatching`.

    Attributes
    ----------
    n_patches : int
        Patches per epoch.

    Raises
    ------
    SettingsError
        If a patch is not inside an image, or nothing is left.
    """

    def __init__(
        self,
        places: Sequence[PatchPlace],
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sequence[int],
        excluded: Sequence[PatchSpecs] = (),
    ) -> None:
        check_patch_size(data_shapes, patch_size)
        self._patch_size = tuple(int(n) for n in patch_size)
        for number, place in enumerate(places):
            _check_inside(number, place, data_shapes, self._patch_size)
        others = ExcludedPatches(excluded, self._patch_size)
        self._places = [
            place
            for place in places
            if not others.touched(place.data_idx, place.sample_idx, place.coords)
        ]
        self.n_patches = len(self._places)
        if not self.n_patches:
            raise SettingsError(
                f"The validation patches touch all {len(places)} given patches.",
                "Give more patches, fewer validation patches, or images for validation.",
            )

    def specs(self, k: int) -> PatchSpecs:
        """Return where sample `k` of the run lies."""
        place = self._places[k % self.n_patches]
        return PatchSpecs(
            data_idx=place.data_idx,
            sample_idx=place.sample_idx,
            coords=place.coords,
            patch_size=self._patch_size,
        )


def _check_inside(
    number: int,
    place: PatchPlace,
    data_shapes: Sequence[Sequence[int]],
    patch_size: Sequence[int],
) -> None:
    given = f"Patch {number} (data_idx={place.data_idx}, sample_idx={place.sample_idx}, "
    given += f"coords={place.coords})"
    hint = "Places are counted from 0, in the order of the images; coords are in (Z)YX."
    if place.data_idx >= len(data_shapes):
        raise SettingsError(f"{given}: there are {len(data_shapes)} images.", hint)
    n_samples, _, *spatial = data_shapes[place.data_idx]
    if place.sample_idx >= n_samples:
        raise SettingsError(f"{given}: the image has {n_samples} samples.", hint)
    if len(place.coords) != len(spatial) or any(
        at + patch > n for at, patch, n in zip(place.coords, patch_size, spatial, strict=True)
    ):
        raise SettingsError(
            f"{given} of {tuple(patch_size)} pixels is not inside the image of {tuple(spatial)}.",
            hint,
        )
