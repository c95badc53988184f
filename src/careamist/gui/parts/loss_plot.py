"""The loss of a training over its steps: drawn while it runs, kept as a table or a picture."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QBuffer, Qt, QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from careamist.errors import CareamistError
from careamist.gui.parts.curves import Curve, smooth
from careamist.gui.parts.loss_view import MARKS, LossView
from careamist.gui.parts.message import MessageBox
from careamist.gui.theme import Palette, follow
from careamist.utils.files import told

if TYPE_CHECKING:
    import numpy as np
    from qtpy.QtGui import QResizeEvent, QShowEvent

__all__ = ["LossPlot"]

REDRAW_MS = 100
PREPARE_MS = 2000
GAP = 4
MIN_HEIGHT = 96  # a page with notices and two rows of previews still fits 720 px
KINDS = {"csv": ("table", "Tables (*.csv)"), "png": ("picture", "Pictures (*.png)")}


class LossPlot(QWidget):
    """Loss of training, raw and smoothed, and of validation, over the steps.

    Steps rise. A training that goes back, to go on from an earlier step, leaves the curve there.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(MIN_HEIGHT)
        self.setMaximumHeight(320)
        self._train, self._validation = Curve(), Curve()
        self._total = 0
        self._best_step: int | None = None
        self._marks: dict[str, list[int]] = {name: [] for name in MARKS}
        self._view: LossView | None = None
        self._legends: tuple[str, ...] = ()  # the longest first
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self.redraw)
        self._build()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._prepare)
        self._soon.start(PREPARE_MS)

    # -- what is shown ---------------------------------------------------------------------------

    def addStep(self, step: int, loss: float) -> None:
        """Add the training loss of a step; drawn a little later, with what came meanwhile."""
        self._train.add(step, loss)
        self._later()

    def addValidation(self, step: int, loss: float) -> None:
        """Add the validation loss of a step."""
        self._validation.add(step, loss)
        self._later()

    def setTotal(self, steps: int) -> None:
        """Say how many steps are planned, so that the axis shows what is to come."""
        self._total = steps
        self._later()

    def setBest(self, step: int | None) -> None:
        """Mark the step whose model is the best one."""
        self._best_step = step
        self._later()

    def addCheckpoint(self, step: int) -> None:
        """Mark a step whose model is kept."""
        if step not in self._marks["checkpoint"]:
            self._marks["checkpoint"].append(step)
            self._later()

    def setPreviews(self, steps: list[int]) -> None:
        """Mark the steps that a preview is shown of."""
        self._marks["preview"] = list(steps)
        self._later()

    def clear(self) -> None:
        """Forget a run."""
        self._train, self._validation = Curve(), Curve()
        self._marks = {name: [] for name in MARKS}
        self.showAll()
        self.setBest(None)

    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return steps and losses of "train", "smooth" and "validation"."""
        steps, losses = self._train.points()
        return {
            "train": (steps, losses),
            "smooth": (steps, smooth(losses)),
            "validation": self._validation.points(),
        }

    def marks(self) -> dict[str, list[int]]:
        """Return the steps of "preview", "checkpoint" and "best"."""
        best = [] if self._best_step is None else [self._best_step]
        return {name: list(steps) for name, steps in self._marks.items()} | {"best": best}

    def isLog(self) -> bool:
        """Tell whether the loss is shown on a logarithmic scale."""
        return bool(self._log.isChecked())

    def setLog(self, on: bool) -> None:
        """Show the loss on a logarithmic scale, or not."""
        self._log.setChecked(on)

    def showAll(self) -> None:
        """Show the whole curve again, after a zoom."""
        if self._view is not None:
            self._view.showAll()

    def shownSteps(self) -> tuple[float, float]:
        """Return the first and the last step on the axis."""
        return (0.0, float(self._total)) if self._view is None else self._view.range()

    def hovered(self) -> str:
        """Return what is said of the place under the mouse, or nothing."""
        return "" if self._view is None else self._view.hovered()

    def redraw(self) -> None:
        """Draw what has come in, thinned out to what the width can show."""
        self._timer.stop()
        if self._view is not None:
            curves = self._train.points(), self._validation.points()
            self._view.show(*curves, self._total, self._marks, self._best_step)

    # -- what is kept ----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the losses as a table (``.csv``), or the plot as it is seen (``.png``).

        The table has the columns step, train_loss, smoothed, val_loss, preview, checkpoint and
        best; the last three hold 1 at the steps that are marked. A cell without a value is empty.

        Raises
        ------
        UnreadableError
            Also an OSError: the file cannot be written.
        """
        path = Path(path)
        part = path.with_name(f"{path.name}.part")
        with told(f"{path} cannot be written"):
            try:
                write = self._write_table if path.suffix.lower() == ".csv" else self._write_picture
                write(part)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

    def choose(self, kind: str) -> None:
        """Ask for a file and write to it; `kind` is "csv" or "png"."""
        what, pattern = KINDS[kind]
        start = Path.home() / f"loss.{kind}"
        chosen, _ = QFileDialog.getSaveFileName(self, f"Save {what}", str(start), pattern)
        if not chosen:
            return
        path = Path(chosen)
        self.message.clear()
        try:
            self.save(path if path.suffix.lower() == f".{kind}" else Path(f"{path}.{kind}"))
        except CareamistError as error:
            self.message.show_message("error", error.message, error.hint)

    def showEvent(self, event: QShowEvent) -> None:
        """Make the plot when it is seen."""
        self._prepare()
        super().showEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name the curves in the room that is left."""
        super().resizeEvent(event)
        self._fit_legend()

    # -- inside ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self._words = QLabel(self)
        self._words.setTextFormat(Qt.TextFormat.RichText)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._all = self._small("all", "Whole curve", "Show the whole curve again.")
        self._all.clicked.connect(lambda: self.showAll())
        self._all.hide()
        self._log = self._small("log", "Logarithmic loss", "Show the loss on a logarithmic scale.")
        self._log.setCheckable(True)
        self._log.toggled.connect(self._on_log)
        self._save = self._small("save", "Save the loss", "Keep the losses as a table or picture.")
        menu = QMenu(self._save)
        for kind, (what, _) in KINDS.items():
            act = menu.addAction(f"Save as &{what} ({kind.upper()})…")
            act.triggered.connect(lambda _=False, kind=kind: self.choose(kind))
        self._save.setMenu(menu)
        self.message = MessageBox(self)
        top = QHBoxLayout()
        top.setSpacing(GAP)
        top.addWidget(self._words, 1)
        for button in (self._all, self._log, self._save):
            top.addWidget(button)
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(4)
        self._rows.addLayout(top)
        self._rows.addWidget(self.message)

    def _small(self, words: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(words, self)
        button.setProperty("role", "toggle")
        button.setAccessibleName(name)
        button.setToolTip(tip)
        return button

    def _prepare(self) -> None:
        """Make the plot: when it is first seen, or when the dock has been open for a while."""
        if self._view is not None:
            return
        self._soon.stop()
        self._view = LossView(self)
        self._view.zoomed.connect(self._on_zoomed)
        self._view.setLog(self.isLog())
        self._rows.addWidget(self._view.widget, 1)
        follow(self, self._recolor)
        self._later()

    def _write_table(self, path: Path) -> None:
        curves, marks = self.curves(), self.marks()
        steps, losses = curves["train"]
        columns = {
            "train_loss": dict(zip(steps, losses, strict=True)),
            "smoothed": dict(zip(steps, curves["smooth"][1], strict=True)),
            "val_loss": dict(zip(*curves["validation"], strict=True)),
            **{name: dict.fromkeys(marked, 1) for name, marked in marks.items()},
        }
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *columns])
            for step in sorted(set().union(*columns.values())):
                writer.writerow([int(step), *(each.get(step, "") for each in columns.values())])

    def _write_picture(self, path: Path) -> None:
        self._prepare()
        self.redraw()
        assert self._view is not None
        picture, kept = self._view.widget.grab(), QBuffer()
        picture.save(kept, "PNG")
        path.write_bytes(kept.data().data())

    def _on_log(self, on: bool) -> None:
        if self._view is not None:
            self._view.setLog(on)
            self.redraw()

    def _on_zoomed(self, on: bool) -> None:
        self._all.setVisible(on)
        self._fit_legend()

    def _later(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _recolor(self, colors: Palette) -> None:
        if self._view is not None:
            self._view.recolor(colors, self.font())
        train = f"<span style='color:{colors.accent}'>━</span> train"
        point = f"<span style='color:{colors.warning}'>━●</span>"
        curves = f"{train}&nbsp; {point} validation"
        self._legends = (f"<b>Loss</b>&nbsp; {curves}", curves, f"{train}&nbsp; {point} val.")
        self._fit_legend()

    def _fit_legend(self) -> None:
        """Name the curves in as many words as there is room for beside the buttons."""
        buttons = [each for each in (self._all, self._log, self._save) if not each.isHidden()]
        room = self.width() - sum(each.sizeHint().width() + GAP for each in buttons)
        for words in self._legends:
            self._words.setText(words)
            if self._words.sizeHint().width() <= room:
                return
