"""Details before and after."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from careamist.analysis.thumbnail import detail_pair, write_gray_png
from careamist.errors import ShapeError


def test_the_detail_is_where_the_structure_is() -> None:
    after = np.zeros((300, 400))
    after[10:90, 300:390] = np.random.default_rng(0).random((80, 90))
    before = after + 1  # grey levels mean the same in both halves
    pair = detail_pair(before, after, 96)
    assert (pair.shape, pair.dtype) == ((96, 192), np.uint8)
    assert pair[:, :96].mean() > pair[:, 96:].mean() + 50
    assert (pair[:, 96:] > 0).mean() > 0.5  # most of the block is in it


def test_pixels_are_shown_one_to_one() -> None:
    image = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    pair = detail_pair(image, image, 96)
    assert pair.shape == (32, 64)
    np.testing.assert_array_equal(pair[:, :32], pair[:, 32:])
    assert (np.diff(pair[:, 0].astype(int)) >= 0).all()


def test_of_leading_axes_the_middle_is_shown() -> None:
    stack = np.zeros((2, 5, 20, 20))
    stack[1, 2] = np.eye(20)
    assert detail_pair(stack, stack).max() == 255
    stack[1, 2] = 0
    stack[0, 0] = np.eye(20)
    assert detail_pair(stack, stack).max() == 0


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, 7.0])
def test_what_is_missing_or_flat_is_no_error(fill: float) -> None:
    flat = np.full((10, 12), fill)
    assert detail_pair(flat, flat).shape == (10, 24)
    half = flat.copy()
    half[:, :6] = np.arange(6)
    assert detail_pair(half, half).max() == 255


@pytest.mark.parametrize("shapes", [((4, 4), (4, 5)), ((4,), (4,)), ((0, 4), (0, 4))])
def test_shapes_that_do_not_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    before, after = map(np.zeros, shapes)
    with pytest.raises(ShapeError, match="same part"):
        detail_pair(before, after)


def test_the_file_is_a_grey_png(tmp_path: Path) -> None:
    image = np.arange(60, dtype=np.uint8).reshape(6, 10)
    write_gray_png(tmp_path / "x.png", image)
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "x.png").read_bytes()), image)
