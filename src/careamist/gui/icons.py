"""Small one-colour icons, drawn for the theme they are shown in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QByteArray, QRectF, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

if TYPE_CHECKING:
    from careamist.gui.theme import Palette

__all__ = ["icon", "pixmap"]

SIZE = 16
_LINE = 'fill="none" stroke="{c}" stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round"'
_RING = f'<circle cx="8" cy="8" r="6.2" {_LINE}/>'
_SHAPES = {
    "folder": f'<path d="M1.7 12.8 V3.7 H6.2 L7.7 5.3 H14.3 V12.8 Z" {_LINE}/>',
    "info": f'{_RING}<path d="M8 7.4 V11.2" {_LINE}/>'
    '<circle cx="8" cy="4.9" r="0.9" fill="{c}"/>',
    "question": f'{_RING}<path d="M6.2 6.4 A1.9 1.9 0 1 1 8 8.3 V9.3" {_LINE}/>'
    '<circle cx="8" cy="11.4" r="0.8" fill="{c}"/>',
    "warning": f'<path d="M8 2 L14.4 13.6 H1.6 Z" {_LINE}/><path d="M8 6.4 V9.4" {_LINE}/>'
    '<circle cx="8" cy="11.6" r="0.8" fill="{c}"/>',
    "error": f'{_RING}<path d="M5.8 5.8 L10.2 10.2 M10.2 5.8 L5.8 10.2" {_LINE}/>',
    "done": f'{_RING}<path d="M5.2 8.2 L7.2 10.2 L10.9 6" {_LINE}/>',
    "closed": f'<path d="M6 4 L10 8 L6 12" {_LINE}/>',
    "open": f'<path d="M4 6 L8 10 L12 6" {_LINE}/>',
    "check": f'<path d="M3 8.5 L6.3 11.8 L13 4.5" {_LINE}/>',
    "compare": f'<path d="M2 3 H14 V13 H2 Z" {_LINE}/><path d="M2 3 H8 V13 H2 Z" fill="{{c}}"/>',
    "code": f'<path d="M5.5 4 L1.8 8 L5.5 12 M10.5 4 L14.2 8 L10.5 12" {_LINE}/>',
    "forward": f'<path d="M2.5 8 H13 M9 4 L13 8 L9 12" {_LINE}/>',
    "back": f'<path d="M13.5 8 H3 M7 4 L3 8 L7 12" {_LINE}/>',
    "play": '<path d="M4.5 3 V13 L12.5 8 Z" fill="{c}"/>',
    "pause": '<path d="M4.5 3.5 h2.3 v9 h-2.3 z M9.2 3.5 h2.3 v9 h-2.3 z" fill="{c}"/>',
    "bin": f'<path d="M2.8 4.3 H13.2 M6 4.3 V2.4 H10 V4.3 M4.2 4.3 L4.9 13.6 H11.1 L11.8 4.3 '
    f'M6.8 6.8 V11.2 M9.2 6.8 V11.2" {_LINE}/>',
    "refresh": f'<path d="M13.4 8 A5.4 5.4 0 1 1 11.6 4 M11.9 1.6 V4.4 H9.1" {_LINE}/>',
    "more": '<circle cx="3.4" cy="8" r="1.3" fill="{c}"/><circle cx="8" cy="8" r="1.3" fill="{c}"/>'
    '<circle cx="12.6" cy="8" r="1.3" fill="{c}"/>',
    "skipped": '<circle cx="8" cy="8" r="2.2" fill="{c}"/>',
    "stop": '<rect x="4" y="4" width="8" height="8" fill="{c}"/>',
}


def icon(name: str, colors: Palette) -> QIcon:
    """Return an icon with its own disabled version (Qt's automatic one stays bright)."""
    made = QIcon(pixmap(name, colors.icon))
    made.addPixmap(pixmap(name, colors.icon, opacity=0.35), QIcon.Mode.Disabled)
    return made


def pixmap(name: str, color: str, size: int = SIZE, opacity: float = 1.0) -> QPixmap:
    """Draw an icon in one colour, at twice the size for dense screens."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{_SHAPES[name]}</svg>'
    renderer = QSvgRenderer(QByteArray(svg.replace("{c}", color).encode()))
    drawn = QPixmap(2 * size, 2 * size)
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    painter.setOpacity(opacity)
    renderer.render(painter, QRectF(0, 0, 2 * size, 2 * size))
    painter.end()
    drawn.setDevicePixelRatio(2)
    return drawn
