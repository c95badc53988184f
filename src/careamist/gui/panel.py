"""What the docks have in common: a page that scrolls, a footer that stays, a run to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import Notification, notification_manager
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QSize, Qt, QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QFrame,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.forms.rows import separator
from careamist.gui.icons import icon
from careamist.gui.jobs import BUSY, Jobs, State, jobs_of
from careamist.gui.log import open_log
from careamist.gui.parts.message import MessageBox
from careamist.gui.parts.progress import RunFooter
from careamist.gui.theme import Palette, follow, row_height, style
from careamist.gui.training.follow_ups import open_dock

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QHideEvent, QKeyEvent

    from careamist.events import Event, RunFailed, RunKind
    from careamist.gui.jobs import RunRecord

MARGIN, WIDTH = 10, 350


class Dock(QWidget):  # type: ignore[misc, unused-ignore]
    """What napari docks: as wide as the docks are designed, and gone when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumWidth(260)
        # napari would push a panel that does not grow up to the top
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Return the size the docks are designed at."""
        return QSize(WIDTH, 600)

    def event(self, event: QEvent) -> bool:
        """Go when napari takes the widget out of its frame, as it does when that is closed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.onClosed()
            self.deleteLater()
        return bool(super().event(event))

    def onClosed(self) -> None:
        """Do what is to be done when the dock is closed."""


class Panel(Dock):
    """A dock: a form page and a run page above a footer; a function of the state of the jobs.

    Subclasses fill `form` and `page`, and say what each state shows in `_show`.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer the dock belongs to.
    kind : {"train", "predict"}
        The runs that the dock follows.
    """

    def __init__(self, viewer: Any, kind: RunKind) -> None:
        super().__init__()
        self.viewer, self.kind = viewer, kind
        self.jobs: Jobs = jobs_of(viewer)
        self.form, self._form_page = _page()
        self.page, self._run_page = _page()
        self.message = MessageBox(self)
        self.form.addWidget(self.message)
        self.question = MessageBox(self)
        self.page.addWidget(self.question)
        self.pages = QStackedWidget(self)
        self.pages.setMinimumHeight(160)  # two docks above each other keep a page each
        self.pages.addWidget(self._form_page)
        self.pages.addWidget(self._run_page)
        self.footer = RunFooter(self)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(MARGIN, 8, MARGIN, 0)
        lines.setSpacing(0)
        lines.addWidget(self.pages, 1)
        lines.addWidget(separator(self))
        lines.addWidget(self.footer)
        self.pause_button = self.button("Pa&use", self.pause, "pause")
        self.pause_button.setToolTip("Pause after this step. Resume at any time.")
        self.resume_button = self.button("&Resume", self.resume, "play", primary=True)
        self.resume_button.setToolTip("Go on with the run.")
        self.cancel_button = self.button("&Cancel", self.cancel, "stop")
        self.cancel_button.setToolTip("Stop now. What is done so far is kept.")
        self.more_button = self._more_button()
        self.footer.setCorner(self.more_button)
        style(self, viewer)
        self.jobs.told.connect(self._on_event)
        self.jobs.stateChanged.connect(self._on_state)

    def button(self, text: str, act: Any, sign: str = "", *, primary: bool = False) -> QPushButton:
        """Return a button for the footer."""
        button = QPushButton(text, self)
        button.setProperty("role", "primary" if primary else "footer")
        button.setAccessibleName(text.replace("&", ""))
        button.clicked.connect(lambda: act())
        button.hide()
        if sign:
            follow(button, lambda colors: _set_icon(button, sign, colors))
        return button

    def fillMenu(self, menu: QMenu) -> None:
        """Fill the menu of what is not needed every day; subclasses put theirs before it."""
        menu.addAction("Open &log", self.open_log)

    def open_log(self) -> None:
        """Show the file that says what was run, and what went wrong."""
        if not show_log():
            self.message.show_message("info", "The log is in this file:", str(open_log()))

    def cancel(self) -> None:
        """Stop the run; what is done is kept."""
        self.jobs.stop()

    def pause(self) -> None:
        """Let the run wait."""
        self.footer.pauseClock()
        self.jobs.pause()

    def resume(self) -> None:
        """Let the run go on after a pause."""
        self.jobs.resume()

    def ask_to_cancel(self) -> None:
        """Ask in the page whether the run is to be stopped."""
        self.question.show_message(
            "question",
            "Stop this run?",
            "What is done so far is kept.",
            [("Stop it", self.cancel), ("Go on", self.question.clear)],
        )

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter is the main button, Escape asks to cancel."""
        focused = self.focusWidget()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if isinstance(focused, QPushButton) and focused.isVisible():
                focused.click()
            elif not isinstance(focused, (QAbstractSpinBox, QLineEdit)):
                self._click_main()
        elif event.key() == Qt.Key.Key_Escape and self.cancel_button.isVisibleTo(self):
            if self.cancel_button.isEnabled():
                self.ask_to_cancel()
        else:
            super().keyPressEvent(event)

    def _click_main(self) -> None:
        for button in self.footer.buttons():
            if button.property("role") == "primary":
                button.click()
                return

    @property
    def state(self) -> State:
        """Where the run of this dock stands."""
        return self.jobs.state(self.kind)

    def attach(self) -> None:
        """Take up the run that is under way, as when the dock was closed and opened again."""
        record = self.jobs.record(self.kind)
        for event in record.events if record is not None else ():
            self._follow(event)
        self._on_state()

    def showPage(self, *, running: bool) -> None:
        """Show the run page, or the form."""
        self.pages.setCurrentWidget(self._run_page if running else self._form_page)

    def onClosed(self) -> None:
        """Tell that the run goes on without the dock, and ask whether it shall."""
        record = self.shownRun()
        if record is not None and record.state in BUSY:
            viewer, jobs, name = self.viewer, self.jobs, self.kind.capitalize()
            # a viewer that closes stops its run, and asks itself
            QTimer.singleShot(0, jobs, lambda: tell_still_running(viewer, jobs, record, name))

    def hideEvent(self, event: QHideEvent) -> None:
        """Leave a word in the status bar that the run goes on."""
        super().hideEvent(event)
        record = self.shownRun()
        if record is not None and record.state in ("starting", "running") and not _is_icon(event):
            self.viewer.status = f"“{record.label}” keeps running."

    def shownRun(self) -> RunRecord | None:
        """Return the run that this dock shows, if that is the present one."""
        record = self.jobs.record(self.kind)
        return record if self.jobs.current is record else None

    def showFailure(self, event: RunFailed) -> None:
        """Say in the form, once, what went wrong and what to do."""
        self.markShown()
        details = [("Copy details", lambda: copy_text(event.traceback))] if event.traceback else []
        self.message.show_message("error", event.message, event.hint, details)

    def markShown(self) -> None:
        """Note that who looks at this dock sees how the run failed."""
        record = self.shownRun()
        if record is not None and self.isVisible():
            record.is_shown = True

    def tell(self, kind: str, words: str) -> None:
        """Tell how something went that was asked for: in the footer, or as a message."""
        if kind == "error":
            self.message.show_message(kind, words)
        self.footer.setText(words, "error" if kind == "error" else "done")

    def showProblem(self, text: str) -> None:
        """Say in full what is wrong with the settings; the footer may have to cut it."""
        if text:
            self.message.show_message("warning", text)
        elif self.message.kind() == "warning":
            self.message.clear()

    def refresh(self) -> None:
        """Show the state of the jobs."""
        self._on_state()

    def _more_button(self) -> QPushButton:
        button = QPushButton(self)
        button.setProperty("role", "icon")
        button.setFixedSize(row_height(self) - 4, row_height(self) - 4)
        button.setAccessibleName("More")
        button.setToolTip("More: the log, and more that is not needed every day.")
        menu = QMenu(button)
        menu.aboutToShow.connect(lambda: self._on_menu(menu))
        button.setMenu(menu)
        follow(button, lambda colors: _set_icon(button, "more", colors))
        return button

    def _on_menu(self, menu: QMenu) -> None:
        menu.clear()
        self.fillMenu(menu)

    def _on_event(self, event: Event) -> None:
        if isalive(self) and self.jobs.current is self.jobs.record(self.kind):
            self._follow(event)

    def _on_state(self) -> None:
        if isalive(self):
            if not self.jobs.is_busy:
                self.question.clear()
            self._show()

    def _follow(self, event: Event) -> None:
        raise NotImplementedError

    def _show(self) -> None:
        raise NotImplementedError


def split_arrow(panel: Panel, acts: dict[str, Callable[[], object]]) -> QPushButton:
    """Return the arrow at the side of a main button, with a menu of other ways."""
    button = panel.button("", lambda: None)
    button.setProperty("role", "arrow")
    button.setAccessibleName("More ways to begin")
    button.setFixedWidth(28)
    menu = QMenu(button)
    for words, act in acts.items():
        menu.addAction(words, act)
    button.setMenu(menu)
    follow(button, lambda colors: _set_icon(button, "open", colors))
    return button


def show_log() -> bool:
    """Open the log with the program that the system has for it; return whether there is one."""
    path = open_log()
    return path.is_file() and bool(QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))))


def tell_still_running(viewer: Any, jobs: Jobs, record: RunRecord, name: str) -> None:
    """Ask in a notification of napari whether a run whose dock was closed shall be stopped."""
    if jobs.current is not record or record.state not in BUSY or record.state == "stopping":
        return

    def stop(_: object) -> None:
        if jobs.current is record:
            jobs.stop()

    actions = (("Stop it", stop), (f"Open {name}", lambda _: open_dock(viewer, name)))
    words = f"“{record.label}” keeps running."
    notification_manager.dispatch(Notification(words, "info", actions))


def _is_icon(event: QHideEvent) -> bool:
    return bool(event.spontaneous())  # the window is minimised


def copy_text(text: str) -> None:
    """Put text on the clipboard."""
    QApplication.clipboard().setText(text)


def _page() -> tuple[QVBoxLayout, QScrollArea]:
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
    content = QWidget()
    content.setProperty("clear", True)
    lines = QVBoxLayout(content)
    lines.setContentsMargins(0, 0, 0, 8)
    lines.setSpacing(8)
    area.setWidget(content)
    return lines, area


def _set_icon(button: QPushButton, sign: str, colors: Palette) -> None:
    button.setIcon(icon(sign, colors))
