"""Closing the viewer in the middle of a run ends the process, soon and in order."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.gui

LIMIT = 4 * 3.0  # seconds; 3 on a machine that has nothing else to do

SCRIPT = """
import sys, time
import napari, numpy as np
from qtpy.QtCore import QTimer
from careamist.config import TrainingConfig
from careamist.events import RegionPredicted, StepDone
from careamist.gui import tasks
from careamist.gui.forms import remembered
from careamist.gui.jobs import jobs_of

phase, folder = sys.argv[1:]
from pathlib import Path
tasks.models_folder = lambda: Path(folder)
remembered.settings_file = lambda: Path(folder) / "docks.json"
viewer = napari.Viewer(show=True)
viewer.add_image(np.random.default_rng(0).poisson(50, (256, 256)).astype("uint16"), name="noisy")
_, train = viewer.window.add_plugin_dock_widget("careamist", "Train")
train.training_form.setValue(TrainingConfig(num_steps=2 if phase == "predict" else 100_000))
jobs = jobs_of(viewer)

def close():
    print("closing", flush=True)
    viewer.close()

def news(event):
    if phase == "train" and isinstance(event, StepDone) and event.done == 3:
        QTimer.singleShot(0, close)
    if phase == "paused" and isinstance(event, StepDone) and event.done == 3:
        jobs.pause()
        QTimer.singleShot(500, close)
    if phase == "predict" and isinstance(event, RegionPredicted):
        QTimer.singleShot(0, close)

def state():
    if phase == "predict" and jobs.state("train") == "finished" and jobs.record("predict") is None:
        from careamist.prediction import predictor
        original = predictor.read_window
        def slow(*args):
            time.sleep(0.5)
            return original(*args)
        predictor.read_window = slow
        predictor._ACTIVATION_BYTES = {2: 4 * 48 * 80 * 80}
        _, predict = viewer.window.add_plugin_dock_widget("careamist", "Predict")
        predict.predict()

jobs.told.connect(news)
jobs.stateChanged.connect(state)
QTimer.singleShot(0, train.train)
if phase == "starting":
    QTimer.singleShot(300, close)
napari.run()
"""


@pytest.mark.parametrize("phase", ["starting", "train", "paused", "predict"])
def test_the_process_ends_with_code_0(phase: str, tmp_path: object) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, phase, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()).startswith("INFO:"):
        pass  # a notice of napari's
    start = time.monotonic()
    _, errors = process.communicate(timeout=120)
    seconds = time.monotonic() - start
    assert line == "closing\n", errors
    assert process.returncode == 0, errors
    assert seconds < LIMIT
    assert "Traceback" not in errors
    print(f"{phase}: {seconds:.1f} s")
