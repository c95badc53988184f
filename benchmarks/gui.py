"""How smoothly napari runs while careamist works in it, and how soon a training begins.

    python benchmarks/gui.py [--runs 3] [--short]

A timer of 10 ms ticks in a real window: idle, from the click on Train until the training has been
stopped after some seconds, and while an image of 2048² is denoised into a layer. The gaps between
two ticks are what a user feels; the idle control says how much of them is the machine. p99 is the
median of the runs, worst the worst of all. The clock is the one on the wall: look at the control
first, and measure on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TICK = 0.010
P99, WORST = 0.050, 0.250
FIRST_STEP = 3.0
PHASES = {"idle": "idle control", "train": "while training", "predict": "while predicting 2048²"}


class Heart:
    """A timer of the window, and the gaps between its ticks in each phase."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.gaps: dict[str, list[float]] = {}
        self._phase, self._last = "", 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(round(1000 * TICK))

    def begin(self, phase: str) -> None:
        """Count what comes from now on to a phase; to none if it has no name."""
        self._phase, self._last = phase, time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.setdefault(self._phase, []).append(now - self._last)
        self._last = now

    def beats(self, phase: str) -> dict[str, float]:
        """Return the 99th percentile and the longest of the gaps of a phase, in seconds."""
        gaps = np.array(self.gaps[phase])
        return {"p99": float(np.quantile(gaps, 0.99)), "worst": float(gaps.max())}


def wait(done: Callable[[], bool], seconds: float) -> bool:
    """Let the window live until something is done; return whether it was in time."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, poll, end = QEventLoop(), QTimer(), time.monotonic() + seconds
    poll.timeout.connect(lambda: (done() or time.monotonic() > end) and loop.quit())
    poll.start(20)
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()
    poll.stop()
    return done()


def measure(seconds: float, edge: int) -> dict[str, Any]:
    """Open napari, train for some seconds and predict; return what was felt."""
    import napari

    from careamist.events import RunFailed, StepDone
    from careamist.gui import tasks
    from careamist.gui.jobs import jobs_of

    models = Path(tempfile.mkdtemp())
    tasks.models_folder = lambda: models
    rng, steps, failed = np.random.default_rng(0), [], []
    viewer = napari.Viewer(show=True)
    viewer.add_image(rng.poisson(50, (512, 512)).astype(np.uint16), name="noisy")
    jobs = jobs_of(viewer)

    def listen(event: Any) -> None:
        if isinstance(event, StepDone) and not steps:
            steps.append(time.monotonic())
        elif isinstance(event, RunFailed):
            failed.append(f"{event.message} {event.hint}")

    def ended(kind: str) -> bool:
        return jobs.state(kind) in ("finished", "stopped", "failed")

    def never() -> bool:
        return False

    jobs.told.connect(listen)
    _, train = viewer.window.add_plugin_dock_widget("careamist", "Train")
    heart = Heart()
    wait(never, 5)  # what the docks do in the background is over
    heart.begin("idle")
    wait(never, seconds)

    heart.begin("train")
    clicked = time.monotonic()
    train.train_button.click()
    wait(lambda: bool(steps) or ended("train"), 120)
    wait(lambda: ended("train"), seconds)
    jobs.stop()
    wait(lambda: ended("train"), 60)
    heart.begin("")
    if failed or not steps:
        sys.exit(f"no training: {failed}")

    layer = viewer.add_image(rng.poisson(50, (edge, edge)).astype(np.uint16), name="large")
    _, predict = viewer.window.add_plugin_dock_widget("careamist", "Predict")
    predict.picker.setLayer(layer)
    wait(never, 3)
    heart.begin("predict")
    predict.predict_button.click()
    wait(lambda: ended("predict"), 600)
    found = {"first_step": steps[0] - clicked}
    found |= {phase: heart.beats(phase) for phase in PHASES}
    if failed or jobs.state("predict") != "finished":
        sys.exit(f"no prediction: {failed} {predict.problem()}")
    viewer.close()
    return found


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return the table of some runs."""
    lines = [f"{'':<42}{'median':>10}{'worst':>10}{'wanted':>22}"]
    firsts = [run["first_step"] for run in runs]
    label, wanted = "first training step after the click", f"≤ {FIRST_STEP:g} s"
    middle = statistics.median(firsts)
    lines.append(f"{label:<42}{middle:>9.2f}s{max(firsts):>9.2f}s{wanted:>22}")
    lines.append(f"\n{'gaps of a timer of 10 ms':<42}{'p99':>10}{'worst':>10}{'wanted':>22}")
    for phase, label in PHASES.items():
        p99 = statistics.median(run[phase]["p99"] for run in runs)
        worst = max(run[phase]["worst"] for run in runs)
        wanted = "" if phase == "idle" else f"≤ {1000 * P99:.0f}, ≤ {1000 * WORST:.0f} ms"
        lines.append(f"{label:<42}{1000 * p99:>7.0f} ms{1000 * worst:>7.0f} ms{wanted:>22}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in processes of their own and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="how often all is done")
    parser.add_argument("--short", action="store_true", help="seconds: does the command work?")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.here:
        print(json.dumps(measure(*((3.0, 512) if chosen.short else (20.0, 2048)))))
        return 0
    command = [sys.executable, __file__, "--here", *(["--short"] if chosen.short else [])]
    runs = []
    for _ in range(chosen.runs):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    if chosen.short:
        print("Short: some seconds each. It shows that the command works; the figures say nothing.")
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
