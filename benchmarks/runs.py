"""One training of the quality benchmark as a process, its result kept as a file.

A result is found again by a hash of the job, of the code that trains and of the versions of the
libraries: what was broken off is taken up again, and what was changed is trained anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pictures import clean_picture, images_for, reference_scores, scores

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "careamist"
BESIDE_TRAINING = ("gui", "cli.py", "cli_options.py", "__main__.py", "progress_bar.py")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
VERSIONS = "import importlib.metadata as m, sys; print([m.version(name) for name in sys.argv[1:]])"


@dataclass(frozen=True)
class Job:
    """What one process does.

    Parameters
    ----------
    library : {"reference", "ours", "peer"}
        Who does it; references train nothing.
    algorithm, variant : str
        As in the adapters.
    picture : str
        One of `pictures.PICTURES`.
    seed : int
        Of the noise and of the training, above 0.
    seconds : tuple of int
        CPU seconds after which the weights are judged.
    """

    library: str
    algorithm: str
    variant: str
    picture: str
    seed: int
    seconds: tuple[int, ...]

    @property
    def label(self) -> str:
        """What a person calls it."""
        times = "/".join(f"{seconds / 60:g}" for seconds in self.seconds)
        what = f"{self.algorithm} ({self.variant}), {times} min"
        what = "references" if self.library == "reference" else f"{self.library} {what}"
        return f"{what}, {self.picture}, seed {self.seed}"

    def file_in(self, folder: Path, code: str) -> Path:
        """Return where the result is kept, if it was made by this code."""
        key = hashlib.sha256(json.dumps([asdict(self), code]).encode()).hexdigest()[:16]
        name = f"{self.library}-{self.algorithm}-{self.picture}-{self.seed}-{key}.json"
        return folder / name


def sources(library: str) -> list[Path]:
    """Return the files that a result depends on."""
    own = [HERE / "pictures.py"]
    if library == "reference":
        return own
    own.append(HERE / "adapters" / f"{library}.py")
    if library == "peer":
        return own
    package = sorted(PACKAGE.rglob("*.py"))
    return own + [p for p in package if p.relative_to(PACKAGE).parts[0] not in BESIDE_TRAINING]


def hash_of(files: Iterable[Path], more: str = "") -> str:
    """Return a hash of the contents of files, and of a text."""
    found = hashlib.sha256(more.encode())
    for file in files:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def code_of(library: str, interpreter: str) -> str:
    """Return a hash of all that a result of a library depends on beside the job."""
    packages = {"reference": ["scikit-image"], "peer": ["careamics", "torch"]}
    names = packages.get(library, ["torch", "pytorch-lightning"])
    asked = [interpreter, "-c", VERSIONS, *names]
    versions = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return hash_of(sources(library), versions)


def result_of(job: Job, folder: Path, code: str, interpreter: str, adapter: Path) -> dict[str, Any]:
    """Return the result of a job: a kept one, or that of a process that is run now.

    Raises
    ------
    RuntimeError
        If the process fails; the end of what it said is the message.
    """
    file = job.file_in(folder, code)
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept
    if job.library == "reference":
        result: dict[str, Any] = {"references": reference_scores(job.picture, job.seed)}
    else:
        result = _trained(job, interpreter, adapter)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps({"job": asdict(job), **result}, indent=1))
    unfinished.replace(file)
    return result


def _trained(job: Job, interpreter: str, adapter: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", **images_for(job.algorithm, job.picture, job.seed))
        order = asdict(job) | {"images": str(folder / "images.npz"), "folder": name}
        (folder / "order.json").write_text(json.dumps(order))
        done = subprocess.run(
            [interpreter, str(adapter), str(folder / "order.json")],
            env=os.environ | ONE_THREAD,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=600 + 20 * max(job.seconds),  # far beyond: a machine may be very busy
        )
        if done.returncode:
            raise RuntimeError(f"{job.label}: {done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads((folder / "answer.json").read_text())
        clean = clean_picture(job.picture)
        for run in answer["runs"]:
            found = [scores(clean, np.load(folder / file)) for file in run.pop("restored")]
            run |= max(found, key=lambda one: one["psnr255"])
    return answer
