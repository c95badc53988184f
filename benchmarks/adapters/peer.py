"""Trains the peer, CAREamics, for so many CPU seconds: a process of its own environment.

    PEER_PYTHON benchmarks/adapters/peer.py ORDER.json

Takes the orders of ours.py and answers like it. Its defaults are kept but for four things:
training goes on for as long as the order says, data are loaded in this process (worker processes
would not be on its clock), early stopping is off (CARE would end after a few epochs) and the seed
is set. Its learning rate does not know the end, so that one run, kept at several times, stands for
several. What is kept is the checkpoint of that moment; for CARE, whose prediction trusts it, also
the one of the lowest validation loss so far: the benchmark takes the better one. Saving them is
taken off the clock.

The variant "cosine" sets the learning rate before each step: a cosine from its default to zero
over the CPU time of the order.
"""

from __future__ import annotations

import json
import math
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from careamics import CAREamist
from careamics.config import (
    create_advanced_care_config,
    create_advanced_n2n_config,
    create_advanced_n2v_config,
)

NO_END = 100_000  # epochs
CREATE = {
    "n2v": create_advanced_n2v_config,
    "n2v2": create_advanced_n2v_config,
    "n2n": create_advanced_n2n_config,
    "care": create_advanced_care_config,
}


class Clock(pl.Callback):
    """Ends the training when its CPU time is over, and keeps what was asked for on the way."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order, self.folder = order, Path(order["folder"])
        self.to_do = sorted(order["seconds"])
        self.runs: list[dict[str, Any]] = []
        self.best, self.best_file = math.inf, self.folder / "best.ckpt"
        self.rate = 0.0
        self.first_step = 0.0
        self.start = time.process_time()

    @property
    def now(self) -> float:
        """CPU seconds since the start, without those of saving."""
        return time.process_time() - self.start

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Take early stopping out."""
        trainer.callbacks = [  # type: ignore[attr-defined]
            one for one in trainer.callbacks if not isinstance(one, pl.callbacks.EarlyStopping)
        ]

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Set the rate of the variant with a cosine."""
        if self.order["variant"] == "cosine":
            share = min(self.now / self.to_do[-1], 1) if self.to_do else 1
            for optimizer in trainer.optimizers:
                for group in optimizer.param_groups:
                    self.rate = self.rate or group["lr"]
                    group["lr"] = self.rate * (1 + math.cos(math.pi * share)) / 2

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Keep the weights where it is time, and end."""
        self.first_step = self.first_step or self.now
        spent = self.now
        if self.to_do and spent >= self.to_do[0]:
            seconds = self.to_do.pop(0)
            files = [self._save(trainer, f"{seconds}.ckpt")]
            if self.order["algorithm"] == "care" and self.best_file.exists():
                files.append(str(self.best_file.rename(self.folder / f"{seconds}-best.ckpt")))
                self._off_clock(lambda: _copy(files[-1], self.best_file))
            self.runs.append(
                {
                    "seconds": seconds,
                    "cpu_seconds": spent,
                    "steps": trainer.global_step,
                    "cpu_per_step": (spent - self.first_step) / max(trainer.global_step - 1, 1),
                    "files": files,
                }
            )
        if not self.to_do:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the weights of the lowest validation loss, where a prediction would take them."""
        loss = float(trainer.callback_metrics.get("val_loss", math.inf))
        if self.order["algorithm"] == "care" and not trainer.sanity_checking and loss < self.best:
            self.best = loss
            self._save(trainer, self.best_file.name)

    def _save(self, trainer: pl.Trainer, name: str) -> str:
        path = self.folder / name
        self._off_clock(lambda: trainer.save_checkpoint(path))
        return str(path)

    def _off_clock(self, act: Any) -> None:
        before = time.process_time()
        act()
        self.start += time.process_time() - before


def _copy(source: str, target: Path) -> None:
    target.write_bytes(Path(source).read_bytes())


def main() -> None:
    """Do what the order says."""
    torch.set_num_threads(1)
    order = json.loads(Path(sys.argv[1]).read_text())
    images, folder = dict(np.load(order["images"])), Path(order["folder"])
    clock = Clock(order)
    more = {"use_n2v2": True} if order["algorithm"] == "n2v2" else {}
    config = CREATE[order["algorithm"]](
        experiment_name="peer",
        data_type="array",
        axes="YX",
        patch_size=[64, 64],
        batch_size=16,
        num_epochs=NO_END,
        num_workers=0,
        seed=order["seed"],
        **more,
    )
    careamist = CAREamist(config, work_dir=folder, callbacks=[clock], enable_progress_bar=False)
    data = {"train_data": images["train"]}
    if "target" in images:
        data["train_data_target"] = images["target"]
    careamist.train(**data)
    for run in clock.runs:
        run["restored"] = []
        for place, file in enumerate(run.pop("files")):
            (restored, *_), _ = careamist.predict(images["test"], checkpoint=file, num_workers=0)
            name = f"{run['seconds']}-{place}.npy"
            np.save(folder / name, np.asarray(restored, np.float32).reshape(images["test"].shape))
            run["restored"].append(name)
    versions = {name: version(name) for name in ("careamics", "torch")}
    answer = {"runs": clock.runs, "versions": versions, "threads": torch.get_num_threads()}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
