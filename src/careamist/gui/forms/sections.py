"""The rows of one model in a form; models in it are sections of their own."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.forms.editors import make_editor
from careamist.gui.forms.fields import FieldSpec, discriminator, read_fields
from careamist.gui.forms.rows import Combo, FieldRow, Heading, Wrap, plain, set_state

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Section", "values_of"]

Problem = tuple[tuple[str | int, ...], str]


class Section(QWidget):
    """Edits the shown fields of a model and keeps the values of the others."""

    valueChanged = Signal()

    def __init__(
        self,
        model: type[BaseModel],
        defaults: dict[str, Any],
        *,
        level: str | None,
        inherited: str = "simple",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.model = model
        self._defaults = defaults
        self._kept = dict(defaults)
        self._specs = {spec.name: spec for spec in read_fields(model)}
        self._editors: dict[str, Any] = {}
        self._rows: dict[str, FieldRow] = {}
        self._lines = QVBoxLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(8)
        # what has a heading comes last: it would seem to have the rows below it, too
        for spec in sorted(self._specs.values(), key=lambda spec: spec.kind == "model"):
            self._add(spec, level, spec.level or inherited)
        self._fill()

    def isShown(self) -> bool:
        """Tell whether any field of this section is on show."""
        return any(
            not isinstance(editor, (Section, UnionEditor)) or editor.isShown()
            for editor in self._editors.values()
        )

    def value(self) -> dict[str, Any]:
        """Return what is in the form, not yet checked by the model."""
        return self._kept | {name: editor.value() for name, editor in self._editors.items()}

    def setValue(self, model: BaseModel) -> None:
        self._kept = values_of(model)
        self._fill()

    def setDefaults(self, values: dict[str, Any]) -> None:
        """Take these values for the defaults, without changing what is shown."""
        self._defaults = dict(values)
        for name, editor in self._editors.items():
            if isinstance(editor, (Section, UnionEditor)) and name in values:
                value = values[name]
                editor.setDefaults(values_of(value) if isinstance(editor, Section) else value)

    def reset(self) -> None:
        """Put the shown fields back to their defaults."""
        for name, editor in self._editors.items():
            if isinstance(editor, (Section, UnionEditor)):
                editor.reset()
            elif name in self._defaults:
                editor.setValue(self._defaults[name])

    def changed(self) -> int:
        """Count the shown fields that differ from their defaults."""
        count = 0
        for name, editor in self._editors.items():
            if isinstance(editor, (Section, UnionEditor)):
                count += editor.changed()
            elif name in self._defaults:
                count += not _same(editor.value(), self._defaults[name])
        return count

    def showProblems(self, problems: Iterable[Problem]) -> dict[str, str]:
        """Put each problem under its field; return those which have no field here."""
        own: dict[str, list[Problem]] = {}
        left: dict[str, str] = {}
        for place, words in problems:
            name = str(place[0]) if place else ""
            own.setdefault(name, []).append((place[1:], words))
        for name, row in self._rows.items():
            text = " ".join(words for _, words in own.get(name, ()))
            editor = self._editors[name]
            if not isinstance(editor, UnionEditor):
                row.setMessage(text)
                set_state(editor, "error" if text else "")
        for name, editor in self._editors.items():
            if isinstance(editor, (Section, UnionEditor)):
                below = editor.showProblems(own.get(name, ()))
                left |= {f"{name}.{key}".rstrip("."): words for key, words in below.items()}
        for name, found in own.items():
            if name not in self._editors:
                left[name] = " ".join(words for _, words in found)
        return left

    def _add(self, spec: FieldSpec, wanted: str | None, level: str) -> None:
        editor: Any
        if spec.kind == "other" or level == "hidden":
            return
        on_show = wanted is None or wanted == level
        if spec.kind == "model":
            self._add_model(spec, wanted, level)
            return
        if spec.kind == "union":
            editor = UnionEditor(spec, self._defaults.get(spec.name), on_show, wanted, level, self)
            self._lines.addWidget(editor)
        elif not on_show:
            return
        else:
            editor = (
                MembersEditor(spec, self) if spec.kind == "members" else make_editor(spec, self)
            )
            row = FieldRow(
                spec.label, editor, self, hint="" if spec.kind == "bool" else _hint(spec.extra)
            )
            row.setToolTip(spec.description)
            self._rows[spec.name] = row
            self._lines.addWidget(row)
        self._editors[spec.name] = editor
        editor.valueChanged.connect(lambda *_: self.valueChanged.emit())

    def _add_model(self, spec: FieldSpec, wanted: str | None, level: str) -> None:
        start = self._defaults.get(spec.name)
        model = type(start) if isinstance(start, BaseModel) else spec.choices[0]
        defaults = values_of(start if isinstance(start, BaseModel) else model)
        section = Section(model, defaults, level=wanted, inherited=level, parent=self)
        section.valueChanged.connect(lambda: self.valueChanged.emit())
        self._editors[spec.name] = section
        if section.isShown() and spec.label:
            self._lines.addWidget(Heading(plain(spec.label), self))
        self._lines.addWidget(section)
        section.setVisible(section.isShown())

    def _fill(self) -> None:
        for name, editor in self._editors.items():
            if name in self._kept:
                editor.setValue(self._kept[name])


class UnionEditor(QWidget):
    """A choice between models, and the fields of the chosen one below it."""

    valueChanged = Signal()

    def __init__(
        self,
        spec: FieldSpec,
        default: Any,
        on_show: bool,
        wanted: str | None,
        level: str,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._spec, self._default, self._on_show = spec, default, on_show
        self._wanted, self._level = wanted, level
        self._sections: dict[type[BaseModel], Section] = {}
        self._models: list[Any] = ([None] if spec.nullable else []) + list(spec.choices)
        self._combo = Combo(self)
        self._combo.addItems([self._word(model) for model in self._models])
        self._combo.setToolTip(spec.description)
        self._row = FieldRow(spec.label, self._combo, self)
        self._row.setToolTip(spec.description)
        self._row.setVisible(on_show)
        self._lines = QVBoxLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(8)
        self._lines.addWidget(self._row)
        self._combo.currentIndexChanged.connect(self._choose)
        self._choose()

    def isShown(self) -> bool:
        section = self._section()
        return self._on_show or (section is not None and section.isShown())

    def value(self) -> Any:
        section = self._section()
        if section is None:
            return self._spec.off
        # A dictionary cannot tell two models without a tag apart.
        if discriminator(self._spec.choices) is None:
            try:
                return section.model.model_validate(section.value(), by_name=True)
            except ValidationError:
                pass
        return section.value()

    def setValue(self, value: Any) -> None:
        if not isinstance(value, BaseModel):
            self._combo.setCurrentIndex(0)
            return
        model = next((m for m in self._models if m and isinstance(value, m)), None)
        if model is None:
            return
        self._make(model).setValue(value)
        self._combo.setCurrentIndex(self._models.index(model))

    def setDefaults(self, value: Any) -> None:
        self._default = value
        for model, section in self._sections.items():
            if isinstance(value, model):
                section.setDefaults(values_of(value))

    def reset(self) -> None:
        if self._on_show and (isinstance(self._default, BaseModel) or self._spec.nullable):
            self.setValue(self._default)
        elif (section := self._section()) is not None:
            section.reset()

    def changed(self) -> int:
        section = self._section()
        other = (
            self._on_show
            and self._default is not None
            and not (section is not None and isinstance(self._default, section.model))
        )
        newly = self._on_show and self._spec.nullable and self._default is None
        count = int(other or (newly and section is not None))
        return count + (section.changed() if section is not None else 0)

    def showProblems(self, problems: Iterable[Problem]) -> dict[str, str]:
        section = self._section()
        own: list[str] = []
        below: list[Problem] = []
        for place, words in problems:
            # pydantic names the member first
            tagged = section and place and place[0] not in section.model.model_fields
            place = place[1:] if tagged else place
            (below.append((place, words)) if place and section else own.append(words))
        self._row.setMessage(" ".join(own))
        left = section.showProblems(below) if section else {}
        return left if self._on_show or not own else left | {"": " ".join(own)}

    def _section(self) -> Section | None:
        model = self._models[max(0, self._combo.currentIndex())]
        return None if model is None else self._make(model)

    def _make(self, model: type[BaseModel]) -> Section:
        if model not in self._sections:
            start = self._default if isinstance(self._default, model) else model
            section = Section(
                model, values_of(start), level=self._wanted, inherited=self._level, parent=self
            )
            section.valueChanged.connect(lambda: self.valueChanged.emit())
            self._sections[model] = section
            self._lines.addWidget(section)
        return self._sections[model]

    def _choose(self) -> None:
        chosen = self._section()
        for section in self._sections.values():
            section.setVisible(section is chosen and section.isShown())
        notes = chosen.model.model_config.get("json_schema_extra") if chosen else None
        self._row.setHint(_hint(notes) if isinstance(notes, dict) else "")
        self.valueChanged.emit()

    def _word(self, model: type[BaseModel] | None) -> str:
        if model is None:
            return str(self._spec.extra.get("none", "Automatic"))
        return member_word(model, self._spec)


class MembersEditor(Wrap):
    """A list of models of which each kind is in it or not: one check box per kind."""

    valueChanged = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(parent, spacing=10)
        self._spare: dict[type[BaseModel], list[BaseModel]] = {}
        self._items_in: list[BaseModel] = []
        self._checks: dict[type[BaseModel], QCheckBox] = {}
        for model in spec.choices:
            check = QCheckBox(member_word(model, spec), self)
            check.setToolTip(" ".join((model.__doc__ or spec.description).split()))
            check.setAccessibleName(check.text())
            check.toggled.connect(lambda on, model=model: self._toggle(model, on))
            self._checks[model] = check
        self.setWidgets(list(self._checks.values()))

    def value(self) -> list[BaseModel]:
        return list(self._items_in)

    def setValue(self, value: Any) -> None:
        if list(value) == self._items_in:
            return
        self._items_in = list(value)
        for model, check in self._checks.items():
            check.blockSignals(True)
            check.setChecked(any(type(item) is model for item in value))
            check.blockSignals(False)
        self.valueChanged.emit()

    def _toggle(self, model: type[BaseModel], on: bool) -> None:
        if on:
            self._items_in += self._spare.pop(model, []) or [model()]
        else:
            self._spare[model] = [item for item in self._items_in if type(item) is model]
            self._items_in = [item for item in self._items_in if type(item) is not model]
        self.valueChanged.emit()


def member_word(model: type[BaseModel], spec: FieldSpec) -> str:
    """Name a member of a union: by the field's words, the model's title, its tag, its class."""
    tag_field = discriminator(spec.choices) if len(spec.choices) > 1 else None
    tag = str(get_args(model.model_fields[tag_field].annotation)[0]) if tag_field else ""
    words = spec.extra.get("choices", {})
    title = model.model_config.get("title")
    return str(words.get(tag) or title or tag.replace("_", " ").capitalize() or model.__name__)


def values_of(model: BaseModel | type[BaseModel]) -> dict[str, Any]:
    """Return the values of an instance, or the defaults of a class as far as it has them."""
    if isinstance(model, BaseModel):
        return {name: getattr(model, name) for name in type(model).model_fields}
    try:
        return values_of(model())
    except ValidationError:
        found: dict[str, Any] = {}
        for name, info in model.model_fields.items():
            if not info.is_required():
                found[name] = info.get_default(call_default_factory=True, validated_data=found)
            elif len(get_args(info.annotation)) == 1 and isinstance(
                get_args(info.annotation)[0], str
            ):
                found[name] = get_args(info.annotation)[0]
        return found


def _hint(notes: Any) -> str:
    return str(notes.get("hint", ""))


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, (tuple, list)):
        return isinstance(a, (tuple, list)) and list(a) == list(b)
    return bool(a == (str(b) if isinstance(b, PurePath) else b))
