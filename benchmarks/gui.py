"""How smoothly napari runs while careamist works in it, and how soon a training begins.

    python benchmarks/gui.py [--runs 3] [--short] [--why]

A timer of 10 ms ticks in a real window: idle, from the click on Train until the first step, while
it trains, from the click on Cancel until it has stopped, while an image of 2048² is denoised into
a layer, and while a model is exported. The gaps between two ticks are what a user feels; the idle
control says how much of them is the machine. p99 is the median of the runs, worst the worst of
all. The clock is the one on the wall: look at the control first, and measure on a machine that
does nothing else.

With --why a thread looks every 10 ms at what the main thread does while a tick is late, and at
what the others do when it comes late itself (they hold the interpreter, or the machine is busy).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TICK = 0.010
P99, WORST = 0.050, 0.250
FIRST_STEP = 3.0
PHASES = {
    "idle": "idle control",
    "layer": "control: napari adds a layer",
    "load": "from the click to the first step",
    "train": "while training",
    "cancel": "while it stops",
    "predict": "while predicting 2048²",
    "export": "while a model is exported",
}
LATE = 0.1  # seconds: from here on it is asked why
LIBRARIES = ("threading.py", "selectors.py", "queue.py", "concurrent", "importlib")


class Heart:
    """A timer of the window, and the gaps between its ticks in each phase."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.gaps: dict[str, list[float]] = {}
        self.phase, self.last = "", 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(round(1000 * TICK))

    def begin(self, phase: str) -> None:
        """Count what comes from now on to a phase; to none if it has no name."""
        self.phase, self.last = phase, time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.setdefault(self.phase, []).append(now - self.last)
        self.last = now

    def beats(self, phase: str) -> dict[str, float]:
        """Return the 99th percentile and the longest of the gaps of a phase, in seconds."""
        gaps = np.array(self.gaps.get(phase, [0.0]))
        return {"p99": float(np.quantile(gaps, 0.99)), "worst": float(gaps.max())}


class Witness(threading.Thread):
    """Notes what the threads do while the window does not answer."""

    def __init__(self, heart: Heart) -> None:
        super().__init__(name="witness", daemon=True)
        self.seen: Counter[tuple[str, str]] = Counter()
        self._heart, self._over = heart, threading.Event()

    def run(self) -> None:
        main = threading.main_thread().ident
        before = time.perf_counter()
        while not self._over.wait(TICK):
            now = time.perf_counter()
            phase, is_late = self._heart.phase, now - self._heart.last > LATE
            was_held, before = now - before > LATE / 2, now
            if not phase or not (is_late or was_held):
                continue
            for ident, places in snapshot().items():
                if (ident == main and is_late) or (was_held and ident != self.ident):
                    who = "window" if ident == main else "held up by"
                    self.seen[phase, f"{who}: {self._words(places)}"] += 1

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()

    def _words(self, places: list[tuple[str, int, str]]) -> str:
        """Return the innermost places of a stack, without those that only wait or import."""
        kept = [place for place in places if not any(part in place[0] for part in LIBRARIES)]
        paths = [(Path(file), line, name) for file, line, name in kept[:7]]
        return " < ".join(f"{file.parent.name}/{file.name}:{n} {name}" for file, n, name in paths)


def snapshot() -> dict[int, list[tuple[str, int, str]]]:
    """Return the stacks of all threads as file, line and name, the innermost first.

    In one go, and no frame is kept: whoever holds one keeps its painters alive, and Qt dies when
    they end in another thread.
    """
    stacks = {}
    for ident, frame in sys._current_frames().items():
        places = stacks[ident] = []
        at: Any = frame
        while at is not None:
            places.append((at.f_code.co_filename, at.f_lineno, at.f_code.co_name))
            at = at.f_back
        del frame
    return stacks


def wait(done: Callable[[], bool], seconds: float) -> bool:
    """Let the window live until something is done; return whether it was in time."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, poll, end = QEventLoop(), QTimer(), time.monotonic() + seconds
    poll.timeout.connect(lambda: (done() or time.monotonic() > end) and loop.quit())
    poll.start(20)
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()
    poll.stop()
    return done()


def measure(seconds: float, edge: int, why: bool) -> dict[str, Any]:
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
    witness = Witness(heart)
    if why:
        witness.start()
    wait(never, 5)  # what the docks do in the background is over
    heart.begin("idle")
    wait(never, seconds)

    heart.begin("load")
    clicked = time.monotonic()
    train.train_button.click()
    wait(lambda: bool(steps) or ended("train"), 120)
    heart.begin("train")
    wait(lambda: ended("train"), seconds)
    heart.begin("cancel")
    jobs.stop()
    wait(lambda: ended("train"), 60)
    heart.begin("")
    if failed or not steps:
        sys.exit(f"no training: {failed}")

    large = rng.poisson(50, (edge, edge)).astype(np.uint16)
    heart.begin("layer")
    layer = viewer.add_image(large, name="large")
    wait(never, 1)
    heart.begin("")
    _, predict = viewer.window.add_plugin_dock_widget("careamist", "Predict")
    predict.picker.setLayer(layer)
    wait(never, 3)
    heart.begin("predict")
    predict.predict_button.click()
    wait(lambda: ended("predict"), 600)
    heart.begin("")

    _, kept = viewer.window.add_plugin_dock_widget("careamist", "Models")
    wait(lambda: bool(kept.models()), 30)
    wait(never, 3)
    heart.begin("export")
    target = models / "exported.ckpt"
    kept.export_to(target)
    wait(target.exists, 30)
    wait(never, 1)
    heart.begin("")
    if why:
        witness.end()
    found: dict[str, Any] = {"first_step": steps[0] - clicked}
    found["why"] = [[*place, n] for place, n in witness.seen.most_common(40)]
    found |= {phase: heart.beats(phase) for phase in PHASES}
    if failed or jobs.state("predict") != "finished" or not target.exists():
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
        wanted = (
            "" if phase in ("idle", "layer") else f"≤ {1000 * P99:.0f}, ≤ {1000 * WORST:.0f} ms"
        )
        lines.append(f"{label:<42}{1000 * p99:>7.0f} ms{1000 * worst:>7.0f} ms{wanted:>22}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in processes of their own and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="how often all is done")
    parser.add_argument("--short", action="store_true", help="seconds: does the command work?")
    parser.add_argument("--why", action="store_true", help="say what happens meanwhile")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.here:
        print(json.dumps(measure(*((3.0, 512) if chosen.short else (20.0, 2048)), why=chosen.why)))
        return 0
    command = [sys.executable, __file__, "--here"]
    command += [f"--{name}" for name in ("short", "why") if getattr(chosen, name)]
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
    for run in runs if chosen.why else ():
        print(
            "\n" + "\n".join(f"{n:>5} × 10 ms  {phase}  {place}" for phase, place, n in run["why"])
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
