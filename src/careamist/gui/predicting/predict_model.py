"""The card of the model that predicts, with a menu of other ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QMenu, QWidget

from careamist import library
from careamist.gui import tasks
from careamist.gui.parts.card import Card

_MOST = 12  # models in the menu; the Models dock has them all


class ModelCardBox(Card):
    """Says which model predicts, and offers those of the library and files.

    Parameters
    ----------
    parent : QWidget
    load : callable
        Called with the path of the model that was chosen.
    choose : callable
        Asks for a file.
    """

    def __init__(
        self, parent: QWidget, load: Callable[[str], object], choose: Callable[[], object]
    ) -> None:
        super().__init__(parent, "Change…")
        self._load, self._choose = load, choose
        self.button.setAccessibleName("Change the model")
        self.button.setToolTip("Choose a model of the library, or a file (.ckpt).")
        self.menu = QMenu(self.button)
        self.menu.aboutToShow.connect(self.fillMenu)
        self.button.setMenu(self.menu)
        self.button.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0px; }")

    def showModel(self, model: Any) -> None:
        """Show a model, or that there is none."""
        if model is None:
            self.setWords("No model", "Train one, choose one, or drop a file here.")
            self.setToolTip("")
            return
        config = model.config
        data = config.data_config
        works_on = data.spatial_axes
        channels = data.n_channels or 1
        more = f", {channels} channels" if channels > 1 else ""
        self.setWords(
            config.experiment_name,
            f"{config.algorithm_config.variant} · {data.dims}D · {model.steps_done} steps",
            f"works on {works_on}{more}",
        )
        self.setToolTip(config.describe())

    def showLoading(self, path: str) -> None:
        """Show that a model is being read."""
        self.setWords("Loading…", Path(path).name)

    def fillMenu(self) -> None:
        """List what can be chosen: the models used last first."""
        self.menu.clear()
        cards = library.list_models(tasks.models_folder())
        cards.sort(key=lambda card: card.used or card.date, reverse=True)
        for card in cards[:_MOST]:
            about = f" · {card.method}, {card.dims}D" if card.method else ""
            action = self.menu.addAction(f"{card.name}{about}".replace("&", "&&"))
            action.setEnabled(not card.problem)
            action.triggered.connect(lambda _=False, path=card.path: self._load(str(path)))
        if cards:
            self.menu.addSeparator()
        self.menu.addAction("Choose file…").triggered.connect(lambda: self._choose())
