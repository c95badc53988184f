"""One small widget per kind of value, all with `value`, `setValue` and `valueChanged`."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QWidget,
)

from careamist.gui.forms.fields import MISSING, FieldSpec
from careamist.gui.forms.rows import Combo, hint_label

if TYPE_CHECKING:
    from qtpy.QtGui import QWheelEvent

__all__ = [
    "CheckEditor",
    "ChoiceEditor",
    "NumberEditor",
    "OptionalEditor",
    "RowEditor",
    "TextEditor",
    "make_editor",
]

EXACT_INTEGER = 2.0**53  # largest integer that a float holds exactly
UNBOUNDED = 1e15
DIGITS = 30  # Qt rounds to this many decimals; the text decides what is seen


def make_editor(spec: FieldSpec, parent: QWidget) -> Any:
    """Return an editor for a scalar, an optional or a row of numbers."""
    kinds: dict[str, Any] = {
        "bool": CheckEditor,
        "number": NumberEditor,
        "text": TextEditor,
        "choice": ChoiceEditor,
        "row": RowEditor,
        "optional": OptionalEditor,
    }
    return kinds[spec.kind](spec, parent)


class NumberEditor(QDoubleSpinBox):
    """A spin box for whole and real numbers, also small ones like 3e-05."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._integer = spec.integer
        self._shown_decimals = spec.extra.get("decimals")
        self._step = spec.extra.get("step") or spec.bounds.multiple_of
        self.setDecimals(0 if spec.integer else DIGITS)
        self.setRange(*_range(spec))
        if unit := spec.extra.get("unit"):
            self.setSuffix(f" {str(unit).strip()}")
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(spec.description)
        if spec.start is not MISSING and isinstance(spec.start, (int, float)):
            self.setValue(spec.start)

    def value(self) -> int | float:
        number = super().value()
        return round(number) if self._integer else float(number)

    def setValue(self, value: float) -> None:
        super().setValue(float(value))

    def textFromValue(self, value: float) -> str:
        if self._integer:
            return str(round(value))
        if self._shown_decimals is not None:
            return f"{value:.{self._shown_decimals}f}"
        return f"{value:.15g}" if float(f"{value:.15g}") == value else repr(value)

    def valueFromText(self, text: str) -> float:
        # Shown with fewer decimals than it has, an untouched number keeps them all.
        bare = self._bare(text)
        if bare == self.textFromValue(super().value()):
            return float(super().value())
        return float(bare)

    def validate(self, text: str, pos: int) -> tuple[QValidator.State, str, int]:
        bare = self._bare(text)
        if set(bare) - set("-0123456789" if self._integer else "-+0123456789.eE"):
            return QValidator.State.Invalid, text, pos
        try:
            number = float(bare)
        except ValueError:
            return QValidator.State.Intermediate, text, pos
        good = math.isfinite(number) and self.minimum() <= number <= self.maximum()
        state = QValidator.State.Acceptable if good else QValidator.State.Intermediate
        return state, text, pos

    def stepBy(self, steps: int) -> None:
        size = self._step or self._natural_step()
        digits = max(0, 2 - math.floor(math.log10(size)))
        self.setValue(round(super().value() + steps * size, digits))

    def sizeHint(self) -> QSize:
        return QSize(100, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(50, super().minimumSizeHint().height())

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _bare(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip().replace(",", ".")

    def _natural_step(self) -> float:
        """A tenth of the leading digit's place: 0.0003 moves by 0.00001."""
        if self._integer:
            return 1.0
        number = abs(super().value())
        return float(10.0 ** (math.floor(math.log10(number)) - 1)) if number > 1e-12 else 0.01


class TextEditor(QLineEdit):
    valueChanged = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip(spec.description)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.textChanged.connect(lambda: self.valueChanged.emit())

    def value(self) -> str:
        return str(self.text())

    def setValue(self, value: Any) -> None:
        if str(value) != self.text():
            self.setText(str(value))


class CheckEditor(QCheckBox):
    valueChanged = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(str(spec.extra.get("hint", "")), parent)
        self.setToolTip(spec.description)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.toggled.connect(lambda: self.valueChanged.emit())

    def value(self) -> bool:
        return bool(self.isChecked())

    def setValue(self, value: bool) -> None:
        self.setChecked(bool(value))


class ChoiceEditor(Combo):
    valueChanged = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices = spec.choices
        words = spec.extra.get("choices", {})
        for choice in spec.choices:
            bare = choice.value if isinstance(choice, Enum) else choice
            self.addItem(str(words.get(bare, _readable(bare))))
        self.setToolTip(spec.description)
        self.currentIndexChanged.connect(lambda: self.valueChanged.emit())

    def value(self) -> Any:
        at = self.currentIndex()
        return self._choices[at] if at >= 0 else None

    def setValue(self, value: Any) -> None:
        # 1 == True, so the type counts too
        same = [c == value and type(c) is type(value) for c in self._choices]
        self.setCurrentIndex(same.index(True) if True in same else -1)


class RowEditor(QWidget):
    """A row of numbers, as many as the value has, at most three beside each other."""

    valueChanged = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self._spec = spec
        self._spins: list[NumberEditor] = []
        self._line = QHBoxLayout(self)
        self._line.setContentsMargins(0, 0, 0, 0)
        self._line.setSpacing(4)
        start = [spec.bounds.ge or 0] * spec.length if spec.start is MISSING else spec.start
        self.setValue(start)

    def value(self) -> list[int | float]:
        return [spin.value() for spin in self._spins]

    def setValue(self, value: Any) -> None:
        numbers = list(value)
        resized = len(numbers) != len(self._spins)
        while len(self._spins) > len(numbers):
            spin = self._spins.pop()
            self._line.removeWidget(spin)
            spin.hide()  # it is deleted later than the others are drawn
            spin.deleteLater()
        while len(self._spins) < len(numbers):
            self._add(numbers[len(self._spins)])
        for spin, number in zip(self._spins, numbers, strict=True):
            spin.setValue(number)
        if resized:
            self._dress()
            self.valueChanged.emit()

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        for at, spin in enumerate(self._spins, 1):
            spin.setAccessibleName(f"{name} {at}")

    def _dress(self) -> None:
        """Three numbers and their buttons do not fit a narrow dock."""
        for spin in self._spins:
            spin.setProperty("bare", len(self._spins) > 2)
            spin.style().unpolish(spin)
            spin.style().polish(spin)

    def _add(self, number: float) -> None:
        assert self._spec.inner is not None
        spin = NumberEditor(self._spec.inner, self)
        spin.setValue(number)
        spin.setToolTip(self._spec.description)
        spin.valueChanged.connect(lambda: self.valueChanged.emit())
        self._spins.append(spin)
        self._line.addWidget(spin, 1)
        self.setAccessibleName(self.accessibleName())


class OptionalEditor(QWidget):
    """A check box that turns an editor on; off means None (or "auto")."""

    valueChanged = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        assert spec.inner is not None
        self.setProperty("clear", True)
        self._off = spec.off
        self._check = QCheckBox(self)
        self._check.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._editor = make_editor(spec.inner, self)
        self._word = hint_label(str(spec.extra.get("none", "automatic")), self)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(6)
        line.addWidget(self._check)
        line.addWidget(self._editor, 1)
        line.addWidget(self._word, 1)
        self._check.toggled.connect(self._toggle)
        self._editor.valueChanged.connect(lambda *_: self._edited())
        self._check.setToolTip(f"{spec.description}\nOff: {self._word.text()}.".strip())
        self._show()

    def value(self) -> Any:
        return self._editor.value() if self._check.isChecked() else self._off

    def setValue(self, value: Any) -> None:
        if value != self._off:
            self._editor.setValue(value)
        self._check.setChecked(value != self._off)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self._check.setAccessibleName(f"Set {name}")
        self._editor.setAccessibleName(name)

    def _edited(self) -> None:
        if self._check.isChecked():
            self.valueChanged.emit()

    def _toggle(self) -> None:
        self._show()
        self.valueChanged.emit()

    def _show(self) -> None:
        self._editor.setVisible(self._check.isChecked())
        self._word.setVisible(not self._check.isChecked())


def _readable(choice: Any) -> str:
    text = str(choice).replace("_", " ")
    return text[:1].upper() + text[1:] if text.islower() else text


def _range(spec: FieldSpec) -> tuple[float, float]:
    limit = EXACT_INTEGER if spec.integer else UNBOUNDED
    bounds = spec.bounds
    low = max(
        -limit if bounds.ge is None else bounds.ge,
        -limit if bounds.gt is None else _above(bounds.gt, spec.integer),
    )
    high = min(
        limit if bounds.le is None else bounds.le,
        limit if bounds.lt is None else -_above(-bounds.lt, spec.integer),
    )
    return (math.ceil(low), math.floor(high)) if spec.integer else (low, high)


def _above(limit: float, integer: bool) -> float:
    """Real numbers at an exclusive limit are refused by the model, with words."""
    return math.floor(limit) + 1 if integer else limit
