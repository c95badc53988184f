"""The row that chooses how much effort a training takes, and says how long that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal

from careamist.config import PRESETS
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.forms.rows import FieldRow
from careamist.gui.forms.segments import Segments
from careamist.gui.parts import speed
from careamist.gui.parts.engine import import_engine, is_imported

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from careamist.config import Configuration
    from careamist.gui.forms.remembered import Remembered

EFFORTS = ("quick", "standard", "thorough")
TRIAL_AFTER_MS = 1500  # of quiet: then it is measured what was not measured yet


class EffortRow(FieldRow):
    """Quick, Standard or Thorough, with the steps and the time that follow.

    Parameters
    ----------
    parent : QWidget
    memory : Remembered
        Holds what steps took on this machine.

    Attributes
    ----------
    changed : Signal(str)
        The user chose another effort.
    timed : Signal()
        A time was measured.
    """

    changed = Signal(str)
    timed = Signal()

    def __init__(self, parent: QWidget, memory: Remembered) -> None:
        choices = {name: (PRESETS[name].title, PRESETS[name].description) for name in EFFORTS}
        self.segments = Segments(choices)
        super().__init__("&Effort", self.segments, parent)
        self.segments.setValue("standard")
        self._memory = memory
        self._config: Configuration | None = None
        self._device = ""
        self._latest = Latest(self)
        self._latest.answered.connect(self._on_measured)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._measure)
        self.segments.valueChanged.connect(self.changed)

    def value(self) -> str:
        """Return the name of the preset."""
        return self.segments.value()

    def setValue(self, value: str) -> None:
        """Show an effort, without telling."""
        self.segments.blockSignals(True)
        self.segments.setValue(value)
        self.segments.blockSignals(False)

    def setConfig(self, config: Configuration | None, device: str, *, may_measure: bool) -> None:
        """Say what would be trained where.

        Parameters
        ----------
        config : Configuration or None
            None while the settings are not valid.
        device : str
            As the list of devices says it; its kind counts.
        may_measure : bool
            Whether the machine is free to time some steps.
        """
        is_new = (config, device) != (self._config, self._device)
        self._config, self._device = config, device
        if is_new or not may_measure:
            self._latest.drop()
            self._timer.stop()
        self._show()
        is_cold = not is_imported()  # a training would begin with that
        wanted = config is not None and may_measure and (is_cold or self._is_unknown())
        if wanted and not self._timer.isActive() and not self._latest.is_busy:
            self._timer.start(TRIAL_AFTER_MS)

    def seconds(self) -> float | None:
        """Return how long the training would take, None where nothing was measured."""
        config = self._config
        if config is None or not config.training_config.num_steps:
            return None
        step = speed.known(config, self._device, self._memory)
        return None if step is None else step * config.training_config.num_steps

    def _is_unknown(self) -> bool:
        """Tell whether the time of a step is to be measured; on a GPU it is not."""
        on_cpu = ":" in self._device or self._device.startswith("CPU")
        return on_cpu and speed.kind_of(self._device) == "CPU" and self.seconds() is None

    def _show(self) -> None:
        config = self._config
        if config is None:
            self.setHint("")
            return
        steps, epochs = config.training_config.num_steps, config.training_config.num_epochs
        words = f"{steps} steps" if steps else f"{epochs} epochs"
        if (seconds := self.seconds()) is not None:
            words += f", about {speed.duration(seconds)} on this {speed.kind_of(self._device)}"
        self.setHint(f"{words}.")

    def _measure(self) -> None:
        config = self._config
        if config is None or not self.isVisible():
            return

        is_unknown = self._is_unknown()

        def trial(check: Callable[[], None]) -> tuple[Configuration, float] | None:
            import_engine(check)
            return (config, speed.measure(config, check)) if is_unknown else None

        self._latest.ask(trial)

    def _on_measured(self, answer: Answer) -> None:
        if answer.result is None:
            return  # no time is told then, or it was known
        config, seconds = answer.result
        speed.remember(config, self._device, seconds, self._memory)
        self._show()
        self.timed.emit()
