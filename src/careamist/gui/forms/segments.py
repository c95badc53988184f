"""A choice among two to four words, all of them on show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Mapping


class Segments(QWidget):  # type: ignore[misc, unused-ignore]
    """Buttons side by side of which exactly one is down; the arrow keys move between them.

    Parameters
    ----------
    choices : mapping of str to (str, str)
        For each value its word and its tooltip.
    parent : QWidget, optional

    Attributes
    ----------
    valueChanged : Signal(str)
        Another value was chosen.
    """

    valueChanged = Signal(str)

    def __init__(
        self, choices: Mapping[str, tuple[str, str]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QPushButton] = {}
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(1)
        for value, (word, tip) in choices.items():
            button = QPushButton(word, self)
            button.setProperty("role", "segment")
            button.setCheckable(True)
            button.setToolTip(tip)
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setMinimumWidth(10)
            self._group.addButton(button)
            self._buttons[value] = button
            line.addWidget(button, 1)
        self._name = ""
        self.setAccessibleName("")
        self.setValue(next(iter(choices)))
        self._group.buttonToggled.connect(self._on_toggled)

    def value(self) -> str:
        """Return the value that is chosen."""
        return next(value for value, button in self._buttons.items() if button.isChecked())

    def setValue(self, value: str) -> None:
        """Choose a value."""
        if value not in self._buttons:
            msg = f"value={value!r}: expected one of {', '.join(self._buttons)}."
            raise ValueError(msg)
        self._buttons[value].setChecked(True)
        self.setFocusProxy(self._buttons[value])

    def button(self, value: str) -> QPushButton:
        """Return the button of a value."""
        return self._buttons[value]

    def setAccessibleName(self, name: str) -> None:
        """Name the buttons after what they choose."""
        super().setAccessibleName(name)
        for button in self._buttons.values():
            button.setAccessibleName(f"{name}: {button.text()}" if name else button.text())

    def _on_toggled(self, button: Any, on: bool) -> None:
        if on:
            self.setFocusProxy(button)
            self.valueChanged.emit(self.value())
