"""A row with a list of possibilities, shown only where there is a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from careamist.gui.forms.rows import Combo, FieldRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtWidgets import QWidget


class ChoiceRow(FieldRow):
    """A labelled combo box of words that stand for values.

    Parameters
    ----------
    label, tip : str
        What is chosen.
    parent : QWidget, optional

    Attributes
    ----------
    chosen : Signal(object)
        The value that the user chose.
    """

    chosen = Signal(object)

    def __init__(self, label: str, tip: str, parent: QWidget | None = None) -> None:
        self.combo = Combo()
        super().__init__(label, self.combo, parent)
        self.combo.setToolTip(tip)
        self.combo.activated.connect(self._on_activated)
        self._values: list[Any] = []
        self.hide()

    def setChoices(self, choices: Sequence[tuple[str, Any]], current: Any) -> None:
        """Offer values under their words; nothing is shown where there are fewer than two."""
        self._values = [value for _, value in choices]
        self.combo.clear()
        self.combo.addItems([words for words, _ in choices])
        there = current in self._values
        self.combo.setCurrentIndex(self._values.index(current) if there else -1)
        self.setVisible(len(choices) > 1)

    def words(self) -> list[str]:
        """Return what is offered."""
        return [str(self.combo.itemText(at)) for at in range(self.combo.count())]

    def choose(self, value: Any) -> None:
        """Choose a value as the user does."""
        self.combo.setCurrentIndex(self._values.index(value))
        self.chosen.emit(value)

    def _on_activated(self, place: int) -> None:
        self.chosen.emit(self._values[place])


def depths(layouts: Mapping[str, tuple[int, ...]]) -> list[tuple[str, Any]]:
    """Return what can be the depth of an image, in words and as the axes of the image."""
    words = {"Z": "planes", "T": "time points"}
    return [
        (f"{axes[2]} · {shape[2]} {words[axes[2]]}" if len(axes) > 4 else "None: 2D images", axes)
        for axes, shape in layouts.items()
    ]
