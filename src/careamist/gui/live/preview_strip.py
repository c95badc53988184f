"""The time line of a training: small pictures of its steps, to look back at and to take one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QFont, QImage, QPainter, QPen
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.forms.rows import Wrap, hint_label
from careamist.gui.live.preview_feed import DETAIL, RAW
from careamist.gui.theme import palette_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent

    from careamist.gui.live.preview import Moment, Preview

LIVE_TIP = "Predict the view again every few seconds. Uses at most 10 % of the time."
LOOK = "Click a step to look back, or to keep that model."
FOLLOWS = f"Follows the slice and view. {LOOK}"
SOON = "The first preview comes after a few seconds."
OFF = "Switched off. The training does not wait for it."
_BORDER = 2


class PreviewStrip(QWidget):
    """Shows the moments of a preview; clicking one shows it in the layer.

    It takes all it shows from the `Preview`, which outlives it: a dock that is opened again makes
    a new strip.

    Parameters
    ----------
    preview : Preview
        Of the viewer.
    parent : QWidget, optional
    """

    def __init__(self, preview: Preview, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        self._preview = preview
        self._thumbs: dict[int, Thumb] = {}
        self._failure = ""
        self._build()
        preview.changed.connect(self._on_changed)
        preview.failed.connect(self._on_failed)
        self._jobs = preview.jobs
        self._jobs.stateChanged.connect(self._on_changed)
        self._show()

    def thumbs(self) -> list[Thumb]:
        """Return the pictures, in the order of their steps."""
        return [self._thumbs[step] for step in sorted(self._thumbs)]

    def hint(self) -> str:
        """Return the words below the pictures."""
        return str(self._hint.text())

    def _build(self) -> None:
        title = QLabel("Preview", self)
        title.setProperty("role", "title")
        self.live = QCheckBox("Live", self)
        self.live.setToolTip(LIVE_TIP)
        self.live.setAccessibleName("Live preview")
        self.live.toggled.connect(self._preview.setLive)
        top = QHBoxLayout()
        top.addWidget(title, 1)
        top.addWidget(self.live)
        self._row = Wrap(self, spacing=5)  # six in a dock of 350 pixels
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        self._hint = hint_label(SOON, self)
        self.use_button = QPushButton("Use this model", self)
        self.use_button.setProperty("role", "small")
        self.use_button.setAccessibleName("Use the model of this step")
        self.use_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.use_button.clicked.connect(lambda: self._preview.use())
        bottom = QHBoxLayout()
        bottom.setSpacing(8)
        bottom.addWidget(self._hint, 1)
        bottom.addWidget(self.use_button, 0, Qt.AlignmentFlag.AlignTop)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(6)
        lines.addLayout(top)
        lines.addWidget(self._row)
        lines.addLayout(bottom)

    def _on_changed(self) -> None:
        if isalive(self):
            self._failure = ""
            self._show()

    def _on_failed(self, message: str, hint: str) -> None:
        if isalive(self):
            self._failure = f"{message} {hint}".strip()
            self._show()

    def _show(self) -> None:
        preview = self._preview
        self.live.setChecked(preview.isLive())
        moments = preview.moments()
        steps = [moment.step for moment in moments]
        if steps != list(self._thumbs):
            self._arrange(moments)
        selected = preview.selected()
        if selected is not None:
            self._thumbs[selected.step].setChecked(True)
        self._row.setVisible(bool(moments))
        self._show_words(selected, moments)

    def _show_words(self, selected: Moment | None, moments: list[Moment]) -> None:
        preview = self._preview
        looks_back = selected is not None and selected is not moments[-1]
        can_use = looks_back and selected is not None and selected.checkpoint is not None
        is_used = can_use and selected is not None and preview.used() == selected.step
        self.use_button.setVisible(can_use and not is_used)
        busy = self._jobs.is_busy
        self.use_button.setEnabled(not busy)
        self.use_button.setToolTip(
            "Its weights are kept. They can be used when the run has ended."
            if busy
            else "Predict with the weights of this step, and save them."
        )
        if self._failure:
            words = self._failure
        elif is_used and selected is not None:
            words = f"The model of step {selected.step} is used now."
        elif looks_back and selected is not None:
            words = f"Step {selected.step}." if selected.result else "The image before."
            words += " The last one goes on with the training." if preview.isRunning() else ""
        elif not preview.isLive():
            words = OFF
        else:
            words = (FOLLOWS if moments else SOON) if preview.isRunning() else LOOK
        self._hint.setText(words)
        self._hint.show()

    def _arrange(self, moments: list[Moment]) -> None:
        """Show these; the picture of the latest one is used again, so that it keeps the focus."""
        steps = {moment.step for moment in moments}
        free = [thumb for step, thumb in self._thumbs.items() if step not in steps]
        raw, thumbs = moments[0].detail if moments else None, {}
        for moment in moments:
            thumb = self._thumbs.get(moment.step)
            if thumb is None:
                thumb = free.pop() if free else self._new_thumb()
                image = picture(moment.detail, self._preview.source(), raw)
                thumb.setMoment(moment.step, image)
            thumbs[moment.step] = thumb
        self._thumbs = thumbs
        self._row.setWidgets(list(thumbs.values()))

    def _new_thumb(self) -> Thumb:
        thumb = Thumb(self)
        thumb.clicked.connect(lambda: self._preview.select(thumb.step))
        self._group.addButton(thumb)
        return thumb


class Thumb(QAbstractButton):
    """A small picture with a number under it; the one that is shown has a frame."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.step = RAW
        self._image = QImage()
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        font = QFont(self.font())
        font.setPointSizeF(9)
        self.setFont(font)

    def setMoment(self, step: int, image: QImage) -> None:
        """Show a picture, pixel by pixel."""
        self.step, self._image = step, image
        name = f"step {step}" if step != RAW else "the image before"
        self.setText(str(step) if step != RAW else "raw")
        self.setAccessibleName(f"Preview of {name}")
        self.setToolTip(f"Show {name}.")
        self.update()

    def image(self) -> QImage:
        """Return the picture."""
        return self._image

    def sizeHint(self) -> QSize:
        return QSize(DETAIL, DETAIL + self.fontMetrics().height() + 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = palette_of(self)
        painter = QPainter(self)
        square = QRect(0, 0, DETAIL, DETAIL)
        place = self._image.rect()
        place.moveCenter(square.center())
        painter.fillRect(square, QColor(colors.foreground))
        painter.drawImage(place, self._image)
        if self.isChecked() or self.hasFocus():
            width = _BORDER if self.isChecked() else 1
            painter.setPen(QPen(QColor(colors.accent), width))
            inset = width // 2
            painter.drawRect(square.adjusted(inset, inset, -inset - width % 2, -inset - width % 2))
        font = QFont(self.font())
        font.setBold(self.isChecked())
        painter.setFont(font)
        painter.setPen(QColor(colors.text if self.isChecked() else colors.dim))
        below = QRect(0, DETAIL + 1, self.width(), self.height() - DETAIL - 1)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, self.text())
        painter.end()


def picture(detail: NDArray[Any], source: Any, raw: NDArray[Any] | None = None) -> QImage:
    """Return C × rows × columns pixels in the colours of a layer, or grey as the image is."""
    pixels = np.nan_to_num(np.asarray(detail, dtype=np.float32))
    raw = pixels if raw is None else np.nan_to_num(np.asarray(raw, dtype=np.float32))
    if source is not None and source.rgb and len(pixels) >= 3:
        most = np.iinfo(source.dtype).max if np.dtype(source.dtype).kind in "ui" else 1.0
        rgb = np.moveaxis(pixels[:3], 0, -1) / most
    else:
        low, high = _limits(source, raw[0], pixels[0])
        grey = np.clip((pixels[0] - low) / (high - low), 0, 1)
        if source is None or source.rgb:
            rgb = np.repeat(grey[..., None], 3, axis=-1)
        else:
            rgb = source.colormap.map(grey.ravel())[:, :3].reshape(*grey.shape, 3)
    values = np.ascontiguousarray(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    rows, columns = values.shape[:2]
    image = QImage(values.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    return image.copy()  # the bytes are gone after this


def _limits(source: Any, raw: NDArray[Any], pixels: NDArray[Any]) -> tuple[float, float]:
    """Return contrast limits: those of the layer where they show something."""
    if source is not None and not source.rgb:
        low, high = (float(value) for value in source.contrast_limits)
        if low <= float(np.median(pixels)) <= high:
            return low, high
    for values in (raw, pixels):
        low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
        if low < high and low <= float(np.median(pixels)) <= high:
            return low, high
    return low, max(high, low + 1)
