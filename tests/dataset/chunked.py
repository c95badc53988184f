"""An array in chunks that counts how often each of them is read."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np

from careamist.dataset.image_stack.array import ArrayStack


class Chunked:
    """Sliced like a Zarr array; `reads` counts for each chunk the reads that touch it."""

    def __init__(self, pixels, chunks):
        self.pixels, self.chunks = pixels, tuple(chunks)
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.reads = Counter()

    def __getitem__(self, slices):
        touched = [
            range(start // chunk, -(-stop // chunk))
            for (start, stop, _), chunk in zip(
                (s.indices(n) for s, n in zip(slices, self.shape, strict=True)),
                self.chunks,
                strict=True,
            )
        ]
        self.reads.update(product(*touched))
        return self.pixels[slices].copy()

    def reads_per_chunk(self):
        """Return mean and greatest number of reads, of all chunks."""
        n_chunks = np.prod([-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)])
        return sum(self.reads.values()) / n_chunks, max(self.reads.values())


def chunked_stack(shape, chunks, axes="YX", dtype=np.uint16, seed=0):
    """Return a stack of random pixels, and the array that counts."""
    pixels = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    array = Chunked(pixels, chunks)
    return ArrayStack(array, axes), array
