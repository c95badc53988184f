"""The field of a data picker: a list of layers, a button for files, a line for a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLineEdit, QMenu, QPushButton, QSizePolicy, QWidget

from careamist.gui.data.data_source import clean_path
from careamist.gui.forms.rows import Combo, set_state
from careamist.gui.icons import icon
from careamist.gui.theme import Palette, follow, row_height

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BUTTON_TIP = "Use files or a folder instead of a layer. You can also drop them here."


class SourceField(QWidget):
    """Offers names and takes a path; what these mean is known to the picker.

    Parameters
    ----------
    word : str
        What is chosen, as in "the image".
    ways : mapping of str to callable
        Entries of the menu of the button.
    parent : QWidget, optional

    Attributes
    ----------
    activated : Signal(int)
        The place in the list that the user chose.
    typed : Signal(str)
        A path that was typed.
    """

    activated = Signal(int)
    typed = Signal(str)

    def __init__(
        self, word: str, ways: Mapping[str, Callable[[], object]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self._combo = Combo(self)
        self._combo.activated.connect(self.activated)
        self._combo.setToolTip(f"The {word}: a layer, a file or a folder.")
        self._edit = QLineEdit(self)
        self._edit.setPlaceholderText("Type, paste or drop a path")
        self._edit.setAccessibleName(f"Path of the {word}")
        self._edit.setToolTip("A file, a folder or an address. Enter reads it.")
        self._edit.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._edit.setAcceptDrops(False)  # the whole picker takes them
        self._edit.editingFinished.connect(lambda: self.typed.emit(self._edit.text()))
        menu = QMenu(self)
        for words, act in ways.items():
            menu.addAction(words, act)
        self._button = QPushButton(self)
        self._button.setProperty("role", "icon")
        self._button.setMenu(menu)
        self._button.setFixedSize(row_height(self), row_height(self))
        self._button.setToolTip(BUTTON_TIP)
        self._button.setAccessibleName(f"Choose the {word} from files")
        self.setFocusProxy(self._combo)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(4)
        grid.addWidget(self._combo, 0, 0)
        grid.addWidget(self._button, 0, 1, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._edit, 1, 0, 1, 2)
        follow(self, self._recolor)

    def setAccessibleName(self, name: str) -> None:
        """Name the list, which is what has the focus."""
        self._combo.setAccessibleName(name)

    def setNames(self, names: Sequence[str], place: int, nothing: str) -> None:
        """Offer names; `nothing` is shown while none of them is chosen."""
        self._combo.clear()
        self._combo.addItems(list(names))
        self._combo.setPlaceholderText(nothing)
        self._combo.setCurrentIndex(place)

    def setPath(self, path: str | None, *, is_wrong: bool) -> None:
        """Show the line with a path, or none."""
        self._edit.setVisible(path is not None)
        if path is not None and clean_path(self._edit.text()) != path:
            self._edit.setText(path)
        set_state(self._edit, "error" if is_wrong else "")

    def setWrong(self, *, on: bool) -> None:
        """Mark the list as wrong."""
        set_state(self._combo, "error" if on else "")

    def focusPath(self) -> None:
        """Let the user type a path."""
        self._edit.setFocus()

    def _recolor(self, colors: Palette) -> None:
        self._button.setIcon(icon("folder", colors))
