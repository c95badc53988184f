"""The row that says into which folder results go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLineEdit, QPushButton, QSizePolicy, QWidget

from careamist.gui.data.data_source import clean_path
from careamist.gui.forms.rows import FieldRow
from careamist.gui.icons import icon
from careamist.gui.theme import Palette, follow, row_height

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent


class FolderRow(FieldRow):
    """A folder that is typed, chosen, dropped, or proposed.

    Parameters
    ----------
    parent : QWidget

    Attributes
    ----------
    valueChanged : Signal()
        Another folder is wanted.
    """

    valueChanged = Signal()

    def __init__(self, parent: QWidget) -> None:
        field = QWidget()
        field.setProperty("clear", True)
        self.edit = QLineEdit(field)
        self.edit.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.edit.setToolTip("The folder of the results; made when needed. Type, paste or drop.")
        self.edit.setAcceptDrops(False)  # the row takes them
        self.button = QPushButton(field)
        self.button.setProperty("role", "icon")
        self.button.setFixedSize(row_height(field), row_height(field))
        self.button.setToolTip("Choose the folder of the results.")
        self.button.setAccessibleName("Choose the folder of the results")
        self.button.clicked.connect(lambda: self.choose())
        grid = QGridLayout(field)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.addWidget(self.edit, 0, 0)
        grid.addWidget(self.button, 0, 1, Qt.AlignmentFlag.AlignTop)
        super().__init__("S&ave to", field, parent)
        field.setFocusProxy(self.edit)
        self.edit.setAccessibleName("Save to")
        self.setAcceptDrops(True)
        self._proposed, self._typed = "", False
        self.edit.textEdited.connect(self._on_typed)
        follow(self.button, self._recolor)

    def value(self) -> Path | None:
        """Return the folder, None where none is given."""
        text = clean_path(str(self.edit.text()))
        return Path(text) if text else None

    def setValue(self, folder: str | Path) -> None:
        """Choose a folder."""
        self._typed = True
        self.edit.setText(str(folder))
        self.valueChanged.emit()

    def propose(self, folder: Path) -> None:
        """Propose a folder, as long as nobody has chosen one."""
        if str(folder) != self._proposed:
            self._proposed = str(folder)
            if not self._typed:
                self.edit.setText(self._proposed)

    def choose(self) -> None:
        """Ask for a folder; cancelling changes nothing."""
        start = self.value() or Path.home()
        there = next((p for p in (start, *start.parents) if p.exists()), Path.home())
        if path := QFileDialog.getExistingDirectory(self, "Where results go", str(there)):
            self.setValue(path)

    def problem(self) -> str:
        """Return what is wrong with the folder, or nothing."""
        folder = self.value()
        if folder is None:
            return "No folder is chosen for the results. Type one or use the folder button."
        if folder.is_file():
            return f"“{folder.name}” is a file. Choose a folder for the results."
        return ""

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = Path(event.mimeData().urls()[0].toLocalFile())
        self.setValue(path if path.is_dir() else path.parent)
        event.acceptProposedAction()

    def _on_typed(self, text: str) -> None:
        self._typed = bool(text.strip())
        self.valueChanged.emit()

    def _recolor(self, colors: Palette) -> None:
        self.button.setIcon(icon("folder", colors))
