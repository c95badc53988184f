"""How well careamist restores in a given CPU time, beside CAREamics and simple filters.

    python benchmarks/quality.py [--peer-python PYTHON] [--short] [--jobs N]

Trains Noise2Void for 1, 3 and 6 CPU minutes and N2V2, CARE and Noise2Noise for 3, on the pictures
and by the protocol of ``pictures.py``, with three seeds, and prints a table for each picture and
what was demanded. Two of the pictures, marked held out, may not be used to choose a default.

Each training is a process with one thread. Its clock is its own CPU time, set-up included and
imports excluded, so that other load on the machine matters little; the CPU seconds that were
really used are printed. careamist plans its schedule to end with the time; the peer, whose schedule
does not know the end, is judged several times in one run. It has its own environment:

    python -m venv PEER && PEER/bin/pip install careamics==0.3.5
    make bench-quality ARGS='--peer-python PEER/bin/python'

"peer" keeps its defaults but for four things that ``adapters/peer.py`` names; "peer, cosine" has
our kind of schedule, so that the two lines tell the schedule from the rest, and is run with the
first seed only.

Results are kept in a folder; started again, only what is missing is trained. All of it takes less
than four hours on two cores (``nohup make bench-quality &`` lets it run on). ``--short`` takes a
quarter of an hour with one core: one seed, 1 minute, Noise2Void and Noise2Noise, the two held-out
pictures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pictures import HELD_OUT, PICTURES, REFERENCES, clean_picture
from runs import HERE, Job, code_of, result_of

ALGORITHMS = {"n2v": "N2V", "n2v2": "N2V2", "n2n": "N2N", "care": "CARE"}
FULL = {"n2v": (60, 180, 360), "n2v2": (180,), "n2n": (180,), "care": (180,)}
SHORT = {"n2v": (60,), "n2n": (60,)}
SEEDS = (1, 2, 3)
METHODS = {
    ("peer", "defaults"): "peer",
    ("peer", "cosine"): "peer, cosine",
    ("ours", "defaults"): "ours",
    ("ours", "network"): "ours, its network",
}
DEMANDS = {("n2v", 60): 1.5, ("n2v", 180): 1.0, ("n2v", 360): 0.5, ("n2n", 180): 1.0} | {
    ("care", 180): 1.0
}
"""dB of PSNR255 above the peer's defaults, by algorithm and CPU seconds."""

Results = dict[Job, dict[str, Any]]
Scores = list[dict[str, float]]


def plan(short: bool, with_peer: bool, with_network: bool = False) -> list[Job]:
    """Return all jobs, those of one picture and seed together."""
    jobs = []
    for seed in SEEDS[:1] if short else SEEDS:
        for picture in HELD_OUT if short else PICTURES:
            jobs.append(Job("reference", "none", "defaults", picture, seed, ()))
            for algorithm, times in (SHORT if short else FULL).items():
                here = (picture, seed)
                jobs += [Job("ours", algorithm, "defaults", *here, (one,)) for one in times]
                if algorithm == "n2v2" and with_network:
                    jobs.append(Job("ours", algorithm, "network", *here, times))
                if with_peer:
                    jobs.append(Job("peer", algorithm, "defaults", *here, times))
                if with_peer and algorithm != "n2v2" and seed == SEEDS[0]:
                    jobs.append(Job("peer", algorithm, "cosine", *here, (times[len(times) // 2],)))
    return jobs


def runs_of(results: Results, picture: str) -> dict[tuple[str, int, str], Scores]:
    """Return the runs on a picture, one per seed, by algorithm, seconds and method."""
    found: dict[tuple[str, int, str], Scores] = {}
    for job, result in results.items():
        if job.picture == picture:
            for run in result.get("runs", ()):
                method = METHODS[job.library, job.variant]
                found.setdefault((job.algorithm, run["seconds"], method), []).append(run)
    return found


def references_of(results: Results, picture: str) -> dict[str, Scores]:
    """Return the scores of each reference on a picture, one per seed."""
    found: dict[str, Scores] = {}
    for job, result in results.items():
        if job.picture == picture:
            for row, one in result.get("references", {}).items():
                found.setdefault(row, []).append(one)
    return found


def mean(runs: Scores, what: str) -> float:
    """Return the mean over seeds."""
    return statistics.fmean(run[what] for run in runs)


def with_spread(runs: Scores, what: str) -> str:
    """Return mean ± standard deviation over seeds; without the latter where there is one."""
    spread = f" ± {statistics.stdev(run[what] for run in runs):.2f}" if len(runs) > 1 else ""
    return f"{mean(runs, what):.2f}{spread}"


def table(results: Results, picture: str) -> str:
    """Return the table of a picture."""
    size = " × ".join(map(str, clean_picture(picture).shape))
    mark = ", held out" if picture in HELD_OUT else ""
    lines = [
        f"{picture} ({size}{mark})",
        f"  {'':<32}{'seeds':>5}{'CPU s':>8}{'steps':>7}{'ms/step':>9}"
        f"{'PSNR255':>15}{'SI-PSNR':>15}",
    ]
    references = references_of(results, picture)
    lines += [_line(row, references[row]) for row in REFERENCES if row in references]
    found = runs_of(results, picture)
    algorithms, methods = list(ALGORITHMS), list(METHODS.values())
    order = sorted(found, key=lambda k: (algorithms.index(k[0]), k[1], methods.index(k[2])))
    lines += [
        _line(f"{ALGORITHMS[algorithm]} {seconds / 60:g} min, {method}", found[key])
        for key in order
        for algorithm, seconds, method in [key]
    ]
    return "\n".join(lines)


def _line(label: str, runs: Scores) -> str:
    used = f"{'':>24}"
    if "steps" in runs[0]:
        used = f"{mean(runs, 'cpu_seconds'):>8.1f}{mean(runs, 'steps'):>7.0f}"
        used += f"{1000 * mean(runs, 'cpu_per_step'):>9.0f}"
    scores = "".join(f"{with_spread(runs, what):>15}" for what in ("psnr255", "si_psnr"))
    return f"  {label:<32}{len(runs):>5}{used}{scores}"


def summary(results: Results, pictures: Sequence[str]) -> str:
    """Return what was demanded, and whether it was reached."""
    lines = ["Demanded (dB of PSNR255, means over seeds)"]
    lines.append(f"  {'':<34}{'demanded':>9}{'mean':>8}" + "".join(f"{p:>12}" for p in pictures))
    for (algorithm, seconds), least in DEMANDS.items():
        gains = {}
        for picture in pictures:
            found = runs_of(results, picture)
            ours = found.get((algorithm, seconds, "ours"))
            peer = found.get((algorithm, seconds, "peer"))
            if ours and peer:
                gains[picture] = mean(ours, "psnr255") - mean(peer, "psnr255")
        label = f"{ALGORITHMS[algorithm]} {seconds / 60:g} min above the peer"
        lines.append(_demand(label, least, gains, pictures))
    gains = {}
    for picture in pictures:
        ours = runs_of(results, picture).get(("n2v", 60, "ours"))
        blur = references_of(results, picture).get("best Gaussian")
        if ours and blur:
            gains[picture] = mean(ours, "psnr255") - mean(blur, "psnr255")
    lines.append(_demand("N2V 1 min above the best Gaussian", 0.0, gains, pictures))
    return "\n".join(lines)


def _demand(label: str, least: float, gains: dict[str, float], pictures: Sequence[str]) -> str:
    """Return a line; a demand is met if it is on every picture, not only in the mean."""
    if not gains:
        return f"  {label:<34}{least:>9.1f}{'not run':>10}"
    each = "".join(f"{gains[p]:>+12.2f}" if p in gains else f"{'-':>12}" for p in pictures)
    n_met = sum(gain >= least for gain in gains.values())
    verdict = "met" if n_met == len(gains) else f"missed on {len(gains) - n_met} of {len(gains)}"
    return f"  {label:<34}{least:>9.1f}{statistics.fmean(gains.values()):>+8.2f}{each}  {verdict}"


def work_through(
    jobs: Sequence[Job], folder: Path, interpreters: dict[str, str], n_processes: int
) -> tuple[Results, list[str]]:
    """Return the results, and what went wrong; tell each on the terminal when it is there."""
    codes = {library: code_of(library, python) for library, python in interpreters.items()}
    results: Results = {}
    failures = []

    def do(job: Job) -> dict[str, Any] | Exception:
        adapter = HERE / "adapters" / f"{job.library}.py"
        try:
            python = interpreters[job.library]
            return result_of(job, folder, codes[job.library], python, adapter)
        except Exception as error:  # the others are still worth having
            return error

    start = time.monotonic()
    with ThreadPoolExecutor(n_processes) as pool:
        for number, (job, result) in enumerate(zip(jobs, pool.map(do, jobs), strict=True), 1):
            if isinstance(result, Exception):
                failures.append(f"{job.label}: {result}")
                said = "failed"
            else:
                results[job] = result
                said = ", ".join(f"{run['psnr255']:.2f} dB" for run in result.get("runs", ()))
            minutes = (time.monotonic() - start) / 60
            place = f"{number}/{len(jobs)}, {minutes:.0f} min"
            print(f"[{place}] {job.label} {said}", file=sys.stderr, flush=True)
    return results, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a quarter of an hour instead")
    parser.add_argument("--peer-python", help="interpreter of an environment with careamics")
    parser.add_argument("--n2v2-network", action="store_true", help="N2V2 with its own network too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", help="where they are kept"
    )
    chosen = parser.parse_args(arguments)

    jobs = plan(chosen.short, chosen.peer_python is not None, chosen.n2v2_network)
    interpreters = {"reference": sys.executable, "ours": sys.executable}
    if chosen.peer_python:
        interpreters["peer"] = chosen.peer_python
    results, failures = work_through(jobs, chosen.results, interpreters, chosen.jobs)
    if chosen.short:
        print(
            "Short: one seed, 1 CPU minute, N2V and N2N, the held-out pictures only. It shows "
            "whether\nsomething is broken; differences below 0.5 dB say nothing.\n"
        )
    pictures = list(dict.fromkeys(job.picture for job in jobs))
    for picture in pictures:
        print(table(results, picture), end="\n\n")
    print(summary(results, pictures))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
