"""What the lists of the docks have in common: things, one line each, drawn by the list itself."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from qtpy.QtCore import QAbstractListModel, Qt
from qtpy.QtWidgets import QAbstractItemView, QFrame, QListView, QSizePolicy, QWidget

THING = Qt.ItemDataRole.UserRole  # asks a model for the thing of a row
Thing = TypeVar("Thing")


class RowModel(QAbstractListModel, Generic[Thing]):  # type: ignore[misc, unused-ignore]
    """Things, each with a name, words for who cannot see, and a tooltip: subclasses say which.

    Parameters
    ----------
    parent : QWidget

    Attributes
    ----------
    things : list
        What is listed.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.things: list[Thing] = []

    def name(self, thing: Thing) -> str:
        """Return what a thing is called."""
        raise NotImplementedError

    def spoken(self, thing: Thing) -> str:
        """Return all that its row shows, in words."""
        raise NotImplementedError

    def tip(self, thing: Thing) -> str:
        """Return its tooltip."""
        raise NotImplementedError

    def rowCount(self, parent: Any = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.things)

    def data(self, index: Any, role: int = 0) -> Any:
        if not index.isValid() or index.row() >= len(self.things):
            return None
        thing = self.things[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.name(thing)
        if role in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            return self.spoken(thing)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.tip(thing)
        return thing if role == THING else None


def dress_list(view: QListView, name: str, tip: str) -> None:
    """Make a list one without a frame, as wide as there is room, of which one row is selected.

    Parameters
    ----------
    view : QListView
    name : str
        What screen readers call it.
    tip : str
        Its tooltip, where a row has none.
    """
    view.setFrameShape(QFrame.Shape.NoFrame)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
    view.setAccessibleName(name)
    view.setToolTip(tip)
