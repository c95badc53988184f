"""How fast careamist is beside CAREamics and beside what torch alone can do.

    python benchmarks/speed.py train|predict|io|import|memory [--peer-python PYTHON] [--short]

Each figure comes from processes of their own, one thread, one for each library and run; three runs
are interleaved (ours, the peer, the bare bound; ours, ...) and their medians are printed beside
what is wanted. The clock is the CPU time of the process, so that other load on the machine matters
little; first calls are told apart from warm ones, and float32 from the precision that careamist
chooses itself ("auto"; the bare loop then has the one that it chose, the peer has only float32).
Both libraries are given the same network. The peer has its own environment:

    python -m venv PEER && PEER/bin/pip install careamics==0.3.5
    make bench-train ARGS='--peer-python PEER/bin/python'

``--short`` runs the same on tiny data: it shows whether the commands work, its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from speed_plan import TABLES, Line, plan

HERE = Path(__file__).parent
ADAPTERS = {"ours": "speed_ours.py", "peer": "speed_peer.py", "bare": "bare.py"}
BOUNDED = ("train", "predict")  # tasks that the bare adapter knows
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

Answer = dict[str, Any]


class Bench:
    """Runs orders, each once per library and run, and keeps the answers.

    Parameters
    ----------
    interpreters : mapping of str to str
        Of the libraries that take part: "ours", "peer", "bare".
    folder : Path
        For images and orders.
    """

    def __init__(self, interpreters: Mapping[str, str], folder: Path) -> None:
        self.interpreters, self.folder = interpreters, folder
        self.answers: dict[tuple[str, int, str], Answer] = {}

    def run(self, order: Mapping[str, Any], run: int) -> dict[str, Answer]:
        """Return the answers of the libraries to an order, in one run."""
        found: dict[str, Answer] = {}
        for library in self.interpreters:
            if library not in order.get("libraries", ADAPTERS):
                continue
            if "code" in order:
                if library in order["code"]:
                    found[library] = self._kept(library, run, {"code": order["code"][library]})
            elif library != "bare" or order["task"] in BOUNDED:
                chosen = found.get("ours", {}).get("precision")
                found[library] = self._kept(library, run, _for(library, order, chosen))
        return found

    def _kept(self, library: str, run: int, order: Mapping[str, Any]) -> Answer:
        key = (library, run, json.dumps(order, sort_keys=True))
        if key not in self.answers:
            if "code" in order and run == 0:
                self._ask(library, order)  # writes byte code, fills the cache of files
            self.answers[key] = self._ask(library, order)
        return self.answers[key]

    def _ask(self, library: str, order: Mapping[str, Any]) -> Answer:
        """Return what a process answers; what it said at the end if it failed."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            place, file = Path(name, "answer.json"), Path(name, "order.json")
            if "code" in order:
                command = [self.interpreters[library], "-c", order["code"]]
            else:
                more = {"answer": str(place), "folder": name}
                if "store" in order:
                    more["store"] = str(self._store(*order["store"]))
                file.write_text(json.dumps({**order, **more}))
                adapter = HERE / "adapters" / ADAPTERS[library]
                command = [self.interpreters[library], str(adapter), str(file)]
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
            done = subprocess.run(
                command,
                env=environment | ONE_THREAD | {"TMPDIR": name},
                cwd=name,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                return {"failed": f"{library}: {done.stderr.strip()[-1500:]}"}
            said = done.stdout.splitlines()[-1] if "code" in order else place.read_text()
            answer: Answer = json.loads(said)
        return answer

    def _store(self, edge: int, chunk: int, shard: int | None) -> Path:
        """Return a Zarr of noise, written when it is first needed; the one before is removed."""
        path = self.folder / f"{edge}-{chunk}-{shard}.zarr"
        if not path.exists():
            for other in self.folder.glob("*.zarr"):
                shutil.rmtree(other)
            noise = np.random.default_rng(0).poisson(50, (1024, 1024)).astype(np.uint16)
            array = zarr.create_group(path).create_array(
                "image",
                shape=(edge, edge),
                chunks=(chunk, chunk),
                shards=(shard, shard) if shard else None,
                dtype="uint16",
            )
            for y in range(0, edge, 1024):
                for x in range(0, edge, 1024):
                    array[y : y + 1024, x : x + 1024] = noise
        return path


def _for(library: str, order: Mapping[str, Any], chosen: str | None) -> dict[str, Any]:
    """Return the order as a library gets it."""
    own = {k: v[library] if isinstance(v, dict) else v for k, v in order.items()}
    if library == "peer":
        own.pop("precision", None)  # the same run stands beside both of ours
    elif library == "bare" and own.get("precision") == "auto":
        own["precision"] = chosen if chosen in ("float32", "bfloat16") else "bfloat16"
    return own


def medians(runs: Sequence[Mapping[str, Answer]], key: str) -> dict[str, float]:
    """Return the median figure of each library that answered in every run."""
    found = {}
    for library in runs[0]:
        figures = [run[library][key] for run in runs if key in run[library]]
        if len(figures) == len(runs):
            found[library] = statistics.median(figures)
    return found


def row(line: Line, runs: Sequence[Mapping[str, Answer]]) -> str:
    """Return a line of the table: figures, then ratios beside those that are wanted."""
    found = medians(runs, line.key)
    reason = runs[0].get("ours", {})
    if "ours" not in found:
        why = "failed" if "failed" in reason else "not there"
        return f"{line.label:<34}{line.unit:>10}   {why}"
    if line.above_bare and "bare" in found:
        bare = found.pop("bare")
        found = {library: figure - bare for library, figure in found.items()}
    cells = [f"{_short(found.get(library)):>9}" for library in ADAPTERS]
    for other, wanted in (("peer", line.over_peer), ("bare", line.over_bare)):
        ratio = _ratio(line, found["ours"], found.get(other))
        cells += [f"{_short(ratio):>9}", f"{_wanted(wanted, '≥'):>7}"]
    cells.append(f"{_wanted(line.limit, '≤' if line.less else '≥'):>9}")
    chosen = reason.get("precision", "")
    note = f"   {chosen}" if line.order.get("precision") == "auto" and line.key == "rate" else ""
    return f"{line.label:<34}{line.unit:>10}{''.join(cells)}{note}"


def _ratio(line: Line, ours: float, other: float | None) -> float | None:
    if not other or not ours:
        return None
    return other / ours if line.less else ours / other


def _short(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3g}" if figure < 1000 else f"{figure:.0f}"


def _wanted(figure: float | None, sign: str) -> str:
    return "" if figure is None else f"{sign} {figure:g}"


HEADER = (
    f"{'median of the runs':<34}{'':>10}{'ours':>9}{'peer':>9}{'bare':>9}"
    f"{'× peer':>9}{'wanted':>7}{'× bare':>9}{'wanted':>7}{'wanted':>9}"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table, line by line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tuple(TABLES))
    parser.add_argument("--peer-python", help="interpreter of an environment with careamics")
    parser.add_argument("--short", action="store_true", help="tiny data: does the command work?")
    parser.add_argument("--runs", type=int, help="how often all is done: 3 times, memory once")
    chosen = parser.parse_args(arguments)
    interpreters = {"ours": sys.executable}
    if chosen.peer_python:
        interpreters["peer"] = chosen.peer_python
    interpreters["bare"] = sys.executable
    if chosen.short:
        print("Short: tiny data. It shows that the command works; the figures say nothing.")
    print(HEADER)
    n_runs = chosen.runs or (1 if chosen.what == "memory" else 3)
    said: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(interpreters, Path(folder))
        for line in plan(chosen.what, short=chosen.short):
            runs = [bench.run(line.order, number) for number in range(n_runs)]
            print(row(line, runs), flush=True)
            for answer in (answer for run in runs for answer in run.values()):
                said |= {answer[why]: None for why in ("failed", "skipped") if why in answer}
    for reason in said:
        print(reason, file=sys.stderr)
    return 1 if any("failed" in answer for answer in bench.answers.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
