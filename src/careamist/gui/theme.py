"""The colours and the small stylesheet of our docks, all derived from napari's theme."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any, NamedTuple

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QFont, QFontMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

__all__ = [
    "Palette",
    "contrast_ratio",
    "dress_axes",
    "follow",
    "palette",
    "palette_of",
    "row_height",
    "style",
    "stylesheet",
    "with_contrast",
]

TEXT_CONTRAST = 4.5  # WCAG AA: text
SHAPE_CONTRAST = 3.0  # WCAG AA: bars, borders, curves
TEXT_SIZE = 10  # points, as napari's own panels
TICK_SIZE = 8  # points, of the numbers at a plot
DIM = 0.3  # share of background mixed into secondary text
_THEME = "careamistTheme"


class Palette(NamedTuple):
    """Colours as ``#rrggbb``; the first block is napari's own."""

    background: str
    foreground: str
    primary: str
    secondary: str
    highlight: str
    text: str
    icon: str
    current: str
    dim: str  # secondary text
    accent: str  # links, bars, focus, curves: `current`, readable on foreground
    warning: str  # bars, borders and curves, never text
    error: str


def palette(theme: str | None = None) -> Palette:
    """Return the colours of a theme, by default of the one in napari's settings."""
    found = get_theme(theme or str(get_settings().appearance.theme))
    own = {
        name: _hex(getattr(found, name).as_rgb_tuple(alpha=False)) for name in Palette._fields[:8]
    }
    ground = own["foreground"]
    return Palette(
        **own,
        dim=_mix(own["text"], own["background"], DIM),
        accent=with_contrast(own["current"], ground, TEXT_CONTRAST),
        warning=with_contrast(
            _hex(found.warning.as_rgb_tuple(alpha=False)), ground, SHAPE_CONTRAST
        ),
        error=with_contrast(_hex(found.error.as_rgb_tuple(alpha=False)), ground, SHAPE_CONTRAST),
    )


def contrast_ratio(a: str, b: str) -> float:
    """Return the WCAG contrast of two colours, 1 (equal) to 21 (black on white)."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def with_contrast(color: str, ground: str, ratio: float) -> str:
    """Move the lightness of `color`, keeping its hue, until it stands out from `ground`."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*_unit(color))
    end = 1.0 if _luminance(ground) < 0.18 else 0.0  # 0.18: equal contrast to black and white
    for step in range(101):
        moved = lightness + (end - lightness) * step / 100
        red, green, blue = colorsys.hls_to_rgb(hue, moved, saturation)
        found = _hex((red * 255, green * 255, blue * 255))
        if contrast_ratio(found, ground) >= ratio:
            return found
    return found


def row_height(widget: QWidget) -> int:
    """Return the height of a row, 26 px at the usual font size."""
    font = QFont(widget.font())
    font.setPointSizeF(TEXT_SIZE)
    return int(QFontMetrics(font).height()) + 10


def style(root: QWidget, viewer: Any = None) -> None:
    """Dress a dock in our stylesheet, and again whenever the theme changes."""
    _Follower(root, lambda colors: root.setStyleSheet(stylesheet(colors, row_height(root))), viewer)


def follow(widget: QWidget, changed: Callable[[Palette], None]) -> None:
    """Call `changed` with the colours now and after each change of the theme."""
    _Follower(widget, changed)


def palette_of(widget: QWidget) -> Palette:
    """Return the colours that a widget is shown in."""
    at: Any = widget
    while at is not None:
        if name := at.property(_THEME):
            return palette(str(name))
        at = at.parentWidget()
    return palette()


class _Follower(QObject):
    """Lives as a child of the widget it serves; napari keeps only a weak reference to it."""

    def __init__(
        self, widget: QWidget, changed: Callable[[Palette], None], viewer: Any = None
    ) -> None:
        super().__init__(widget)
        self._widget = widget
        self._changed = changed
        self._colors: Palette | None = None
        get_settings().appearance.events.theme.connect(self._on_theme)
        if viewer is not None:
            widget.setProperty(_THEME, str(viewer.theme))
            viewer.events.theme.connect(self._on_theme)
            self._update()
            return
        widget.installEventFilter(self)
        self._update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # A dock that is dressed for its viewer, or put into another one, tells its children so.
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.ParentChange):
            self._update()
        return False

    def _on_theme(self, event: Any) -> None:
        if not (isalive(self) and isalive(self._widget)):
            return
        if self._widget.property(_THEME):
            self._widget.setProperty(_THEME, str(event.value))
        self._update()

    def _update(self) -> None:
        colors = palette_of(self._widget)
        if colors != self._colors:
            self._colors = colors
            self._changed(colors)


def stylesheet(colors: Palette, row: int = 26) -> str:
    """Return our additions to napari's stylesheet; `row` is the height of a field."""
    c = colors
    inner = row - 2  # without the border
    ring = f"border: 1px solid {c.accent};"
    return f"""
QLabel {{ font-size: 10pt; background: transparent; padding: 0px; }}
QLabel[role="hint"] {{ color: {c.dim}; font-size: 9pt; }}
QLabel[role="note"] {{ font-size: 9pt; }}
QLabel[role="title"] {{ font-size: 9pt; font-weight: bold; }}
QLabel[role="heading"] {{ color: {c.dim}; font-weight: bold; }}
QWidget[clear="true"] {{ background: transparent; padding: 0px; }}
QWidget[card="true"] {{ background-color: {c.foreground}; border-radius: 3px; padding: 0px; }}
QFrame[role="line"] {{ background-color: {c.primary}; padding: 0px;
    min-height: 1px; max-height: 1px; }}
QFrame[bar="info"] {{ background-color: {c.accent}; padding: 0px; }}
QFrame[bar="question"], QFrame[bar="warning"] {{ background-color: {c.warning}; padding: 0px; }}
QFrame[bar="error"] {{ background-color: {c.error}; padding: 0px; }}
QComboBox {{ border: 1px solid transparent; padding: 0px 4px 0px 7px; min-width: 10px;
    min-height: {inner}px; max-height: {inner}px; }}
QComboBox[chip="true"] {{ padding: 0px 2px 0px 6px; }}
QComboBox[chip="true"]::drop-down {{ width: 14px; }}
QComboBox[chip="true"]::down-arrow {{ width: 8px; height: 8px; }}
QComboBox[state="question"] {{ border: 1px solid {c.warning}; }}
QComboBox[state="error"], QLineEdit[state="error"], QAbstractSpinBox[state="error"] {{
    border: 1px solid {c.error}; }}
QLineEdit {{ font-size: 10pt; border: 1px solid transparent; padding: 0px 6px;
    min-height: {inner}px; max-height: {inner}px; }}
QAbstractSpinBox {{ font-size: 10pt; border: 1px solid transparent; padding: 0px 20px;
    min-width: 10px; min-height: {inner}px; max-height: {inner}px; }}
QAbstractSpinBox[bare="true"] {{ padding: 0px 4px; }}
QAbstractSpinBox[bare="true"]::up-button, QAbstractSpinBox[bare="true"]::down-button {{
    width: 0px; height: 0px; }}
QAbstractSpinBox[bare="true"]::up-arrow, QAbstractSpinBox[bare="true"]::down-arrow {{
    image: none; width: 0px; height: 0px; }}
QAbstractSpinBox QLineEdit {{ border: 0px; padding: 0px; min-height: 0px;
    background: transparent; }}
QAbstractSpinBox:disabled {{ background-color: transparent; border: 1px solid {c.primary}; }}
QCheckBox {{ border: 1px solid transparent; padding: 1px; }}
QPushButton {{ border: 1px solid transparent; }}
QPushButton[role="icon"] {{ background: transparent; padding: 0px; }}
QPushButton[role="icon"]:hover {{ background-color: {c.primary}; }}
QPushButton[role="icon"]::menu-indicator {{ image: none; width: 0px; }}
QPushButton[role="small"] {{ font-size: 9pt; padding: 0px 7px; min-height: {row - 4}px;
    max-height: {row - 4}px; }}
QPushButton[role="toggle"] {{ font-size: 9pt; padding: 0px 6px; background-color: {c.foreground}; }}
QPushButton[role="toggle"]:checked {{ background-color: {c.secondary}; }}
QPushButton[role="segment"] {{ background-color: {c.foreground}; border-radius: 0px;
    border-bottom: 2px solid {c.foreground}; padding: 0px 2px; min-height: {inner - 1}px;
    max-height: {inner - 1}px; }}
QPushButton[role="segment"]:hover {{ background-color: {c.primary}; }}
QPushButton[role="segment"]:checked {{ background-color: {c.secondary};
    border-bottom: 2px solid {c.accent}; }}
QPushButton[role="arrow"] {{ background-color: {c.current}; padding: 0px; }}
QPushButton[role="arrow"]:hover {{ background-color: {c.highlight}; }}
QPushButton[role="arrow"]:disabled {{ background-color: {c.foreground};
    border: 1px solid {c.primary}; }}
QPushButton[role="arrow"]::menu-indicator {{ image: none; width: 0px; }}
QPushButton[role="follow"] {{ text-align: left; padding: 0px 8px; min-height: {row - 2}px;
    max-height: {row - 2}px; }}
QPushButton[role="fold"] {{ background: transparent; font-weight: bold; text-align: left;
    padding: 2px 0px; }}
QPushButton[role="fold"]:checked {{ background: transparent; }}
QPushButton[role="link"] {{ background: transparent; color: {c.accent}; padding: 0px 2px; }}
QPushButton[role="primary"] {{ background-color: {c.current}; font-weight: bold; }}
QPushButton[role="primary"]:hover {{ background-color: {c.highlight}; }}
QPushButton[role="primary"]:disabled {{ background-color: {c.foreground}; font-weight: normal;
    border: 1px solid {c.primary}; }}
QComboBox:focus, QLineEdit:focus, QAbstractSpinBox:focus, QCheckBox:focus, QPushButton:focus {{
    {ring} }}
QPushButton[role="primary"]:focus, QPushButton[role="arrow"]:focus {{
    border: 1px solid {c.text}; }}
QProgressBar {{ background-color: {c.primary}; border: 0px; border-radius: 1px; padding: 0px;
    min-height: 6px; max-height: 6px; }}
QProgressBar[state="idle"] {{ background-color: transparent; }}
QProgressBar::chunk {{ background-color: {c.accent}; border-radius: 1px; }}
"""


def _unit(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _hex(rgb: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in rgb[:3])


def _mix(a: str, b: str, share: float) -> str:
    pairs = zip(_unit(a), _unit(b), strict=True)
    return _hex(tuple(255 * (x * (1 - share) + y * share) for x, y in pairs))


def _luminance(color: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in _unit(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def dress_axes(item: Any, colors: Palette, font: QFont) -> None:
    """Give the axes of a pyqtgraph plot the colours of the theme, and small numbers."""
    font = QFont(font)
    font.setPointSize(TICK_SIZE)
    for name in ("left", "bottom"):
        axis = item.getAxis(name)
        axis.setPen(colors.dim)
        axis.setTextPen(colors.text)
        axis.setStyle(tickFont=font, hideOverlappingLabels=False)
