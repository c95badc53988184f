"""Which target belongs to which image: by name where there are names, else by place."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from careamist.dataset.image_stack.custom import ImageStackLoading, Loading
from careamist.dataset.sources import find_sources, is_path, is_uri, open_groups
from careamist.errors import DataError, SettingsError

if TYPE_CHECKING:
    from careamist.dataset.image_stack import ImageStack

_SHOWN = 10  # rows of a table of mismatches


class PairingError(DataError):
    """Images and targets that are no pairs.

    Attributes
    ----------
    rows : tuple of (str, str)
        All that have no partner, or the wrong one, and what is wrong; the message lists the first.
    """

    def __init__(self, message: str, hint: str = "", rows: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, hint)
        self.rows = tuple(rows)


def open_pairs(
    inputs: Any,
    targets: Any,
    data_type: str,
    axes: str,
    target_axes: str | None = None,
    loading: Loading | None = None,
) -> tuple[list[ImageStack], list[ImageStack]]:
    """Open images and their targets, in matching order.

    Files are paired by their names: by the place below their folder where folders are given, or
    where a list holds files of equal names. Lists of files that have no name in common are paired
    by their order, and so are arrays. Several images of one file follow the same rule.

    Parameters
    ----------
    inputs, targets : array-like, path, URI, or list of these
        As for `open_stacks`, both of the same kind.
    data_type : str
        Format of both.
    axes, target_axes : str
        Axes of the images, and of the targets where they differ.
    loading : ReadFuncLoading or ImageStackLoading, optional
        How custom data are read.

    Returns
    -------
    inputs, targets : list of ImageStack
        Of equal length; each target has the samples and the size in (Z)YX of its input.

    Raises
    ------
    PairingError
        If something has no partner, or a partner of another size; the message lists what.
    DataError
        If there are more images than targets, or fewer.
    SettingsError
        If one is a path and the other is not.
    """
    if is_path(inputs) != is_path(targets) and not isinstance(loading, ImageStackLoading):
        raise SettingsError(
            "Images and targets were given in different ways.",
            "Give arrays for both, or paths for both.",
        )
    if is_path(inputs) and data_type != "array" and not isinstance(loading, ImageStackLoading):
        input_sources = find_sources(inputs, data_type, loading)
        target_sources = find_sources(targets, data_type, loading)
        targets = _paired(inputs, input_sources, targets, target_sources)
        inputs = input_sources
    groups = open_groups(inputs, data_type, axes, loading)
    target_groups = open_groups(targets, data_type, target_axes or axes, loading)
    _check_counts("images", len(groups), "targets", len(target_groups))
    stacks: list[ImageStack] = []
    partners: list[ImageStack] = []
    for group, partner in zip(groups, target_groups, strict=True):
        stacks += group
        partners += _matched(group, partner)
    check_shapes(stacks, partners)
    return stacks, partners


def check_shapes(inputs: Sequence[ImageStack], targets: Sequence[ImageStack]) -> None:
    """Raise `PairingError` unless each target has the samples and spatial size of its input."""
    rows = [
        (str(a.source), f"{_without_channels(a)} – {b.source}: {_without_channels(b)}")
        for a, b in zip(inputs, targets, strict=True)
        if _without_channels(a) != _without_channels(b)
    ]
    if rows:
        raise PairingError(
            "Images and their targets differ in samples or size (S(Z)YX):\n" + _table(rows),
            "Crop or re-sample them to equal sizes.",
            rows,
        )


def _paired(
    inputs: Any, input_sources: list[Any], targets: Any, target_sources: list[Any]
) -> list[Any]:
    """Return the target sources in the order of the input sources."""
    if len(input_sources) == len(target_sources) == 1:
        return target_sources
    names, target_names = _names(inputs, input_sources), _names(targets, target_sources)
    if len(set(names)) < len(names) or len(set(target_names)) < len(target_names):
        # files of equal names in several folders, as far as these are told apart
        longer, target_longer = _longer_names(input_sources), _longer_names(target_sources)
        if set(longer) & set(target_longer) or names != target_names:
            names, target_names = longer, target_longer
        else:
            return target_sources
    listed = isinstance(inputs, (list, tuple)) and isinstance(targets, (list, tuple))
    order = _order(names, target_names, by_place=listed)
    return [target_sources[index] for index in order]


def _matched(group: list[ImageStack], partner: list[ImageStack]) -> list[ImageStack]:
    """Return the images of a target file in the order of those of the input file."""
    _check_counts(str(group[0].source), len(group), str(partner[0].source), len(partner))
    names, target_names = ([Path(str(s.source)).name for s in some] for some in (group, partner))
    if len(group) == 1 or names == target_names:
        return partner
    return [partner[index] for index in _order(names, target_names, by_place=True)]


def _order(names: list[str], target_names: list[str], *, by_place: bool) -> list[int]:
    """Return which target each name belongs to; without a name in common, perhaps by place."""
    common = set(names) & set(target_names)
    if not common and by_place and len(names) == len(target_names):
        return list(range(len(names)))
    distinct = len(set(names)) == len(names) and len(set(target_names)) == len(target_names)
    if distinct and set(names) == set(target_names):
        return [target_names.index(name) for name in names]
    rows = [(name, "no target") for name in names if name not in common]
    rows += [(name, "no image") for name in target_names if name not in common]
    rows += [(n, "given more than once") for n in sorted(common) if names.count(n) > 1]
    rows += [(n, "more than one target") for n in sorted(common) if target_names.count(n) > 1]
    raise PairingError(
        f"{len(names)} images and {len(target_names)} targets cannot be paired by their names:\n"
        + _table(rows),
        "Give each target the name of its image, or two lists in matching order without a name "
        "in common.",
        rows,
    )


def _names(given: Any, sources: list[Any]) -> list[str]:
    """Return what each source is paired by: its place below the folder, without its ending."""
    items = given if isinstance(given, (list, tuple)) else [given]
    roots = [Path(item).expanduser() for item in items if not is_uri(item)]
    names = []
    for path in map(Path, sources):
        root = next((r for r in roots if r != path and path.is_relative_to(r)), path.parent)
        names.append(_without_ending(path.relative_to(root)))
    return names


def _longer_names(sources: list[Any]) -> list[str]:
    """Return the place of each source below the folder that holds them all."""
    paths = [Path(source).absolute() for source in sources]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return [_without_ending(path.relative_to(root)) for path in paths]


def _without_ending(path: Path) -> str:
    """Return ``a/b`` for a/b.tif, ``a@2`` for scene 2 of a.czi; numbers are no endings."""
    return re.sub(r"\.[A-Za-z]\w*(?=$|@\d+$)", "", path.as_posix())


def _without_channels(stack: ImageStack) -> tuple[int, ...]:
    n_samples, _, *spatial = stack.data_shape
    return (n_samples, *spatial)


def _check_counts(name: str, count: int, partner: str, partner_count: int) -> None:
    if count != partner_count:
        raise DataError(
            f"{name} ({count}) and {partner} ({partner_count}) differ in number.",
            "Give one target for each image.",
        )


def _table(rows: list[tuple[str, str]]) -> str:
    more = [f"... and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    lines = [f"{name}: {wrong}" for name, wrong in rows[:_SHOWN]]
    return "\n".join(f"  {line}" for line in (*lines, *more))
