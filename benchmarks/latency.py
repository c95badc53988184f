"""How long a user waits: opening a dock, cancelling, closing. `make bench` prints the table.

Every figure stands beside an idle control: how late this machine wakes up a process that only
sleeps, measured right before. Medians of a few runs; on a busy machine look at the control first.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RUNS = 3


def control() -> float:
    """Return the latest wake-up, in seconds, of fifty short sleeps."""
    late = []
    for _ in range(50):
        start = time.monotonic()
        time.sleep(0.02)
        late.append(time.monotonic() - start - 0.02)
    return max(late)


def new_model(num_steps: int) -> Any:
    from careamist import CAREamist
    from careamist.config import Configuration, DataConfig, TrainingConfig

    config = Configuration(
        data_config=DataConfig(patch_size=(32, 32), batch_size=4),
        training_config=TrainingConfig(num_steps=num_steps, device="cpu"),
    )
    return CAREamist(config, work_dir=tempfile.mkdtemp(), enable_progress_bar=False)


def noisy(size: int = 128) -> Any:
    return np.random.default_rng(0).poisson(50, (size, size)).astype(np.uint16)


def make_slow(model: Any, seconds: float) -> None:
    """Let a forward pass take `seconds`, spread over its layers."""
    layers = [layer for layer in model.modules() if not list(layer.children())]
    for layer in layers:
        layer.register_forward_pre_hook(lambda *_: time.sleep(seconds / len(layers)))


def cancel_training(delay: float) -> float:
    """Return the seconds from `stop` to the end of `train`, inside a step of 5 s."""
    from careamist.events import StepDone

    careamist, asked = new_model(100), [0.0]

    def ask() -> None:
        asked[0] = time.monotonic()
        careamist.stop()

    def listen(event: Any) -> None:
        if isinstance(event, StepDone) and event.done == 2:
            make_slow(careamist._model.module.model, 5.0)
            threading.Timer(delay, ask).start()

    careamist.listeners.append(listen)
    careamist.train(train_data=noisy())
    assert careamist.steps_done == 2
    return time.monotonic() - asked[0]


def cancel_prediction(delay: float) -> float:
    """Return the seconds from `stop` to the end of `predict`, inside a tile of 5 s."""
    careamist, asked = new_model(2), [0.0]
    careamist.train(train_data=noisy())
    make_slow(careamist._model.module.averaged, 5.0)

    def ask() -> None:
        asked[0] = time.monotonic()
        careamist.stop()

    threading.Timer(delay, ask).start()
    careamist.predict(noisy(), tile_size="auto")
    return time.monotonic() - asked[0]


def open_dock(_delay: float) -> float:
    """Return the seconds to import and build the Train dock in a napari that is open."""
    code = (
        "import time, napari; viewer = napari.Viewer(show=True);"
        "import numpy; viewer.add_image(numpy.zeros((64, 64)));"
        "start = time.monotonic();"
        "viewer.window.add_plugin_dock_widget('careamist', 'Train');"
        "print(time.monotonic() - start); viewer.close()"
    )
    return float(output(code).split()[-1])


def import_package(_delay: float) -> float:
    """Return the seconds of `import careamist`."""
    code = "import time; s = time.monotonic(); import careamist; print(time.monotonic() - s)"
    return float(output(code))


def close_viewer(delay: float) -> float:
    """Return the seconds from closing the viewer in the middle of a run to the process's end."""
    code = (
        "import napari, numpy as np, time; from qtpy.QtCore import QTimer;"
        "from careamist.gui import tasks; from pathlib import Path; import tempfile;"
        "tasks.models_folder = lambda: Path(tempfile.mkdtemp());"
        "from careamist.gui.jobs import jobs_of; from careamist.events import StepDone;"
        "viewer = napari.Viewer(show=True);"
        "viewer.add_image(np.random.default_rng(0).poisson(50, (256, 256)));"
        "_, dock = viewer.window.add_plugin_dock_widget('careamist', 'Train');"
        "close = lambda: (print(time.time(), flush=True), viewer.close());"
        "jobs_of(viewer).told.connect(lambda e: isinstance(e, StepDone) and e.done == 3"
        f" and QTimer.singleShot({int(delay * 1000)}, close));"
        "QTimer.singleShot(0, dock.train); napari.run()"
    )
    closed = float(output(code).split()[-1])
    return time.time() - closed


def output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


MEASURES: list[tuple[str, float, Callable[[float], float]]] = [
    ("import careamist", 0.15, import_package),
    ("open the Train dock over a warm napari", 1.0, open_dock),
    ("cancel inside a training step of 5 s", 1.0, cancel_training),
    ("cancel inside a tile of 5 s", 1.0, cancel_prediction),
    ("close the viewer in the middle of a run", 3.0, close_viewer),
]


def main() -> None:
    """Print the table."""
    print(f"{'quantity':<42}{'limit':>8}{'median':>8}{'worst':>8}{'idle control':>14}")
    for name, limit, measure in MEASURES:
        idle = control()
        seconds = [measure(0.3 + 0.7 * run) for run in range(RUNS)]
        middle, worst = statistics.median(seconds), max(seconds)
        print(f"{name:<42}{limit:>7.2f}s{middle:>7.2f}s{worst:>7.2f}s{idle:>13.3f}s", flush=True)


if __name__ == "__main__":
    main()
