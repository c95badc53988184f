"""The rows that choose which part of an image is trained on; only those that it has a use for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from careamist.gui.data.slices_row import ChannelsRow, SlicesRow
from careamist.gui.training.region_row import RegionRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from careamist.gui.data.data_source import DataChoice

_SAMPLES = "TS"
_APART = "Each is learnt on its own: “Channels apart” in Advanced."
_TOGETHER = "They are learnt together: “Channels apart” in Advanced."
_OF_FILES = "Of the targets, all channels are used."


class PartRows(QWidget):  # type: ignore[misc, unused-ignore]
    """A region in Y and X, slices along T and S, and channels.

    Parameters
    ----------
    viewer : napari.Viewer
        Its view, its shapes and its sliders count.
    parent : QWidget

    Attributes
    ----------
    valueChanged : Signal()
        Another part was chosen, or it is another one now.
    """

    valueChanged = Signal()

    def __init__(self, viewer: Any, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.region = RegionRow(viewer, self)
        self.slices = SlicesRow(viewer, self)
        self.channels = ChannelsRow(self)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(8)
        for row in (self.region, self.slices, self.channels):
            lines.addWidget(row)
            row.valueChanged.connect(self.valueChanged)
        self.setChoice(None)

    def setChoice(self, choice: DataChoice | None) -> None:
        """Say of which image, with known axes."""
        self.region.setChoice(choice)
        letters = "".join(axis for axis in _SAMPLES if choice is not None and axis in choice.axes)
        self.slices.setChoice(choice, letters)
        self.slices.setVisible(self.slices.isOffered())
        self.channels.setChoice(choice)
        self.channels.setVisible(self.channels.isOffered())

    def showUse(self, patch: Sequence[int], *, apart: bool, target_files: bool) -> None:
        """Show what follows from the choice.

        Parameters
        ----------
        patch : sequence of int
            Size of the training patches in Y and X.
        apart : bool
            Whether each channel has a network of its own.
        target_files : bool
            Whether there are targets that are files.
        """
        self.region.showBoxes(patch)
        words = _APART if apart else _TOGETHER
        chosen = self.channels.value() is not None
        self.channels.setHint(f"{words} {_OF_FILES}" if target_files and chosen else words)

    def problem(self) -> str:
        """Return what is wrong with the slices or the channels, or nothing."""
        return self.slices.problem() or self.channels.problem()

    def isToldHere(self) -> bool:
        """Tell whether what is wrong stands beside its row."""
        return bool(self.region.message() or self.problem())
