"""What a pydantic field says about its editor: kind, range, label, tooltip."""

from __future__ import annotations

import types
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MISSING", "Bounds", "FieldSpec", "discriminator", "read_fields"]

MISSING: Any = object()
LEVELS = ("simple", "advanced", "hidden")
Kind = Literal[
    "bool", "number", "text", "choice", "optional", "row", "model", "union", "members", "other"
]


class Bounds(NamedTuple):
    """The range of a number; the exclusive limits are kept apart."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    multiple_of: float | None = None


UNBOUND = Bounds()


@dataclass(frozen=True)
class FieldSpec:
    """All that an editor needs to know of a field."""

    name: str
    kind: Kind
    label: str
    description: str = ""
    level: str | None = None  # None: not said, as its parent
    bounds: Bounds = UNBOUND
    integer: bool = False
    choices: tuple[Any, ...] = ()  # values, or model classes
    off: Any = None  # of an optional field: the value that means "automatic"
    nullable: bool = False  # of a union: `off` is one of the choices
    length: int = 1  # of a row: how many numbers where there is no value yet
    inner: FieldSpec | None = None  # of an optional field or a row
    extra: dict[str, Any] = field(default_factory=dict)
    start: Any = MISSING  # a first value where the default is none


def read_fields(model: type[BaseModel]) -> Iterator[FieldSpec]:
    """Yield the fields of a model in their order, without the constants."""
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        notes = dict(extra) if isinstance(extra, dict) else {}
        label = notes.get("label", info.title or name.replace("_", " ").capitalize())
        level = notes.get("level")
        if level is not None and level not in LEVELS:
            msg = f"{model.__name__}.{name}: level {level!r} is not one of {', '.join(LEVELS)}."
            raise ValueError(msg)
        base = FieldSpec(
            name=name,
            kind="other",
            label=str(label),
            description=info.description or "",
            level=None if level is None else str(level),
            extra=notes,
            start=info.examples[0] if info.examples else MISSING,
        )
        found = _read_type(info.annotation, list(info.metadata), base)
        if not (found.kind == "choice" and len(found.choices) == 1):
            yield found


def discriminator(members: tuple[type[BaseModel], ...]) -> str | None:
    """Return the field whose single literal tells the members of a union apart."""
    for name, info in members[0].model_fields.items():
        tags = [_single_literal(member.model_fields.get(name)) for member in members]
        apart = len(set(tags)) == len(members) and MISSING not in tags
        if get_origin(info.annotation) is Literal and apart:
            return name
    return None


def _single_literal(info: FieldInfo | None) -> Any:
    args = get_args(info.annotation) if info is not None else ()
    return args[0] if len(args) == 1 else MISSING


def _read_type(annotation: Any, metadata: list[Any], base: FieldSpec) -> FieldSpec:
    annotation, inner = _unwrap(annotation)
    base = replace(base, bounds=_bounds(metadata + inner, base.bounds))
    origin = get_origin(annotation)
    if origin is Literal:
        return replace(base, kind="choice", choices=get_args(annotation))
    if origin in (Union, types.UnionType):
        return _read_union(get_args(annotation), base)
    if origin in (list, tuple):
        return _read_sequence(annotation, base)
    if not isinstance(annotation, type):
        return base
    return _read_class(annotation, base)


def _read_class(annotation: type, base: FieldSpec) -> FieldSpec:
    if issubclass(annotation, BaseModel):
        return replace(base, kind="model", choices=(annotation,))
    if issubclass(annotation, Enum):
        return replace(base, kind="choice", choices=tuple(annotation))
    if issubclass(annotation, bool):
        return replace(base, kind="bool")
    if issubclass(annotation, (int, float)):
        return replace(base, kind="number", integer=issubclass(annotation, int))
    if issubclass(annotation, (str, Path)):
        return replace(base, kind="text")
    return base


def _read_union(members: tuple[Any, ...], base: FieldSpec) -> FieldSpec:
    off = [member for member in members if _is_off(member)]
    rest = tuple(member for member in members if not _is_off(member))
    if off and rest:
        value = None if off[0] is type(None) else get_args(off[0])[0]
        body = rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007 (built at run time)
        inner = _read_type(body, [], base)
        if inner.kind in ("model", "union"):
            return replace(inner, kind="union", off=value, nullable=True)
        kind: Kind = "other" if inner.kind in ("other", "members") else "optional"
        return replace(base, kind=kind, off=value, inner=inner)
    plain = tuple(_unwrap(member)[0] for member in rest)
    if all(isinstance(member, type) and issubclass(member, BaseModel) for member in plain):
        return replace(base, kind="union", choices=plain)
    if set(plain) == {int, float}:
        return replace(base, kind="number")
    return base


def _is_off(member: Any) -> bool:
    """Tell whether a member of a union stands for "automatic": None or Literal["auto"]."""
    return member is type(None) or (
        get_origin(member) is Literal
        and isinstance(get_args(member)[0], str)
        and len(get_args(member)) == 1
    )


def _read_sequence(annotation: Any, base: FieldSpec) -> FieldSpec:
    args = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    if not args:
        return base
    item = _read_type(args[0], [], replace(base, bounds=UNBOUND))
    if item.kind == "number":
        return replace(base, kind="row", inner=replace(item, start=MISSING), length=len(args))
    if item.kind in ("union", "model"):
        return replace(base, kind="members", choices=item.choices)
    return base


def _unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    """Strip ``type X = ...`` and ``Annotated``; return what was noted there."""
    notes: list[Any] = []
    while True:
        if hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        elif hasattr(annotation, "__metadata__"):
            notes += annotation.__metadata__
            annotation = annotation.__origin__
        else:
            return annotation, notes


def _bounds(metadata: list[Any], found: Bounds) -> Bounds:
    for note in metadata:
        if isinstance(note, FieldInfo):
            found = _bounds(note.metadata, found)
            continue
        parts = {name: getattr(note, name, None) for name in Bounds._fields}
        found = found._replace(**{key: part for key, part in parts.items() if part is not None})
    return found
