"""The order of patches: a permutation that is never held, groups that fit, no growth with data."""

from __future__ import annotations

import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from careamist.dataset.blocks import lay_out
from careamist.dataset.patch_order import PatchOrder, shuffled
from careamist.dataset.patching import StratifiedPatching


def shape_only(data_shape, chunk_shape, axes="YX", dtype=np.uint16):
    """A stack without pixels."""
    return SimpleNamespace(
        data_shape=data_shape,
        chunk_shape=chunk_shape,
        data_dtype=dtype,
        original_axes=axes,
        original_data_shape=data_shape,
    )


@pytest.mark.parametrize("n", [*range(1, 40), 100, 1023, 1024, 1025, 12345])
def test_every_number_stands_at_one_place(n):
    for key in range(3):
        order = shuffled(np.arange(n), n, np.asarray([key]))
        np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_numbers_beyond_32_bits():
    n = 10**15 + 37
    places = np.asarray([0, 1, 2, n // 2, n - 1])
    order = shuffled(places, n, np.asarray([5]))
    assert ((order >= 0) & (order < n)).all()
    assert len(set(order.tolist())) == 5
    assert order.max() > n / 100


@pytest.mark.parametrize("n", [3, 5, 12, 50])
def test_each_number_is_as_likely_at_each_place(n):
    keys, draws = np.arange(4000) * 7919, 4000
    table = np.stack(
        [np.bincount(shuffled(np.full(draws, at), n, keys), minlength=n) for at in range(n)]
    )
    chi2 = ((table - draws / n) ** 2 / (draws / n)).sum()
    freedom = (n - 1) ** 2
    assert chi2 < freedom + 5 * np.sqrt(2 * freedom) + 10


def test_neighbours_become_strangers():
    n = 5000
    order = shuffled(np.arange(n), n, np.asarray([1]))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    other = shuffled(np.arange(n), n, np.asarray([2]))
    assert (order == other).mean() < 0.005


def test_several_permutations_at_once():
    n, keys = np.asarray([7, 1, 300, 7]), np.asarray([1, 2, 3, 1])
    together = shuffled(np.asarray([4, 0, 299, 4]), n, keys)
    apart = [
        int(shuffled(np.asarray([at]), size, np.asarray([key]))[0])
        for at, size, key in ((4, 7, 1), (0, 1, 2), (299, 300, 3))
    ]
    assert together.tolist() == [*apart, apart[0]]


def blocks_of_groups(stacks, patch, pool_bytes):
    """Return for each part of an epoch the blocks it needs."""
    layout = lay_out(stacks, patch, pool_bytes=pool_bytes)
    patching = StratifiedPatching([s.data_shape for s in stacks], patch, 0, layout=layout)
    places = []
    for k in range(patching.n_patches):
        spec = patching.specs(k)
        grid = layout.grids[spec["data_idx"]]
        places.append((spec["data_idx"], grid.index((spec["sample_idx"], *spec["coords"]))))
    return layout, places


def test_a_group_mixes_blocks_from_everywhere():
    stacks = [shape_only((1, 1, 2048, 2048), (1, 1, 64, 64)) for _ in range(3)]
    layout, places = blocks_of_groups(stacks, (32, 32), 2**20)
    assert layout.n_groups > 20
    part = places[: len(places) // layout.n_groups]
    assert len(set(part)) >= 8
    assert {data_idx for data_idx, _ in part} == {0, 1, 2}
    batches = [len(set(part[at : at + 16])) for at in range(0, len(part) - 16, 16)]
    assert np.mean(batches) > 6


def test_groups_of_different_epochs_differ():
    stack = shape_only((1, 1, 2048, 2048), (1, 1, 64, 64))
    layout = lay_out([stack], (32, 32), pool_bytes=2**20)
    order = PatchOrder(layout, (32, 32), 0)
    grid = layout.grids[0]

    def first_blocks(epoch):
        window = order.window(epoch * order.n_patches)
        return {grid.index((0, *coords)) for coords in window.coords[:200]}

    assert len(first_blocks(0) & first_blocks(1)) < len(first_blocks(0)) / 2


HUGE = {
    "a petabyte": ([shape_only((1, 1, 2**25, 2**25 - 77), (1, 1, 1024, 1000))], (64, 64)),
    "a petabyte of volumes": (
        [shape_only((5000, 1, 1000, 10**5, 2003), (1, 1, 100, 128, 128), "TZYX")],
        (16, 64, 64),
    ),
    "many patches without chunks": ([shape_only((1, 1, 2**21, 2**21), None)], (64, 64)),
    "both": (
        [
            shape_only((10**7, 1, 512, 512), None, "TYX"),
            shape_only((10**7, 1, 512, 512), (10, 1, 512, 512), "TYX"),
        ],
        (64, 64),
    ),
}


@pytest.mark.parametrize(("stacks", "patch"), HUGE.values(), ids=HUGE)
def test_huge_data_cost_neither_memory_nor_time(stacks, patch):
    shapes = [stack.data_shape for stack in stacks]
    StratifiedPatching([(1, 1, *patch)], patch, 0).specs(0)  # what numpy sets up once
    tracemalloc.start()
    patching = StratifiedPatching(shapes, patch, 0, layout=lay_out(stacks, patch))
    ks = np.random.default_rng(0).integers(0, 3 * patching.n_patches, 40).tolist()
    specs = [patching.specs(k) for k in ks]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert patching.n_patches > 10**8
    assert peak < 2**20
    for spec in specs:
        shape = shapes[spec["data_idx"]]
        assert 0 <= spec["sample_idx"] < shape[0]
        for at, size, n in zip(spec["coords"], patch, shape[2:], strict=True):
            assert 0 <= at <= n - size
    times = []
    for k in ks:
        start = time.perf_counter()
        patching.specs(k + 10**6)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 5e-3  # below 1 ms on an idle machine
    start = time.perf_counter()
    for k in range(ks[0], ks[0] + 5000):
        patching.specs(k)
    assert time.perf_counter() - start < 1  # 10 ms


def test_a_window_is_cheap_for_many_stacks():
    stacks = [shape_only((1, 1, 300 + i % 7, 512), (1, 1, 64, 64)) for i in range(2000)]
    layout = lay_out(stacks, (64, 64), pool_bytes=2**24)
    patching = StratifiedPatching([s.data_shape for s in stacks], (64, 64), 0, layout=layout)
    start = time.perf_counter()
    seen = {patching.specs(k)["data_idx"] for k in range(patching.n_patches)}
    assert len(seen) == 2000
    assert time.perf_counter() - start < 10  # half a second
