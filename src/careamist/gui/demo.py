"""The demonstration: the main job in the real napari, through the plugin's own widgets."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QObject, QTimer

from careamist.analysis import best_gaussian, psnr, scale_invariant_psnr
from careamist.config import TrainingConfig
from careamist.dataset.samples import PIXEL_SIZE_UM, clean_cells
from careamist.events import RunFailed, RunKind
from careamist.gui.jobs import jobs_of

STEPS = 350  # about a minute on two cores
NEEDED_DB = 1.0  # by which ours must pass the best blur
_SIZE = (1280, 720)


def run_demo(folder: Path, *, seed: int = 0, steps: int | None = None, close: bool = False) -> int:
    """Open napari, train on the sample, restore it, save and judge the result.

    Parameters
    ----------
    folder : Path
        Gets ``denoised.tif``, ``training.png`` and ``screenshot.png``.
    seed : int
        Which picture, and the seed of the training.
    steps : int, optional
        Optimizer steps.
    close : bool
        Whether the window is closed at the end; otherwise it stays until the user closes it.

    Returns
    -------
    int
        0 if the result is at least 1 dB above the best Gaussian blur in PSNR and in SI-PSNR.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = tempfile.TemporaryDirectory()  # what somebody has set does not count here
    os.environ["CAREAMIST_SETTINGS"] = str(Path(own.name) / "docks.json")
    demo = _Demo(folder, seed, steps or STEPS, close=close)
    napari.run()
    own.cleanup()
    return demo.code


class _Demo(QObject):  # type: ignore[misc, unused-ignore]
    """Clicks once, and judges what comes out."""

    def __init__(self, folder: Path, seed: int, steps: int, *, close: bool) -> None:
        super().__init__()
        self.folder, self.seed, self.close = folder, seed, close
        self.code, self._seen = 1, ""
        self.viewer: Any = napari.Viewer(title="careamist demo")
        self.viewer.window.resize(*_SIZE)
        self.noisy = self.viewer.open_sample("careamist", "noisy_cells", seed=seed)[0]
        _, self.train = self.viewer.window.add_plugin_dock_widget("careamist", "Train")
        self.jobs = jobs_of(self.viewer)
        self.jobs.stateChanged.connect(self._next)
        self.train.training_form.setValue(TrainingConfig(num_steps=steps))
        self.train.data_form.setValue(
            self.train.data_form.value().model_copy(update={"seed": seed})
        )
        self._halfway = QTimer(self, interval=200)
        self._halfway.timeout.connect(self._picture_of_training)
        self._halfway.start()
        QTimer.singleShot(1000, self.train.train_button.click)

    def _next(self) -> None:
        record = self.jobs.current
        if record is None or record.state == self._seen:
            return
        self._seen = state = record.state
        kind = record.run.kind
        failed = record.events[-1] if record.events else None
        if isinstance(failed, RunFailed):
            sys.stderr.write(f"{failed.message} {failed.hint}\n{failed.traceback}\n")
            self._end()
        elif state == "finished" and kind == "predict":
            QTimer.singleShot(1000, self._judge)

    def _picture_of_training(self) -> None:
        done, total = self.train.footer.progress()
        if self.jobs.state("train") == "running" and 2 * done > total:
            self._halfway.stop()
            self._screenshot("training.png")

    def _judge(self) -> None:
        result = self.viewer.layers[-1]
        denoised = np.asarray(result.data)
        tifffile.imwrite(
            self.folder / "denoised.tif",
            denoised,
            imagej=True,
            resolution=(1 / PIXEL_SIZE_UM,) * 2,
            metadata={"axes": "YX", "unit": "um"},
        )
        QTimer.singleShot(500, lambda: self._finish(denoised))

    def _finish(self, denoised: Any) -> None:
        self._screenshot("screenshot.png")
        # only now is the clean twin opened
        rows, gained = _table(self.seed, np.asarray(self.noisy.data), denoised)
        sys.stdout.write(
            f"{rows}\n"
            f"training {self._seconds('train'):.0f} s, "
            f"prediction {self._seconds('predict'):.1f} s\n"
            f"files: {', '.join(str(file) for file in sorted(self.folder.resolve().iterdir()))}\n"
        )
        self.code = 0 if min(gained) >= NEEDED_DB else 1
        verdict = "passes" if self.code == 0 else "does not pass"
        sys.stdout.write(
            f"careamist {verdict} the best blur by {NEEDED_DB:g} dB in both figures.\n"
        )
        sys.stdout.flush()
        self._end()

    def _seconds(self, kind: RunKind) -> float:
        record = self.jobs.record(kind)
        return 0.0 if record is None else record.seconds

    def _screenshot(self, name: str) -> None:
        path = self.folder / name
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)

    def _end(self) -> None:
        if self.close:
            self.viewer.close()


def _table(seed: int, noisy: Any, denoised: Any) -> tuple[str, tuple[float, float]]:
    """Return the table of the three pictures, and by how much ours passes the best blur."""
    clean = clean_cells(noisy.shape[0], seed)
    metrics = (psnr, scale_invariant_psnr)
    blurs = [best_gaussian(clean, noisy, metric=metric) for metric in metrics]
    ours = [metric(clean, denoised) for metric in metrics]
    sigmas = ", ".join(f"{blur.sigma:.1f}" for blur in blurs)
    lines = [
        (f"noisy cells, seed {seed}", f"PSNR (range {np.ptp(clean):.0f})", "SI-PSNR"),
        ("noisy", *(f"{metric(clean, noisy):.2f} dB" for metric in metrics)),
        (f"best Gaussian blur (σ {sigmas} px)", *(f"{blur.score:.2f} dB" for blur in blurs)),
        ("careamist, Noise2Void", *(f"{score:.2f} dB" for score in ours)),
    ]
    table = "\n".join(f"{name:<36}{first:>18}{second:>12}" for name, first, second in lines)
    return table, (ours[0] - blurs[0].score, ours[1] - blurs[1].score)
