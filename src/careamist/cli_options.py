"""A pydantic model as options of a command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

WIDTH = 80  # of help and of what is printed


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
