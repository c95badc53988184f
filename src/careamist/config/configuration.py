"""The whole order form: algorithm, data, training."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from careamist.algorithms import N2V, AnyAlgorithm
from careamist.config.data import DataConfig
from careamist.config.training import TrainingConfig
from careamist.errors import SettingsError, SourceNotFoundError


class Configuration(BaseModel):
    """Everything that a training needs to know but the images themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(1, ge=1, le=1, description="Version of this schema.")
    experiment_name: str = Field(
        "careamist",
        pattern=r"^[\w\- ]+$",
        description="Name of the model: letters, digits, blanks, '_' and '-'.",
    )
    algorithm_config: AnyAlgorithm = N2V()
    data_config: DataConfig = DataConfig()
    training_config: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _patch_fits(self) -> Configuration:
        grid = self.algorithm_config.model.grid
        if bad := [n for n in self.data_config.patch_size if n % grid or n < 2 * grid]:
            raise ValueError(
                f"patch_size={self.data_config.patch_size} does not fit a network of depth "
                f"{self.algorithm_config.model.depth}: {bad[0]} is not a multiple of {grid} "
                f"(2^depth) of at least {2 * grid}."
            )
        self.algorithm_config.check_patch(self.data_config.patch_size)
        return self

    @property
    def file_name(self) -> str:
        """The experiment name as a part of a file name."""
        return self.experiment_name.replace(" ", "_")

    def describe(self) -> str:
        """Return two lines for a person."""
        data, training = self.data_config, self.training_config
        length = (
            f"{training.num_steps} steps"
            if training.num_steps
            else (f"{training.num_epochs} epochs")
        )
        return (
            f"{self.algorithm_config.short_name} “{self.experiment_name}”, axes {data.axes}, "
            f"patches {' × '.join(map(str, data.patch_size))}\n"
            f"{length} of {data.batch_size} patches, U-Net depth "
            f"{self.algorithm_config.model.depth}, {self.algorithm_config.model.num_channels_init} "
            f"filters, seed {data.seed}"
        )


def save_configuration(config: Configuration, path: str | Path) -> Path:
    """Write a configuration as YAML to a file, or as ``careamist.yml`` into a folder."""
    path = Path(path)
    path = path / "careamist.yml" if path.is_dir() else path
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def load_configuration(path: str | Path) -> Configuration:
    """Read a configuration from YAML.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    SettingsError
        If it is no YAML, or a field is unknown or invalid; the message names the field.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceNotFoundError(f"There is no configuration file {path}.", "Check the path.")
    try:
        return Configuration.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML ({error}).", "Mend the file.") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {explain(error)}", "Mend the file.") from error


def explain(error: ValidationError) -> str:
    """Return a validation error as one line that names each field."""
    parts = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        words = item["msg"].removeprefix("Value error, ")
        parts.append(f"{field}: {words}" if field else words)
    return "; ".join(parts)
