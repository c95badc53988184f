"""What speed.py measures: orders for the adapters, and what is wanted of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NETWORK = {"depth": 2, "width": 32}
"""The default of the peer: both train the same network."""

TINY = {"depth": 1, "width": 8}
"""The smallest that the peer takes."""
BIG, MEDIUM, SMALL = 12288, 4096, 1024
CHUNKS = ((64, None), (128, None), (256, None), (512, None), (1024, None), (128, 1024))

IMPORT = (
    "import json, sys, time; start = time.process_time(); import {name};"
    "seconds = time.process_time() - start;"
    "print(json.dumps({{'seconds': seconds, 'torch': 'torch' in sys.modules}}))"
)
DOCK = (
    "import json, time, napari, numpy; from qtpy.QtWidgets import QApplication;"
    "viewer = napari.Viewer(show=True); viewer.add_image(numpy.zeros((64, 64)));"
    "QApplication.processEvents(); start = time.monotonic(), time.thread_time();"
    "viewer.window.add_plugin_dock_widget('careamist', '{name}');"
    "end = time.monotonic(), time.thread_time(); viewer.close();"
    "print(json.dumps({{'wall': end[0] - start[0], 'seconds': end[1] - start[1]}}))"
)


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Parameters
    ----------
    label, unit : str
        What is measured, and in what.
    order : mapping
        For the adapters. A mapping by library in it is another value for each; ``code`` is run
        by the interpreter instead of an adapter, ``libraries`` names who takes part.
    key : str
        The figure in the answer.
    less : bool
        Whether less is better: a ratio is how many times less.
    over_peer, over_bare : float, optional
        The ratio that is wanted.
    limit : float, optional
        The figure that is wanted; the most where less is better.
    above_bare : bool
        Whether what the bare loop takes is subtracted.
    """

    label: str
    unit: str
    order: Mapping[str, Any]
    key: str
    less: bool = False
    over_peer: float | None = None
    over_bare: float | None = None
    limit: float | None = None
    above_bare: bool = False


def plan(what: str, *, short: bool) -> list[Line]:
    """Return the lines of one of the `TABLES`."""
    lines = TABLES[what]()
    return [_shortened(line) for line in lines] if short else lines


def train() -> list[Line]:
    """Return the lines about training."""
    lines = []
    for label, patch, batch, steps, precision, over_peer in (
        ("2D 64², batch 16, auto", (64, 64), 16, 60, "auto", 2.2),
        ("2D 64², batch 16, fp32", (64, 64), 16, 60, "float32", 1.25),
        ("2D 64², batch 64, auto", (64, 64), 64, 15, "auto", 3.0),
        ("2D 64², batch 64, fp32", (64, 64), 64, 15, "float32", 1.35),
        ("3D 16×64×64, batch 2, auto", (16, 64, 64), 2, 16, "auto", 2.1),
    ):
        image = (2048, 2048) if len(patch) == 2 else (32, 512, 512)
        order = _training(patch, batch, steps, precision, image) | NETWORK
        lines.append(Line(label, "patches/s", order, "rate", over_peer=over_peer, over_bare=0.95))
        lines.append(Line("  until its first step", "s", order, "first", less=True))
    order = _training((64, 64), 16, 60, "float32", (2048, 2048)) | TINY | {"any_layout": True}
    label = "host cost of a step, batch 16"
    return [*lines, Line(label, "ms", order, "ms", less=True, limit=3, above_bare=True)]


def _training(
    patch: Sequence[int], batch: int, steps: int, precision: str, image: Sequence[int]
) -> dict[str, Any]:
    return {
        "task": "train",
        "patch": patch,
        "batch": batch,
        "steps": steps,
        "precision": precision,
        "image": image,
    }


def predict() -> list[Line]:
    """Return the lines about prediction; the peer has tiles of 256, its batches one tile."""
    flat = {"task": "predict", "shape": (2048, 2048), "tile": (256, 256), "overlap": (48, 48)}
    volume = {
        "task": "predict",
        "shape": (64, 256, 256),
        "tile": (16, 128, 128),
        "overlap": (8, 48, 48),
    }
    lines = []
    for label, where, precision, over_peer, over_bare in (
        ("2D 2048², fp32", flat, "float32", 1.9, 0.80),
        ("2D 2048², auto", flat, "auto", 3.2, 0.70),
        ("3D 64×256×256, fp32", volume, "float32", None, None),
        ("3D 64×256×256, auto", volume, "auto", 4.0, 0.60),
    ):
        order = where | NETWORK | {"precision": precision, "calls": 3, "seconds": 4}
        lines.append(Line(label, "MPix/s", order, "rate", over_peer=over_peer, over_bare=over_bare))
        lines.append(Line("  its first call", "MPix/s", order, "first"))
    return lines


def io() -> list[Line]:
    """Return the lines about reading Zarr; the peer reads a part of the pass."""
    lines = []
    for chunk, shard in CHUNKS:
        name = f"chunks of {chunk}²" + (f" in shards of {shard}²" if shard else "")
        order = {
            "task": "reads",
            "store": (BIG, chunk, shard),
            "patches": {"ours": (BIG // 64) ** 2, "peer": 512},
            "pixels": BIG**2,
        } | NETWORK
        lines.append(Line(f"patches, {name}", "patches/s", order, "rate", limit=20_000))
        lines.append(Line("  bytes read per stored", "×", order, "reads", less=True, limit=1.1))
    order = {"task": "statistics", "store": (MEDIUM, 256, None)} | NETWORK
    label = "open and measure mean, deviation"
    return [*lines, Line(label, "s", order, "seconds", less=True, over_peer=7)]


def imports() -> list[Line]:
    """Return the lines about opening."""
    code = {library: IMPORT.format(name=name) for library, name in PACKAGES.items()}
    lines = [Line("import the package", "s", {"code": code}, "seconds", less=True, limit=0.15)]
    lines.append(Line("  of these torch", "", {"code": code}, "torch", less=True, limit=0))
    for name in ("Train", "Predict"):
        order = {"code": {"ours": DOCK.format(name=name)}}
        label = f"open the {name} dock, CPU"
        lines.append(Line(label, "s", order, "seconds", less=True, limit=0.3))
        lines.append(Line("  on the clock", "s", order, "wall", less=True))
    return lines


def memory() -> list[Line]:
    """Return the lines about the memory of predictions; the largest images are not the peer's."""
    lines = []
    for method, label in METHODS.items():
        for edge in (2048, 4096, 8192, 16384):
            megapixels = edge**2 / 2**20
            order = {
                "task": "memory",
                "method": method,
                "shape": (edge, edge),
                "store": (edge, 512, None),
                "depth": 2,
                "width": 8,
                "libraries": ("ours", "peer") if edge <= 8192 else ("ours",),
            }
            limit = 4 * megapixels + 238 if method == "array" else 286  # 250 and 300 MB
            name = f"{label}, {megapixels:.0f} MPix"
            lines.append(Line(name, "MiB", order, "mib", less=True, limit=limit))
            lines.append(Line("  per pixel", "byte", order, "per_pixel", less=True))
    return lines


METHODS = {
    "array": "predict",
    "tiff": "predict_to_disk, TIFF",
    "zarr": "predict_to_disk, Zarr to Zarr",
}
TABLES = {
    "train": train,
    "predict": predict,
    "io": io,
    "import": imports,
    "memory": memory,
}
PACKAGES = {"ours": "careamist", "peer": "careamics"}

_SHORT: dict[str, dict[str, Any]] = {
    "train": {"width": 8, "steps": 6},
    "predict": {"width": 8, "calls": 2, "seconds": 0.2},
    "reads": {"patches": {"ours": (SMALL // 64) ** 2, "peer": 64}, "pixels": SMALL**2},
    "statistics": {},
    "memory": {"shape": (SMALL, SMALL)},
}
_SMALLER = {
    (2048, 2048): (256, 256),
    (32, 512, 512): (16, 128, 128),
    (64, 256, 256): (16, 128, 128),
    (16, 64, 64): (8, 32, 32),
}


def _shortened(line: Line) -> Line:
    """Return a line whose order takes a second."""
    if "code" in line.order:
        return line
    order = {**line.order, **_SHORT[line.order["task"]]}
    order = {k: _SMALLER.get(v, v) if isinstance(v, tuple) else v for k, v in order.items()}
    if "store" in order:
        order["store"] = (SMALL, *order["store"][1:])
    return Line(**{**vars(line), "order": order})
