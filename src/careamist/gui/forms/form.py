"""Any pydantic model as a form; defaults, ranges and tooltips come from its fields alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.forms.rows import hint_label
from careamist.gui.forms.sections import Section, values_of

__all__ = ["ModelForm"]


class ModelForm(QWidget):
    """A form over a pydantic model.

    A field may say more about its looks in ``json_schema_extra``: `level` ("simple",
    "advanced" or "hidden"), `label`, `unit`, `step`, `decimals`, `hint` (a line under
    the field), `choices` (a word for each value) and `none` (a word for "off"). Where an
    optional field has no default, its first example is what the editor starts with.

    Parameters
    ----------
    model : type of BaseModel or BaseModel
        A class is shown with its defaults, an instance with its values.
    parent : QWidget, optional
    level : {"simple", "advanced"}, optional
        Show only the fields of this level; the values of the others are kept.
    """

    valueChanged = Signal()

    def __init__(
        self,
        model: type[BaseModel] | BaseModel,
        parent: QWidget | None = None,
        *,
        level: str | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._model = type(model) if isinstance(model, BaseModel) else model
        self._quiet = False
        self._errors: dict[str, str] = {}
        defaults = values_of(self._model)
        if isinstance(model, BaseModel):  # a field without a default goes back to what it was
            defaults = values_of(model) | defaults
        self._section = Section(self._model, defaults, level=level, parent=self)
        self._message = hint_label("", self, role="note")
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        lines.addWidget(self._section)
        lines.addWidget(self._message)
        if isinstance(model, BaseModel):
            self._section.setValue(model)
        self._section.valueChanged.connect(self._changed)
        self._check()

    def value(self) -> Any:
        """Return a new instance; raises pydantic.ValidationError where the form is not valid."""
        return self._model.model_validate(self._section.value(), by_name=True)

    def setValue(self, model: BaseModel) -> None:
        """Show an instance, those values included for which there is no field on show."""
        if not isinstance(model, self._model):
            msg = f"The form edits {self._model.__name__}, but was given {type(model).__name__}."
            raise TypeError(msg)
        before = self._section.value()
        self._quietly(lambda: self._section.setValue(model), before)

    def setDefaults(self, model: BaseModel) -> None:
        """Take these values for the defaults, without changing what is shown."""
        self._section.setDefaults(values_of(model))

    def reset(self) -> None:
        """Put the shown fields back to their defaults."""
        self._quietly(self._section.reset, self._section.value())

    def changed(self) -> int:
        """Return how many of the shown fields differ from their defaults."""
        return self._section.changed()

    def errors(self) -> dict[str, str]:
        """Return what is wrong, by field; "" stands for the model as a whole."""
        return dict(self._errors)

    def isShown(self) -> bool:
        """Tell whether any field is on show at this level."""
        return self._section.isShown()

    def _quietly(self, act: Any, before: dict[str, Any]) -> None:
        self._quiet = True
        try:
            act()
        finally:
            self._quiet = False
        if self._section.value() != before:
            self._changed()

    def _changed(self) -> None:
        if not self._quiet:
            self._check()
            self.valueChanged.emit()

    def _check(self) -> None:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        try:
            self.value()
        except ValidationError as error:
            problems = [(found["loc"], _words(found["msg"])) for found in error.errors()]
        self._errors = {}
        for place, words in problems:
            key = ".".join(part for part in self._named(place) if part)
            self._errors[key] = f"{self._errors.get(key, '')} {words}".strip()
        left = self._section.showProblems(problems)
        text = "\n".join(f"{key}: {words}" if key else words for key, words in left.items())
        self._message.setText(text)
        self._message.setVisible(bool(text))

    def _named(self, place: tuple[str | int, ...]) -> list[str]:
        """Drop from a place what pydantic adds: the tag of a union, the index in a row."""
        names: list[str] = []
        models: set[type[BaseModel]] = {self._model}
        for part in place:
            infos = [m.model_fields[part] for m in models if part in m.model_fields]
            if infos:
                names.append(str(part))
                models = _models_in([info.annotation for info in infos])
        return names


def _models_in(annotations: list[Any]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = set()
    todo = list(annotations)
    while todo:
        at = todo.pop()
        if isinstance(at, type) and issubclass(at, BaseModel):
            found.add(at)
        else:
            todo += [*getattr(at, "__args__", ()), *_values(at)]
    return found


def _values(annotation: Any) -> list[Any]:
    return [annotation.__value__] if hasattr(annotation, "__value__") else []


def _words(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("Input should be", "It should be")
    return text if text.endswith((".", "!", "?")) else f"{text}."
