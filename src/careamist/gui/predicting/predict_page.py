"""What a prediction looks like while it runs, and files when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from careamist.events import Event, ImageFailed, ImageStarted, Noticed, RegionPredicted, RunStarted
from careamist.gui.data.data_source import in_times
from careamist.gui.forms.rows import hint_label
from careamist.gui.parts.card import Card
from careamist.gui.parts.notes import Notices, WarnLine
from careamist.gui.predicting.batch_list import BatchList

if TYPE_CHECKING:
    from collections.abc import Callable

    from careamist.gui.predicting.results import Results

_ORDER = "Slice in view first, then its neighbours. Move the slider and the order follows."
_NEAR = "Tiles nearest the view come first. Move the view and the order follows."


class PredictPage(QWidget):  # type: ignore[misc, unused-ignore]
    """A card, what was noticed, where results are kept, and of files a line each.

    Parameters
    ----------
    parent : QWidget
    retry : callable
        Called when the failed files are to be tried again.
    """

    def __init__(self, parent: QWidget, retry: Callable[[], object]) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.summary = Card(self)
        self.notices = Notices(self)
        self.hint = hint_label("", self)
        self.where = QElidingLabel(self)
        self.where.setProperty("role", "hint")
        self.where.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.where.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.show_folder = _link("Show folder", "Open the folder of the results.", self)
        self.show_folder.clicked.connect(lambda: self.openFolder())
        self.files = BatchList(self)
        self.count = QLabel(self)
        self.count.setProperty("role", "hint")
        self.count.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.retry = _link("Re&try failed", "Try the files again that have failed.", self)
        self.retry.clicked.connect(lambda: retry())
        self.reason = WarnLine(self)
        self._results: Results | None = None
        self._device = ""
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._slices: dict[int, dict[int, int]] = {}
        self._heading = QLabel("Files", self)
        self._heading.setProperty("role", "title")
        self._build()
        self.files.selectionModel().currentChanged.connect(lambda *_: self._show_reason())

    def begin(self, results: Results | None, *, again: bool = False) -> None:
        """Show another run; with `again`, of files that a run before has left."""
        self._results = results
        self._shapes, self._slices, self._device = {}, {}, ""
        self.notices.clear()
        self.reason.setText("")
        if results is None:
            return
        order = results.order
        in_files = order.output == "files"
        for part in (self.files, self.count, self._heading):
            part.setVisible(in_files)
        known = order.only or [info.source for info in order.choice.images]
        self.files.files.setSources(known, keep=again)
        several = any(n > 1 for n in order.shape[:-2]) if order.choice.layer is not None else False
        self.hint.setText("" if in_files else _ORDER if several else _NEAR)
        self.hint.setVisible(not in_files and order.choice.layer is not None)
        self._show_where()
        self._show_count()

    def follow(self, event: Event) -> None:
        """Show what a run tells."""
        files = self.files.files
        if isinstance(event, RunStarted):
            self._device = str(event.resolved.get("device", ""))
            sources = getattr(getattr(self._results, "sink", None), "sources", [])
            known = {line.source for line in files.lines}
            if sources and (set(sources) - known or not known):
                again = bool(self._results is not None and self._results.order.only)
                files.setSources(sources, keep=again)
        elif isinstance(event, Noticed):
            self.notices.add(event.message)
        elif isinstance(event, ImageStarted):
            self._shapes[event.index] = event.shape
        elif isinstance(event, RegionPredicted):
            self._count_slice(event)
        files.follow(event)
        if isinstance(event, ImageFailed):
            self._show_reason()
        self._show_count()

    def slices(self) -> str:
        """Say how many slices of the image are complete, "1 of 12 slices complete"."""
        if not self._slices or self._results is None or self._results.order.output == "files":
            return ""
        done, total = 0, 0
        for left in self._slices.values():
            done += sum(n == 0 for sample, n in left.items() if sample >= 0)
            total += left[-1]
        return f"{done} of {total} slices complete" if total > 1 else ""

    def openFolder(self) -> None:
        """Open the folder of the results in the file manager."""
        folder = self._results.folder if self._results is not None else None
        if folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def written(self) -> list[Path]:
        """Return the files that are complete, of all runs that are shown."""
        return [Path(line.written_to) for line in self.files.files.lines if line.written_to]

    def failed(self) -> list[str]:
        """Return the files that have failed, or were not reached."""
        return self.files.files.sources("failed", "stopped", "waiting")

    def _about(self, results: Results) -> str:
        order = results.order
        shape = in_times(order.shape) if order.choice.shape else ""
        if order.output == "files" and order.choice.layer is None:
            n = len(self.files.files.lines)
            shape = f"{n} file{'s' if n != 1 else ''}" if n else ""
        pixels = "float32" if order.settings().dtype == "float32" else "as input"
        average = "average of 8" if order.options.tta != "none" else ""
        return " · ".join(part for part in (shape, pixels, average, self._device) if part)

    def _count_slice(self, event: RegionPredicted) -> None:
        """Count the tiles of a slice that are left; -1 holds the number of slices."""
        sample, shape = int(event.specs["sample_idx"]), self._shapes.get(event.index, ())
        total = int(event.specs["total_tiles"])
        n = 1
        if self._results is not None:
            letters = self._results.order.axes
            sizes = zip(letters, shape, strict=False)
            n = _product(size for axis, size in sizes if axis in "ST")
        left = self._slices.setdefault(event.index, {-1: n})
        left[sample] = left.get(sample, total // max(n, 1)) - 1

    def _show_where(self) -> None:
        folder = self._results.folder if self._results is not None else None
        self.where.setText("" if folder is None else f"In {folder}")
        self.where.setToolTip("" if folder is None else str(folder))
        for part in (self.where, self.show_folder):
            part.setVisible(folder is not None)

    def _show_count(self) -> None:
        if (results := self._results) is not None:  # files that cannot be opened come to light late
            title = f"{results.order.choice.name} → {results.title()}"
            self.summary.setWords(title, self._about(results))
        self.count.setText(self.files.files.summary())
        self.count.setToolTip(self.count.text())
        in_files = self._results is not None and self._results.order.output == "files"
        self.retry.setVisible(in_files and bool(self.files.files.count("failed")))

    def _show_reason(self) -> None:
        line = self.files.line()
        if line is None or line.state != "failed":
            failed = [line for line in self.files.files.lines if line.state == "failed"]
            line = failed[0] if failed else None
        if line is None:
            self.reason.setText("")
            return
        name = "" if line.name in line.reason else f"{line.name}: "
        self.reason.setText(f"{name}{line.reason} {line.hint}".strip())

    def _build(self) -> None:
        place = QHBoxLayout()
        place.setSpacing(6)
        place.addWidget(self.where, 1)
        place.addWidget(self.show_folder)
        top = QGridLayout()
        top.setHorizontalSpacing(8)
        top.addWidget(self._heading, 0, 0)
        top.addWidget(self.count, 0, 1)
        top.addWidget(self.retry, 0, 2)
        top.setColumnStretch(1, 1)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        lines.addWidget(self.summary)
        lines.addWidget(self.notices)
        lines.addWidget(self.hint)
        lines.addLayout(place)
        lines.addLayout(top)
        lines.addWidget(self.files, 10)
        lines.addWidget(self.reason)
        lines.addStretch(1)


def _link(words: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(words, parent)
    button.setProperty("role", "link")
    button.setAccessibleName(words.replace("&", ""))
    button.setToolTip(tip)
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return button


def _product(numbers: Any) -> int:
    found = 1
    for number in numbers:
        found *= int(number)
    return found
