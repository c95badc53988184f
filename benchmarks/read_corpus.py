"""Read every file of a folder and compare with a table of what is in them.

    python benchmarks/read_corpus.py FOLDER TABLE.md

The table is in Markdown. Its header names at least these columns, in any order:

path      relative to FOLDER, a file or the folder of a Zarr image
shape     a JSON list, or None where it is not told
axes      letters per dimension as tifffile or OME-Zarr name them, or nothing; S is compared as C,
          and axes with letters that careamist does not know must not be proposed at all
dtype     name of a numpy type
min..max  smallest and largest pixel (NaN left out; of complex numbers the real part), or None
opens     yes, or no if it must be refused with an error of careamist

Each file is opened in a process of its own. A refusal must come within 20 s and 1 GiB. What no
format claims by its extension is no image; read as a TIFF, it must be refused as well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from careamist.errors import CareamistError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import ModuleType

SECONDS, BYTES = 20, 2**30
ANY_AXES = {2: "YX", 3: "TYX", 4: "STYX", 5: "STCYX", 6: "STCZYX"}


class Answer(NamedTuple):
    """What became of one file, and how much time and memory it took."""

    error: str
    is_ours: bool
    facts: dict[str, Any]
    seconds: float
    nbytes: int


def formats() -> list[ModuleType]:
    """Return the format modules that there are."""
    found = []
    for name in ("tiff", "image", "zarr", "czi"):
        try:
            found.append(import_module(f"careamist.dataset.image_stack.{name}"))
        except ModuleNotFoundError as error:
            if name not in str(error):
                raise
            print(f"(no format {name})")
    return found


def format_of(path: Path, modules: list[ModuleType]) -> ModuleType | None:
    """Return the module that claims a path by its extension; a plain folder may be a Zarr."""
    for module in modules:
        if path.name.lower().endswith(tuple(module.EXTENSIONS)):
            return module
    return next((m for m in modules if path.is_dir() and m.__name__.endswith("zarr")), None)


def read(module: ModuleType, path: Path) -> dict[str, Any]:
    """Return what the first image of a file is said to be, and what its pixels are."""
    info = module.inspect(path)[0]
    stack = module.load(path, info.axes or ANY_AXES[len(info.shape)])[0]
    spatial = stack.data_shape[2:]
    low, high = np.inf, -np.inf
    for sample in range(stack.data_shape[0]):
        pixels = np.real(stack.extract_patch(sample, None, (0,) * len(spatial), spatial))
        assert pixels.dtype.newbyteorder("=") == np.real(np.zeros(1, info.dtype)).dtype
        finite = pixels[~np.isnan(pixels)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    facts = {"shape": list(info.shape), "axes": info.axes, "dtype": str(info.dtype)}
    return facts | {"min": low, "max": high, "warnings": info.warnings}


def answer(module: ModuleType, path: Path, pipe: Connection) -> None:
    """Send the `Answer` for one file."""
    unit = 1 if sys.platform == "darwin" else 1024
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error, is_ours, facts = "", False, {}
    try:
        facts = read(module, path)
    except Exception as raised:
        error, is_ours = f"{type(raised).__name__}: {raised}", isinstance(raised, CareamistError)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send(Answer(error, is_ours, facts, time.monotonic() - start, grown * unit))


def ask(module: ModuleType, path: Path) -> Answer:
    """Return the `Answer` of a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=answer, args=(module, path, theirs))
    process.start()
    theirs.close()
    try:
        reply = ours.recv() if ours.poll(3 * SECONDS) else None
    except EOFError:
        reply = None
    process.kill()
    process.join()
    return reply or Answer("the process died or hung", False, {}, 3 * SECONDS, 0)


def differences(row: dict[str, str], facts: dict[str, Any]) -> list[str]:
    """Return what is not as stated."""
    stated: dict[str, Any] = {}
    if row["shape"] not in ("", "None"):
        stated["shape"] = json.loads(row["shape"])
    if row["dtype"]:
        stated["dtype"] = row["dtype"]
    if row["axes"] not in ("", "None"):
        axes = row["axes"].upper().replace("S", "C")
        known = set(axes) <= set("TCZYX") and len(set(axes)) == len(axes)
        stated["axes"] = axes if known else None
    wrong = [
        f"{name} {facts[name]}, not {value}"
        for name, value in stated.items()
        if facts[name] != value
    ]
    for name, value in zip(("min", "max"), row["min..max"].split(".."), strict=True):
        if value != "None" and not np.isclose(facts[name], float(value), rtol=1e-6):
            wrong.append(f"{name} {facts[name]}, not {value}")
    return wrong


def judge(row: dict[str, str], path: Path, modules: list[ModuleType]) -> tuple[str, str]:
    """Return the kind of outcome of one row, and a remark."""
    if not path.exists():
        return "missing", ""
    module = format_of(path, modules)
    reply = ask(module or import_module("careamist.dataset.image_stack.tiff"), path)
    if not reply.error and module is not None:
        wrong = differences(row, reply.facts) if row["opens"] == "yes" else ["opens"]
        return ("wrong", "; ".join(wrong)) if wrong else ("as stated", "")
    problems = [] if reply.error else ["opens as a TIFF"]
    if reply.error and not reply.is_ours:
        problems.append("not an error of careamist")
    if reply.seconds > SECONDS:
        problems.append(f"{reply.seconds:.0f} s")
    if reply.nbytes > BYTES:
        problems.append(f"{reply.nbytes / BYTES:.1f} GiB")
    if module is not None and row["opens"] == "yes":
        problems.append("stated to open")
    if problems:
        return "wrong", f"{', '.join(problems)}: {reply.error}"
    return ("refused as stated" if module else "not an image format"), reply.error


def rows_of(table: Path) -> list[dict[str, str]]:
    """Return the rows of the table that has a column `path`."""
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    header = next(index for index, cells in enumerate(lines) if "path" in cells)
    return [dict(zip(lines[header], cells, strict=True)) for cells in lines[header + 2 :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--only", default="", help="part of the paths to read")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what was refused")
    options = parser.parse_args()
    modules, counts, wrong = formats(), Counter[str](), list[str]()
    for row in rows_of(options.table):
        if options.only not in row["path"]:
            continue
        outcome, remark = judge(row, options.folder / row["path"], modules)
        counts[outcome] += 1
        if outcome == "wrong":
            wrong.append(f"  {row['path']}: {remark}")
        elif options.verbose and outcome != "as stated":
            print(f"{outcome}: {row['path']}\n    {remark}")
    for outcome, count in counts.most_common():
        print(f"{count:5d}  {outcome}")
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
