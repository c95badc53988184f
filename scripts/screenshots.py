"""Take the pictures of the docks that the documentation shows, from real runs on the sample.

Usage: screenshots.py [--out FOLDER] [--steps N] [--only PART ...] [--all]

To add a picture: a line in a function of `SCENES`, and its name in `KEPT`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from PIL import Image
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from careamist.config import N2V, TrainingConfig, UNet
from careamist.dataset.samples import PIXEL_SIZE_UM, noisy_cells
from careamist.events import StepDone
from careamist.gui import tasks
from careamist.gui.jobs import jobs_of

OUT = Path(__file__).parent.parent / "docs" / "images"
WINDOW, MOST_BYTES = (1280, 720), 4_000_000
AREA, GREY = 4000, 40  # pixels of a colour that is kept; how far a grey is from grey
COLOURFUL, OTHERS = 80, 56  # colours of either kind, and between them a ramp of greys
LIMIT = 600  # seconds that a state may take to be reached

# What the documentation shows; --all saves every picture in both themes.
KEPT = {
    "dark": """train-empty train-ready train-ready-260 train-ready-350 train-ready-450
        train-advanced train-question train-wrong train-running train-paused train-stopped
        train-done train-failed predict-ready predict-running predict-done predict-batch
        models compare compare-split""",
    "light": "train-ready-350 train-running predict-ready models compare",
}


class Stage:
    """A window in which scenes are played."""

    def __init__(self, out: Path, steps: int, *, everything: bool) -> None:
        self.out, self.steps, self.everything = out, steps, everything
        self.viewer: Any = None
        self.docks: dict[str, Any] = {}

    def begin(self) -> None:
        """Open a new window."""
        self.viewer, self.docks = napari.Viewer(title="careamist"), {}
        self.viewer.theme = "dark"
        self.viewer.window.resize(*WINDOW)
        self.wait(1)

    def dock(self, name: str) -> Any:
        """Open a dock, or bring it to the front."""
        if name not in self.docks:
            window = self.viewer.window
            self.docks[name] = window.add_plugin_dock_widget("careamist", name, tabify=True)
        frame, dock = self.docks[name]
        frame.show()
        frame.raise_()
        self.wait(0.5)
        return dock

    def wait(self, seconds: float) -> None:
        """Let the window live."""
        loop = QEventLoop()
        QTimer.singleShot(int(1000 * seconds), loop.quit)
        loop.exec()

    def until(self, there: Callable[[], bool]) -> None:
        """Let the window live until something is so."""
        end = time.monotonic() + LIMIT
        while not there():
            if time.monotonic() > end:
                sys.exit("The state to be pictured was not reached.")
            self.wait(0.1)

    def shot(self, name: str, dock: Any = None) -> None:
        """Picture the window, or a dock alone, in the themes that are wanted."""
        for theme, kept in KEPT.items():
            if not (self.everything or name in kept.split()):
                continue
            if self.viewer.theme != theme:
                self.viewer.theme = theme
            for widget in QApplication.allWidgets():
                if "Notification" in type(widget).__name__:
                    widget.close()
            self.wait(0.6)
            if dock is None:
                pixels = self.viewer.screenshot(canvas_only=False, flash=False)
            else:
                pixels = _pixels(dock.grab())
            self._save(pixels, self.out / f"{name}-{theme}.png")
        self.viewer.theme = "dark"
        self.wait(0.2)

    def sample(self) -> Any:
        """Open the built-in sample."""
        return self.viewer.open_sample("careamist", "noisy_cells")[0]

    def quick(self, train: Any, steps: int) -> None:
        """Set a small network and some steps."""
        train.training_form.setValue(TrainingConfig(num_steps=steps))
        train.algorithm_form.setValue(N2V(model=UNet(depth=2, num_channels_init=16)))

    def end(self) -> None:
        """Stop what runs, and close the window."""
        jobs = jobs_of(self.viewer)
        jobs.stop()
        self.until(lambda: not jobs.is_busy)
        self.viewer.close()
        self.wait(0.3)

    def _save(self, pixels: Any, path: Path) -> None:
        colours = Image.fromarray(pixels).convert("RGB")
        # colours of areas, and those that are no greys, stay: all pictures have the same ones
        counted = sorted(colours.getcolors(1 << 24) or [], reverse=True)
        kept = [c for n, c in counted if n > AREA]
        kept += [c for _, c in counted if max(c) - min(c) > GREY and c not in kept][:COLOURFUL]
        kept += [(level, level, level) for level in range(0, 256, 6)]
        others = colours.quantize(OTHERS).getpalette() or []
        few = Image.new("P", (1, 1))
        few.putpalette([part for c in kept for part in c][: 3 * (256 - OTHERS)] + others)
        flat = colours.quantize(palette=few, dither=Image.Dither.NONE)
        flat.save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def before(stage: Stage) -> None:
    """The Train dock before anything runs, in three widths."""
    train = stage.dock("Train")
    stage.shot("train-empty")
    layer = stage.sample()
    until = time.monotonic() + 30  # the time of a step is measured meanwhile
    while train.settings.effort.seconds() is None and time.monotonic() < until:
        stage.wait(0.5)
    stage.shot("train-ready")
    train.settings.advanced.setOpen(True)
    stage.wait(0.5)
    stage.shot("train-advanced")
    train.settings.advanced.setOpen(False)
    frame = stage.docks["Train"][0]
    frame.setFloating(True)
    for width in (260, 350, 450):
        frame.resize(width, 600)
        stage.wait(0.5)
        stage.shot(f"train-ready-{width}", train)
    frame.setFloating(False)
    train.training_form.setValue(TrainingConfig(num_steps=100))
    train.settings.setMethod("care")
    small = stage.viewer.add_image(
        np.asarray(layer.data)[:500], name="clean", scale=layer.scale, units=layer.units
    )
    train.settings.target.picker.setLayer(small)
    stage.wait(0.5)
    stage.shot("train-wrong")


def question(stage: Stage) -> None:
    """A stack whose first axis nobody has named."""
    stage.viewer.add_image(np.stack([noisy_cells(256, seed) for seed in range(12)]), name="cells")
    stage.dock("Train")
    stage.wait(0.5)
    stage.shot("train-question")


def failed(stage: Stage) -> None:
    """A run that cannot succeed."""
    stage.viewer.add_image(np.full((256, 256), 7, np.uint16), name="blank")
    train = stage.dock("Train")
    stage.quick(train, 20)
    train.train()
    stage.until(lambda: train.state == "failed")
    stage.wait(0.5)
    stage.shot("train-failed")


def through(stage: Stage) -> None:
    """From the click to the denoised layer, and what comes after."""
    stage.sample()
    train = stage.dock("Train")
    stage.quick(train, stage.steps)
    jobs = jobs_of(stage.viewer)
    train.train_and_denoise()
    stage.until(lambda: _steps(jobs) > 0.6 * stage.steps)
    stage.shot("train-running")
    train.pause()
    stage.until(lambda: train.state == "paused")
    stage.wait(0.5)
    stage.shot("train-paused")
    train.resume()
    stage.until(lambda: jobs.state("predict") == "finished" and not jobs.is_busy)
    stage.wait(1)
    stage.shot("train-done")
    compare = stage.dock("Compare")
    stage.wait(2)
    stage.shot("compare")
    compare.setView("Split")
    stage.wait(2)
    stage.shot("compare-split")
    stage.viewer.window.remove_dock_widget(stage.docks.pop("Compare")[0])
    stage.dock("Models")
    stage.wait(3)
    stage.shot("models")
    _predict(stage, jobs)


def stopped(stage: Stage) -> None:
    """A training that was cancelled in the middle."""
    stage.sample()
    train = stage.dock("Train")
    stage.quick(train, stage.steps)
    jobs = jobs_of(stage.viewer)
    train.train_and_denoise()
    stage.until(lambda: _steps(jobs) > 0.3 * stage.steps)
    train.cancel()
    stage.until(lambda: train.state == "stopped")
    stage.wait(0.5)
    stage.shot("train-stopped")


def _predict(stage: Stage, jobs: Any) -> None:
    predict = stage.dock("Predict")
    predict.new_prediction()
    stack = np.stack([noisy_cells(512, seed) for seed in range(1, 7)])
    stage.viewer.layers.clear()
    stage.viewer.add_image(
        stack,
        name="time series",
        scale=(1, PIXEL_SIZE_UM, PIXEL_SIZE_UM),
        units=("s", "µm", "µm"),
        axis_labels=("t", "y", "x"),
    )
    stage.wait(1)
    stage.shot("predict-ready")
    predict.predict()
    stage.until(lambda: predict.footer.progress()[0] > 0 and jobs.state("predict") == "running")
    stage.shot("predict-running")
    stage.until(lambda: not jobs.is_busy)
    stage.wait(1)
    stage.shot("predict-done")
    predict.new_prediction()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "cells"
        folder.mkdir()
        for seed in range(4):
            tifffile.imwrite(folder / f"cells_{seed}.tif", noisy_cells(256, seed))
        (folder / "cells_4.tif").write_bytes(b"II*\0 cut off while it was copied")
        predict.picker.setPath(str(folder))
        stage.until(lambda: not predict.picker.isReading())
        stage.wait(0.5)
        if not predict.problem():
            predict.predict()
            stage.until(lambda: not jobs.is_busy)
        stage.wait(1)
        stage.shot("predict-batch")
        predict.new_prediction()
        predict.picker.setPath(None)


SCENES = (before, question, failed, through, stopped)


def _steps(jobs: Any) -> int:
    done = [event.done for event in jobs.record("train").events if isinstance(event, StepDone)]
    return done[-1] if done else 0


def _pixels(pixmap: Any) -> Any:
    image = pixmap.toImage().convertToFormat(pixmap.toImage().Format.Format_RGBA8888)
    rows = np.array(image.constBits()).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return rows[:, : image.width()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=400, help="of the training that is pictured")
    parser.add_argument("--only", nargs="*", choices=[scene.__name__ for scene in SCENES])
    parser.add_argument("--all", action="store_true", help="every picture in both themes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        tasks.models_folder = lambda: Path(home) / "models"
        stage = Stage(args.out, args.steps, everything=args.all)
        for scene in SCENES:
            if not args.only or scene.__name__ in args.only:
                os.environ["CAREAMIST_SETTINGS"] = str(Path(home) / f"{scene.__name__}.json")
                stage.begin()
                scene(stage)
                stage.end()
    total = sum(file.stat().st_size for file in args.out.glob("*.png"))
    if total > MOST_BYTES:
        sys.exit(f"The pictures have {total / 1e6:.1f} MB; {MOST_BYTES / 1e6:.0f} MB are allowed.")


if __name__ == "__main__":
    main()
