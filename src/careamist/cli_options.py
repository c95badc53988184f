"""A pydantic model as options of a command line; what the commands have in common."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from careamist.dataset.image_stack import FORMATS
from careamist.utils.reshape_array import check_axes

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from careamist.careamist import CAREamist

    FileType = str
else:
    FileType = Literal[tuple(name for name in FORMATS if name != "array")]

WIDTH = 80  # of help and of what is printed
STOPPED = 130
TYPE = "Format, where it does not follow from the names."
FILES = "TIFF, CZI, NumPy, PNG or JPEG files, Zarr stores or URLs, or folders of files."
FIRST: dict[str, Any] = {"positional": True}


def as_list(value: Any) -> Any:
    """Return ["0", "2"] for ``0,2``."""
    return value.split(",") if isinstance(value, str) else value


Axes = Annotated[str, AfterValidator(check_axes)]
Channels = Annotated[list[int], BeforeValidator(as_list)]


class Command(BaseModel):
    """One command: its options are its fields."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class UnusableError(Exception):
    """What was typed cannot be parsed; the text says why."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `UnusableError`."""

    def __init__(self, **options: Any) -> None:
        def layout(prog: str) -> argparse.HelpFormatter:
            return argparse.HelpFormatter(prog, max_help_position=26, width=WIDTH)

        super().__init__(allow_abbrev=False, formatter_class=layout, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the program."""
        raise UnusableError(message)


def add_options(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """Add an argument for each field; only what is typed will be among the parsed values.

    Values stay text, for the model to validate. A field of ``list[str]`` takes several words.
    `json_schema_extra` may say ``positional`` and a ``short`` name. A bool that is true by default
    becomes ``--no-name``, with the description of what that does.
    """
    for name, field in model.model_fields.items():
        _add_option(parser, name, field)


def _add_option(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    extra: Any = field.json_schema_extra or {}
    words = str(field.description).replace("%", "%%")
    option = f"--{name.replace('_', '-')}"
    options: dict[str, Any] = {"help": words}
    types = (field.annotation, *get_args(field.annotation))
    if list[str] in types:
        options["nargs"] = "+"
    if extra.get("positional"):
        parser.add_argument(name, metavar=name.upper(), **options)
        return
    options |= {"dest": name, "default": argparse.SUPPRESS}
    if field.annotation is bool:
        act = "store_false" if field.default else "store_true"
        option = option.replace("--", "--no-") if field.default else option
        parser.add_argument(option, action=act, **options)
        return
    if not field.is_required() and field.default is not None:
        options["help"] += f" (default: {field.default})"
    choices = dict.fromkeys(value for part in types for value in (part, *get_args(part)))
    names = [value for value in choices if isinstance(value, str)]
    last_word = name.upper().rpartition("_")[2]
    options["metavar"] = f"{{{','.join(names)}}}" if names else last_word
    flags = [f"-{extra['short']}", option] if "short" in extra else [option]
    parser.add_argument(*flags, required=field.is_required(), **options)


def one_or_all(paths: list[str] | None) -> list[str] | str | None:
    """Return one path as itself, so that of a folder the places below it are kept."""
    return paths[0] if paths and len(paths) == 1 else paths


def report(careamist: CAREamist, line: str) -> int:
    """Say how a run has ended; return the exit code."""
    sys.stderr.write(f"{'Stopped. ' if careamist.was_stopped else ''}{line}\n")
    return STOPPED if careamist.was_stopped else 0
