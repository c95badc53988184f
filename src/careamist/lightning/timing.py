"""What is left to the machine, measured once before the first step: precision and threads."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from careamist.compute import cpu_threads, is_out_of_memory
from careamist.errors import SettingsError

if TYPE_CHECKING:
    from careamist.lightning.module import RestorationModule
    from careamist.models.unet import UNetModel

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_PIXELS = {"cpu": 2**13, "cuda": 2**18}  # of a trial step: 2 or 64 patches of 64 × 64
_PIXELS_OF_BLOCK = 2**16
_WORTH_IT = 2**22  # pixels of a training or a prediction that takes longer than to find out
_ROUNDS, _ENOUGH = 3, 0.5  # trials of each, and seconds after which one must do
_CLEARLY = 0.87  # of the time: fewer digits, or one more busy core, must be worth it
_HOPELESS = 2.0  # times that of the first one: threads that wait for each other take seconds

T = TypeVar("T")


def settle(module: RestorationModule, device: torch.device, check: Callable[[], None]) -> list[str]:
    """Write values to where a training configuration leaves precision and threads to the machine.

    They are found by timing some steps of a copy of the network, and are part of the
    configuration from then on: a training that goes on measures nothing. Nor does one that is
    over soon: it computes in float32, in all threads, so that it gives the same result each time.

    Parameters
    ----------
    module : RestorationModule
        Its configuration is replaced.
    device : torch.device
        Where it is going to train.
    check : callable
        Is called between steps, and may raise to end this.

    Returns
    -------
    list of str
        What is worth knowing.

    Raises
    ------
    SettingsError
        If a new training is ordered in a precision that the device cannot compute in.
    """
    training = module.config.training_config
    found: dict[str, Any] = {}
    notices = []
    if training.precision == "float16" and device.type == "cpu":
        if not module.steps_done:
            raise SettingsError(
                "precision='float16' does not train on the CPU.", "Choose 'bfloat16' or 'float32'."
            )
        found["precision"] = "float32"
        notices.append("The CPU does not train in float16: going on in float32.")
    is_long = _pixels_of(module) >= _WORTH_IT
    if training.precision == "auto":
        found["precision"] = _fastest_precision(module, device, check) if is_long else "float32"
    if training.num_threads is None and device.type == "cpu":
        precision = found.get("precision", training.precision)
        threads = _fastest_threads(module, precision, check) if is_long else torch.get_num_threads()
        found["num_threads"] = threads
    training = training.model_copy(update=found)
    module.config = module.config.model_copy(update={"training_config": training})
    return notices


def _pixels_of(module: RestorationModule) -> float:
    """Return the pixels of a training, infinite where they are not known before it begins."""
    training, data = module.config.training_config, module.config.data_config
    if training.num_steps is None or training.max_minutes is not None:
        return math.inf
    return training.num_steps * data.batch_size * math.prod(data.patch_size)


def _fastest_precision(
    module: RestorationModule, device: torch.device, check: Callable[[], None]
) -> str:
    if device.type not in _PIXELS:  # Apple's GPU
        return "float32"
    reduced = _reduced(device)
    if reduced is None:
        return "float32"
    trial = _Trial(module, device, _PIXELS[device.type])
    try:
        with cpu_threads(1):  # those that wait for each other would hide the difference
            return fastest(("float32", reduced), trial.step, check)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return "float32"  # the batch will be halved


def _reduced(device: torch.device) -> Literal["bfloat16", "float16"] | None:
    """Return the type of few digits that a device may be fast in."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        has_tensor_cores = torch.cuda.get_device_capability(device) >= (7, 0)
        return "float16" if has_tensor_cores else None
    return "bfloat16"


def fastest_precision(
    network: UNetModel, n_pixels: int, check: Callable[[], None]
) -> Literal["float32", "bfloat16", "float16"]:
    """Return what a network predicts fastest in, by timing it, where there is much to predict.

    Parameters
    ----------
    network : UNetModel
        Ready to predict, on its device.
    n_pixels : int
        How many there are to predict; few are predicted in float32 without asking.
    check : callable
        Is called between trials, and may raise to end this.
    """
    weight = next(network.parameters())
    if n_pixels < _WORTH_IT or weight.device.type not in _PIXELS or weight.dtype != torch.float32:
        return "float32"
    reduced = _reduced(weight.device)
    if reduced is None:
        return "float32"
    edge = math.ceil((_PIXELS_OF_BLOCK) ** (1 / network.dims))
    sizes = [-(-edge // step) * step for step in network.grid]
    first: Any = network.encoder[0]
    shape = (1, first[0].in_channels, *sizes)
    images = torch.zeros(shape, device=weight.device)

    def predict(precision: str) -> None:
        half = DTYPES.get(precision)
        with (
            torch.inference_mode(),
            torch.autocast(weight.device.type, half, enabled=half is not None),
        ):
            float(network(images).sum())  # waits for the device

    with cpu_threads(1):
        return fastest(("float32", reduced), predict, check)


def _fastest_threads(module: RestorationModule, precision: str, check: Callable[[], None]) -> int:
    most = torch.get_num_threads()
    counts = sorted({1, max(most // 2, 1), most})
    if most == 1:
        return 1
    trial = _Trial(module, torch.device("cpu"), _PIXELS_OF_BLOCK)

    def first_block(count: int) -> None:  # a whole step of threads in need of a core takes long
        with cpu_threads(count):
            trial.first_block(precision)

    return fastest(counts, first_block, check)


def fastest(choices: Sequence[T], act: Callable[[T], None], check: Callable[[], None]) -> T:
    """Return what takes the least time: the first one, if others are not clearly faster."""
    left, best = list(choices), dict.fromkeys(choices, math.inf)
    end = time.perf_counter() + _ENOUGH
    for trial in range(_ROUNDS + 1):  # taking turns: other programs disturb all of them alike
        times = {}
        for choice in tuple(left):
            check()
            start = time.perf_counter()
            act(choice)
            times[choice] = time.perf_counter() - start
            if trial:  # the first time warms up
                best[choice] = min(best[choice], times[choice])
            if times[choice] > _HOPELESS * times[choices[0]]:
                left.remove(choice)
        if len(left) == 1 or (trial and time.perf_counter() > end):
            break
    chosen = choices[0]
    for choice in left[1:]:
        if best[choice] < _CLEARLY * best[chosen]:
            chosen = choice
    return chosen


class _Trial:
    """Steps of a copy of a network, with noise for images of so many pixels in all."""

    def __init__(self, module: RestorationModule, device: torch.device, pixels: int) -> None:
        data = module.config.data_config
        self.network = copy.deepcopy(module.model).to(device).train()
        self.device = device
        shape = _trial_shape(data.batch_size, data.patch_size, self.network.grid, pixels)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((shape[0], data.n_channels or 1, *shape[1:]), generator=generator)
        self.images = images.to(device)

    def step(self, precision: str) -> None:
        with self._computed_in(precision):
            loss = self.network(self.images).square().mean()
        loss.backward()
        self.network.zero_grad()
        float(loss.detach())  # waits for the device

    @torch.no_grad()
    def first_block(self, precision: str) -> None:
        with self._computed_in(precision):
            self.network.encoder[0](self.images)

    def _computed_in(self, precision: str) -> torch.autocast:
        dtype = DTYPES.get(precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


def _trial_shape(
    batch_size: int, patch: Iterable[int], grid: Iterable[int], most: int
) -> tuple[int, ...]:
    """Return the number of patches of a trial, and their size, which is less for large ones."""
    size, steps = list(patch), list(grid)
    while math.prod(size) > most:
        axis = max(range(len(size)), key=lambda n: size[n] / steps[n])
        half = size[axis] // 2 // steps[axis] * steps[axis]
        if half < 2 * steps[axis]:  # a network that pools down to one pixel normalises nothing
            break
        size[axis] = half
    return (max(min(batch_size, most // math.prod(size)), 1), *size)
