"""The order of patches: groups that fit, patches numbered alike, no growth with data."""

from __future__ import annotations

import time
import tracemalloc
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from careamist.dataset.blocks import lay_out
from careamist.dataset.patch_order import PatchOrder
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


CHUNKED = {
    "no chunks": ([shape_only((2, 1, 100, 90), None)], (32, 32)),
    "one group": ([shape_only((2, 1, 100, 90), (1, 1, 64, 64))], (32, 32)),
    "many groups": ([shape_only((40, 1, 300, 257), (3, 1, 50, 64), "TYX")] * 2, (32, 16)),
    "3D": ([shape_only((1, 1, 33, 130, 127), (1, 1, 8, 32, 32), "ZYX")], (8, 16, 16)),
    "mixed": (
        [shape_only((1, 1, 300, 257), None), shape_only((1, 1, 300, 257), (1, 1, 50, 64))],
        (32, 16),
    ),
}


@pytest.mark.parametrize(("stacks", "patch"), CHUNKED.values(), ids=CHUNKED)
def test_each_patch_has_its_number_and_stays_near_its_region(stacks, patch):
    layout = lay_out(stacks, patch, pool_bytes=2**18)
    order = PatchOrder(layout, patch, 0)
    middle = {}
    for data_idx, box, is_pooled, first, starts in order.regions():
        assert is_pooled == (stacks[data_idx].chunk_shape is not None)
        cells = product(box.samples, *(s + at for s, at in zip(starts, box.coords, strict=True)))
        middle.update((first + i, (data_idx, *cell)) for i, cell in enumerate(cells))
    assert sorted(middle) == list(range(order.n_patches))
    for epoch in (0, 1):
        numbers, place = [], 0
        while place < order.n_patches:
            part = order.part(epoch, place)
            units = order.units(epoch, part)
            found, window = order.numbers(units).tolist(), order.laid_out(epoch, units, 0)
            for number, data_idx, sample_idx, coords in zip(found, *window[1:], strict=True):
                assert middle[number][:2] == (data_idx, sample_idx)
                away = np.subtract(coords, middle[number][2:])
                assert (2 * abs(away) <= np.asarray(patch) + 1).all()
            numbers += found
            place = part.stop
        assert sorted(numbers) == list(range(order.n_patches))


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
