"""The docks: a thin skin over the engine."""

import pydantic.fields  # noqa: F401 - before Qt: the import hook of PySide6 trips over it
