"""File > Open Sample: at once, from nothing but code."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from careamist.dataset.samples import noisy_cells

pytestmark = pytest.mark.gui


def test_the_sample_is_open_within_a_second(make_napari_viewer_proxy: Any) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((8, 8)))  # napari takes a second for the first layer of all
    viewer.layers.clear()
    start = time.thread_time()
    (layer,) = viewer.open_sample("careamist", "noisy_cells")
    assert time.thread_time() - start < 1.0  # 0.34 s were measured
    np.testing.assert_array_equal(layer.data, noisy_cells())
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    assert tuple(layer.axis_labels) == ("y", "x")
