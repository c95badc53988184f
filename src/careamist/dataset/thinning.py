"""An order of patches without most of those that a filter does not keep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.patch_order import WINDOW, Ints, PatchOrder, Units, Window

_STRETCH = 256 * WINDOW  # so many patches are counted together


class Thinning(NamedTuple):
    """Which patches are kept, by their number, and the share of the others drawn per epoch."""

    kept: NDArray[np.bool_]
    share: float


class ThinnedOrder:
    """The patches of an order, but few of those that are not kept.

    Of these, every tenth (for a share of 0.1) is drawn as they are met in the order of an epoch,
    which is random: each is as likely, and the patches of an epoch have the same number in each.
    An epoch is counted through once, when the first of its samples is asked for.

    Parameters
    ----------
    order : PatchOrder
        The order of all patches.
    thinning : Thinning
        Which patches are kept, and the share of the others.

    Attributes
    ----------
    n_patches : int
        Patches per epoch, the same in each.
    """

    def __init__(self, order: PatchOrder, thinning: Thinning) -> None:
        self._order, (self._kept, self._share) = order, thinning
        n_kept = int(np.count_nonzero(self._kept))
        self.n_patches = n_kept + int(self._drawn(np.asarray(len(self._kept) - n_kept)))
        self._counted = _Counted(-1, *np.zeros((2, 0), np.int64))

    def window(self, k: int) -> Window:
        """Return where sample `k` of the run lies, and some of its neighbours."""
        epoch, place = divmod(k, self.n_patches)
        _, firsts, others = self._count(epoch)
        before = firsts - others + self._drawn(others)
        row = int(np.searchsorted(before, place, side="right")) - 1
        units = self._order.units(epoch, self._order.part(epoch, int(firsts[row])))
        kept = self._kept[self._order.numbers(units)]
        met = others[row] + np.cumsum(~kept)
        drawn = kept | (self._drawn(met) > self._drawn(met - 1))
        first = epoch * self.n_patches + int(before[row])
        return self._order.laid_out(epoch, Units(*(part[drawn] for part in units)), first)

    def _drawn(self, met: Ints) -> Ints:
        """Return how many are drawn of the first ones that are not kept."""
        drawn: Ints = np.floor(met * self._share + 0.5).astype(np.int64)
        return drawn

    def _count(self, epoch: int) -> _Counted:
        if self._counted.epoch != epoch:
            firsts, counts, place = [], [], 0
            while place < self._order.n_patches:
                stretch = self._order.part(epoch, place, _STRETCH)
                kept = self._kept[self._order.numbers(self._order.units(epoch, stretch))]
                starts = np.arange(0, len(stretch), WINDOW)
                firsts.append(place + starts)
                counts.append(np.add.reduceat(~kept, starts, dtype=np.int64))
                place = stretch.stop
            n_others = np.concatenate(counts)
            others = np.cumsum(n_others) - n_others
            self._counted = _Counted(epoch, np.concatenate(firsts), others)
        return self._counted


class _Counted(NamedTuple):
    epoch: int
    firsts: Ints  # place of each window
    others: Ints  # how many before it are not kept
