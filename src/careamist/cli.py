"""The shell: ``careamist train | predict | demo``, generated from the models of the order form."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSubCommand,
    SettingsConfigDict,
    SettingsError,
    get_subcommand,
)

from careamist import __version__
from careamist.algorithms import ALGORITHMS
from careamist.config import Configuration, DataConfig, TrainingConfig
from careamist.failures import explain_failure

_FAILED, _STOPPED = 1, 130


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Train(_Command):
    """Train a model on noisy images."""

    data: CliPositionalArg[list[Path]] = Field(description="TIFF files, or folders of them.")
    axes: str = Field("YX", description="One letter of STCZYX for each dimension of the images.")
    algorithm: Literal["n2v"] = Field("n2v", description="How to learn.")
    output: Path = Field(
        validation_alias=AliasChoices("o", "output"), description="Folder for the model."
    )
    name: str = Field("careamist", description="Name of the model.")
    steps: int | None = Field(
        None, ge=1, description=f"Optimizer steps; {TrainingConfig().num_steps} without --epochs."
    )
    epochs: int | None = Field(None, ge=1, description="Epochs, instead of steps.")
    patch: int = Field(64, ge=8, description="Edge of the square patches, in pixels.")
    batch: int = Field(16, ge=1, description="Patches per step.")
    seed: int = Field(42, ge=0, description="Seed of everything random.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")

    def run(self) -> int:
        """Train; an interrupt keeps the model."""
        from careamist.careamist import CAREamist

        dims = 3 if "Z" in self.axes.upper() else 2
        config = Configuration(
            experiment_name=self.name,
            algorithm_config=ALGORITHMS[self.algorithm](),
            data_config=DataConfig(
                data_type="tiff",
                axes=self.axes,
                patch_size=(16, self.patch, self.patch) if dims == 3 else (self.patch,) * 2,
                batch_size=self.batch,
                seed=self.seed,
            ),
            training_config=self._training(),
        )
        careamist = CAREamist(config, work_dir=self.output)
        careamist.train(train_data=[str(path) for path in self.data])
        return _report(careamist, f"Model after {careamist.steps_done} steps: {careamist.run_dir}")

    def _training(self) -> TrainingConfig:
        if self.epochs is not None and self.steps is None:
            return TrainingConfig(num_steps=None, num_epochs=self.epochs, device=self.device)
        steps = self.steps or TrainingConfig().num_steps
        return TrainingConfig(num_steps=steps, device=self.device)


class Predict(_Command):
    """Restore images with a trained model."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: CliPositionalArg[Path] = Field(
        description="A .ckpt file, or the folder that a training wrote to."
    )
    data: CliPositionalArg[Path] = Field(description="A TIFF file, or a folder of them.")
    output: Path = Field(
        validation_alias=AliasChoices("o", "output"), description="Folder for the results."
    )
    axes: str | None = Field(None, description="Axes, where they differ from the training's.")
    overwrite: Literal["error", "replace"] = Field(
        "error", description="What happens to files that are already there."
    )

    def run(self) -> int:
        """Predict; an interrupt keeps the files that are complete."""
        from careamist.careamist import CAREamist

        careamist = CAREamist(checkpoint_path=self.model)
        careamist.predict_to_disk(
            str(self.data),
            prediction_dir=self.output.absolute(),
            data_type="tiff",
            axes=self.axes,
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
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    train: CliSubCommand[Train]
    predict: CliSubCommand[Predict]
    demo: CliSubCommand[Demo]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line on stderr.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program name; those of the process when not given.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 unusable arguments, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["-V"]):
        print(f"careamist {__version__}")
        return 0
    if not arguments:
        arguments = ["--help"]
    try:
        chosen = CliApp.run(Commands, cli_args=arguments, cli_cmd_method_name="_parsed")
        command = get_subcommand(chosen)
    except (ValidationError, SettingsError) as error:
        return _complain(error, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            code: int = command.run()  # type: ignore[union-attr]
            return code
    except KeyboardInterrupt:
        return _STOPPED
    except Exception as error:
        return _complain(error, _FAILED)


def _complain(error: Exception, code: int) -> int:
    message, hint = explain_failure(error)
    print(f"careamist: {message} {hint}".rstrip(), file=sys.stderr)
    return code


def _report(careamist: object, line: str) -> int:
    stopped = getattr(careamist, "was_stopped", False)
    print(("Stopped. " if stopped else "") + line, file=sys.stderr)
    return _STOPPED if stopped else 0
