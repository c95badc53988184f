"""A form shows what a model says, keeps what it does not show, and gives back what was set."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QValidator, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.forms.editors import NumberEditor, OptionalEditor
from careamist.gui.forms.fields import FieldSpec, discriminator, read_fields
from careamist.gui.forms.form import ModelForm
from careamist.gui.forms.rows import Combo, FieldRow
from careamist.gui.theme import style

pytestmark = pytest.mark.gui


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Blind(BaseModel):
    """Masked pixels."""

    model_config = ConfigDict(title="Blind spot", json_schema_extra={"hint": "Noisy images only."})
    kind: Literal["blind"] = "blind"
    size: int = Field(11, ge=3, le=21, description="Size of the window.")
    secret: int = Field(7, json_schema_extra={"level": "hidden"})


class Pairs(BaseModel):
    kind: Literal["pairs"] = "pairs"
    loss: Literal["mae", "mse"] = Field("mae", description="What is minimised.")


class Flip(BaseModel):
    """Mirror."""

    name: Literal["flip"] = "flip"
    p: float = 0.5


class Turn(BaseModel):
    """Turn by 90°."""

    name: Literal["turn"] = "turn"


class Net(BaseModel):
    depth: int = Field(2, ge=1, le=5, description="How deep.")
    filters: int = Field(32, ge=8, multiple_of=8, json_schema_extra={"level": "advanced"})


Method = Annotated[Blind | Pairs, Field(discriminator="kind")]
Step = Annotated[Flip | Turn, Field(discriminator="name")]


class Plan(BaseModel):
    method: Method = Field(Blind(), title="&Method", description="How to learn.")
    steps: int = Field(1500, ge=1, description="Optimizer steps.", json_schema_extra={"unit": "x"})
    rate: float = Field(0.003, gt=0, le=1, title="Learning rate", description="How fast.")
    batch: int | None = Field(None, ge=1, le=512, description="Patches a step.", examples=[16])
    patch: list[Annotated[int, Field(ge=8, multiple_of=8)]] = Field([64, 64], description="Size.")
    augment: list[Step] = Field([Flip(), Turn()], description="What is done to patches.")
    name: str = Field("run", min_length=1, description="Name of the run.")
    fixed: bool = Field(True, description="Same each time.")
    seed: int = Field(3, description="Start.", json_schema_extra={"level": "advanced"})
    net: Net = Field(Net(), title="Network")
    notes: dict[str, int] = {"a": 1}
    inner: int = Field(5, json_schema_extra={"level": "hidden"})


@pytest.fixture
def make_form(qtbot):
    def make(model: Any, **options: Any) -> ModelForm:
        form = ModelForm(model, **options)
        qtbot.addWidget(form)
        return form

    return make


def labels(form):
    return [row._label.text() for row in form.findChildren(FieldRow) if row.isVisibleTo(form)]


CASES = [
    (bool, False, True),
    (int, 3, -12),
    (int, 3, 2**40),
    (Annotated[int, Field(ge=0, le=2**32 - 1)], 0, 2**32 - 1),
    (float, 0.003, 1 / 3),
    (float, 1.0, 3.2e-7),
    (float, 1.0, -1.2345678901234e9),
    (Annotated[float, Field(gt=0, lt=1)], 0.5, 1e-9),
    (str, "a", "x & y"),
    (Path, Path("a"), Path("b/c")),
    (Literal["mae", "mse"], "mae", "mse"),
    (Literal[1, 2, "1"], 1, "1"),
    (Color, Color.RED, Color.BLUE),
    (int | None, None, 8),
    (int | None, 8, None),
    (float | None, None, 0.1),
    (str | None, None, "x"),
    (Literal["a", "b"] | None, None, "b"),
    (int | Literal["auto"], "auto", 4),
    (float | Literal["auto"], 0.5, "auto"),
    (int | float, 1, 2.5),
    (list[int], [64, 64], [8, 32, 32]),
    (list[int], [8, 32, 32], [64, 64]),
    (tuple[int, int], (64, 64), (32, 16)),
    (tuple[float, float], (0.01, 0.998), (0.0, 1.0)),
    (tuple[int, ...] | None, None, (1, 2)),
    (tuple[int, int] | None, (1, 2), None),
    (Net, Net(), Net(depth=4, filters=8)),
    (Method, Blind(), Pairs(loss="mse")),
    (Method, Pairs(), Blind(size=3, secret=1)),
    (Method | None, None, Blind(size=5)),
    (Net | None, Net(), None),
    (Blind | Net, Blind(), Net(depth=3)),
    (list[Step], [Flip(), Turn()], [Turn()]),
    (list[Step], [], [Turn(), Flip(p=0.1)]),
    (tuple[Step, ...], (Flip(),), (Turn(),)),
    (dict[str, int], {"a": 1}, {"b": 2}),
]


@pytest.mark.parametrize(("kind", "default", "other"), CASES, ids=str)
def test_set_get_round_trip(make_form, qtbot, kind, default, other):
    model = create_model("Model", field=(kind, default))
    form = make_form(model)
    assert form.value() == model()
    assert form.changed() == 0
    with qtbot.waitSignal(form.valueChanged, raising=kind is not dict[str, int], timeout=1000):
        form.setValue(model(field=other))
    assert form.value() == model(field=other)
    assert type(form.value().field) is type(other)
    assert form.errors() == {}
    if kind != dict[str, int]:
        assert form.changed() >= 1
        form.reset()
        assert form.value() == model()
        assert form.changed() == 0


def test_the_configuration_of_a_real_model_round_trips(make_form):
    plan = Plan(
        method=Pairs(loss="mse"),
        steps=7,
        rate=3e-5,
        batch=4,
        patch=[8, 16, 16],
        augment=[Turn()],
        name="n",
        fixed=False,
        seed=9,
        net=Net(depth=5, filters=64),
        notes={"z": 2},
        inner=6,
    )
    form = make_form(plan)
    assert form.value() == plan
    assert form.changed() == 12  # all fields on show; method and network have two each
    form.reset()
    assert form.value() == Plan(notes={"z": 2}, inner=6)  # what is not on show is kept
    form.setValue(plan)
    assert form.value() == plan


def test_signal_is_sent_once_and_only_for_changes(make_form, qtbot):
    form = make_form(Plan)
    seen = []
    form.valueChanged.connect(lambda: seen.append(1))
    form.setValue(Plan())
    assert seen == []
    form.setValue(Plan(steps=3, rate=0.1, batch=2))
    assert seen == [1]
    form.findChild(QCheckBox).toggle()
    assert seen == [1, 1]


def test_levels_show_their_fields_and_keep_the_others(make_form):
    plan = Plan(seed=99, inner=42, steps=10, net=Net(depth=3, filters=16), method=Pairs())
    simple = make_form(plan, level="simple")
    advanced = make_form(plan, level="advanced")
    simple.show()
    advanced.show()
    assert labels(simple) == [
        "&Method",
        "Loss",
        "Steps",
        "Learning rate",
        "Batch",
        "Patch",
        "Augment",
        "Name",
        "Fixed",
        "Depth",
    ]
    assert labels(advanced) == ["Seed", "Filters"]
    for form in (simple, advanced):
        assert form.value() == plan
    advanced.reset()
    assert advanced.value() == plan.model_copy(update={"seed": 3, "net": Net(depth=3, filters=32)})
    assert advanced.changed() == 0
    assert make_form(Net, level="hidden").isShown() is False


def test_a_level_is_handed_down(make_form):
    class Outer(BaseModel):
        net: Net = Field(Net(), json_schema_extra={"level": "advanced"})
        deep: Net = Field(Net(), json_schema_extra={"level": "hidden"})

    form = make_form(Outer, level="advanced")
    form.show()
    assert labels(form) == ["Depth", "Filters"]
    assert not make_form(Outer, level="simple").isShown()


def test_unknown_level_is_refused(make_form):
    class Wrong(BaseModel):
        a: int = Field(1, json_schema_extra={"level": "expert"})

    with pytest.raises(ValueError, match="level 'expert' is not one of simple, advanced, hidden"):
        make_form(Wrong)


def test_errors_are_told_in_words_under_the_field(make_form):
    form = make_form(Plan)
    form.show()
    row = next(row for row in form.findChildren(FieldRow) if row._label.text() == "Name")
    edit = row.findChild(QLineEdit)
    edit.clear()
    assert form.errors() == {"name": "String should have at least 1 character."}
    assert row.message() == "String should have at least 1 character."
    with pytest.raises(ValidationError):
        form.value()
    edit.setText("again")
    assert form.errors() == {}
    assert row.message() == ""


def test_errors_in_models_below_are_named_by_their_place(make_form):
    form = make_form(Plan)
    filters = form._section._editors["net"]._editors["filters"]
    filters.setValue(33)
    assert form.errors() == {"net.filters": "It should be a multiple of 8."}
    size = form._section._editors["patch"]._spins[1]
    size.setValue(20)
    assert set(form.errors()) == {"net.filters", "patch"}


def test_errors_of_the_model_as_a_whole_are_shown(make_form):
    class Range(BaseModel):
        low: int = 0
        high: int = 5
        unseen: int = Field(1, json_schema_extra={"level": "hidden"})

        @model_validator(mode="after")
        def _ordered(self):
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    form = make_form(Range)
    form.show()
    form._section._editors["low"].setValue(9)
    assert form.errors() == {"": "low is above high."}
    assert "low is above high." in [label.text() for label in form.findChildren(QLabel)]


def test_a_union_without_a_tag_and_an_error_below(make_form):
    class Choice(BaseModel):
        field: Method = Blind()

    form = make_form(Choice)
    form._section._editors["field"]._section()._editors["size"].setMaximum(100)
    form._section._editors["field"]._section()._editors["size"].setValue(99)
    assert form.errors() == {"field.size": "It should be less than or equal to 21."}


def test_a_required_field_begins_empty_and_is_told(make_form):
    class Needs(BaseModel):
        name: str = Field(min_length=1)
        count: int = Field(ge=2)
        kind: Literal["needs"]

    form = make_form(Needs)
    assert set(form.errors()) == {"name"}
    form._section._editors["name"].setText("x")
    assert form.value() == Needs(name="x", count=2, kind="needs")
    assert form.changed() == 0
    other = make_form(Needs(name="y", count=3, kind="needs"))
    other.reset()
    assert other.value() == Needs(name="y", count=3, kind="needs")


def test_only_instances_of_the_model_are_taken(make_form):
    with pytest.raises(TypeError, match="edits Plan, but was given Net"):
        make_form(Plan).setValue(Net())


def test_choosing_another_member_and_back_keeps_its_fields(make_form):
    form = make_form(Plan)
    form.show()
    method = form._section._editors["method"]
    combo = method.findChild(Combo)
    assert [combo.itemText(at) for at in range(combo.count())] == ["Blind spot", "Pairs"]
    assert method._row.hint() == "Noisy images only."
    method._section()._editors["size"].setValue(5)
    combo.setCurrentIndex(1)
    assert form.value().method == Pairs()
    assert form.changed() == 1
    combo.setCurrentIndex(0)
    assert form.value().method == Blind(size=5)


def test_an_optional_number_starts_with_its_example(make_form):
    form = make_form(Plan)
    form.show()
    editor = form.findChild(OptionalEditor)
    spin = editor.findChild(NumberEditor)
    assert spin.isHidden()
    editor.findChild(QCheckBox).setChecked(True)
    assert spin.isVisible()
    assert form.value().batch == 16


def test_tooltips_and_accessible_names_come_from_the_field(make_form):
    form = make_form(Plan)
    named = {}
    for editor in form.findChildren(QWidget):
        inside = editor.parentWidget()
        if isinstance(editor, (QAbstractSpinBox, QComboBox, QCheckBox)) or (
            isinstance(editor, QLineEdit) and not isinstance(inside, QAbstractSpinBox)
        ):
            assert editor.accessibleName(), editor
            named[editor.accessibleName()] = editor.toolTip()
    assert named["Method"] == "How to learn."
    assert named["Learning rate"] == "How fast."
    assert named["Patch 2"] == "Size."
    assert named["Flip"] == "Mirror."
    assert named["Set Batch"].startswith("Patches a step.")


def number(qtbot, **options):
    editor = NumberEditor(FieldSpec("a", "number", "A", **options))
    qtbot.addWidget(editor)
    return editor


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("3e-5", "Acceptable"),
        ("0.003", "Acceptable"),
        ("0,003", "Acceptable"),
        ("3e", "Intermediate"),
        ("", "Intermediate"),
        ("-", "Intermediate"),
        ("x", "Invalid"),
    ],
)
def test_real_numbers_can_be_typed(qtbot, text, state):
    assert number(qtbot).validate(text, 0)[0] == getattr(QValidator.State, state)


@pytest.mark.parametrize(("text", "state"), [("12", "Acceptable"), ("1.5", "Invalid")])
def test_whole_numbers_can_be_typed(qtbot, text, state):
    assert number(qtbot, integer=True).validate(text, 0)[0] == getattr(QValidator.State, state)


def test_typing_a_small_number(qtbot):
    editor = number(qtbot)
    editor.show()
    editor.lineEdit().selectAll()
    qtbot.keyClicks(editor, "3e-5")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert editor.value() == 3e-5
    assert editor.text() == "3e-05"


def test_shown_decimals_do_not_change_the_number(qtbot):
    editor = number(qtbot, extra={"decimals": 2, "unit": "%"})
    editor.setValue(0.12345)
    assert editor.text() == "0.12 %"
    editor.interpretText()
    assert editor.value() == 0.12345


@pytest.mark.parametrize(
    ("start", "steps", "end"), [(0.003, 1, 0.0031), (0.1, -1, 0.09), (0.0, 1, 0.01), (20.0, 2, 22)]
)
def test_steps_follow_the_size_of_the_number(qtbot, start, steps, end):
    editor = number(qtbot)
    editor.setValue(start)
    editor.stepBy(steps)
    assert editor.value() == end


def test_step_of_the_field(qtbot):
    editor = number(qtbot, integer=True, extra={"step": 2})
    editor.setValue(11)
    editor.stepBy(1)
    assert editor.value() == 13


def test_the_wheel_needs_the_focus(make_form, qtbot):
    form = make_form(Plan)
    form.show()
    before = form.value()
    for kind in (QAbstractSpinBox, QComboBox):
        for editor in form.findChildren(kind):
            event = QWheelEvent(
                QPointF(5, 5),
                QPointF(5, 5),
                QPoint(0, 0),
                QPoint(0, 120),
                Qt.MouseButton.NoButton,
                Qt.KeyboardModifier.NoModifier,
                Qt.ScrollPhase.NoScrollPhase,
                False,
            )
            if not editor.hasFocus():
                QApplication.sendEvent(editor, event)
    assert form.value() == before


def test_reading_types():
    specs = {spec.name: spec for spec in read_fields(Plan)}
    kinds = {name: spec.kind for name, spec in specs.items()}
    assert kinds == {
        "method": "union",
        "steps": "number",
        "rate": "number",
        "batch": "optional",
        "patch": "row",
        "augment": "members",
        "name": "text",
        "fixed": "bool",
        "seed": "number",
        "net": "model",
        "notes": "other",
        "inner": "number",
    }
    assert specs["batch"].inner.bounds[:3] == (1, None, 512)
    assert specs["patch"].inner.bounds.multiple_of == 8
    assert discriminator((Blind, Pairs)) == "kind"
    assert discriminator((Blind, Net)) is None


def in_dock(qtbot, widget, width):
    """Put a widget into a scrolling dock, as the docks do."""
    page = QWidget()
    lines = QVBoxLayout(page)
    lines.setContentsMargins(10, 8, 10, 8)
    lines.addWidget(widget)
    lines.addStretch()
    dock = QScrollArea()
    dock.setWidgetResizable(True)
    dock.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    dock.setWidget(page)
    qtbot.addWidget(dock)
    style(page)
    dock.resize(width, 900)
    dock.show()
    for _ in range(10):
        QApplication.processEvents()
    return dock


def clipped(dock):
    page, edge = dock.widget(), dock.viewport().width()
    assert page.width() <= edge
    found = []
    for child in page.findChildren(QWidget):
        if child.isVisible() and child.width() > 0:
            right = child.mapTo(page, QPoint(child.width(), 0)).x()
            if right > edge or child.width() > child.parentWidget().width():
                found.append((type(child).__name__, right))
    return found


@pytest.mark.parametrize("width", [260, 300, 350, 450, 700])
def test_nothing_is_clipped(make_form, qtbot, width):
    plan = Plan(patch=[16, 128, 128], batch=8, name="a very long name " * 5)
    form = make_form(plan)
    dock = in_dock(qtbot, form, width)
    assert clipped(dock) == []
    row = next(row for row in form.findChildren(FieldRow) if row._label.text() == "Steps")
    above = row._label.geometry().bottom() <= row._body.geometry().top()
    assert above == (width < 320)
    if not above:
        assert row._body.x() == 88 + 8
