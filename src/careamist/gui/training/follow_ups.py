"""What can be done with a model that is trained: compare, script, apply, train anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QMenu, QPushButton, QSizePolicy

from careamist.gui.forms.rows import Wrap
from careamist.gui.icons import icon
from careamist.gui.theme import Palette, follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from careamist.gui.jobs import RunRecord

    Act = Callable[[], object] | QMenu


class FollowUps(Wrap):  # type: ignore[misc, unused-ignore]
    """Buttons side by side; only those that something stands behind.

    Parameters
    ----------
    parent : QWidget
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, columns=2, fill=True)

    def offer(self, acts: dict[str, tuple[str, str, Act]]) -> None:
        """Offer acts, or menus of them, under their words, each with an icon and a tooltip."""
        self.setWidgets([self._button(words, *rest) for words, rest in acts.items()])
        self.setVisible(bool(acts))

    def _fitting(self) -> int:
        widest = max((widget.sizeHint().width() for widget in self.widgets()), default=0)
        return 2 if 2 * widest + 6 <= self.width() else 1

    def _button(self, words: str, sign: str, tip: str, act: Act) -> QPushButton:
        button = QPushButton(words, self)
        button.setProperty("role", "follow")
        button.setAccessibleName(words.replace("&", ""))
        button.setToolTip(tip)
        button.setMinimumWidth(10)
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if isinstance(act, QMenu):
            button.setMenu(act)
        else:
            button.clicked.connect(lambda: act())

        def recolor(colors: Palette) -> None:
            button.setIcon(icon(sign, colors))

        follow(button, recolor)
        return button


def acts_after(
    record: RunRecord,
    denoising: RunRecord | None,
    repeat: QMenu,
    compare: Callable[[Any, Any], object],
) -> dict[str, tuple[str, str, Act]]:
    """Return what a finished training offers by itself, for `FollowUps.offer`.

    Parameters
    ----------
    record, denoising : RunRecord
        The training, and what followed it.
    repeat : QMenu
        The ways to repeat it.
    compare : callable
        Takes the image and what was made of it.
    """
    acts: dict[str, tuple[str, str, Act]] = {}
    raw, layers = record.order.image.layer, denoising.order.layers if denoising is not None else []
    if layers and raw is not None:
        restored = layers[0]
        tip = "Swipe, blink or difference of input and result"
        acts["&Compare"] = ("compare", tip, lambda: compare(raw, restored))
    if record.before is None:  # a script repeats one training from its beginning
        tip = "Copy a script or a command that repeats this run, or save it as a file"
        acts["Copy as scrip&t"] = ("code", tip, repeat)
    return acts


def open_dock(viewer: Any, name: str) -> Any:
    """Open a dock of the plugin, or bring it to the front; return its widget."""
    docked = viewer.window.dock_widgets.get(f"{name} (careamist)")
    if docked is not None:
        docked.parent().show()
        docked.parent().raise_()
        return docked
    return viewer.window.add_plugin_dock_widget("careamist", name, tabify=True)[1]
