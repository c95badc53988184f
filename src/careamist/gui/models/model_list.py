"""The list of the kept models: a card for each, and what can be done with the selected one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPen, QPixmap, QPolygon, QRegion
from qtpy.QtWidgets import QListView, QStyle, QStyledItemDelegate, QWidget

from careamist.gui.models.model_actions import GAP, PAD, PICTURE, Actions, block_height, card_font
from careamist.gui.parts.list_rows import THING, RowModel, dress_list
from careamist.gui.theme import Palette, follow, palette_of

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent, QResizeEvent
    from qtpy.QtWidgets import QStyleOptionViewItem

    from careamist.library import ModelCard

_TIP = "The kept models. F2 renames, Enter applies the selected one."


class ModelList(QListView):  # type: ignore[misc, unused-ignore]
    """Shows cards; what its buttons ask for is done by who owns it.

    Attributes
    ----------
    chosen : Signal()
        Another model is selected.
    renamed : Signal(object, str)
        A card, and the name that it should have.
    asked : Signal(str)
        "export", "show" or "delete": of the selected model.
    """

    chosen = Signal()
    renamed = Signal(object, str)
    asked = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._cards = _Cards(self)
        self._rows = _Row(self)
        self._actions = Actions(self.viewport())
        self._actions.hide()
        self._actions.asked.connect(self._on_asked)
        self._actions.named.connect(lambda name: self.renamed.emit(self.card(), name))
        self._actions.left.connect(self.setFocus)
        self.setModel(self._cards)
        self.setItemDelegate(self._rows)
        dress_list(self, "Models", _TIP)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setSpacing(0)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.selectionModel().currentChanged.connect(lambda *_: self._on_chosen())
        follow(self, self._recolor)

    # -- what is shown -------------------------------------------------------------------------

    def setCards(self, cards: Sequence[ModelCard], used: Path | None, chosen: Path | None) -> None:
        """Show cards; `used` is the folder of the viewer's model, `chosen` is selected."""
        self._rows.used = used
        if self._actions.name.isVisible():
            return  # a name is being typed: the list is read anew when it is done
        if list(cards) != self._cards.things:
            self._cards.setCards(cards)
        for row, card in enumerate(cards):
            if card.folder == chosen:
                self.setCurrentIndex(self._cards.index(row))
        self.viewport().update()

    def cards(self) -> list[ModelCard]:
        """Return the cards that are shown."""
        return list(self._cards.things)

    def card(self) -> ModelCard | None:
        """Return the selected card."""
        index = self.currentIndex()
        return self._cards.things[index.row()] if index.isValid() else None

    def select(self, row: int) -> None:
        """Select the card of a row."""
        self.setCurrentIndex(self._cards.index(row))

    def rename(self) -> None:
        """Let the user type another name."""
        if (card := self.card()) is not None:
            self._actions.ask_name(card)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """F2 renames."""
        if event.key() == Qt.Key.Key_F2:
            self.rename()
        else:
            super().keyPressEvent(event)

    def setReason(self, reason: str) -> None:
        """Say why nothing can be deleted now, or nothing."""
        self._actions.setReason(reason)

    def buttons(self) -> Actions:
        """Return the buttons of the selected card."""
        return self._actions

    def minimumSizeHint(self) -> QSize:
        return QSize(100, 120)

    # -- inside --------------------------------------------------------------------------------

    def updateGeometries(self) -> None:
        super().updateGeometries()
        self._place()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        super().scrollContentsBy(dx, dy)
        self._place()

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self._actions.fit(self.viewport().width() - 2 * PAD):
            self.scheduleDelayedItemsLayout()
        super().resizeEvent(event)

    def _on_asked(self, what: str) -> None:
        if what == "rename":
            self.rename()
        else:
            self.asked.emit(what)

    def _on_chosen(self) -> None:
        self._actions.end_naming()
        self.scheduleDelayedItemsLayout()  # the selected card is higher
        self.scrollTo(self.currentIndex())
        self.chosen.emit()

    def _place(self) -> None:
        """Lay the buttons onto the selected card: its words show through."""
        index = self.currentIndex()
        self._actions.setVisible(index.isValid())
        if index.isValid():
            self._actions.fit(self.viewport().width() - 2 * PAD)
            self._actions.setGeometry(self.visualRect(index))
            self._actions.setToolTip(str(index.data(Qt.ItemDataRole.ToolTipRole)))

    def _recolor(self, colors: Palette) -> None:
        self.setStyleSheet(
            "ModelList { background: transparent; border: 0px; padding: 0px; outline: none; }"
        )
        self._rows.colors = colors
        self.viewport().update()


class _Cards(RowModel["ModelCard"]):
    def setCards(self, cards: Sequence[ModelCard]) -> None:
        self.beginResetModel()
        self.things = list(cards)
        self.endResetModel()

    def name(self, thing: ModelCard) -> str:
        return thing.name

    def spoken(self, thing: ModelCard) -> str:
        return ", ".join((thing.name, *words_of(thing)))

    def tip(self, thing: ModelCard) -> str:
        trained = f"Trained on {thing.source}" if thing.source else ""
        told = (thing.problem, thing.description, trained, str(thing.folder))
        return "\n".join(part for part in told if part)


class _Row(QStyledItemDelegate):  # type: ignore[misc, unused-ignore]
    """Draws a card: a detail before and after, the name, and two lines."""

    def __init__(self, owner: ModelList) -> None:
        super().__init__(owner)
        self._owner = owner
        self.colors = palette_of(owner)
        self.used: Path | None = None
        self._pictures: dict[Path, tuple[int, QPixmap]] = {}

    def sizeHint(self, option: QStyleOptionViewItem, index: Any) -> QSize:
        height = block_height(self._owner)
        if index == self._owner.currentIndex():
            height += self._owner.buttons().height_needed()
        return QSize(100, height)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Any) -> None:
        colors, card = self.colors, index.data(THING)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(option.rect).adjusted(0.5, 0.5, -0.5, -0.5)
        if index == self._owner.currentIndex():
            painter.setBrush(QColor(colors.foreground))
            painter.setPen(QPen(QColor(colors.accent), 1))
            painter.drawRoundedRect(frame, 3, 3)
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(QColor(colors.foreground))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(frame, 3, 3)
        top, left = option.rect.top() + PAD, option.rect.left() + PAD
        self._draw_picture(painter, QPoint(left, top), card)
        room = self._words_rect(option.rect)
        for line, words in enumerate((card.name, *words_of(card, self.used))):
            font = card_font(painter.font(), bold=line == 0)
            painter.setFont(font)
            painter.setPen(QColor(colors.dim if line else colors.text))
            metrics = QFontMetrics(font)
            box = QRect(room.left(), room.top(), room.width(), metrics.height())
            shown = metrics.elidedText(words, Qt.TextElideMode.ElideRight, box.width())
            painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter), shown)
            room.setTop(room.top() + metrics.height() + (3 if line == 0 else 1))
        painter.restore()

    def _words_rect(self, rect: QRect) -> QRect:
        return QRect(rect.adjusted(PAD + PICTURE + GAP, PAD - 1, -PAD, 0))

    def _draw_picture(self, painter: QPainter, at: QPoint, card: ModelCard) -> None:
        box = QRect(at, QSize(PICTURE, PICTURE))
        painter.fillRect(box, QColor(self.colors.primary))
        if (pair := self._picture(card)) is not None:
            half = pair.width() // 2
            side = min(PICTURE, half, pair.height())
            inside = QRect((half - side) // 2, (pair.height() - side) // 2, side, side)
            corner = QPolygon([box.topRight(), box.bottomRight(), box.bottomLeft()])
            painter.drawPixmap(box, pair, inside)
            painter.setClipRegion(QRegion(corner))
            painter.drawPixmap(box, pair, inside.translated(half, 0))
            painter.setClipping(False)
        painter.setPen(QPen(QColor(255, 255, 255, 190), 1))
        painter.drawLine(box.bottomLeft(), box.topRight())

    def _picture(self, card: ModelCard) -> QPixmap | None:
        path = card.thumbnail
        if path is None:
            return None
        stamp = path.stat().st_mtime_ns
        known = self._pictures.get(path)
        if known is None or known[0] != stamp:
            known = self._pictures[path] = (stamp, QPixmap(str(path)))
        return None if known[1].isNull() else known[1]


def words_of(card: ModelCard, used: Path | None = None) -> tuple[str, str]:
    """Return two lines about a model: method and axes, steps and date."""
    if card.problem:
        return "Cannot be read.", day(card.date)
    if not card.is_read:
        return "Reading …", day(card.date)
    channels = f", {card.n_channels} channels" if card.n_channels > 1 else ""
    steps = f"{card.steps:,}".replace(",", " ") if card.steps > 9999 else str(card.steps)
    in_use = " · in use" if used is not None and card.folder == used else ""
    return (
        f"{card.method} · {card.dims}D · {card.axes}{channels}",
        f"{steps} step{'s' if card.steps != 1 else ''} · {day(card.date)}{in_use}",
    )


def day(date: datetime.datetime, now: datetime.datetime | None = None) -> str:
    """Return a date as "today 14:02", "yesterday", "12 May" or "12 May 2025"."""
    now = now or datetime.datetime.now().astimezone()
    date = date.astimezone(now.tzinfo)
    days = (now.date() - date.date()).days
    if days == 0:
        return f"today {date:%H:%M}"
    if days == 1:
        return "yesterday"
    return f"{date.day} {date:%B}" + (f" {date.year}" if date.year != now.year else "")
