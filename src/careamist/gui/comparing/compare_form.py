"""The page of the Compare dock: which layers, how they are shown, and what was measured."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QPushButton, QSlider, QVBoxLayout, QWidget

from careamist.gui.comparing.compare_views import VIEWS
from careamist.gui.comparing.layer_combo import LayerCombo
from careamist.gui.comparing.profile import ProfilePlot
from careamist.gui.forms.rows import FieldRow, hint_label, separator
from careamist.gui.forms.segments import Segments
from careamist.gui.parts.message import MessageBox

STEPS = 1000  # of the slider
NOTHING = "Choose a raw image and its restored version."

_TIPS = {
    "Swipe": "A line in the image: raw on one side of it, restored on the other.",
    "Split": "Both images side by side; they move together.",
    "Blink": "The restored image; the raw one while B or the button is held.",
    "Diff.": "Raw minus restored: what was removed.",
}
_HINTS = {
    "Swipe": "Drag the line in the image. Hold B to see the raw image.",
    "Split": "Raw at the left, restored at the right. They move together.",
    "Blink": "Hold B or the button to see the raw image.",
    "Diff.": "Raw minus restored: what was removed. Hold B to see the raw image.",
}
_CONTRASTS = {
    "Same": ("Same", "Both images have the contrast limits of the raw one."),
    "Own": ("Own", "Each image has its own contrast limits."),
}


class CompareForm(QWidget):  # type: ignore[misc, unused-ignore]
    """Fields from top to bottom; what they mean for the viewer is known to the dock.

    Parameters
    ----------
    parent : QWidget

    Attributes
    ----------
    changed : Signal()
        The user made another choice.
    """

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("clear", True)
        self.message = MessageBox(self)
        self.raw = LayerCombo("Choose the raw image", "The noisy image.")
        self.restored = LayerCombo("Choose the restored image", "What was made from it.")
        clean_tip = "A clean image of the same scene, for PSNR and SSIM, if there is one."
        self.clean = LayerCombo("None", clean_tip, optional=True)
        self.view = Segments({view: (view, _TIPS[view]) for view in VIEWS})
        self.contrast = Segments(_CONTRASTS)
        self.position = QSlider(Qt.Orientation.Horizontal)
        self.position.setRange(0, STEPS)
        self.position.setValue(STEPS // 2)
        self.position.setPageStep(STEPS // 10)
        self.position.setToolTip("Where the line stands.")
        self.blink = QPushButton("Hold to see raw", self)
        self.blink.setProperty("role", "footer")
        self.blink.setAccessibleName("Hold to see raw")
        self.blink.setToolTip("Shows the raw image while it is pressed, as B does.")
        self.plot = ProfilePlot(self)
        self.line_hint, self.basis = hint_label("", self), hint_label("", self)
        self.quality = hint_label("", self, role="title")
        self.removed = hint_label("", self, role="note")
        self.view_row = FieldRow("V&iew", self.view)
        self.position_row = FieldRow("P&osition", self.position)
        self.contrast_row = FieldRow("&Contrast", self.contrast)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 8)
        lines.setSpacing(8)
        parts: tuple[QWidget, ...] = (
            FieldRow("&Raw", self.raw),
            FieldRow("R&estored", self.restored),
            FieldRow("Cle&an", self.clean),
            self.message,
            self.view_row,
            self.position_row,
            self.blink,
            self.contrast_row,
            separator(self),
        )
        for part in parts:
            lines.addWidget(part)
        lines.addWidget(self.plot, 1)
        for label in (self.line_hint, self.quality, self.removed, self.basis):
            lines.addWidget(label)
        lines.addStretch(0)
        for combo in (self.raw, self.restored, self.clean):
            combo.activated.connect(self._on_choice)
        for segments in (self.view, self.contrast):
            segments.valueChanged.connect(self._on_choice)

    def part(self) -> float:
        """Return where the line stands, 0 to 1."""
        return float(self.position.value()) / STEPS

    def setPart(self, part: float) -> None:
        """Place the line."""
        self.position.setValue(round(part * STEPS))

    def say(self, wrong: str, *, is_flat: bool, has_key: bool) -> None:
        """Show what fits the choice: why nothing can be compared, hints, the fields in use."""
        view, raw = self.view.value(), self.raw.layer()
        if wrong and wrong != NOTHING:
            self.message.show_message("warning", wrong)
        else:
            self.message.clear()
        hint = NOTHING if wrong == NOTHING else _HINTS[view]
        if view == "Swipe" and not is_flat:
            hint = "The line needs the 2D display. In 3D use Split or Blink."
        elif not has_key and not wrong:
            hint = hint.replace(" Hold B to see the raw image.", "").replace("B or the", "the")
        self.view_row.setHint(hint)
        self.position_row.setVisible(view == "Swipe" and is_flat)
        self.blink.setVisible(view == "Blink")
        for part in (self.view_row, self.position_row, self.blink):
            part.setEnabled(not wrong)
        self.contrast_row.setEnabled(not wrong and raw is not None and not raw.rgb)
        if wrong:
            self.tell(("", "", ""))
            self.sayLine("")

    def tell(self, words: tuple[str, str, str]) -> None:
        """Show what was measured: the gain in quality, what was removed, and on what."""
        for label, text in zip((self.quality, self.removed, self.basis), words, strict=True):
            label.setText(text)
            label.setVisible(bool(text))

    def sayLine(self, words: str) -> None:
        """Say along which line the curves run."""
        self.line_hint.setText(words)
        self.line_hint.setVisible(bool(words))

    def _on_choice(self, _: object) -> None:
        self.changed.emit()
