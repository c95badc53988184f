"""The bound of speed.py: what torch alone takes for the same network, with tensors ready.

    python benchmarks/adapters/bare.py ORDER.json

Nothing is read, normalised, masked, logged or stitched. Training has batch normalisation; for
prediction it is folded into the convolutions, which leaves a network without it. Both are laid out
with channels last. It knows neither careamist nor the peer.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from measuring import Answer, Order, StepClock, answer
from torch import nn
from torch.nn import functional

TILES = {2: ((256, 256), (384, 384), (512, 512)), 3: ((16, 128, 128), (32, 128, 128))}
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def block(
    dims: int, n_in: int, n_between: int, n_out: int, *, folded: bool = False
) -> nn.Sequential:
    """Return two convolutions, each with batch normalisation (unless folded) and ReLU."""
    conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
    norm = (nn.BatchNorm2d, nn.BatchNorm3d)[dims - 2]
    layers: list[Any] = []
    for start, end in ((n_in, n_between), (n_between, n_out)):
        layers.append(conv(start, end, 3, padding=1))
        layers += [] if folded else [norm(end)]
        layers.append(nn.ReLU(inplace=folded))
    return nn.Sequential(*layers)


def lower_half(dims: int, depth: int, width: int, *, folded: bool = False) -> list[nn.Sequential]:
    """Return the blocks of the peer from the bottleneck up: each ends with the width above it."""
    blocks = []
    for level in reversed(range(depth + 1)):
        here = width * 2**level
        n_in = here // 2 if level == depth else 2 * here
        blocks.append(block(dims, n_in, here, here if level == 0 else here // 2, folded=folded))
    return blocks


class Net(nn.Module):
    """The default U-Net of the peer, with linear upsampling; careamist is given the same."""

    def __init__(self, dims: int, depth: int, width: int, *, folded: bool = False) -> None:
        super().__init__()
        inputs = [1, *(width * 2**level for level in range(depth))]
        self.down = nn.ModuleList(
            block(dims, inputs[n], inputs[n + 1], inputs[n + 1], folded=folded)
            for n in range(depth)
        )
        self.bottom, *up = lower_half(dims, depth, width, folded=folded)
        self.up = nn.ModuleList(up)
        self.pool = (nn.MaxPool2d, nn.MaxPool3d)[dims - 2](2)
        self.mode = ("bilinear", "trilinear")[dims - 2]
        self.head = (nn.Conv2d, nn.Conv3d)[dims - 2](width, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, 1, (Z), Y, X) to the same shape."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode=self.mode)
            x = block(torch.cat([skips.pop(), x], dim=1))
        found: torch.Tensor = self.head(x)
        return found


def train(order: Order) -> Answer:
    """Return the patches per second of the bare loop, in the better layout if any will do."""
    layouts = [LAYOUTS[len(order["patch"])]]
    layouts += [torch.contiguous_format] if order.get("any_layout") else []
    found = [_trained(order, layout) for layout in layouts]
    return max(found, key=lambda one: float(one["rate"]))


def _trained(order: Order, layout: torch.memory_format) -> Answer:
    """Run the bare loop: forward, loss on a fiftieth of the pixels, backward, Adam."""
    patch, batch = order["patch"], order["batch"]
    shape = (batch, 1, *patch)
    net = Net(len(patch), order["depth"], order["width"]).to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters())
    inputs = torch.randn(shape).to(memory_format=layout)
    target, mask = torch.randn(shape), (torch.rand(shape) < 0.02).float()
    clock = StepClock()
    for _ in range(order["steps"]):
        optimizer.zero_grad()
        with lowered(order["precision"]):
            found = net(inputs)
        loss = ((found.float() - target).square() * mask).sum() / mask.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clock.step()
    return clock.rate(batch)


def predict(order: Order) -> Answer:
    """Return the megapixels per second of the folded forward pass, at its best tile."""
    dims = len(order["shape"])
    low = order["precision"] == "bfloat16"
    dtype = torch.bfloat16 if low else torch.float32
    net = Net(dims, order["depth"], order["width"], folded=True).eval()
    net = net.to(dtype=dtype, memory_format=LAYOUTS[dims])
    rates = []
    for tile in TILES[dims]:
        inputs = torch.randn((1, 1, *tile), dtype=dtype).to(memory_format=LAYOUTS[dims])
        with torch.inference_mode():
            net(inputs)
            start, n_calls = time.process_time(), 0
            while time.process_time() - start < order["seconds"]:
                net(inputs)
                n_calls += 1
            spent = time.process_time() - start
        rates.append(n_calls * inputs.numel() / 1e6 / spent)
    return {"rate": max(rates)}


def lowered(precision: str) -> Any:
    """Return the context in which convolutions compute with a precision."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer({"train": train, "predict": predict})
