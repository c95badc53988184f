"""The files of a prediction: one line each, with its state in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QFontMetrics, QPainter
from qtpy.QtWidgets import QListView, QStyle, QStyledItemDelegate, QWidget

from careamist.events import (
    Event,
    ImageFailed,
    ImageFinished,
    ImageStarted,
    RegionPredicted,
    RunFailed,
    RunStopped,
)
from careamist.gui.icons import pixmap
from careamist.gui.parts.list_rows import THING, RowModel, dress_list
from careamist.gui.theme import Palette, follow, palette_of, row_height

if TYPE_CHECKING:
    from qtpy.QtWidgets import QStyleOptionViewItem

State = Literal["waiting", "running", "done", "skipped", "failed", "stopped"]
_SIGNS = {
    "waiting": "",
    "running": "play",
    "done": "check",
    "skipped": "skipped",
    "failed": "error",
    "stopped": "stop",
}
_PAD, _SIGN = 8, 16


@dataclass
class FileLine:
    """A file and how far it is."""

    source: str
    state: State = "waiting"
    reason: str = ""
    hint: str = ""
    done: int = 0
    total: int = 0
    written_to: str = ""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.source.replace("\\", "/").rstrip("/").rpartition("/")[2]

    @property
    def words(self) -> str:
        """Its state in words."""
        if self.state == "running":
            return f"running {100 * self.done // self.total} %" if self.total else "running"
        if self.state == "skipped":
            return "skipped, exists"
        return f"failed: {self.reason}" if self.state == "failed" else self.state


class BatchModel(RowModel[FileLine]):
    """The lines of some files, a function of what a run tells."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._row_of: dict[str, int] = {}
        self._source_of: dict[int, str] = {}

    def setSources(self, sources: Iterable[str], *, keep: bool = False) -> None:
        """Show these files; with `keep`, those that are there stay, and these wait anew."""
        wanted = list(sources)
        self.beginResetModel()
        if not keep:
            self.things = []
            self._row_of = {}
        for source in wanted:
            if source in self._row_of:
                self.lines[self._row_of[source]] = FileLine(source)
            else:
                self._row_of[source] = len(self.lines)
                self.lines.append(FileLine(source))
        self._source_of = {}
        self.endResetModel()

    def follow(self, event: Event) -> None:
        """Take what a run tells of a file."""
        if isinstance(event, ImageStarted):
            self._source_of[event.index] = event.source
            self._change(event.source, "running")
        elif isinstance(event, RegionPredicted):
            source = self._source_of.get(event.index, "")
            if (row := self._row_of.get(source)) is not None:
                line = self.lines[row]
                line.done += 1
                line.total = int(event.specs["total_tiles"])
                self._tell(row)
        elif isinstance(event, ImageFinished):
            row = self._row_of.get(event.source)
            was_there = row is not None and not self.lines[row].done
            if row is not None:
                self.lines[row].written_to = event.written_to or ""
            self._change(event.source, "skipped" if was_there else "done")
        elif isinstance(event, ImageFailed):
            self._change(event.source, "failed", event.message, event.hint)
        elif isinstance(event, (RunStopped, RunFailed)):
            for line in self.lines:
                if line.state == "running":
                    self._change(line.source, "stopped")

    @property
    def lines(self) -> list[FileLine]:
        """The files, in their order."""
        return self.things

    def count(self, state: State) -> int:
        """Return how many files are in a state."""
        return sum(line.state == state for line in self.lines)

    def sources(self, *states: State) -> list[str]:
        """Return the files in some states."""
        return [line.source for line in self.lines if line.state in states]

    def summary(self) -> str:
        """Say how many files are how far."""
        states: tuple[State, ...] = ("done", "skipped", "failed", "running", "stopped", "waiting")
        counts = [(self.count(state), state) for state in states]
        return " · ".join(f"{n} {state}" for n, state in counts if n)

    def name(self, thing: FileLine) -> str:
        return thing.name

    def spoken(self, thing: FileLine) -> str:
        return f"{thing.name}, {thing.words}"

    def tip(self, thing: FileLine) -> str:
        written = thing.written_to and f"Written to {thing.written_to}"
        return "\n".join(part for part in (thing.source, thing.reason, thing.hint, written) if part)

    def _change(self, source: str, state: State, reason: str = "", hint: str = "") -> None:
        row = self._row_of.get(source)
        if row is None:  # of a folder: what could not be opened is only known by now
            row = len(self.lines)
            self.beginInsertRows(self.index(-1), row, row)
            self._row_of[source] = row
            self.lines.append(FileLine(source))
            self.endInsertRows()
        line = self.lines[row]
        line.state, line.hint = state, hint
        line.reason = reason.replace(source, line.name)  # its place is in the tooltip
        self._tell(row)

    def _tell(self, row: int) -> None:
        self.dataChanged.emit(self.index(row), self.index(row))


class BatchList(QListView):  # type: ignore[misc, unused-ignore]
    """Shows the lines of a `BatchModel`, a thousand as well as three."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.files = BatchModel(self)
        self._rows = _Row(self)
        self.setModel(self.files)
        self.setItemDelegate(self._rows)
        self.setUniformItemSizes(True)
        dress_list(self, "Files", "The files, and how far each is.")
        follow(self, self._recolor)

    def minimumSizeHint(self) -> QSize:
        return QSize(100, 4 * row_height(self))

    def line(self) -> FileLine | None:
        """Return the selected line."""
        index = self.currentIndex()
        return self.files.lines[index.row()] if index.isValid() else None

    def _recolor(self, colors: Palette) -> None:
        self.setStyleSheet(
            f"BatchList {{ background: {colors.foreground}; border: 0px; padding: 2px; "
            "border-radius: 3px; outline: none; }"
        )
        self._rows.setColors(colors)
        self.viewport().update()


class _Row(QStyledItemDelegate):  # type: ignore[misc, unused-ignore]
    """Draws a sign, the name, and the state at the right."""

    def __init__(self, owner: BatchList) -> None:
        super().__init__(owner)
        self._owner = owner
        self.setColors(palette_of(owner))

    def setColors(self, colors: Palette) -> None:
        self._colors = colors
        self._signs = {
            state: pixmap(sign, colors.accent if state == "running" else colors.icon)
            for state, sign in _SIGNS.items()
            if sign
        }

    def sizeHint(self, option: QStyleOptionViewItem, index: Any) -> QSize:
        return QSize(100, row_height(self._owner) - 2)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Any) -> None:
        colors, line = self._colors, index.data(THING)
        painter.save()
        box = option.rect.adjusted(_PAD, 0, -_PAD, 0)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(colors.secondary))
        if (sign := self._signs.get(line.state)) is not None:
            painter.drawPixmap(box.left(), box.center().y() - _SIGN // 2 + 1, sign)
        box.setLeft(box.left() + _SIGN + _PAD)
        metrics = QFontMetrics(painter.font())
        name = min(metrics.horizontalAdvance(line.name), box.width())
        words = metrics.horizontalAdvance(line.words)
        if name + _PAD + words > box.width():  # the name keeps the larger part of a narrow line
            name = min(name, max(box.width() - words - _PAD, box.width() // 2))
        middle = int(Qt.AlignmentFlag.AlignVCenter)
        right = QRect(box)
        right.setLeft(box.left() + name + _PAD)
        box.setWidth(name)
        elide = Qt.TextElideMode.ElideMiddle
        painter.setPen(QColor(colors.text))
        painter.drawText(box, middle, metrics.elidedText(line.name, elide, box.width()))
        painter.setPen(QColor(colors.dim))
        said = metrics.elidedText(line.words, Qt.TextElideMode.ElideRight, right.width())
        painter.drawText(right, middle | int(Qt.AlignmentFlag.AlignRight), said)
        painter.restore()
