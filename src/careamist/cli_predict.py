"""``careamist predict``: images through a model, to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from careamist.cli_options import (
    FILES,
    FIRST,
    TYPE,
    Axes,
    Channels,
    Command,
    FileType,
    as_list,
    one_or_all,
    report,
)
from careamist.config.prediction import PredictionConfig
from careamist.prediction.writers import WRITERS

if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[tuple(WRITERS)]

_FIELDS = PredictionConfig.model_fields


def _share(value: Any) -> Any:
    """Return (0, 4) for ``1/4``: people count from one."""
    if not isinstance(value, str):
        return value
    place, slash, count = value.partition("/")
    if not (slash and place.isdecimal() and count.isdecimal() and 1 <= int(place) <= int(count)):
        raise ValueError(f"Input should be like 1/4, the first of four, not {value}")
    return int(place) - 1, int(count)


def _said(name: str) -> str:
    return str(_FIELDS[name].description)


class Predict(Command):
    """Restore images with a trained model."""

    model: Path = Field(description="A .ckpt file, or a folder with one.", json_schema_extra=FIRST)
    data: list[str] = Field(description=FILES, json_schema_extra=FIRST)
    output: Path = Field(description="Folder for the results.", json_schema_extra={"short": "o"})
    axes: Axes | None = Field(None, description="Axes, where they differ from the training's.")
    data_type: FileType | None = Field(None, description=TYPE)
    channels: Channels | None = Field(
        None, description="Channels to use, as in 0,2, where images have more than the model."
    )
    tile: Annotated[list[int], BeforeValidator(as_list)] | None = Field(
        None, description="Window in (Z)YX pixels, as in 512,512; automatic if not given."
    )
    batch: int = Field(_FIELDS["batch_size"].default, ge=1, description=_said("batch_size"))
    format: Format | None = Field(
        None, description="What is written: TIFF if not given, Zarr for Zarr images."
    )
    compression: str = Field(
        "default", description="none, zstd, zlib, ...; zstd for Zarr, none for TIFF if not given."
    )
    dtype: Literal["float32", "input"] = Field("float32", description=_said("dtype"))
    tta: Literal["none", "trained", "all"] = Field("none", description=_said("tta"))
    spread: bool = Field(False, description=_said("spread"))
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description=_said("precision")
    )
    device: str | None = Field(None, description=_said("device"))
    overwrite: Literal["error", "skip", "replace"] = Field(
        "error", description="Where a file exists; an interrupted run is taken up again."
    )
    share: Annotated[tuple[int, int], BeforeValidator(_share)] | None = Field(
        None, description="Do one share of the work, as in 1/4; other processes do the others."
    )

    def run(self) -> int:
        """Predict; an interrupt keeps the files that are complete."""
        from careamist.careamist import CAREamist

        careamist = CAREamist(checkpoint_path=self.model)
        careamist.predict_to_disk(
            one_or_all(self.data),
            prediction_dir=self.output.absolute(),
            data_type=self.data_type,
            axes=self.axes,
            channels=self.channels,
            tile_size="auto" if self.tile is None else self.tile,
            batch_size=self.batch,
            write_type=self.format,
            compression=self.compression,
            dtype=self.dtype,
            tta=self.tta,
            spread=self.spread,
            precision=self.precision,
            device=self.device,
            overwrite=self.overwrite,
            share=self.share,
        )
        return report(careamist, f"Results: {self.output}")
