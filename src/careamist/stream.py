"""The numbered random stream: every draw is a pure function of (key, counter).

Workers, threads, resumed runs and devices only choose which numbers to compute, so none of them
can change what is drawn. The mixing function is the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), in the wrapping 64-bit
integers that numpy and torch share: the same code serves arrays and tensors, on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Array = TypeVar("Array", "torch.Tensor", "NDArray[Any]")

_GAMMA = np.int64(-7046029254386353131)  # 0x9E3779B97F4A7C15
_MIX_1 = np.int64(-4658895280553007687)  # 0xBF58476D1CE4E5B9
_MIX_2 = np.int64(-7723592293110705685)  # 0x94D049BB133111EB
_ROUNDS = 3  # of a Feistel network


def _unsigned_shift(values: Array, bits: int) -> Array:
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def hashed(values: Array) -> Array:
    """Mix 64-bit integers so that neighbours become unrelated.

    Parameters
    ----------
    values : numpy.ndarray or torch.Tensor of int64
        Any shape.

    Returns
    -------
    numpy.ndarray or torch.Tensor of int64
        Same kind and shape; a bijection of the input.
    """
    values = values * int(_GAMMA) + int(_GAMMA)
    values = (values ^ _unsigned_shift(values, 30)) * int(_MIX_1)
    values = (values ^ _unsigned_shift(values, 27)) * int(_MIX_2)
    values ^= _unsigned_shift(values, 31)
    return values


def integers(keys: Array, counters: Array | int) -> Array:
    """Draw non-negative integers below 2**62, one for each (key, counter).

    Parameters
    ----------
    keys, counters : numpy.ndarray or torch.Tensor of int64
        Of shapes that broadcast together.

    Returns
    -------
    numpy.ndarray or torch.Tensor of int64
        Of the broadcast shape. The remainder by n is uniform to within n / 2**62.
    """
    return _unsigned_shift(hashed(hashed(keys) ^ counters), 2)


def uniforms(keys: Array, counters: Array | int) -> Array:
    """Draw numbers in [0, 1) with 24 random bits, one for each (key, counter).

    That many are exact in float32, which is what tensors get: the same on every device.
    """
    return (integers(keys, counters) >> 38) * 2.0**-24


def sample_keys(seed: int, samples: NDArray[np.int64], purpose: int = 0) -> NDArray[np.int64]:
    """Give each sample of a run its own key.

    Parameters
    ----------
    seed : int
        The seed of the run.
    samples : numpy.ndarray of int64
        Sample numbers in the stream of the run.
    purpose : int
        Which stream of the run: 0 training, 1 validation, ...

    Returns
    -------
    numpy.ndarray of int64
        One key per sample.
    """
    root = hashed(hashed(np.asarray([seed], dtype=np.int64)) ^ np.int64(purpose))
    keys: NDArray[np.int64] = hashed(root ^ np.asarray(samples, dtype=np.int64))
    return keys


def shuffled(
    places: NDArray[np.int64], n: NDArray[np.int64] | int, keys: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which of 0, ..., n - 1 stands at some places of a random order of them.

    The order is never held in memory: a Feistel network permutes the pairs (high, low) of which
    there are hardly more than n; whatever falls outside is permuted again.

    Parameters
    ----------
    places : numpy.ndarray of int64
        Between 0 and n - 1.
    n : int or numpy.ndarray of int64
        How many numbers are permuted, at each place.
    keys : numpy.ndarray of int64
        Key of the permutation, one or at each place.

    Returns
    -------
    numpy.ndarray of int64
        Of the shape of `places`.
    """
    n = np.broadcast_to(n, places.shape)
    n_high = np.maximum(np.ceil(np.sqrt(n)), 1).astype(np.int64)
    n_low = -(-n // n_high)
    turns = hashed(np.arange(1, 2 * _ROUNDS + 1)[:, None] ^ keys)
    outside = np.ones(places.shape, bool)
    while outside.any():
        high, low = np.divmod(places, n_low)
        for turn in range(0, 2 * _ROUNDS, 2):
            high = (high + hashed(turns[turn] ^ low)) % n_high
            low = (low + hashed(turns[turn + 1] ^ high)) % n_low
        places = np.where(outside, high * n_low + low, places)
        outside &= places >= n
    return places
