"""A result that is larger than what a screen can take at once: the window goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from careamist.careamist import CAREamist
from careamist.config import N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.events import RegionPredicted
from careamist.gui import tasks
from careamist.gui.predict_widget import PredictWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

EDGE, TILES = 16384, 12
LONGEST = 4 * 0.25  # seconds: four times what a user may feel, as the machine is shared


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_window_goes_on_while_a_large_result_fills(
    make_napari_viewer_proxy: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Any,
) -> None:
    monkeypatch.setattr(tasks, "results_folder", lambda: tmp_path / "results")
    config = Configuration(
        experiment_name="tiny",
        algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
        data_config=DataConfig(patch_size=(16, 16), batch_size=2),
        training_config=TrainingConfig(num_steps=2),
    )
    model = CAREamist(config, work_dir=tmp_path / "models", enable_progress_bar=False)
    noise = np.random.default_rng(0).poisson(50, (64, EDGE)).astype(dtype)
    model.train(train_data=noise[:, :64])
    row = noise[0]
    levels = [np.broadcast_to(row[:: 2**k], (EDGE // 2**k, EDGE // 2**k)) for k in (0, 3)]
    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(levels, multiscale=True, name="large", contrast_limits=(0, 100))
    dock = PredictWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Predict (careamist)", area="right")
    dock.jobs.setModel(model)
    dock.settings.pixels.setValue("input")
    assert dock.problem() == ""
    assert "Too large" in dock.settings.folder.hint()
    qtbot.wait(300)

    gaps, last = [0.0], [time.perf_counter()]

    def beat() -> None:
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    heart = QTimer()
    heart.setTimerType(Qt.TimerType.PreciseTimer)
    heart.timeout.connect(beat)
    heart.start(10)
    last[0] = time.perf_counter()
    dock.predict()

    def tiles() -> int:
        events = dock.jobs.record("predict").events
        assert dock.jobs.state("predict") in ("starting", "running"), events[-1]
        return sum(isinstance(event, RegionPredicted) for event in events)

    qtbot.waitUntil(lambda: tiles() > 0, timeout=120_000)  # the layer has been added
    assert max(gaps) < 2 * LONGEST
    gaps[:] = [0.0]
    qtbot.waitUntil(lambda: tiles() >= TILES, timeout=120_000)
    viewer.scene.camera.zoom *= 30  # so near that the pixels come from the disk
    qtbot.waitUntil(lambda: tiles() >= TILES + 4, timeout=120_000)
    dock.cancel()
    qtbot.waitUntil(lambda: not dock.jobs.is_busy, timeout=60_000)
    heart.stop()
    print(f"worst {1000 * max(gaps):.0f} ms of {len(gaps)}")
    assert max(gaps) < LONGEST
    result = viewer.layers[-1]
    assert result.name == "large (N2V), unfinished"
    assert result.multiscale
    assert result.data[0].shape == (EDGE, EDGE)
    assert np.dtype(result.dtype) == dtype
    overview = np.asarray(result.data[-1])
    assert 0 < np.count_nonzero(overview) < overview.size
