"""The row that chooses a method, and says what it needs."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QToolTip, QWidget

from careamist.config.methods import METHODS, Method
from careamist.gui.forms.rows import Combo, FieldRow, hint_label
from careamist.gui.icons import icon
from careamist.gui.theme import Palette, follow, row_height


class MethodRow(FieldRow):
    """Offers the methods by their names.

    Parameters
    ----------
    parent : QWidget

    Attributes
    ----------
    changed : Signal(str)
        The key of the method that the user chose.
    """

    changed = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        self.combo = Combo()
        for key, method in METHODS.items():
            self.combo.addItem(method.title, key)
        self._info = QPushButton()
        self._needs = hint_label("")
        field = QWidget()
        field.setProperty("clear", True)
        field.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        field.setFocusProxy(self.combo)
        grid = QGridLayout(field)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.combo, 0, 0, 1, 2)
        grid.addWidget(self._info, 0, 2)
        grid.addWidget(self._needs, 1, 0, 1, 3)
        super().__init__("&Method", field, parent)
        self.combo.setAccessibleName("Method")
        self.combo.setToolTip("How the model learns, and from which images.")
        self._info.setProperty("role", "icon")
        self._info.setFixedSize(row_height(self), row_height(self))
        self._info.clicked.connect(self._tell)
        self.combo.currentIndexChanged.connect(lambda _: self._show())
        self.combo.activated.connect(lambda _: self.changed.emit(self.key()))
        follow(self._info, self._recolor)
        self._show()

    def key(self) -> str:
        """Return the key of the chosen method, as in `METHODS`."""
        return str(self.combo.currentData())

    def method(self) -> Method:
        """Return the chosen method."""
        return METHODS[self.key()]

    def setKey(self, key: str) -> None:
        """Show a method; unknown ones are ignored."""
        if (place := self.combo.findData(key)) >= 0:
            self.combo.setCurrentIndex(place)

    def choose(self, key: str) -> None:
        """Choose a method as the user does."""
        self.setKey(key)
        self.changed.emit(self.key())

    def _show(self) -> None:
        method = self.method()
        self._needs.setText(method.needs)
        self._needs.show()
        self._info.setToolTip(method.about)
        self._info.setAccessibleName(f"About {method.title}")

    def _tell(self) -> None:
        place = self._info.mapToGlobal(self._info.rect().bottomLeft())
        QToolTip.showText(place, self._info.toolTip(), self._info)

    def _recolor(self, colors: Palette) -> None:
        self._info.setIcon(icon("info", colors))
