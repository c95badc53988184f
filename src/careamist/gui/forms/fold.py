"""A part of a form that is folded away until it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.icons import icon
from careamist.gui.theme import Palette, follow, palette_of


class Fold(QWidget):  # type: ignore[misc, unused-ignore]
    """A heading that shows and hides what is under it, at its natural height.

    Parameters
    ----------
    title : str
        Words of the heading.
    parent : QWidget
    parts : sequence of QWidget
        What is folded away, from top to bottom.
    """

    def __init__(self, title: str, parent: QWidget, parts: Sequence[QWidget]) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.heading = QPushButton(title, self)
        self.heading.setProperty("role", "fold")
        self.heading.setCheckable(True)
        self.heading.setAccessibleName(title.replace("&", ""))
        self.heading.setToolTip("Show or hide further settings. The defaults are fine to begin.")
        self._content = QWidget(self)
        self._content.setProperty("clear", True)
        inside = QVBoxLayout(self._content)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(8)
        for part in parts:
            inside.addWidget(part)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        self._note = QLabel(self)
        self._note.setProperty("role", "hint")
        self._note.hide()
        self.reset = QPushButton("Reset", self)
        self.reset.setProperty("role", "link")
        self.reset.setAccessibleName(f"Reset {self.heading.accessibleName()}")
        self.reset.setToolTip("Put these settings back to their defaults.")
        self.reset.hide()
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self.heading, 1)
        top.addWidget(self._note)
        top.addWidget(self.reset)
        lines.addLayout(top)
        lines.addWidget(self._content)
        self._content.hide()
        self.heading.toggled.connect(self._on_toggled)
        follow(self, self._recolor)

    def setChanged(self, count: int) -> None:
        """Say how many of the settings inside differ from their defaults."""
        self._note.setText(f"{count} changed" if count else "all defaults")
        self._note.show()
        self.reset.setVisible(count > 0)

    def note(self) -> str:
        """Return what is said at the right."""
        return str(self._note.text())

    def setOpen(self, on: bool) -> None:
        """Show or hide the parts."""
        self.heading.setChecked(on)

    def isOpen(self) -> bool:
        """Tell whether the parts are shown."""
        return bool(self.heading.isChecked())

    def _on_toggled(self, on: bool) -> None:
        self._content.setVisible(on)
        self._recolor(palette_of(self))

    def _recolor(self, colors: Palette) -> None:
        self.heading.setIcon(icon("open" if self.isOpen() else "closed", colors))
