"""Shares of a job: each tile once, whole chunks or whole images, nothing in common."""

from __future__ import annotations

import numpy as np
import pytest

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.tiling import Tiling
from careamist.errors import SettingsError
from careamist.prediction.output import Output
from careamist.prediction.plan import split


def job(*sizes):
    tiling = Tiling((4, 4), (8, 8), (40, 40))
    stacks = [ArrayStack(np.zeros((size, size), np.uint8), "YX") for size in sizes]
    return [
        Output(index, stack, tiling.specs(index, stack.data_shape))
        for index, stack in enumerate(stacks)
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("by_tiles", [True, False])
def test_shares_hold_each_tile_once(n, by_tiles):
    outputs = job(100, 30, 200, 60)
    shares = split(outputs, n, by_tiles=by_tiles)
    assert len(shares) == n
    for output in outputs:
        found = [share.tiles[output.index] for share in shares if output.index in share.tiles]
        assert sorted(np.concatenate(found)) == list(range(len(output.tiles)))
        if not by_tiles:
            assert len(found) == 1
    total = sum(len(output.tiles) for output in outputs)
    assert sum(map(len, shares)) == total
    if by_tiles:
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_whole_images_are_spread_evenly():
    sizes = [len(share) for share in split(job(200, 200, 100, 100, 100), 2, by_tiles=False)]
    tiles = [len(output.tiles) for output in job(200, 100)]
    assert max(sizes) - min(sizes) <= tiles[1]


def test_shares_own_whole_chunks():
    outputs = job(300, 170)
    owner = {}
    for number, share in enumerate(split(outputs, 4, by_tiles=True)):
        for index, tiles in share.tiles.items():
            output = outputs[index]
            for tile in tiles:
                box = output.box(output.tiles[int(tile)])
                place = tuple(e.start // c for e, c in zip(box, output.chunk_shape, strict=True))
                assert owner.setdefault((index, place), number) == number


def test_no_share_is_an_error():
    with pytest.raises(SettingsError, match="0 shares"):
        split(job(100), 0, by_tiles=True)
