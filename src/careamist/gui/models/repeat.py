"""The ways to keep a run so that it can be repeated, as acts of a menu."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from careamist.gui.models.copy_job import Job, JobCopy

if TYPE_CHECKING:
    from collections.abc import Callable

    Order = Callable[[], Job]

_FILTER = "Jobs (*.yml)"


class Repeat(QObject):  # type: ignore[misc, unused-ignore]
    """A Python script, a line for the shell, or a job file of the run that a dock shows.

    Parameters
    ----------
    parent : QWidget
        The dock.
    order : callable
        Returns what makes the job, in the background; None where there is nothing to repeat.
    told : callable
        Takes "info" or "error", and what to tell the user.

    Attributes
    ----------
    menu : QMenu
        All three, for a button that is there where a run can be repeated.
    """

    def __init__(
        self,
        parent: QWidget,
        order: Callable[[], Order | None],
        told: Callable[[str, str], object],
    ) -> None:
        super().__init__(parent)
        self._dock, self._order = parent, order
        self._copy = JobCopy(self)
        self._copy.told.connect(lambda kind, words: told(kind, words))
        self._acts: dict[str, Callable[[], object]] = {
            "Copy as &Python script": self.copyScript,
            "Copy &command line": self.copyCommand,
            "Save &job file…": self.chooseFile,
        }
        self.menu = QMenu(parent)
        for words, act in self._acts.items():
            self.menu.addAction(words).triggered.connect(lambda _=False, act=act: act())

    def copyScript(self) -> None:
        """Put a Python script that repeats the run on the clipboard."""
        if (order := self._order()) is not None:
            self._copy.copyScript(order)

    def copyCommand(self) -> None:
        """Put a line for the shell that repeats the run on the clipboard."""
        if (order := self._order()) is not None:
            self._copy.copyCommand(order)

    def saveJob(self, path: str | Path) -> None:
        """Write a job file that ``careamist run`` repeats the run from."""
        if (order := self._order()) is not None:
            path = Path(path)
            self._copy.saveJob(order, path if path.suffix else path.with_suffix(".yml"))

    def chooseFile(self) -> None:
        """Ask for a file and write the job there."""
        start = str(Path.home() / "job.yml")
        path, _ = QFileDialog.getSaveFileName(self._dock, "Save the job", start, _FILTER)
        if path:
            self.saveJob(path)

    def fill(self, menu: QMenu) -> None:
        """Add the acts to a menu; they are off where there is nothing to repeat."""
        for words, act in self._acts.items():
            action = menu.addAction(words)
            action.triggered.connect(lambda _=False, act=act: act())
            action.setEnabled(self._order() is not None)
