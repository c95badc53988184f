"""Tiles: cores fill the image once, on the grid; windows are what a whole-image pass would see."""

from __future__ import annotations

import numpy as np
import pytest

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.tiling import Tiling, read_window
from careamist.errors import SettingsError

# SC(Z)YX shape, grid, halo, tile
CASES = {
    "several tiles": ((1, 1, 300, 500), (4, 4), (24, 24), (96, 128)),
    "odd sizes": ((1, 1, 301, 127), (4, 4), (24, 24), (80, 64)),
    "grid 16": ((1, 1, 333, 257), (16, 16), (32, 32), (96, 96)),
    "smaller than the tile": ((1, 1, 50, 61), (4, 4), (24, 24), (96, 96)),
    "smaller than the grid": ((1, 1, 3, 5), (8, 8), (48, 48), (128, 128)),
    "one pixel": ((1, 1, 1, 1), (4, 4), (24, 24), (64, 64)),
    "one row": ((1, 2, 1, 400), (4, 4), (24, 24), (64, 64)),
    "whole image": ((2, 1, 37, 41), (4, 4), (24, 24), None),
    "samples": ((3, 2, 130, 60), (4, 4), (8, 8), (48, 32)),
    "3D": ((1, 1, 21, 90, 75), (4, 4, 4), (8, 8, 8), (24, 40, 36)),
    "3D, other in Z": ((2, 1, 7, 50, 33), (2, 4, 4), (4, 8, 8), (12, 28, 32)),
    "no halo": ((1, 1, 65, 63), (4, 4), (0, 0), (16, 16)),
}
every_case = pytest.mark.parametrize(("shape", "grid", "halo", "tile"), CASES.values(), ids=CASES)


def slices(start, size):
    return tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))


@every_case
def test_cores_fill_the_image_exactly_once(shape, grid, halo, tile):
    filled = np.zeros((shape[0], *shape[2:]), dtype=int)
    for spec in Tiling(grid, halo, tile).specs(0, shape):
        filled[(spec["sample_idx"], *slices(spec["stitch_coords"], spec["crop_size"]))] += 1
        ends = np.add(spec["stitch_coords"], spec["crop_size"])
        assert (ends <= shape[2:]).all()
    assert (filled == 1).all()


@every_case
def test_cores_and_windows_lie_on_the_grid_within_the_padded_image(shape, grid, halo, tile):
    tiling = Tiling(grid, halo, tile)
    padded = tiling.padded_shape(shape[2:])
    assert all(
        p % g == 0 and 0 <= p - n < g for p, g, n in zip(padded, grid, shape[2:], strict=True)
    )
    for spec in tiling.specs(0, shape):
        for axis, step in enumerate(grid):
            start, size = spec["coords"][axis], spec["patch_size"][axis]
            assert spec["stitch_coords"][axis] % step == 0
            assert start % step == 0
            assert size % step == 0
            assert 0 <= start < start + size <= padded[axis]


@every_case
def test_every_core_has_its_halo_up_to_the_border(shape, grid, halo, tile):
    tiling = Tiling(grid, halo, tile)
    padded = tiling.padded_shape(shape[2:])
    for spec in tiling.specs(0, shape):
        for axis, reach in enumerate(halo):
            first = spec["coords"][axis]
            last = first + spec["patch_size"][axis]
            core = spec["stitch_coords"][axis]
            end = core + spec["crop_size"][axis]
            assert spec["crop_coords"][axis] == core - first
            assert first == 0 or core - first >= reach
            assert last == padded[axis] or last - end >= reach


@every_case
def test_windows_are_no_larger_than_the_tile(shape, grid, halo, tile):
    tiling = Tiling(grid, halo, tile)
    for spec in tiling.specs(0, shape):
        largest = tiling.tile_size or tiling.padded_shape(shape[2:])
        assert all(n <= t for n, t in zip(spec["patch_size"], largest, strict=True))


@every_case
def test_tiles_are_numbered(shape, grid, halo, tile):
    specs = Tiling(grid, halo, tile).specs(5, shape)
    assert {spec["total_tiles"] for spec in specs} == {len(specs)}
    assert {spec["data_idx"] for spec in specs} == {5}
    assert [spec["sample_idx"] for spec in specs] == sorted(spec["sample_idx"] for spec in specs)


@pytest.mark.parametrize("name", [name for name in CASES if name != "no halo"])
def test_windows_are_cut_from_the_reflected_image(name):
    shape, grid, halo, tile = CASES[name]
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    stack = ArrayStack(image, "SCZYX" if len(shape) == 5 else "SCYX")
    tiling = Tiling(grid, halo, tile)
    padding = [(0, p - n) for p, n in zip(tiling.padded_shape(shape[2:]), shape[2:], strict=True)]
    whole = np.pad(image, [(0, 0), (0, 0), *padding], mode="reflect")
    for spec in tiling.specs(0, shape):
        window = slices(spec["coords"], spec["patch_size"])
        expected = whole[(spec["sample_idx"], slice(None), *window)]
        np.testing.assert_array_equal(read_window(stack, spec), expected)


@every_case
def test_a_stack_is_never_asked_for_pixels_outside_of_it(shape, grid, halo, tile):
    class Strict:
        data_shape = shape

        def extract_patch(self, sample_idx, channels, coords, patch_size):
            assert channels == [0]
            assert all(
                0 <= c < c + n <= size
                for c, n, size in zip(coords, patch_size, shape[2:], strict=True)
            )
            return np.zeros((1, *patch_size), np.uint8)

    for spec in Tiling(grid, halo, tile).specs(0, shape):
        assert read_window(Strict(), spec, [0]).shape == (1, *spec["patch_size"])


@pytest.mark.parametrize(
    ("asked", "used"),
    [((64, 64), (64, 64)), ((61, 66), (64, 68)), ((8, 200), (52, 200)), ((52, 53), (52, 56))],
)
def test_tiles_are_enlarged_to_the_grid_and_to_hold_a_core(asked, used):
    assert Tiling((4, 4), (24, 24), asked).tile_size == used


def test_cores_share_the_image_evenly():
    specs = Tiling((4, 4), (24, 24), (148, 148)).specs(0, (1, 1, 104, 204))
    sizes = {(spec["crop_size"][0], spec["crop_size"][1]) for spec in specs}
    assert sizes == {(104, 68)}  # three times 68, not 100 + 100 + 4


def test_a_tile_of_another_dimension_is_refused():
    with pytest.raises(SettingsError, match=r"tile_size=\(64, 64\) does not fit 3 spatial axes"):
        Tiling((4, 4, 4), (8, 8, 8), (64, 64))
