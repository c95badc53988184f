"""The whole order form: algorithm, data, training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from careamist.algorithms import ALGORITHMS, N2V, AnyAlgorithm
from careamist.config.data import DataConfig
from careamist.config.training import TrainingConfig
from careamist.dataset.augmentation import Augmentation, XYFlip, XYRandomRotate90
from careamist.errors import SettingsError, SourceNotFoundError

VERSION = 1
# From each older version, the function that makes the next one of its values.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


class Configuration(BaseModel):
    """Everything that a training needs to know but the images themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(VERSION, ge=1, description="Version of this schema.")
    experiment_name: str = Field(
        "careamist",
        pattern=r"^[\w\- ]+$",
        description="Name of the model: letters, digits, blanks, '_' and '-'.",
    )
    algorithm_config: AnyAlgorithm = N2V()
    data_config: DataConfig = DataConfig()
    training_config: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _up_to_date(cls, values: Any) -> Any:
        """Bring what an older version wrote to this one."""
        version = values.get("version", VERSION) if isinstance(values, dict) else None
        if not isinstance(version, int):
            return values
        if version > VERSION:
            raise ValueError(
                f"version={version} was written by a newer careamist, which this one ({VERSION}) "
                "does not understand: update careamist."
            )
        while version < VERSION:
            if version not in MIGRATIONS:
                raise ValueError(f"version={version} is unknown: expected {VERSION} or earlier.")
            values, version = MIGRATIONS[version](values), version + 1
        return values | {"version": VERSION}

    @model_validator(mode="after")
    def _patch_fits(self) -> Configuration:
        model, data = self.algorithm_config.model, self.data_config
        grid = model.grid_for(data.dims)
        for length, step in zip(data.patch_size, grid, strict=True):
            if length % step or length < 2 * step:
                raise ValueError(
                    f"patch_size={data.patch_size} does not fit a network of depth {model.depth}: "
                    f"{length} is not a multiple of {step} of at least {2 * step}."
                )
        self.algorithm_config.check_patch(data.patch_size)
        return self

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """Those of the data that leave what the algorithm learns from as it is."""
        algorithm = self.algorithm_config
        return tuple(
            augmentation
            for augmentation in self.data_config.augmentations
            if (algorithm.may_turn or not isinstance(augmentation, XYRandomRotate90))
            and (algorithm.may_flip or not isinstance(augmentation, XYFlip))
        )

    @property
    def file_name(self) -> str:
        """The experiment name as a part of a file name."""
        return self.experiment_name.replace(" ", "_")

    def describe(self) -> str:
        """Return two lines for a person."""
        data, training = self.data_config, self.training_config
        length = f"{training.num_epochs} epochs"
        if training.max_minutes:
            length = f"{training.max_minutes:g} minutes"
        elif training.num_steps:
            length = f"{training.num_steps} steps"
        return (
            f"{self.algorithm_config.variant} “{self.experiment_name}”, axes {data.axes}, "
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


# pydantic names the member of a union that was tried, too; a person did not write that
_TAGS = {*ALGORITHMS, "cosine", "constant", "mean_std", "min_max", "quantile", "none"} | {
    "bool",
    "float",
    "int",
    "str",
}


def explain(error: ValidationError) -> str:
    """Return a validation error as one line that names each field."""
    problems: dict[str, list[str]] = {}  # one field has several where none of a union fits
    for item in error.errors():
        *inner, last = item["loc"] or ("",)
        parts = [str(part) for part in inner if _is_field(part)]
        if item["type"] == "extra_forbidden" or _is_field(last):  # an unknown name is told as is
            parts.append(str(last))
        words = item["msg"].removeprefix("Value error, ")
        told = problems.setdefault(".".join(parts), [])
        told += [words] if words not in told else []
    return "; ".join(
        f"{field}: {' or '.join(told)}" if field else "; ".join(told)
        for field, told in problems.items()
    )


def _is_field(part: int | str) -> bool:
    """Return whether a part of a place is a field or an index, not a member of a union."""
    return isinstance(part, int) or (
        part not in _TAGS and re.fullmatch("[a-z][a-z0-9_]*", part) is not None
    )
