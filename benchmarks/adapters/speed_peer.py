"""How fast the peer, CAREamics, is: the tasks of speed.py, in an environment of its own.

    PEER_PYTHON benchmarks/adapters/speed_peer.py ORDER.json

Its defaults are kept, but data are loaded in this process, whose clock is read.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from careamics import CAREamist
from careamics.config import create_advanced_n2v_config
from careamics.lightning.data.data_module import CareamicsDataModule
from measuring import (
    Answer,
    Order,
    StepClock,
    answer,
    bytes_of,
    noisy,
    peak_memory,
    read_batches,
    timed_calls,
)


class Steps(pl.Callback):
    """Takes the time of each step, and ends after so many."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps, self.clock = n_steps, StepClock()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Take the time."""
        self.clock.step()
        trainer.should_stop = trainer.global_step >= self.n_steps


def config_of(patch: Any, batch: int, order: Order, **more: Any) -> Any:
    """Return the configuration of a training."""
    model = {"depth": order["depth"], "num_channels_init": order["width"]}
    return create_advanced_n2v_config(
        experiment_name="peer",
        axes="YX" if len(patch) == 2 else "ZYX",
        patch_size=list(patch),
        batch_size=batch,
        num_workers=0,
        seed=1,
        **{"data_type": "array", "num_epochs": 1000, "model_params": model} | more,
    )


def train(order: Order) -> Answer:
    """Return the patches per second of a training, once it is warm."""
    steps, image = Steps(order["steps"]), noisy(order["image"])
    config = config_of(order["patch"], order["batch"], order, num_steps=order["steps"])
    work_dir = tempfile.mkdtemp()
    careamist = CAREamist(config, work_dir=work_dir, callbacks=[steps], enable_progress_bar=False)
    steps.clock = StepClock()
    careamist.train(train_data=image)
    return steps.clock.rate(order["batch"])


def predict(order: Order) -> Answer:
    """Return the megapixels per second of a prediction of a whole image."""
    image, careamist = noisy(order["shape"]), small(order)
    tiles = {"tile_size": order["tile"], "tile_overlap": order["overlap"], "batch_size": 1}
    return timed_calls(
        lambda: careamist.predict(image, num_workers=0, **tiles), order["calls"], image.size / 1e6
    )


def small(order: Order, **more: Any) -> CAREamist:
    """Return a model that has seen two steps."""
    dims = len(order["shape"])
    config = config_of((16, 64, 64)[-dims:], 2, order, num_steps=2, num_epochs=1, **more)
    careamist = CAREamist(config, work_dir=tempfile.mkdtemp(), enable_progress_bar=False)
    careamist.train(train_data=noisy((48, 192, 192)[-dims:]))
    return careamist


def opened(order: Order, **more: Any) -> CareamicsDataModule:
    """Return the data of a training on a store, opened."""
    config = config_of(
        (64, 64), 64, order, data_type="zarr", in_memory=False, n_val_patches=1, **more
    )
    module = CareamicsDataModule(config.data_config, train_data=order["store"])
    module.setup("fit")
    return module


def reads(order: Order) -> Answer:
    """Return how fast patches come from a store, and how much is read for a pass over it."""
    known = {"normalization_params": {"input_means": [50.0], "input_stds": [7.0]}}
    loader = opened(order, **known).train_dataloader()
    sizes = (len(batch[0].data) for batch in loader)
    return read_batches(sizes, order["patches"], order["pixels"], bytes_of(order["store"]))


def statistics(order: Order) -> Answer:
    """Return the seconds to open a store and to measure its mean and deviation."""
    start = time.process_time()
    opened(order)
    return {"seconds": time.process_time() - start}


def memory(order: Order) -> Answer:
    """Return the memory that a prediction takes, by the way its result is given."""
    how = order["method"]
    careamist = small(order)
    n_pixels = order["shape"][0] * order["shape"][1]
    more: dict[str, Any] = {"tile_size": (256, 256), "tile_overlap": (48, 48), "batch_size": 1}
    more |= {"num_workers": 0}
    source = order["store"] if how == "zarr" else noisy(tuple(order["shape"]))
    if how == "array":
        return peak_memory(lambda: careamist.predict(source, **more), n_pixels)
    more |= {"write_type": how, "prediction_dir": Path(order["folder"]) / how}
    if how == "zarr":
        more["data_type"] = "zarr"
    return peak_memory(lambda: careamist.predict_to_disk(source, **more), n_pixels)


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer(
        {
            "train": train,
            "predict": predict,
            "reads": reads,
            "statistics": statistics,
            "memory": memory,
        }
    )
