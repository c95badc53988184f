"""A table of files that have no partner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from careamist.gui.theme import Palette, follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QResizeEvent

SHOWN = 6  # rows; the others are scrolled to
HEADINGS = ("File", "What is wrong")
_NAME = "Files that are no pairs"


class PairTable(QTableWidget):  # type: ignore[misc, unused-ignore]
    """Lists files and what is wrong with them; takes no place while it is empty."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(HEADINGS), parent)
        self._rows: list[tuple[str, str]] = []
        self.setHorizontalHeaderLabels(HEADINGS)
        self.setAccessibleName(_NAME)
        self.setToolTip(f"{_NAME}. Rename them, or choose other folders.")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        follow(self, self._recolor)
        self.hide()

    def rows(self) -> list[tuple[str, str]]:
        """Return what is listed."""
        return list(self._rows)

    def setRows(self, rows: Sequence[tuple[str, str]]) -> None:
        """List files, and what is wrong with each."""
        self._rows = list(rows)
        self.setRowCount(len(rows))
        height = self.fontMetrics().height() + 6
        for at, row in enumerate(rows):
            self.setRowHeight(at, height)
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.setItem(at, column, item)
        frame = 2 * self.frameWidth()
        self.horizontalHeader().setFixedHeight(height)
        self.setFixedHeight(height * (1 + min(len(rows), SHOWN)) + frame)
        self.setVisible(bool(rows))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wanted = max(self.sizeHintForColumn(1), self.horizontalHeader().sectionSizeHint(1))
        self.setColumnWidth(1, min(wanted + 6, self.viewport().width() // 2))

    def _recolor(self, colors: Palette) -> None:
        self.setStyleSheet(
            f"QTableWidget {{ background-color: {colors.foreground}; color: {colors.text};"
            f" border: 0px; font-size: 9pt; padding: 0px; }}"
            f"QTableWidget::item {{ padding: 0px 6px; }}"
            f"QTableWidget::item:selected {{ background-color: {colors.secondary};"
            f" color: {colors.text}; }}"
            f"QHeaderView, QHeaderView::section {{ background-color: {colors.primary};"
            f" color: {colors.text}; border: 0px; padding: 0px 6px; font-size: 9pt; }}"
        )
