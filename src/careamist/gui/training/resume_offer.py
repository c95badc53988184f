"""The offer to go on with a training that was cut short when napari was closed or died."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from careamist.gui.parts.message import MessageBox
from careamist.gui.training import keeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from careamist.gui.forms.remembered import Remembered
    from careamist.gui.training.order import TrainingOrder
    from careamist.gui.training.train_form import TrainForm


class ResumeOffer(MessageBox):  # type: ignore[misc, unused-ignore]
    """A card with the two answers; hidden where nothing was cut short.

    Parameters
    ----------
    parent : QWidget
    viewer : napari.Viewer
        May have the layer that was trained on.
    form : TrainForm
        Chooses the image to go on with.
    memory : Remembered
        Knows what was cut short.
    start : callable
        Takes the folder of the run, and on what it is to go on.
    """

    def __init__(
        self,
        parent: QWidget,
        viewer: Any,
        form: TrainForm,
        memory: Remembered,
        start: Callable[[str, TrainingOrder], object],
    ) -> None:
        super().__init__(parent)
        self._viewer, self._form, self._memory, self._start = viewer, form, memory, start
        self._found = keeper.unfinished(memory)
        if self._found is not None:
            self._ask("info", f"“{self._found.label}” was cut short", self._found.words)

    def resume(self) -> None:
        """Go on, with the same image where it is at hand."""
        if self._found is None:
            return
        picker = self._form.picker
        if self._found.path is not None:
            picker.setPath(self._found.path)
        elif (choice := picker.value()) is None or choice.name != self._found.image:
            named = [layer for layer in self._viewer.layers if layer.name == self._found.image]
            if named:
                picker.setLayer(named[0])
        if picker.isReading():
            picker.valueChanged.connect(self._on_read)
        else:
            self._go_on()

    def forget(self) -> None:
        """Do not offer it again."""
        keeper.forget(self._memory)
        self.withdraw()

    def withdraw(self) -> None:
        """Hide the offer, as another training begins."""
        self._found = None
        self.clear()

    def _on_read(self) -> None:
        if not self._form.picker.isReading():
            self._form.picker.valueChanged.disconnect(self._on_read)
            self._go_on()

    def _go_on(self) -> None:
        found, form = self._found, self._form
        if found is None:
            return
        choice = form.picker.value()
        if form.problem() or choice is None or choice.axes != found.axes:
            text = f"Open it, choose it below, with axes {found.axes}, and resume."
            self._ask("question", f"Resuming needs “{found.image}”", text)
            return
        order = form.order() if found.part is None else form.order().with_part(found.part)
        name = found.folder.name.rpartition("_")[0]  # of the model that goes on
        config = order.config.model_copy(update={"experiment_name": name})
        self._start(
            str(found.folder),
            dataclasses.replace(order, config=config, denoise=form.canDenoise()),
        )

    def _ask(self, kind: str, title: str, text: str) -> None:
        answers = [("Resume last run", self.resume), ("Forget it", self.forget)]
        self.show_message(kind, title, text, answers)
