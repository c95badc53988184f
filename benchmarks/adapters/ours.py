"""Trains careamist for so many CPU seconds: a process of its own, started by quality.py.

    python benchmarks/adapters/ours.py ORDER.json

The order names the algorithm, variant, seed, CPU seconds, the arrays and a folder; the restored
picture and ``answer.json`` are written there. The clock is the CPU time of this process, imports
excluded and set-up included. A short trial in the same process, which counts, tells how many steps
fit; if a busy machine makes them slower than that, the training is stopped when its time is over.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from careamist import CAREamist
from careamist.algorithms import CARE, N2N, N2V
from careamist.config import Configuration, DataConfig, TrainingConfig
from careamist.config.factories import n2v2_settings
from careamist.events import Event, StepDone

TRIAL_STEPS = 10
WARM_UP = 2  # steps of the trial that are not counted
ALGORITHMS = {
    ("n2v", "defaults"): lambda: N2V(),
    ("n2v2", "defaults"): lambda: N2V(strategy="median"),
    ("n2v2", "network"): lambda: N2V(**n2v2_settings(True, "YX")),
    ("n2n", "defaults"): lambda: N2N(),
    ("care", "defaults"): lambda: CARE(),
}


class Trained:
    """One training: the model, and the CPU time at its start, after each step and at its end.

    It is stopped after the first step that ends later than `end`.
    """

    def __init__(
        self, order: dict[str, Any], images: dict[str, Any], num_steps: int, end: float = math.inf
    ) -> None:
        self.times, self.end = [time.process_time()], end
        config = Configuration(
            algorithm_config=ALGORITHMS[order["algorithm"], order["variant"]](),
            data_config=DataConfig(seed=order["seed"]),
            training_config=TrainingConfig(num_steps=num_steps, num_threads=1, device="cpu"),
        )
        work_dir = tempfile.mkdtemp(dir=order["folder"])
        self.model = CAREamist(
            config, work_dir=work_dir, enable_progress_bar=False, listeners=[self._listen]
        )
        data = {"train_data": images["train"], "train_data_target": images.get("target")}
        self.model.train(**data)
        self.times.append(time.process_time())

    def _listen(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self.times.append(time.process_time())
            if self.times[-1] > self.end:
                self.model.stop()

    @property
    def per_step(self) -> float:
        """CPU seconds of a step, with its share of validations and checkpoints."""
        return (self.times[-2] - self.times[WARM_UP]) / (len(self.times) - 2 - WARM_UP)

    @property
    def around(self) -> float:
        """CPU seconds of set-up and end."""
        first = self.times[1] - self.times[0] - self.per_step
        return max(first, 0) + self.times[-1] - self.times[-2]


def main() -> None:
    """Do what the order says."""
    order = json.loads(Path(sys.argv[1]).read_text())
    images = dict(np.load(order["images"]))
    (seconds,) = order["seconds"]
    start = time.process_time()
    trial = Trained(order, images, TRIAL_STEPS)
    # the first set-up warms up what the second finds warm: `around` is the upper end
    left = seconds - (time.process_time() - start) - trial.around
    steps = max(round(left / trial.per_step), 1)
    end = start + seconds - trial.per_step / 2
    trained = Trained(order, images, steps, end)
    spent = time.process_time() - start
    np.save(Path(order["folder"]) / "0.npy", trained.model.predict(images["test"])[0][0])
    run = {
        "seconds": seconds,
        "cpu_seconds": spent,
        "steps": trained.model.steps_done,
        "planned_steps": steps,
        "cpu_per_step": trained.per_step,
        "restored": ["0.npy"],
    }
    versions = {name: version(name) for name in ("careamist", "torch")}
    answer = {"runs": [run], "versions": versions, "threads": torch.get_num_threads()}
    (Path(order["folder"]) / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
