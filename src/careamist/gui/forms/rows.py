"""One line of a dock: a label, a field, a hint and a message; and fields that behave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.icons import pixmap
from careamist.gui.theme import Palette, follow, row_height

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent, QResizeEvent, QWheelEvent

__all__ = [
    "LABEL_WIDTH",
    "NARROW",
    "Combo",
    "FieldRow",
    "Heading",
    "Wrap",
    "hint_label",
    "plain",
    "set_state",
]

LABEL_WIDTH = 88
NARROW = 300  # a dock of 320 px without its margins: below, labels stand above their fields
GAP = 8


class FieldRow(QWidget):
    """A label beside its field, or above it where the dock is narrow."""

    def __init__(
        self, label: str, field: QWidget, parent: QWidget | None = None, *, hint: str = ""
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._narrow = False
        self._label = QLabel(label, self)
        self._label.setBuddy(field)
        self._label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._hint = hint_label(hint, self)
        self._message = _Message(self)
        self._body = QWidget(self)
        self._body.setProperty("clear", True)
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(3)
        body.addWidget(field)
        body.addWidget(self._hint)
        body.addWidget(self._message)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(3)
        self._arrange()
        field.setAccessibleName(plain(label))

    def setHint(self, text: str) -> None:
        self._hint.setText(text)
        self._hint.setVisible(bool(text))

    def hint(self) -> str:
        return str(self._hint.text())

    def setMessage(self, text: str) -> None:
        """Show what is wrong with the field, or nothing."""
        self._message.setText(text)

    def message(self) -> str:
        return self._message.text()

    def setToolTip(self, text: str) -> None:
        super().setToolTip(text)
        self._label.setToolTip(text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if (self.width() < NARROW) != self._narrow:
            self._narrow = not self._narrow
            self._arrange()

    def _arrange(self) -> None:
        for part in (self._label, self._body):
            self._grid.removeWidget(part)
        if self._narrow:
            self._grid.addWidget(self._label, 0, 0)
            self._grid.addWidget(self._body, 1, 0)
        else:
            self._grid.addWidget(self._label, 0, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(self._body, 0, 1)
        self._grid.setHorizontalSpacing(GAP)
        self._grid.setColumnMinimumWidth(0, 0 if self._narrow else LABEL_WIDTH)
        self._grid.setColumnStretch(0, 1 if self._narrow else 0)
        self._grid.setColumnStretch(1, 0 if self._narrow else 1)
        # Beside a field the label is centred on its first line.
        height = row_height(self)
        self._label.setFixedHeight(self._label.fontMetrics().height() if self._narrow else height)


class _Message(QWidget):
    """A sign and words under a field; takes no place while there is nothing to say."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self._sign = QLabel(self)
        self._sign.setFixedSize(16, 16)
        self._text = hint_label("", self, role="note")
        self._text.show()
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(5)
        line.addWidget(self._sign, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(self._text, 1)
        self.hide()
        self._dressed = False

    def setText(self, text: str) -> None:
        if text and not self._dressed:
            self._dressed = True
            follow(self, self._recolor)
        self._text.setText(text)
        self.setVisible(bool(text))

    def text(self) -> str:
        return str(self._text.text())

    def _recolor(self, colors: Palette) -> None:
        self._sign.setPixmap(pixmap("error", colors.icon))


class Wrap(QWidget):
    """Small widgets side by side, in as many lines as the width asks for."""

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        columns: int = 99,
        spacing: int = 6,
        fill: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._most = columns
        self._fill = fill
        self._columns = 0
        self._items: list[QWidget] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(spacing)

    def widgets(self) -> list[QWidget]:
        return list(self._items)

    def setWidgets(self, widgets: list[QWidget]) -> None:
        """Show these; those that were shown before and are not among them are deleted."""
        for old in self._items:
            self._grid.removeWidget(old)
            if old not in widgets:
                old.hide()
                old.deleteLater()
        self._items = list(widgets)
        self._columns = 0
        self._arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        columns = self._fitting()
        if columns == self._columns:
            return
        self._columns = columns
        for at, widget in enumerate(self._items):
            self._grid.removeWidget(widget)
            self._grid.addWidget(widget, at // columns, at % columns)
        last = self._grid.columnCount()
        for column in range(last + 1):
            self._grid.setColumnStretch(column, int(self._fill and column < columns))
        if not self._fill:
            self._grid.setColumnStretch(max(last, columns), 1)

    def _fitting(self) -> int:
        most = max(1, min(self._most, len(self._items)))
        if self._fill or self.width() <= 0:
            return most
        gap = self._grid.horizontalSpacing()
        widths = [widget.sizeHint().width() for widget in self._items]
        for columns in range(most, 1, -1):
            widest = [max(widths[at::columns]) for at in range(columns)]
            if sum(widest) + gap * columns <= self.width():
                return columns
        return 1


class Heading(QWidget):
    """The name of a group of fields and a line to the right edge."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        label = QLabel(text, self)
        label.setProperty("role", "heading")
        rule = QFrame(self)
        rule.setProperty("role", "line")
        rule.setFixedHeight(1)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 2, 0, 0)
        line.setSpacing(GAP)
        line.addWidget(label)
        line.addWidget(rule, 1)


class Combo(QComboBox):
    """A combo box that shortens long texts with "…" and scrolls only when it has the focus."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def shownText(self) -> str:
        """Return the text of the closed box."""
        return str(self.currentText() or self.placeholderText())

    def minimumSizeHint(self) -> QSize:
        return QSize(40, super().minimumSizeHint().height())

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        style = self.style()
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        room = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self,
        )
        option.currentText = self.fontMetrics().elidedText(
            self.shownText(), Qt.TextElideMode.ElideRight, room.width()
        )
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def hint_label(text: str = "", parent: QWidget | None = None, role: str = "hint") -> QLabel:
    """Make a small wrapping label that never widens its dock."""
    label = QLabel(text, parent)
    label.setProperty("role", role)
    label.setWordWrap(True)
    label.setMinimumWidth(10)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setVisible(bool(text))
    return label


def plain(label: str) -> str:
    """Return the text of a label without the mark of its mnemonic."""
    return label.replace("&&", "\0").replace("&", "").replace("\0", "&")


def set_state(widget: Any, state: str) -> None:
    """Mark a field as asking or wrong for the stylesheet."""
    if (widget.property("state") or "") != state:
        widget.setProperty("state", state)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def separator(parent: QWidget) -> QFrame:
    """Return a thin line."""
    line = QFrame(parent)
    line.setProperty("role", "line")
    return line
