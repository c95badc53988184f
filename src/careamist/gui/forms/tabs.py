"""The order in which the Tab key goes through a dock: that of reading, not that of making."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable


def order_tabs(parts: Iterable[QWidget]) -> None:
    """Let the Tab key visit these parts one after the other.

    Parameters
    ----------
    parts : iterable of QWidget
        In the order of reading; what is inside one is visited in the order it was made.
    """
    stops = [stop for part in parts for stop in _stops(part)]
    for first, second in itertools.pairwise(stops):
        QWidget.setTabOrder(first, second)


def _stops(part: QWidget) -> list[QWidget]:
    # not along the chain that Qt has: it goes through the whole window
    found, window = (part, *part.findChildren(QWidget)), part.window()
    # menus and lists that open are windows of their own
    return [widget for widget in found if widget.window() is window and _stops_at(widget)]


def _stops_at(widget: QWidget) -> bool:
    if isinstance(widget.parentWidget(), (QAbstractSpinBox, QComboBox)):
        return False
    stops = widget.focusPolicy() & Qt.FocusPolicy.TabFocus == Qt.FocusPolicy.TabFocus
    return bool(stops) and widget.focusProxy() is None
