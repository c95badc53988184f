"""A choice among the devices of this machine, listed without holding up the window."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from napari.qt.threading import create_worker
from qtpy.compat import isalive

from careamist.gui.forms.rows import Combo

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent
    from qtpy.QtWidgets import QWidget


class DeviceCombo(Combo):
    """Offers automatic and CPU at once, GPUs as soon as torch is loaded in the background.

    Parameters
    ----------
    parent : QWidget, optional
    threads : int, optional
        How many threads a run takes on the CPU; as many as torch would if not given.
    """

    def __init__(self, parent: QWidget | None = None, threads: int | None = None) -> None:
        super().__init__(parent)
        self._threads = threads
        self.setAccessibleName("Device")
        self.setToolTip("Where to compute. Automatic takes a GPU if there is one.")
        self.addItem("Automatic", "auto")
        self.addItem("CPU", "cpu")
        self._asked = False
        self._wanted = ""  # remembered, but not offered yet

    def value(self) -> str:
        """Return the name of the chosen device."""
        return str(self.currentData())

    def setValue(self, device: str) -> None:
        """Choose a device, as soon as it is offered."""
        self._wanted = device
        self.setCurrentIndex(max(0, self.findData(device)))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._asked:
            self._asked = True
            worker = create_worker(partial(_devices, self._threads))
            worker.returned.connect(self._on_devices)
            worker.start()

    def _on_devices(self, devices: list[tuple[str, str]]) -> None:
        if not isalive(self):
            return
        chosen = self._wanted if self.value() == "auto" and self._wanted else self.value()
        self.clear()
        for name, words in devices:
            self.addItem(words, name)
        self.setCurrentIndex(max(0, self.findData(chosen)))


def _devices(threads: int | None) -> list[tuple[str, str]]:
    try:
        from careamist.compute import list_devices

        devices = list_devices()
    except Exception:  # a worker must never raise; a broken driver leaves the CPU
        return [("auto", "Automatic"), ("cpu", "CPU")]
    if threads is None:
        return devices
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    return [(name, re.sub(r"\d+ threads?$", words, about)) for name, about in devices]
