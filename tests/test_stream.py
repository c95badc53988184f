"""The numbered stream: known values, the same in numpy and torch, uniform."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from careamist.stream import hashed, integers, sample_keys, shuffled, uniforms

NUMBERS = np.arange(100_000, dtype=np.int64)


def test_hashed_is_the_published_splitmix64():
    # the first outputs of SplitMix64 with seed 0, as its reference implementation prints them
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert hashed(np.arange(4, dtype=np.int64)).view(np.uint64).tolist() == expected


@pytest.mark.parametrize("draw", [integers, uniforms])
def test_numpy_and_torch_draw_the_same(draw):
    keys = hashed(NUMBERS[:1000])[:, None]
    counters = NUMBERS[:50]
    in_torch = draw(torch.from_numpy(keys), torch.from_numpy(counters))
    np.testing.assert_array_equal(draw(keys, counters), in_torch.numpy())
    assert in_torch.shape == (1000, 50)


def test_hashed_is_a_bijection_on_a_sample():
    assert len(np.unique(hashed(NUMBERS))) == len(NUMBERS)
    assert len(np.unique(hashed(hashed(NUMBERS)))) == len(NUMBERS)


def test_integers_are_below_2_to_62_and_reach_far():
    drawn = integers(np.zeros(1, np.int64), NUMBERS)
    assert drawn.min() >= 0
    assert 2**61 < drawn.max() < 2**62


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_uniforms_are_at_least_0_and_below_1(kind):
    drawn = uniforms(kind(hashed(NUMBERS)), 7)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1  # float32 must not round up


def test_the_largest_uniform_is_below_1(monkeypatch):
    monkeypatch.setattr("careamist.stream.integers", lambda keys, counters: keys)
    assert float(uniforms(torch.tensor([2**62 - 1]), 0)) < 1


@pytest.mark.parametrize("axis", ["keys", "counters"])
def test_uniforms_are_uniform_along_keys_and_counters(axis):
    one = np.full(1, 5, np.int64)
    drawn = uniforms(NUMBERS, one) if axis == "keys" else uniforms(one, NUMBERS)
    counts = np.bincount((drawn * 100).astype(int), minlength=100)
    expected = len(NUMBERS) / 100
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert 50 < chi2 < 165  # 99 degrees of freedom: both ends are less likely than 1e-4
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.015


def test_sample_keys_differ_by_seed_purpose_and_number():
    keys = [sample_keys(seed, NUMBERS[:500], purpose) for seed in (0, 1, 42) for purpose in (0, 1)]
    assert len(np.unique(np.concatenate(keys))) == 6 * 500


def test_sample_keys_are_a_function_of_the_number_alone():
    together = sample_keys(3, NUMBERS[:20])
    apart = [sample_keys(3, NUMBERS[k : k + 1])[0] for k in reversed(range(20))]
    assert together.tolist() == apart[::-1]


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
