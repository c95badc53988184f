"""What there is to know of an image, from a part of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from careamist.dataset.report import BUDGET, ImageReport, describe, report
from careamist.dataset.sources import find_sources, guess_data_type, is_uri
from careamist.gui.data.data_source import DataChoice, layer_info

_NEAR_BUDGET, _FAR_BUDGET = BUDGET // 2, BUDGET // 16  # bytes that are looked at
_LOOKED_AT, _TOLD = 20, 5  # files of a folder, and what is told of the others


def pixels_of(choice: DataChoice) -> tuple[Any, str]:
    """Return the data of a choice and its data type."""
    return choice.source, choice.data_type or guess_data_type(choice.source)


def about(choice: DataChoice, knows_axes: bool, check: Callable[[], None]) -> list[tuple[str, str]]:
    """Return what there is to know of an image, in (label, text), from a part of its pixels."""
    data, data_type = pixels_of(choice)
    paths = [] if choice.layer is not None else find_sources(data, data_type)
    budget = _FAR_BUDGET if any(map(is_uri, paths)) else _NEAR_BUDGET
    axes = choice.axes if data_type == "czi" else None
    found = report(paths[:_LOOKED_AT] or data, data_type, axes=axes, budget=budget, check=check)
    first, *others = found
    name = choice.name if len(found) == 1 else f"{_last(first)}, first of {len(found)}"
    known = replace(first.info, source=name, axes=choice.axes if knows_axes else first.info.axes)
    rows = describe(replace(first, info=known))
    if choice.layer is not None and (size := layer_info(choice.layer, choice.level).pixel_size):
        rows.insert(4, ("Pixel size", size))
    told = [
        ("Attention", f"{_last(other)}: {text}")
        for other in others
        for label, text in describe(other)
        if label == "Attention"
    ]
    if len(told) > _TOLD:
        told = [*told[:_TOLD], ("Attention", f"{len(told) - _TOLD} more about the others.")]
    if len(paths) > _LOOKED_AT:
        told.append(("Others", f"{len(paths) - _LOOKED_AT} files were not looked at."))
    return rows + told


def _last(found: ImageReport) -> str:
    return found.info.source.replace("\\", "/").rpartition("/")[2]
