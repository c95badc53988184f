"""The Models dock: the models that were kept, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from careamist import library
from careamist.errors import CareamistError
from careamist.gui import tasks
from careamist.gui.data.data_source import clean_path
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.forms.rows import Combo, hint_label
from careamist.gui.icons import icon
from careamist.gui.models.model_list import ModelList
from careamist.gui.models.open_model import SUFFIX, open_predict
from careamist.gui.panel import Panel
from careamist.gui.theme import follow, row_height
from careamist.recipe import checkpoint_of

if TYPE_CHECKING:
    import napari
    from qtpy.QtGui import QDragEnterEvent, QDropEvent, QShowEvent

    from careamist.events import Event
    from careamist.library import ModelCard

_ORDERS = ("Newest", "Name", "Last used")
_FILTER = "Models (*.ckpt)"


class ModelsWidget(Panel):
    """Lists the models that were trained or imported; applies, renames, exports and deletes them.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer that a model is applied in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer, "train")  # the end of a training adds a model
        self.setAcceptDrops(True)
        self._models: list[ModelCard] = []
        self._unreadable: dict[tuple[Path, int], ModelCard] = {}
        self._wanted: Path | None = None  # the folder that is to be selected
        self._deleting: ModelCard | None = None
        self._listing, self._reading, self._task = (Latest(self) for _ in range(3))
        self._listing.answered.connect(self._on_listed)
        self._reading.answered.connect(self._on_read)
        self._task.answered.connect(self._on_done)
        self._then: Callable[[Any], object] = lambda _: None
        self._build()
        self.attach()

    # -- commands: everything a click does can be called -----------------------------------------

    def models(self) -> list[ModelCard]:
        """Return the models as they are listed, without those that the search hides."""
        return self.list.cards()

    def selected(self) -> ModelCard | None:
        """Return the selected model."""
        return self.list.card()

    def look(self) -> None:
        """Read the list anew, in the background."""
        self._listing.ask(lambda _: library.list_models(tasks.models_folder()))

    def apply(self) -> None:
        """Load the selected model as the model of the viewer, and open the Predict dock."""
        if (card := self.selected()) is None or self.reason():
            return

        def load() -> Any:
            model, message, hint = tasks.load_model(str(card.path))
            if model is None:
                raise CareamistError(message, hint)
            library.mark_used(card)
            return model

        self._do("Loading …", load, self._use)

    def rename(self, card: ModelCard, name: str) -> None:
        """Give a model another name."""
        self._try(lambda: library.rename(card, name))
        self.look()

    def delete(self, card: ModelCard) -> None:
        """Delete a model for good, without asking."""
        self.message.clear()
        used = card.folder == self._used()
        if not self.reason() and self._try(lambda: library.delete(card)) and used:
            self.jobs.setModel(None)
        self.look()

    def ask_to_delete(self) -> None:
        """Ask, in the page, whether the selected model is to be deleted."""
        if (card := self.selected()) is None or self.reason():
            return
        in_use = " It is the one in use here." if card.folder == self._used() else ""
        self.message.show_message(
            "question",
            f"Delete “{card.name}”?",
            f"Its files ({_size(card.size)}) are removed for good.{in_use}",
            [("Delete", lambda: self.delete(card)), ("Keep", self.message.clear)],
        )

    def import_file(self, path: str | Path) -> None:
        """Copy a model file into the library."""
        folder = tasks.models_folder()
        self._do("Importing …", lambda: library.import_(path, folder), self._choose)

    def export_to(self, path: str | Path, *, replace: bool = False) -> None:
        """Copy the selected model to a file."""
        if (card := self.selected()) is not None:
            self._do("Exporting …", lambda: library.export(card, path, replace=replace), self._told)

    def show_file(self) -> None:
        """Open the folder of the selected model in the file manager."""
        card = self.selected()
        if card is None or QDesktopServices.openUrl(QUrl.fromLocalFile(str(card.folder))):
            return
        self.message.show_message("info", "The model is in this folder:", str(card.folder))

    def choose_import(self) -> None:
        """Ask for a file and import it."""
        path, _ = QFileDialog.getOpenFileName(self, "Import a model", "", _FILTER)
        if path:
            self.import_file(path)

    def choose_export(self) -> None:
        """Ask for a file and export to it."""
        if (card := self.selected()) is None:
            return
        proposed = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in card.name) + SUFFIX
        path, _ = QFileDialog.getSaveFileName(self, "Export the model", proposed, _FILTER)
        if path:
            self.export_to(path, replace=True)  # the dialog has asked

    def reason(self) -> str:
        """Return why models cannot be applied or deleted now, or nothing."""
        if self.jobs.is_busy:
            return f"“{self.jobs.label}” is running. Wait for it, or cancel it."
        return ""

    # -- what the state shows ----------------------------------------------------------------------

    def _show(self) -> None:
        self.look()
        self._show_list()

    def _follow(self, event: Event) -> None:
        """The list follows the files, not the news."""

    def shownRun(self) -> None:
        """Return nothing: a run is shown elsewhere."""

    def _show_list(self) -> None:
        words = self.search.text().casefold()
        found = [m for m in self._models if words in f"{m.name} {m.method} {m.source}".casefold()]
        if self.order.currentText() == "Name":
            found.sort(key=lambda card: card.name.casefold())
        elif self.order.currentText() == "Last used":
            found.sort(key=lambda card: card.used or card.date, reverse=True)
        chosen = self.selected()
        wanted = self._wanted or (chosen.folder if chosen is not None else self._first())
        if any(card.folder == wanted for card in found):
            self._wanted = None
        elif found:
            wanted = found[0].folder
        self.list.setCards(found, self._used(), wanted)
        self.list.setVisible(bool(found))
        self._show_end(found)

    def _show_end(self, found: list[ModelCard]) -> None:
        """Show what there is, and what can be done."""
        n = len(self._models)
        if n and not found:
            self.hint.setText("No model has these words in its name, method or source.")
        elif n:
            self.hint.setText("You can also drop a model file on this list or on the canvas.")
        else:
            self.hint.setText("No models yet. Train one, or import or drop a model file here.")
        card, reason = self.selected(), self.reason()
        self.list.setReason(reason)
        self.apply_button.setEnabled(card is not None and not card.problem and not reason)
        problem = reason or (card.problem if card is not None else "Choose a model.")
        self.apply_button.setToolTip(problem or "Use this model and open the Predict dock.")
        self.import_button.setEnabled(not self._task.is_busy)
        if not self._task.is_busy:
            self.footer.setIdle(f"{n or 'No'} model{'s' if n != 1 else ''} in the library")
            self.footer.setDetail(_size(sum(card.size for card in self._models)) if n else "")

    def _first(self) -> Path | None:
        """Return the model to begin with: the one in use, else the one used last."""
        if used := self._used():
            return used
        known = [card for card in self._models if card.used is not None]
        return max(known, key=lambda card: card.used or card.date).folder if known else None

    def _used(self) -> Path | None:
        """Return the folder of the viewer's model."""
        place = checkpoint_of(self.jobs.model) if self.jobs.model is not None else None
        return place.parent if place is not None and place.suffix == SUFFIX else place

    # -- answers from the background -----------------------------------------------------------

    def _on_listed(self, answer: Answer) -> None:
        if answer.problem:
            self.message.show_message("error", answer.problem)
            return
        self._models = [self._unreadable.get((m.folder, m.stamp), m) for m in answer.result]
        self._show_list()
        unread = [card for card in self._models if not card.is_read]
        if unread and not self.jobs.is_busy and not self._reading.is_busy:
            oldest_first = unread[::-1]  # of two namesakes the older keeps its name
            self._reading.ask(lambda check: _read(oldest_first, check))

    def _on_read(self, answer: Answer) -> None:
        read: list[ModelCard] = answer.result or []
        self._unreadable |= {(card.folder, card.stamp): card for card in read if card.problem}
        if read:
            self.look()

    def _do(self, words: str, act: Callable[[], Any], then: Callable[[Any], object]) -> None:
        """Do something in the background, and then something with what it gave."""
        if self._task.is_busy:
            return
        self.message.clear()
        self._then = then
        self._task.ask(lambda _: act())
        self.footer.setBusy(words)
        self.import_button.setEnabled(False)

    def _on_done(self, answer: Answer) -> None:
        if answer.problem:
            self.message.show_message("error", answer.problem)
        else:
            self._then(answer.result)
        self.look()
        self._show_list()

    def _use(self, model: Any) -> None:
        self.jobs.setModel(model)
        open_predict(self.viewer)

    def _choose(self, card: ModelCard) -> None:
        self._wanted = card.folder
        self.search.clear()
        if card.folder not in {known.folder for known in self._models}:
            self._models.insert(0, card)

    def _told(self, path: Path) -> None:
        self.message.show_message("info", "Exported.", str(path))

    def _try(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except CareamistError as error:
            self.message.show_message("error", error.message, error.hint)
            return False
        return True

    # -- the page ------------------------------------------------------------------------------

    def _build(self) -> None:
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Find a model")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Find a model")
        self.search.setToolTip("Words of its name, method or source.")
        self.search.textChanged.connect(self._show_list)
        self.order = Combo(self)
        self.order.addItems(list(_ORDERS))
        self.order.setAccessibleName("Order of the models")
        self.order.setToolTip("What comes first.")
        self.order.setMinimumContentsLength(max(map(len, _ORDERS)) - 4)
        self.order.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.order.currentIndexChanged.connect(self._show_list)
        self.again = QPushButton(self)
        self.again.setProperty("role", "icon")
        self.again.setFixedSize(row_height(self), row_height(self))
        self.again.setAccessibleName("Look again")
        self.again.setToolTip("Read the list anew.")
        self.again.clicked.connect(lambda: self.look())
        follow(self.again, lambda colors: self.again.setIcon(icon("refresh", colors)))
        self.list = ModelList(self)
        self.list.chosen.connect(lambda: self._show_end(self.models()))
        self.list.renamed.connect(self.rename)
        self.list.doubleClicked.connect(lambda _: self.apply())
        self.list.activated.connect(lambda _: self.apply())
        acts = {
            "export": self.choose_export,
            "show": self.show_file,
            "delete": self.ask_to_delete,
        }
        self.list.asked.connect(lambda what: acts[what]())
        self.hint = hint_label("", self)
        self.hint.show()
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self.search, 1)
        top.addWidget(self.order)
        top.addWidget(self.again)
        page = QWidget(self)
        page.setProperty("clear", True)
        lines = QVBoxLayout(page)
        lines.setContentsMargins(0, 0, 0, 8)
        lines.setSpacing(8)
        lines.addLayout(top)
        lines.addWidget(self.message)
        lines.addWidget(self.list, 1)
        lines.addWidget(self.hint, 0, Qt.AlignmentFlag.AlignTop)
        lines.addStretch(0)
        self.pages.addWidget(page)
        self.pages.setCurrentWidget(page)
        self.apply_button = self.button("&Apply to image", self.apply, primary=True)
        self.import_button = self.button("&Import…", self.choose_import)
        self.import_button.setToolTip("Copy a careamist model file (.ckpt) into the library.")
        self.footer.setButtons([self.apply_button, self.import_button])

    def showEvent(self, event: QShowEvent) -> None:
        """Look what is there whenever the dock is shown."""
        super().showEvent(event)
        self.look()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take model files."""
        if _dropped(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Import the first model file."""
        self.import_file(_dropped(event)[0])
        event.acceptProposedAction()


def _dropped(event: Any) -> list[str]:
    paths = [clean_path(url.toString()) for url in event.mimeData().urls()]
    return [path for path in paths if path.lower().endswith(SUFFIX)]


def _read(cards: list[ModelCard], check: Callable[[], None]) -> list[ModelCard]:
    read = []
    for card in cards:
        check()
        read.append(library.read_card(card))
    return read


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.1f} MB"
