"""The shell: ``careamist train | predict | demo``, generated from the models of the order form."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSubCommand,
    NoDecode,
    SettingsConfigDict,
    SettingsError,
    get_subcommand,
)

from careamist import __version__
from careamist.algorithms import ALGORITHMS
from careamist.config import Configuration, DataConfig, TrainingConfig
from careamist.dataset.sources import open_stacks
from careamist.failures import explain_failure

if TYPE_CHECKING:
    from careamist.careamist import CAREamist

_DATA, _TRAINING = DataConfig(), TrainingConfig()  # every default stands there
_FAILED, _UNUSABLE, _STOPPED = 1, 2, 130
_NAMES = {"batch_size": "batch", "experiment_name": "name", "patch_size": "patch"}
_SETTING = re.compile(rf"\b(axes|channels|device|seed|{'|'.join(_NAMES)})=")
_OUTPUT = AliasChoices("o", "output")
_COMMA = "\x1f"  # stands for a typed comma: the parser joins the words of a list with commas
_Paths = CliPositionalArg[Annotated[list[Path], NoDecode]]


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _as_typed(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in tuple(given.items()):
            if isinstance(value, str):
                words = [word.replace(_COMMA, ",") for word in value.split(",")]
                typed = ",".join(words)
                given |= {name: {"data": words, "channels": typed.split(",")}.get(name, typed)}
        return given


class Train(_Command):
    """Train a model on noisy images."""

    data: _Paths = Field(description="TIFF files, or folders of them.")
    axes: str = Field(
        _DATA.axes, description="One letter of STCZYX for each dimension of an image."
    )
    algorithm: Literal["n2v"] = Field("n2v", description="How to learn.")
    output: Path = Field(validation_alias=_OUTPUT, description="Folder for the model.")
    name: str = Field("careamist", description="Letters, digits, blanks, '_' and '-'.")
    steps: int | None = Field(_TRAINING.num_steps, ge=1, description="Optimizer steps.")
    epochs: int | None = Field(None, ge=1, description="Passes over the data, instead of steps.")
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
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError("Give --steps or --epochs, not both.")
        return self

    def run(self) -> int:
        """Train; an interrupt keeps the model."""
        from careamist.careamist import CAREamist

        z = (self._planes(),) if "Z" in self.axes.upper() else ()
        epochs = {"num_epochs": self.epochs} if self.epochs else {}
        config = Configuration(
            experiment_name=self.name,
            algorithm_config=ALGORITHMS[self.algorithm](),
            data_config=DataConfig(
                data_type="tiff",
                axes=self.axes,
                patch_size=(*z, self.patch, self.patch),
                batch_size=self.batch,
                seed=self.seed,
            ),
            training_config=TrainingConfig(
                num_steps=None if epochs else self.steps, device=self.device, **epochs
            ),
        )
        careamist = CAREamist(config, work_dir=self.output)
        careamist.train(train_data=self.data)
        steps, folder = careamist.steps_done, careamist.run_dir
        return _report(careamist, f"Model after {steps} steps: {folder}" if steps else "No model.")

    def _planes(self) -> int:
        """Return the planes of a patch: 16, or as many as the thinnest volume lets."""
        stacks = open_stacks(self.data, "tiff", self.axes)
        grid = Configuration().algorithm_config.model.grid
        return max(min(16, *(s.data_shape[-3] // grid * grid for s in stacks)), 2 * grid)


class Predict(_Command):
    """Restore images with a trained model."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: CliPositionalArg[Path] = Field(description="A .ckpt file, or a folder with one.")
    data: _Paths = Field(description="TIFF files, or folders of them.")
    output: Path = Field(validation_alias=_OUTPUT, description="Folder for the results.")
    axes: str | None = Field(None, description="Axes, where they differ from the training's.")
    channels: Annotated[list[int] | None, NoDecode] = Field(
        None, description="Channels to use, as in 0,2, where images have more than the model."
    )
    overwrite: Literal["error", "replace"] = Field("error", description="Where a file exists.")

    def run(self) -> int:
        """Predict; an interrupt keeps the files that are complete."""
        from careamist.careamist import CAREamist

        careamist = CAREamist(checkpoint_path=self.model)
        careamist.predict_to_disk(
            self.data if len(self.data) > 1 else self.data[0],  # keeps the order of one folder
            prediction_dir=self.output.absolute(),
            data_type="tiff",
            axes=self.axes,
            channels=self.channels,
            overwrite=self.overwrite,
        )
        return _report(careamist, f"Results: {self.output}")


class Demo(_Command):
    """Open napari with noisy cells, train on them and restore them, through the plugin."""

    output: Path = Field(Path("demo"), description="Folder for the results.")
    seed: int = Field(0, ge=0, description="Which simulated picture.")
    steps: int = Field(0, ge=0, description="Optimizer steps; 0 is the length of the demo.")
    close: bool = Field(False, description="Close the window at the end also on a real display.")

    def run(self) -> int:
        """Run the demonstration."""
        from careamist.gui.demo import run_demo

        return run_demo(self.output, seed=self.seed, steps=self.steps or None, close=self.close)


class Commands(BaseSettings):
    """Train and apply image-restoration networks on microscopy images."""

    model_config = SettingsConfigDict(
        cli_prog_name="careamist",
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_enforce_required=True,
        cli_exit_on_error=False,
        cli_parse_none_str="not given",
        cli_use_class_docs_for_groups=True,
    )

    version: bool = Field(False, description="Show the version and exit.")
    train: CliSubCommand[Train]
    predict: CliSubCommand[Predict]
    demo: CliSubCommand[Demo]

    @classmethod
    def settings_customise_sources(cls, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Leave out the environment: a variable called TRAIN is not meant for us."""
        return (kwargs["init_settings"],)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line on stderr.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 unusable arguments, 130 interrupted; help exits itself.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        words = [argument.replace(",", _COMMA) for argument in arguments]
        chosen = CliApp.run(Commands, cli_args=words, cli_cmd_method_name="_parsed")
        if chosen.version:
            print(f"careamist {__version__}")
            return 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return int(get_subcommand(chosen).run())  # type: ignore[union-attr]
    except KeyboardInterrupt:
        return _STOPPED
    except SettingsError as error:
        command = [name for name in arguments[:1] if name in Commands.model_fields]
        text = str(error).removeprefix("error parsing CLI: ")
        return _complain(f"{text}. Try: {' '.join(['careamist', *command, '--help'])}", _UNUSABLE)
    except ValidationError as error:
        return _complain(" ".join(map(_wrong, error.errors())), _UNUSABLE)
    except Exception as error:
        return _complain(" ".join(explain_failure(error)), _FAILED)


def _wrong(item: Any) -> str:
    """Return what is wrong with one option, in the words of who typed it."""
    text: str = item["msg"].removeprefix("Value error, ").split(", unable to")[0].rstrip(".")
    fields = [_NAMES.get(part, part) for part in item["loc"] if isinstance(part, str)]
    if item["type"] == "string_pattern_mismatch":
        text = f"Input does not fit. {Train.model_fields[fields[-1]].description}".rstrip(".")
    if fields and text.startswith("Input "):
        text = f"--{fields[-1]} {item['input']} {text.removeprefix('Input ')}"
    return text + "."


def _complain(text: str, code: int) -> int:
    text = _SETTING.sub(lambda found: f"--{_NAMES.get(found[1], found[1])} ", text)
    print("careamist:", text.replace(_COMMA, ",").replace("\n", " ").strip(), file=sys.stderr)
    return code


def _report(careamist: CAREamist, line: str) -> int:
    print(("Stopped. " if careamist.was_stopped else "") + line, file=sys.stderr)
    return _STOPPED if careamist.was_stopped else 0
