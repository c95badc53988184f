"""The shell: ``careamist COMMAND``, each command made from a model of its options."""

from __future__ import annotations

import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    model_validator,
)

from careamist import __version__
from careamist.algorithms import ALGORITHMS
from careamist.cli_options import (
    FILES,
    FIRST,
    STOPPED,
    TYPE,
    WIDTH,
    Axes,
    Channels,
    Command,
    FileType,
    Parser,
    UnusableError,
    add_options,
    one_or_all,
)
from careamist.cli_options import report as report_end
from careamist.cli_predict import Predict
from careamist.cli_run import Run
from careamist.compute import keep_memory
from careamist.config import Configuration, DataConfig, TrainingConfig, UNet
from careamist.config.factories import fitting_patch
from careamist.config.presets import PRESETS, apply_preset
from careamist.dataset.report import describe, find_files, list_choices, report
from careamist.dataset.sources import guess_data_type, inspect, open_stacks
from careamist.errors import SettingsError, SourceNotFoundError
from careamist.failures import explain_failure

if TYPE_CHECKING:
    import argparse

    Method = str
    PresetName = str
else:
    Method = Literal[tuple(ALGORITHMS)]
    PresetName = Literal[tuple(PRESETS)]

_DATA, _TRAINING = DataConfig(), TrainingConfig()  # every default stands there
_FAILED, _UNUSABLE = 1, 2
_LABEL, _LISTED = 14, 50
# what settings are called here
_NAMES = {
    "batch_size": "batch",
    "experiment_name": "name",
    "patch_size": "patch",
    "num_steps": "steps",
    "max_minutes": "minutes",
    "tile_size": "tile",
    "write_type": "format",
    "data_type": "data-type",
    "val_target": "val-target",
    "train_data_target": "target",
    "val_data_target": "val-target",
    "val_data": "val",
}
# data_type='custom' is for scripts only
_SETTING = re.compile(rf"\b(axes|channels|device|seed|overwrite|{'|'.join(_NAMES)})=(?!'custom')")
_ARGUMENT = re.compile(r"\b(train_data_target|val_data_target|val_data)\b")

_AXES = "One letter of STCZYX for each dimension of an image"


class Info(Command):
    """Say what images are, how they are read, and what to mind in their pixels."""

    data: list[str] = Field(description=FILES, json_schema_extra=FIRST)
    axes: Axes | None = Field(None, description=f"{_AXES}; as the files say if not given.")
    data_type: FileType | None = Field(None, description=TYPE)
    pixels: bool = Field(True, description="Do not read the pixels.")

    def run(self) -> int:
        """Print a report on each image; what cannot be read is told and passed over."""
        worst = 0
        for path in self.data:
            try:
                files = find_files(path, self.data_type)
            except Exception as error:
                worst = _complain(_named(path, error), _FAILED)
                continue
            for source, data_type in files:
                worst = max(worst, self._one(source, data_type))
        return worst

    def _one(self, source: Any, data_type: str) -> int:
        shown, code = set(), 0
        try:
            try:
                for found in report(source, data_type, axes=self.axes, pixels=self.pixels):
                    shown.add(found.info.source)
                    _print_rows(describe(found))
                    code = _FAILED if found.failure else code
            except SourceNotFoundError:
                if not list_choices(source, data_type):
                    raise
                _print_rows([("Image", str(source)), ("Images", "none directly in it")])
            others = [i for i in list_choices(source, data_type) if i.source not in shown]
        except Exception as error:
            return _complain(_named(source, error), _FAILED)
        if others:
            _print(f"Below {source} any of these can be given instead:")
        for info in others[:_LISTED]:
            level = f", level {info.level} of {info.n_levels}" if info.n_levels > 1 else ""
            _print(f"  {info.source}  ({' × '.join(map(str, info.shape))}{level})")
        if len(others) > _LISTED:
            _print(f"  … and {len(others) - _LISTED} more")
        if others:
            _print("")
        return code


class Train(Command):
    """Train a model on images."""

    data: list[str] = Field(description=FILES, json_schema_extra=FIRST)
    axes: Axes | None = Field(
        None, description=f"{_AXES}; as the files say, else {_DATA.axes}, if not given."
    )
    data_type: FileType | None = Field(None, description=TYPE)
    channels: Channels | None = Field(
        None, description="Channels to use, as in 0,2; all if not given."
    )
    algorithm: Method = Field("n2v", description="How to learn; care and n2n need targets.")
    target: list[str] | None = Field(
        None, description="What the images should become; files are paired by name."
    )
    val: list[str] | None = Field(
        None, description="Images for validation; patches of the others if not given."
    )
    val_target: list[str] | None = Field(None, description="Their targets.")
    output: Path = Field(description="Folder for the model.", json_schema_extra={"short": "o"})
    name: str = Field("careamist", description="Letters, digits, blanks, '_' and '-'.")
    preset: PresetName = Field(
        "standard", description="Effort or recipe; other options have the last word."
    )
    steps: int | None = Field(_TRAINING.num_steps, ge=1, description="Optimizer steps.")
    epochs: int | None = Field(None, ge=1, description="Passes over the data, instead of steps.")
    minutes: float | None = Field(None, gt=0, description="Minutes, instead of steps.")
    patch: int = Field(
        _DATA.patch_size[-1], ge=8, description="Edge of the square patches, in pixels."
    )
    batch: int = Field(
        _DATA.batch_size, ge=1, description="Patches per step; fewer need less memory."
    )
    seed: int = Field(_DATA.seed, ge=0, description="The same seed gives the same model.")
    device: str = Field(
        _TRAINING.device, description="Where to compute: auto, cpu, cuda, cuda:1, mps."
    )

    @model_validator(mode="after")
    def _one_length(self) -> Train:
        if len({"steps", "epochs", "minutes"} & self.model_fields_set) > 1:
            raise ValueError("Give only one of --steps, --epochs and --minutes.")
        return self

    def run(self) -> int:
        """Train; an interrupt keeps the model."""
        from careamist.careamist import CAREamist

        data_type = self.data_type or guess_data_type(self.data)
        axes = self.axes or _axes_of(self.data, data_type)
        careamist = CAREamist(self.configuration(data_type, axes), work_dir=self.output)
        careamist.train(
            train_data=one_or_all(self.data),
            train_data_target=one_or_all(self.target),
            val_data=one_or_all(self.val),
            val_data_target=one_or_all(self.val_target),
        )
        steps, folder = careamist.steps_done, careamist.run_dir
        return report_end(
            careamist, f"Model after {steps} steps: {folder}" if steps else "No model."
        )

    def configuration(self, data_type: str, axes: str) -> Configuration:
        """Return the order form: of the preset, with what was typed instead."""
        config = Configuration(
            experiment_name=self.name,
            algorithm_config=ALGORITHMS[self.algorithm](),
            data_config=DataConfig(
                data_type=data_type,
                axes=axes,
                channels=self.channels,
                patch_size=self._patch_size(data_type, axes),
                batch_size=self.batch,
                seed=self.seed,
            ),
            training_config=TrainingConfig(num_steps=self.steps, device=self.device),
        )
        values = apply_preset(config, self.preset).model_dump()
        typed = self.model_fields_set
        if "batch" in typed:
            values["data_config"]["batch_size"] = self.batch
        if {"steps", "epochs", "minutes"} & typed:
            training = values["training_config"]
            steps = self.steps if "steps" in typed else None
            training |= {"num_steps": steps, "max_minutes": self.minutes}
            training["num_epochs"] = self.epochs or training["num_epochs"]
            if steps and (training["steps_per_epoch"] or 0) > steps:
                training["steps_per_epoch"] = None
        return Configuration.model_validate(values)

    def _patch_size(self, data_type: str, axes: str) -> tuple[int, ...]:
        """Return the patch: as told, else as large as the smallest image lets."""
        edges, told = (self.patch, self.patch), "patch" in self.model_fields_set
        if told and "Z" not in axes and (data_type, axes) != ("czi", "SCTYX"):
            return edges
        shapes = [stack.data_shape[2:] for stack in open_stacks(self.data, data_type, axes)]
        smallest = tuple(map(min, zip(*shapes, strict=False)))  # other dimensions: told later
        network = UNet.model_validate(PRESETS[self.preset].model)
        fitting = fitting_patch(smallest, network.grid_for(len(smallest)), self.patch)
        return (*fitting[:-2], *edges) if told else fitting


class Demo(Command):
    """Open napari with noisy cells, train on them and restore them, through the plugin."""

    output: Path = Field(Path("demo"), description="Folder for the results.")
    seed: int = Field(0, ge=0, description="Which simulated picture.")
    steps: int = Field(0, ge=0, description="Optimizer steps; 0 is the length of the demo.")
    close: bool = Field(False, description="Close the window at the end also on a real display.")

    def run(self) -> int:
        """Run the demonstration."""
        from careamist.gui.demo import run_demo

        return run_demo(self.output, seed=self.seed, steps=self.steps or None, close=self.close)


COMMANDS: dict[str, type[Any]] = {
    "info": Info,
    "train": Train,
    "predict": Predict,
    "run": Run,
    "demo": Demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line on stderr.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 unusable arguments, 130 interrupted; help exits itself.
    """
    is_own_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        given = vars(_parser().parse_args(arguments))
        if given.pop("version"):
            print(f"careamist {__version__}")
            return 0
        command = COMMANDS[given.pop("command")](**given)
        if is_own_process and isinstance(command, Train):
            keep_memory()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return int(command.run())
    except KeyboardInterrupt:
        return STOPPED
    except UnusableError as error:
        words = [name for name in arguments[:1] if name in COMMANDS]
        return _complain(f"{error}. Try: {' '.join(['careamist', *words, '--help'])}", _UNUSABLE)
    except ValidationError as error:
        return _complain(" ".join(map(_wrong, error.errors())), _UNUSABLE)
    except Exception as error:
        return _complain(" ".join(explain_failure(error)), _FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="careamist", description="Train and apply image-restoration networks.")
    parser.add_argument("--version", action="store_true", help="Show the version and exit.")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        doc = str(command.__doc__)
        add_options(commands.add_parser(name, help=doc, description=doc), command)
    return parser


def _axes_of(data: list[str], data_type: str) -> str:
    """Return the axes that images say they have; raise if they do not, or differ."""
    said: dict[str, str] = {}
    for info in inspect(data, data_type):
        axes = info.axes or (_DATA.axes if len(info.shape) == len(_DATA.axes) else "")
        if not axes:
            raise SettingsError(
                f"{info.source} does not say what its axes are "
                f"({' × '.join(map(str, info.shape))}).",
                "Say it, for example with --axes ZYX or --axes TYX.",
            )
        said.setdefault(axes, info.source)
    if len(said) > 1:
        each = ", ".join(f"{source}: {axes}" for axes, source in said.items())
        raise SettingsError(f"The images have different axes ({each}).", "Choose some of one kind.")
    return next(iter(said))


def _wrong(item: Any) -> str:
    """Return what is wrong with one option, in the words of who typed it."""
    text: str = item["msg"].removeprefix("Value error, ").split(", unable to")[0].rstrip(".")
    fields = [_NAMES.get(part, part) for part in item["loc"] if isinstance(part, str)]
    if item["type"] == "string_pattern_mismatch":
        text = f"Input does not fit. {Train.model_fields[fields[-1]].description}".rstrip(".")
    if fields and text.startswith("Input "):
        text = f"--{fields[-1]} {item['input']} {text.removeprefix('Input ')}"
    return text + "."


def _named(path: Any, error: Exception) -> str:
    """Return what went wrong with a file, with its name."""
    text = " ".join(explain_failure(error))
    return text if str(path) in text else f"{path}: {text}"


def _complain(text: str, code: int) -> int:
    text = re.sub(r"overwrite='(\w+)'", r"overwrite=\1", text)  # what can be typed
    text = _SETTING.sub(lambda found: f"--{_NAMES.get(found[1], found[1])} ", text)
    text = _ARGUMENT.sub(lambda found: f"--{_NAMES[found[1]]}", text)
    print("careamist:", text.replace("\n", " ").strip(), file=sys.stderr)
    return code


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Print a title and, below it, labels and texts in two columns."""
    (_, title), *rest = rows
    _print(title)
    for label, text in rest:
        first, more = f"  {label:{_LABEL - 2}}", " " * _LABEL
        wrapped = textwrap.wrap(
            text, WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False
        )
        _print(first + f"\n{more}".join(wrapped))
    _print("")


def _print(text: str) -> None:
    coding = sys.stdout.encoding or "utf-8"  # a name may be no text, a terminal may lack "×"
    print(text.encode(coding, "replace").decode(coding))
