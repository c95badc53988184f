"""How fast careamist is: the tasks of speed.py, in its environment.

    python benchmarks/adapters/speed_ours.py ORDER.json

Only the public interface is used. What it does not offer is skipped, and said.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bare import lower_half
from measuring import (
    Answer,
    Order,
    SkippedError,
    StepClock,
    answer,
    bytes_of,
    noisy,
    peak_memory,
    read_batches,
    timed_calls,
)
from pydantic import ValidationError
from torch import nn

from careamist import CAREamist
from careamist.config import N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.config.prediction import PredictionConfig
from careamist.events import Event, RunStarted, StepDone
from careamist.lightning.data_modules import TrainDataModule

PLANNED = 1000  # steps: of a short training nothing is timed, it stays in float32


class PeerUNet(UNet):
    """The U-Net of the peer, whose decoder is narrower than ours: both train the same one."""

    def build(self, dims: int, *args: Any, **kwargs: Any) -> Any:
        """Return ours with the blocks of the peer."""
        model = super().build(dims, *args, **kwargs)
        model.bottleneck, *up = lower_half(dims, self.depth, self.num_channels_init)
        model.decoder = nn.ModuleList(up)
        return model


class Told:
    """A listener that keeps the times of steps and what the runs have chosen.

    Parameters
    ----------
    steps : int
        The training is stopped after so many.
    """

    def __init__(self, steps: int) -> None:
        self.clock = StepClock()
        self.model: CAREamist | None = None
        self.precision: dict[str, str] = {}
        self._steps = steps

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self.clock.step()
            self._steps -= 1
            if not self._steps and self.model is not None:
                self.model.stop()
        elif isinstance(event, RunStarted) and "precision" in event.resolved:
            self.precision[event.kind] = str(event.resolved["precision"])


def trained(
    order: Order, patch: tuple[int, ...], image: Any, batch: int, steps: int
) -> tuple[CAREamist, Told]:
    """Train the network of the order; no validation comes between its steps."""
    model = PeerUNet(
        depth=order["depth"],
        num_channels_init=order["width"],
        upsampling="linear",
        linear_path=False,
    )
    try:
        training = TrainingConfig(
            num_steps=PLANNED,
            steps_per_epoch=PLANNED,
            precision=order.get("precision", "float32"),
            device="cpu",
            num_threads=1,
        )
    except ValidationError as error:
        raise SkippedError(f"TrainingConfig takes no precision={order['precision']!r}") from error
    config = Configuration(
        algorithm_config=N2V(model=model),
        data_config=DataConfig(
            axes="YX" if len(patch) == 2 else "ZYX", patch_size=patch, batch_size=batch
        ),
        training_config=training,
    )
    told = Told(steps)
    told.model = careamist = CAREamist(
        config, work_dir=tempfile.mkdtemp(), listeners=[told], enable_progress_bar=False
    )
    told.clock = StepClock()
    careamist.train(train_data=image)
    return careamist, told


def train(order: Order) -> Answer:
    """Return the patches per second of a training, once it is warm."""
    patch, image = tuple(order["patch"]), noisy(order["image"])
    _, told = trained(order, patch, image, order["batch"], order["steps"])
    precision = told.precision.get("train", order["precision"])
    return told.clock.rate(order["batch"]) | {"precision": precision}


def predict(order: Order) -> Answer:
    """Return the megapixels per second of a prediction of a whole image."""
    image = noisy(order["shape"])
    careamist, told = small(order)
    more: dict[str, Any] = {"tile_size": "auto"}
    if "precision" in PredictionConfig.model_fields:
        more["precision"] = order["precision"]
    found = timed_calls(lambda: careamist.predict(image, **more), order["calls"], image.size / 1e6)
    return found | {"precision": told.precision.get("predict", order["precision"])}


def small(order: Order) -> tuple[CAREamist, Told]:
    """Return a model that has seen two steps, which is enough to predict with."""
    dims = order.get("dims", len(order["shape"]))
    patch = (8, 32, 32)[-dims:]
    return trained(order, patch, noisy((16, 64, 64)[-dims:]), 2, 2)


def batches(order: Order, in_memory: bool | str) -> TrainDataModule:
    """Return the data of a training on a store, opened."""
    config = DataConfig(
        data_type="zarr", patch_size=(64, 64), batch_size=64, n_val_patches=0, in_memory=in_memory
    )
    module = TrainDataModule(config, order["store"])
    module.setup("fit")
    return module


def reads(order: Order) -> Answer:
    """Return how fast patches come from a store, and how often its chunks are read for a pass."""
    loader = batches(order, in_memory=False).train_dataloader()
    sizes = (len(batch.inputs.data) for batch in loader)
    return read_batches(sizes, order["patches"], order["pixels"], bytes_of(order["store"]))


def statistics(order: Order) -> Answer:
    """Return the seconds to open a store and to measure its mean and deviation."""
    start = time.process_time()
    module = batches(order, in_memory="auto")
    module.resolved()
    return {"seconds": time.process_time() - start}


def memory(order: Order) -> Answer:
    """Return the memory that a prediction takes, by the way its result is given."""
    careamist, _ = small(order)
    careamist.predict(noisy((64, 64)))
    n_pixels = order["shape"][0] * order["shape"][1]
    how = order["method"]
    source: Any = order["store"] if how == "zarr" else noisy(tuple(order["shape"]))
    if how == "array":
        return peak_memory(lambda: careamist.predict(source, tile_size="auto"), n_pixels)
    folder = Path(order["folder"]) / how
    more = {"write_type": how} if how == "zarr" else {}

    def to_disk() -> None:
        careamist.predict_to_disk(source, prediction_dir=folder, **more)

    try:
        return peak_memory(to_disk, n_pixels)
    except Exception as error:
        if how == "tiff" or folder.exists():
            raise
        raise SkippedError(f"no {how} writer: {error}") from error


if __name__ == "__main__":
    answer(
        {
            "train": train,
            "predict": predict,
            "reads": reads,
            "statistics": statistics,
            "memory": memory,
        }
    )
