"""Points that grow, are smoothed and thinned out."""

from __future__ import annotations

import numpy as np
import pytest

from careamist.gui.parts.curves import Curve, decimate, log_ticks, smooth

pytestmark = pytest.mark.gui


def test_decimate_keeps_extremes_and_order():
    y = np.sin(np.linspace(0, 50, 10_000))
    y[1234], y[8765] = 9, -9
    x, kept = decimate(np.arange(10_000), y, 100)
    assert len(x) < 400
    assert (np.diff(x) > 0).all()
    assert kept.max() == 9
    assert kept.min() == -9
    assert x[0] == 0
    assert x[-1] == 9999


def test_smooth_is_causal_and_skips_what_is_not_finite():
    y = np.ones(1000)
    y[500] = np.nan
    np.testing.assert_allclose(smooth(y), 1)
    step = np.r_[np.zeros(500), np.ones(500)]
    assert smooth(step)[499] == 0
    assert smooth(step)[-1] == pytest.approx(1)
    assert smooth(np.array([])).size == 0


def test_curve_grows():
    curve = Curve()
    for at in range(5000):
        curve.add(at, -at)
    x, y = curve.points()
    np.testing.assert_array_equal(x, -y)
    assert len(curve) == 5000


@pytest.mark.parametrize(("low", "high"), [(-1, 0), (-0.2, 0.1), (-6, 3), (0.3, 0.31), (0, 0)])
def test_log_ticks_lie_inside(low, high):
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(10**low * 0.9 <= tick <= 10**high * 1.1 for tick in ticks)


def test_a_curve_that_goes_back_goes_on_from_there():
    curve = Curve()
    for at in (1, 2, 3, 4, 5):
        curve.add(at, at)
    curve.add(3, 30)
    curve.add(4, 40)
    x, y = curve.points()
    assert list(x) == [1, 2, 3, 4]
    assert list(y) == [1, 2, 30, 40]
