"""A job as text that repeats it: a Python script, or a line for the shell."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import careamist.config
from careamist import __version__
from careamist.config.job import DataReference, PredictionJob, TrainingJob

_WIDTH, _INDENT = 100, "    "
_READERS = {
    ".npy": ("import numpy as np", "np.load({path})"),
    ".zarr": ("import zarr", 'zarr.open_array({path}, mode="r")'),
}
_TIFF = ("import tifffile", "tifffile.imread({path})")


def python_script(job: TrainingJob | PredictionJob) -> str:
    """Return a Python script that does a job, and gives the same pixels on the same machine.

    It needs nothing but careamist and the files that the job names.
    """
    script = _Script()
    title = script.title(job)
    training = job if isinstance(job, TrainingJob) else job.model
    head: list[str] = []
    body: list[str] = []
    if isinstance(training, TrainingJob):
        head.append(f"config = {script.code(training.config, 9)}")
        body.append(f"careamist = CAREamist(config, work_dir={script.code(training.output)})")
        images = {name: script.data(data) for name, data in training.arguments().items()}
        body.append(script.call("careamist.train", images))
    else:
        body.append(f"careamist = CAREamist(checkpoint_path={script.code(training)})")
    if isinstance(job, PredictionJob):
        body.append(_prediction(script, job))
    body = [*script.reading, *body]
    imports = sorted(script.imports)
    lines = [
        f'"""{title}',
        "",
        f"Made by careamist {__version__}; another version may give other pixels.",
        '"""',
        "",
        *([*imports, ""] if imports else []),
        "from careamist import CAREamist",
        *script.our_imports(),
        "",
        *([*head, ""] if head else []),
        "",
        "def main() -> None:",
        *(_INDENT + line if line else "" for part in body for line in part.split("\n")),
        "",
        "",
        'if __name__ == "__main__":  # processes that read images import this file, too',
        f"{_INDENT}main()",
        "",
    ]
    return "\n".join(lines)


def command_line(job_file: str | Path) -> str:
    """Return the line for the shell that runs a job file; see `careamist.config.job.save_job`."""
    words = ["careamist", "run", str(job_file)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _prediction(script: _Script, job: PredictionJob) -> str:
    given = {"prediction_dir": script.folder(job)}
    given |= {name: script.code(value) for name, value in job.arguments().items()}
    return script.call("careamist.predict_to_disk", given, script.data(job.data))


class _Script:
    """Collects what a script imports and reads while its parts are written."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.reading: list[str] = []  # lines that read arrays
        self._classes: dict[str, set[str]] = {}
        self._names: dict[DataReference, str] = {}

    def title(self, job: TrainingJob | PredictionJob) -> str:
        training = job if isinstance(job, TrainingJob) else job.model
        if isinstance(training, str):
            return "Restore images with a trained model."
        name = training.config.experiment_name  # letters, digits, blanks, '_' and '-'
        method = training.config.algorithm_config.variant
        more = " and restore images with it" if isinstance(job, PredictionJob) else ""
        return f"Train the {method} model '{name}'{more}."

    def our_imports(self) -> list[str]:
        return [
            f"from {module} import {', '.join(sorted(names))}"
            if len(", ".join(names)) < 60
            else f"from {module} import (\n"
            + "".join(f"{_INDENT}{name},\n" for name in sorted(names))
            + ")"
            for module, names in sorted(self._classes.items())
        ]

    def data(self, data: DataReference) -> str:
        """Return the expression for images; arrays are read into variables, once each."""
        if not data.as_array:
            path = data.path
            return self.code(path if isinstance(path, str) else list(path))
        if data not in self._names:
            name = "image" if not self._names else f"image_{len(self._names) + 1}"
            region = ", ".join(f"{start}:{stop}" for start, stop in data.region or ())
            read = [self._reader(path) + (f"[{region}]" if region else "") for path in data.paths]
            one = isinstance(data.path, str)
            listed = "".join(f"{_INDENT}{part},\n" for part in read)
            self.reading.append(f"{name} = {read[0]}" if one else f"{name} = [\n{listed}]")
            self._names[data] = name
        return self._names[data]

    def _reader(self, path: str) -> str:
        statement, reader = _READERS.get(Path(path).suffix.lower(), _TIFF)
        self.imports.add(statement)
        return reader.format(path=self.code(path))

    def folder(self, job: PredictionJob) -> str:
        """Return where results go; `CAREamist` takes a relative path from its `work_dir`."""
        in_models = isinstance(job.model, TrainingJob) and job.model.output != "."
        if not in_models or Path(job.output).is_absolute():
            return self.code(job.output)
        self.imports.add("from pathlib import Path")
        return f"Path({self.code(job.output)}).absolute()"

    def call(self, function: str, given: dict[str, str], *first: str) -> str:
        """Return a call, on one line where it fits."""
        words = [*first, *(f"{name}={value}" for name, value in given.items())]
        line = f"{function}({', '.join(words)})"
        if len(line) + len(_INDENT) <= _WIDTH and "\n" not in line:
            return line
        return f"{function}(\n" + "".join(f"{_INDENT}{word},\n" for word in words) + ")"

    def code(self, value: Any, column: int = 0, depth: int = 0) -> str:
        """Return an expression for a value of a configuration; `column` is where it begins."""
        if isinstance(value, BaseModel):
            self._import(type(value))
            opening, closing = f"{type(value).__name__}(", ")"
            parts = [(f"{name}=", item) for name, item in _differing(value).items()]
        elif isinstance(value, dict):
            opening, closing = "{", "}"
            parts = [(f"{_literal(key)}: ", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
            parts = [("", item) for item in value]
        else:
            return _literal(value)
        comma = "," if isinstance(value, tuple) and len(parts) == 1 else ""
        inline = opening + ", ".join(name + self.code(item) for name, item in parts)
        inline += comma + closing
        if "\n" not in inline and column + len(inline) < _WIDTH:
            return inline
        pad = _INDENT * (depth + 1)
        lines = (
            f"{pad}{name}{self.code(item, len(pad) + len(name), depth + 1)},\n"
            for name, item in parts
        )
        return f"{opening}\n{''.join(lines)}{_INDENT * depth}{closing}"

    def _import(self, cls: type[BaseModel]) -> None:
        known = getattr(careamist.config, cls.__name__, None) is cls
        module = "careamist.config" if known else cls.__module__
        self._classes.setdefault(module, set()).add(cls.__name__)


def _differing(model: BaseModel) -> dict[str, Any]:
    """Return the fields of a model that are needed to make it again."""
    fields = type(model).model_fields
    values = {name: getattr(model, name) for name in fields}
    needed = {
        name: value
        for name, value in values.items()
        if fields[name].is_required()
        or value != fields[name].get_default(call_default_factory=True)
    }
    try:
        again = type(model)(**needed)
    except ValueError:  # fields that need each other
        return values
    return needed if again == model else values


def _literal(value: Any) -> str:
    if isinstance(value, str):
        text = repr(value)
        return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)
