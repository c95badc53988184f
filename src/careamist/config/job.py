"""A whole run as a file: what is computed, on which images, how, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from careamist.config.configuration import Configuration, explain
from careamist.config.prediction import PredictionConfig
from careamist.errors import SettingsError, SourceNotFoundError, UnreadableError

VERSION = 1
_ARRAYS = (".npy", ".zarr", ".tif", ".tiff")


class DataReference(BaseModel):
    """Images by their place on the disk.

    A layer is an array to a run, not a file: it is read whole (``as_array``), so that the run is
    the same as that of the layer was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | tuple[str, ...] = Field(
        description="A file, a folder or a URI, or several of them."
    )
    as_array: bool = Field(
        False, description="Read .npy, .zarr or TIFF files as arrays, as layers are."
    )
    region: tuple[tuple[int, int], ...] | None = Field(
        None, description="Start and stop along each axis of one array; all of it if not given."
    )

    @model_validator(mode="after")
    def _arrays(self) -> DataReference:
        if self.region is not None and not (self.as_array and isinstance(self.path, str)):
            raise ValueError("region needs as_array=True and one path.")
        suffixes = {Path(path).suffix.lower() for path in self.paths}
        if self.as_array and not suffixes <= set(_ARRAYS):
            raise ValueError(
                f"as_array=True needs files of {', '.join(_ARRAYS)}, got {', '.join(self.paths)}."
            )
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The path, or all of them."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def open(self) -> Any:
        """Return what `CAREamist` takes: a path or an array, or a list of these.

        Raises
        ------
        CareamistError
            If an array cannot be read.
        """
        opened = [self._array(path) if self.as_array else path for path in self.paths]
        return opened[0] if isinstance(self.path, str) else opened

    def _array(self, path: str) -> Any:
        array = _read(Path(path))
        if self.region is None:
            return array
        if len(self.region) != array.ndim:
            raise SettingsError(
                f"region has {len(self.region)} axes, {path} has {array.ndim}.",
                "Give start and stop for each axis.",
            )
        return array[tuple(slice(start, stop) for start, stop in self.region)]


class _Job(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(VERSION, ge=1, description="Version of this schema.")
    data: DataReference = Field(description="The images.")

    @field_validator("version")
    @classmethod
    def _understood(cls, version: int) -> int:
        if version > VERSION:
            raise ValueError(
                f"version={version} was written by a newer careamist, which this one ({VERSION}) "
                "does not understand: update careamist."
            )
        return version


class TrainingJob(_Job):
    """A training: the order form, the images, and where the model goes."""

    kind: Literal["train"] = "train"
    config: Configuration = Field(description="What is trained, and how.")
    target: DataReference | None = Field(None, description="What the images should become.")
    val: DataReference | None = Field(None, description="Images for validation.")
    val_target: DataReference | None = Field(None, description="Their targets.")
    mask: DataReference | None = Field(None, description="Where the images are trained on.")
    output: str = Field(".", description="Folder for the model.")

    def arguments(self) -> dict[str, DataReference]:
        """Return the images by the names that ``CAREamist.train`` knows them under."""
        named = {
            "train_data": self.data,
            "train_data_target": self.target,
            "val_data": self.val,
            "val_data_target": self.val_target,
            "filtering_mask": self.mask,
        }
        return {name: data for name, data in named.items() if data is not None}


class PredictionJob(_Job):
    """A prediction: with a trained model, or with one that is trained first."""

    kind: Literal["predict"] = "predict"
    model: str | TrainingJob = Field(
        description="A checkpoint, a folder with one, or the training of the model."
    )
    weights: Literal["last", "best"] | None = Field(
        None, description="Which weights of a run; those that the method trusts if not given."
    )
    options: PredictionConfig = Field(PredictionConfig(), description="How images are restored.")
    output: str = Field("predictions", description="Folder for the results.")
    write_type: Literal["tiff", "zarr", "ome-zarr"] | None = Field(
        None, description="What is written: TIFF if not given, Zarr for Zarr images."
    )
    compression: str = Field("default", description="none, zstd, zlib, ...")
    overwrite: Literal["error", "skip", "replace"] = Field(
        "error", description="Where a file exists."
    )

    def arguments(self) -> dict[str, Any]:
        """Return what is not the default, by the names of ``CAREamist.predict_to_disk``."""
        defaults = PredictionConfig()
        values = {name: getattr(self.options, name) for name in PredictionConfig.model_fields}
        given = {name: value for name, value in values.items() if value != getattr(defaults, name)}
        given |= {"checkpoint": self.weights} if self.weights is not None else {}
        for name in ("write_type", "compression", "overwrite"):
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                given[name] = value
        return given


Job = Annotated[TrainingJob | PredictionJob, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[TrainingJob | PredictionJob] = TypeAdapter(Job)


def save_job(job: TrainingJob | PredictionJob, path: str | Path) -> Path:
    """Write a job as YAML.

    Raises
    ------
    UnreadableError
        If the file cannot be written.
    """
    path = Path(path)
    text = yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be written ({error.strerror}).", "Choose another place."
        ) from error
    return path


def load_job(path: str | Path) -> TrainingJob | PredictionJob:
    """Read a job from YAML.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    SettingsError
        If it is no YAML, or a field is unknown or invalid; the message names the field.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise SourceNotFoundError(f"There is no job file {path}.", "Check the path.")
    try:
        return _ADAPTER.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML ({error}).", "Mend the file.") from error
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        raise SettingsError(f"{path} is no job: {explain(error)}", "Mend the file.") from error


def _read(path: Path) -> Any:
    """Return an array as numpy, tifffile and zarr read it."""
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path)
        if path.suffix.lower() == ".zarr":
            import zarr

            return zarr.open_array(path, mode="r")
        import tifffile

        return tifffile.imread(path)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"There is no file {path}.", "Check the path.") from error
    except Exception as error:  # each of the three has its own
        raise UnreadableError(
            f"{path} cannot be read as an array ({type(error).__name__}: {error}).",
            "Check that the file is complete.",
        ) from error
