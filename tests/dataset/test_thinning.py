"""An epoch with few patches of what is not kept: the right ones, as many, in any order asked."""

from __future__ import annotations

import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
from chunked import chunked_stack

from careamist.dataset.blocks import BlockLayout, lay_out, whole_samples
from careamist.dataset.patch_order import PatchOrder
from careamist.dataset.patching import StratifiedPatching
from careamist.dataset.thinning import ThinnedOrder, Thinning

PATCH = (16, 16)


def layouts():
    """Return an image without chunks, in one group of blocks, and in many."""
    stack, _ = chunked_stack((2, 250, 203), (1, 48, 48), "TYX")
    plain = BlockLayout.of([whole_samples(stack.data_shape)])
    return [plain, lay_out([stack], PATCH), lay_out([stack], PATCH, pool_bytes=2**14)]


every_layout = pytest.mark.parametrize("layout", layouts(), ids=["plain", "one group", "groups"])


def thinned(layout, share=0.1, kept_share=0.3, seed=4):
    order = PatchOrder(layout, PATCH, seed)
    kept = np.random.default_rng(0).random(order.n_patches) < kept_share
    return order, kept, ThinnedOrder(order, Thinning(kept, share))


def flat(window):
    return list(zip(*window[1:3], map(tuple, window.coords), strict=True))


def epoch_of(order, number):
    """Return where the patches of an epoch lie, in order."""
    places, k = [], number * order.n_patches
    while k < (number + 1) * order.n_patches:
        window = order.window(k)
        assert window.first == k
        places += flat(window)
        k += len(window.data_idx)
    assert k == (number + 1) * order.n_patches
    return places


def numbered(order, number):
    """Return the number of each patch of an epoch by where it lies."""
    places, at = [], 0
    while at < order.n_patches:
        part = order.part(number, at)
        units = order.units(number, part)
        found = order.numbers(units).tolist()
        places += zip(flat(order.laid_out(number, units, 0)), found, strict=True)
        at = part.stop
    return places


def places_of(order, chosen):
    """Return sample and pixel of the middle places of some patches."""
    for _, box, _, first, starts in order.regions():
        cells = product(box.samples, *(s + at for s, at in zip(starts, box.coords, strict=True)))
        for number, (sample, *coords) in enumerate(cells, first):
            if chosen[number]:
                yield sample, coords


@every_layout
def test_an_epoch_has_all_that_is_kept_and_a_share_of_the_rest(layout):
    order, kept, thin = thinned(layout)
    assert thin.n_patches == kept.sum() + round((~kept).sum() * 0.1)
    for number in range(3):
        rest = Counter(epoch_of(thin, number))
        wanted = Counter(place for place, n in numbered(order, number) if kept[n])
        assert not wanted - rest
        others = Counter(place for place, n in numbered(order, number) if not kept[n])
        assert not (rest - wanted) - others
        assert (rest - wanted).total() == round((~kept).sum() * 0.1)


@every_layout
def test_all_that_is_not_kept_is_drawn_as_often(layout):
    order, kept, thin = thinned(layout)
    n_epochs, drawn = 60, Counter()
    for number in range(n_epochs):
        drawn.update(epoch_of(thin, number))
        drawn.subtract(place for place, n in numbered(order, number) if kept[n])
    places = [place[1:] for place in drawn.elements()]
    rest = (~kept).sum()
    assert len(places) == n_epochs * round(0.1 * rest)
    # over the quarters of both samples, as the patches that are not kept
    counts = Counter((s, y > 117, x > 93) for s, (y, x) in places_of(order, ~kept))
    found = Counter((s, y > 117, x > 93) for s, (y, x) in places)
    for quarter, count in counts.items():
        expected = n_epochs * 0.1 * count
        assert abs(found[quarter] - expected) < 5 * np.sqrt(expected)


@every_layout
def test_windows_follow_from_seed_and_number_in_any_order(layout):
    _, kept, thin = thinned(layout)
    ks = np.random.default_rng(1).integers(0, 4 * thin.n_patches, 60).tolist()
    assert len(kept) > thin.n_patches

    def place(order, k):
        window = order.window(k)
        assert 0 <= k - window.first < len(window.data_idx)
        return flat(window)[k - window.first]

    forth = [place(thin, k) for k in ks]
    assert [place(thin, k) for k in ks[::-1]][::-1] == forth
    assert [place(thinned(layout)[2], k) for k in ks] == forth
    assert [place(thinned(layout, seed=5)[2], k) for k in ks] != forth


def test_a_share_of_0_draws_nothing_else_and_of_1_everything():
    layout = layouts()[2]
    order, kept, none = thinned(layout, share=0)
    assert none.n_patches == kept.sum()
    _, _, all_ = thinned(layout, share=1)
    assert all_.n_patches == order.n_patches
    assert Counter(epoch_of(all_, 1)) == Counter(epoch_of(order, 1))


def test_a_single_kept_patch():
    layout = layouts()[1]
    order = PatchOrder(layout, PATCH, 0)
    kept = np.zeros(order.n_patches, bool)
    kept[17] = True
    thin = ThinnedOrder(order, Thinning(kept, 0))
    assert thin.n_patches == 1
    assert len({flat(thin.window(k))[0] for k in range(20)}) > 5


def test_many_patches_are_counted_fast():
    shape = (1, 1, 2**15, 2**15)
    n_patches = StratifiedPatching([shape], (32, 32), 0).n_patches
    kept = np.random.default_rng(0).random(n_patches) < 0.2
    start = time.perf_counter()
    patching = StratifiedPatching([shape], (32, 32), 0, thinning=Thinning(kept, 0.1))
    patching.specs(patching.n_patches - 1)
    for k in range(5000):
        patching.specs(k)
    assert time.perf_counter() - start < 5  # half a second
