"""Questions that are answered in the background; only the latest one counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from napari.qt.threading import create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from careamist.stop import StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer(NamedTuple):
    """What a question gave, or what is wrong, in a sentence or two."""

    result: Any
    problem: str


class Latest(QObject):  # type: ignore[misc, unused-ignore]
    """Asks functions in the background; what was asked before the latest one is dropped.

    Parameters
    ----------
    parent : QObject
        With it this ends: a question that checks for it stops, an answer is dropped.

    Attributes
    ----------
    answered : Signal(object)
        The `Answer`, on the GUI thread.
    """

    answered = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._open: list[StopSignal] = []  # the latest question, or none
        self.destroyed.connect(partial(_stop, self._open))

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._open)

    def ask(self, question: Callable[[Callable[[], None]], Any]) -> None:
        """Call `question` with a function that it may call, which ends it if it was dropped."""
        self.drop()
        stop = StopSignal()
        self._open.append(stop)
        worker = create_worker(_answer, [question], stop, _start_thread=False)
        worker.returned.connect(self._on_answer)
        worker.start()

    def drop(self) -> None:
        """Do not wait for an answer any more."""
        _stop(self._open)
        self._open.clear()

    def _on_answer(self, told: tuple[StopSignal, Answer]) -> None:
        stop, answer = told
        if isalive(self) and stop in self._open:
            self._open.clear()
            self.answered.emit(answer)


def _stop(signals: list[StopSignal], *_: object) -> None:
    for stop in signals:
        stop.set()


def _answer(
    question: list[Callable[[Callable[[], None]], Any]], stop: StopSignal
) -> tuple[StopSignal, Answer]:
    """Never raises: what goes wrong is the answer."""
    try:
        # taken out of the list: napari keeps its workers, with what they were given, for ever
        return stop, Answer(question.pop()(stop.check), "")
    except Exception as error:  # StopRequested too: nobody waits for it
        words = str(error).strip() or type(error).__name__
        return stop, Answer(None, words.splitlines()[0])
