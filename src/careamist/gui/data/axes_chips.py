"""What the axes of an image mean: a proposal, a question where nobody can know, and chips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.forms.rows import Combo, Wrap, set_state
from careamist.gui.parts.message import MessageBox

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AxesChips", "axes_problem", "describe_axes", "open_axes", "propose_axes"]

LETTERS = "TZCSYX"
WORDS = {"T": "time", "Z": "depth", "C": "channel", "S": "sample"}
ANSWERS = {"T": "Time (T)", "Z": "Depth (Z)", "C": "Channel (C)", "S": "Separate images (S)"}
_NAMES = {
    "T": ("t", "time", "times", "timepoint", "frame", "frames"),
    "Z": ("z", "depth", "plane", "planes"),
    "C": ("c", "ch", "channel", "channels"),
    "S": ("s", "sample", "samples", "series", "position", "positions"),
    "Y": ("y", "row", "rows", "height"),
    "X": ("x", "col", "column", "columns", "width"),
}
_LETTER_OF = {name: letter for letter, names in _NAMES.items() for name in names}
_LEADING = ("", "T", "TZ", "TCZ", "STCZ")  # by how many axes stand before YX
MOST_AXES = 6


def propose_axes(
    shape: Sequence[int], axis_labels: Sequence[str] = (), rgb: bool = False
) -> tuple[str, bool]:
    """Propose what each axis means, from its label or its place.

    Returns
    -------
    axes : str
        One letter of STCZYX per axis, as far as there are letters.
    ask : bool
        Whether somebody who knows the image has to be asked.
    """
    letters = _propose(shape, axis_labels, rgb)
    return "".join(letters), bool(open_axes(shape, axis_labels, rgb))


def open_axes(
    shape: Sequence[int], axis_labels: Sequence[str] = (), rgb: bool = False
) -> tuple[int, ...]:
    """Return the axes that neither label nor place explains; those of length 1 do not matter."""
    known = _from_labels(len(shape), axis_labels, rgb)
    return tuple(
        at
        for at, letter in enumerate(_propose(shape, axis_labels, rgb))
        if at not in known and letter not in "YX" and shape[at] > 1
    )


def axes_problem(axes: str, ndim: int) -> str:
    """Return a sentence on what is wrong with the axes, or nothing."""
    for letter in axes:
        if axes.count(letter) > 1:
            return f"{letter} is used {axes.count(letter)} times. Give each axis its own letter."
    if ndim > MOST_AXES:
        return f"The image has {ndim} axes, at most {MOST_AXES} can be read. Choose a part of it."
    if len(axes) != ndim:
        return f"The image has {ndim} axes, “{axes}” names {len(axes)}. Give each axis a letter."
    missing = [letter for letter in "YX" if letter not in axes]
    if missing:
        return (
            f"{' and '.join(missing)} missing. Say which axis is {' and which is '.join(missing)}."
        )
    return ""


def describe_axes(axes: str, shape: Sequence[int]) -> str:
    """Say in a sentence how an image with these axes is read."""
    size = dict(zip(axes, shape, strict=True))
    one = f"3D volume of {size['Z']} planes" if "Z" in size else "2D image"
    if "C" in size:
        one += f" with {_count(size['C'], 'channel')}"
    many = [_count(size["S"], "sample")] if "S" in size else []
    many += [_count(size["T"], "time point")] if "T" in size else []
    return f"{' × '.join(many)}, each as a {one}." if many else f"One {one}."


class AxesChips(QWidget):
    """One small combo per axis, and a question below while an axis is not known."""

    axesChanged = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._chips: list[_Chip] = []
        self._open: list[int] = []
        self._shape: tuple[int, ...] = ()
        self._wrap = Wrap(self, columns=3, spacing=4, fill=True)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.addWidget(self._wrap)
        self.question = MessageBox()  # stands below the row, across the whole dock

    def setImage(
        self,
        shape: Sequence[int],
        axis_labels: Sequence[str] = (),
        rgb: bool = False,
        fixed: str = "",
    ) -> None:
        """Propose axes for an image; `fixed` says why they cannot be changed, if so."""
        self._shape = tuple(shape)
        letters = _propose(shape, axis_labels, rgb)
        self._open = list(open_axes(shape, axis_labels, rgb))
        self._chips = [_Chip(at, size, self) for at, size in enumerate(shape)]
        for chip, letter in zip(self._chips, letters, strict=True):
            chip.setLetter("" if chip.place in self._open else letter)
            chip.activated.connect(lambda *_, chip=chip: self._answered(chip.place))
            chip.fix(fixed)
        self._wrap.setWidgets(list(self._chips))
        self._proposal = letters
        self._show()

    def axes(self) -> str:
        """Return the letters chosen or, where the question is open, proposed."""
        given = [chip.letter() for chip in self._chips]
        left = [letter for letter in LETTERS if letter not in given]
        for at in self._open:
            wanted = self._proposal[at]
            given[at] = wanted if wanted in left else next(iter(left), "")
            left = [letter for letter in left if letter != given[at]]
        return "".join(given)

    def setAxes(self, axes: str) -> None:
        axes = axes.upper()
        if len(axes) != len(self._chips) or set(axes) - set(LETTERS):
            msg = (
                f"axes={axes!r}: expected {len(self._chips)} letters of STCZYX, "
                f"one for each axis of shape {self._shape}."
            )
            raise ValueError(msg)
        before = self.axes(), self._open
        for chip, letter in zip(self._chips, axes, strict=True):
            chip.setLetter(letter)
        self._open = []
        self._show()
        if before != (axes, []):
            self.axesChanged.emit()

    def problem(self) -> str:
        """Return what is missing or wrong, in one sentence."""
        given = "".join(chip.letter() for chip in self._chips)
        wrong = axes_problem(given, len(self._chips)) if not self._open else ""
        if wrong or not self._open:
            return wrong
        twice = axes_problem(given + self._spare(given), len(self._chips))
        return twice or _open_words(self._open)

    def isOpen(self) -> bool:
        return bool(self._open)

    def _spare(self, given: str) -> str:
        """Letters that stand in for the open axes while the others are checked."""
        rest = [letter for letter in LETTERS if letter not in given and letter not in "YX"]
        return "".join(rest[: len(self._open)])

    def _answered(self, place: int, letter: str = "") -> None:
        if letter:
            self._chips[place].setLetter(letter)
        self._open = [at for at in self._open if at != place]
        self._show()
        self.axesChanged.emit()

    def _show(self) -> None:
        given = [chip.letter() for chip in self._chips]
        for chip in self._chips:
            clash = chip.letter() != "" and given.count(chip.letter()) > 1
            asked = chip.place in self._open
            set_state(chip, "question" if asked else "error" if clash else "")
            chip.describe()
        if self._open:
            self._ask(self._open[0], given)
        elif problem := self.problem():
            self.question.show_message("warning", "These axes do not fit", problem)
        else:
            self.question.clear()

    def _ask(self, place: int, given: list[str]) -> None:
        answers = [
            (words, lambda letter=letter: self._answered(place, letter))
            for letter, words in ANSWERS.items()
            if letter not in given
        ]
        self.question.show_message(
            "question",
            f"What is axis {place}?",
            f"It has {self._shape[place]} planes, and nothing says what they are.",
            answers,
        )


class _Chip(Combo):
    """Reads "T · 12" when closed; its list has words."""

    def __init__(self, place: int, size: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.place, self.size_, self._fixed = place, size, ""
        self.setProperty("chip", True)
        self.addItems([f"{letter}  {WORDS.get(letter, '')}".strip() for letter in LETTERS])
        self.setCurrentIndex(-1)
        self.view().setMinimumWidth(12 * self.fontMetrics().averageCharWidth())

    def letter(self) -> str:
        at = self.currentIndex()
        return LETTERS[at] if at >= 0 else ""

    def setLetter(self, letter: str) -> None:
        self.setCurrentIndex(LETTERS.index(letter) if letter else -1)

    def fix(self, why: str) -> None:
        """Show the letter, to be read but not changed."""
        self._fixed = why
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus if why else Qt.FocusPolicy.StrongFocus)

    def showPopup(self) -> None:
        if not self._fixed:
            super().showPopup()

    def shownText(self) -> str:
        return f"{self.letter() or '?'} · {self.size_}"

    def describe(self) -> None:
        meaning = WORDS.get(self.letter(), self.letter()) or "not known yet"
        self.setAccessibleName(f"Axis {self.place}")
        self.setToolTip(f"Axis {self.place}, length {self.size_}: {meaning}. {self._fixed}".strip())
        self.update()


def _from_labels(ndim: int, labels: Sequence[str], rgb: bool) -> dict[int, str]:
    if rgb:
        return _from_labels(ndim - 1, labels, False) | {ndim - 1: "C"}
    if len(labels) != ndim:
        return {}
    found = {at: _LETTER_OF.get(str(label).strip().lower(), "") for at, label in enumerate(labels)}
    letters = [letter for letter in found.values() if letter]
    # A label that is said twice says nothing.
    return {at: letter for at, letter in found.items() if letter and letters.count(letter) == 1}


def _propose(shape: Sequence[int], labels: Sequence[str], rgb: bool) -> list[str]:
    ndim = len(shape)
    known = _from_labels(ndim, labels, rgb)
    if rgb and "C" in [letter for at, letter in known.items() if at < ndim - 1]:
        known = {ndim - 1: "C"}
    unknown = [at for at in range(ndim) if at not in known]
    free = [letter for letter in LETTERS if letter not in known.values()]
    found = dict(known)
    for letter in "XY":
        if letter in free and unknown:
            found[unknown.pop()] = letter
    spare = [letter for letter in "SCTZ" if letter in free]
    wide = [at for at in unknown if shape[at] > 1]
    usual = _LEADING[min(len(wide), len(_LEADING) - 1)]
    wanted = [letter for letter in usual if letter in free]
    wanted += [letter for letter in reversed(spare) if letter not in wanted]
    for at, letter in zip(wide, wanted, strict=False):
        found[at] = letter
        spare.remove(letter)
    found |= dict(zip([at for at in unknown if at not in wide], spare, strict=False))
    return [found.get(at, "") for at in range(ndim)]


def _open_words(places: list[int]) -> str:
    count = f"{len(places)} questions" if len(places) > 1 else "1 question"
    return f"{count} left: what is axis {places[0]}?"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
