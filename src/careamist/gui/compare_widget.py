"""The Compare dock: look at an image and its restored version, and measure what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QImage, QPainter, QRegion
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from careamist.gui.comparing.compare_form import NOTHING, CompareForm
from careamist.gui.comparing.compare_views import Views
from careamist.gui.comparing.comparison import MOST_PIXELS, default_pair, displayed_axes, misfit
from careamist.gui.comparing.measuring import Profile, Told, figures_question, profile_question
from careamist.gui.comparing.profile import ProfileLine
from careamist.gui.comparing.swipe import CanvasMap, canvas_of
from careamist.gui.data.latest import Answer, Latest
from careamist.gui.forms.rows import separator
from careamist.gui.panel import MARGIN, Dock
from careamist.gui.theme import row_height, style

if TYPE_CHECKING:
    import napari
    from qtpy.QtGui import QHideEvent, QShowEvent

WAIT_MS = 150  # after the last change, before anything is measured


class CompareWidget(Dock):
    """Shows two layers in turn, side by side, or their difference, and measures both.

    Everything it changes in the viewer is put back when it is closed or hidden.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are compared.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.views = Views(napari_viewer, self)
        self.line = ProfileLine(napari_viewer, self)
        self._is_shown, self._has_key = False, False
        self._followed: list[Any] = []
        self._told: Told | None = None
        self._state: tuple[Any, ...] = ()
        self._build()
        self.form.changed.connect(self._apply)
        self.form.position.valueChanged.connect(lambda _: self.views.setPart(self.form.part()))
        self.form.blink.pressed.connect(lambda: self.views.peek(True))
        self.form.blink.released.connect(lambda: self.views.peek(False))
        self._profiles, self._figures = Latest(self), Latest(self)
        self._profiles.answered.connect(self._on_profile)
        self._figures.answered.connect(self._on_figures)
        self._timer = self._single(WAIT_MS, self._measure)
        self._later = self._single(0, self._on_layers)
        self.views.moved.connect(self.setPosition)
        self.views.lost.connect(self._later.start)
        self.line.changed.connect(self._timer.start)
        style(self, napari_viewer)
        self._say()

    # -- commands ------------------------------------------------------------------------------

    def compare(self, raw: Any, restored: Any, clean: Any = None) -> None:
        """Choose the layers.

        Parameters
        ----------
        raw, restored : napari.layers.Image or None
        clean : napari.layers.Image, optional
            The truth, with which PSNR and SSIM can be told.
        """
        for combo, layer in (
            (self.form.raw, raw),
            (self.form.restored, restored),
            (self.form.clean, clean),
        ):
            combo.setLayer(layer)
        self._apply()

    def setView(self, view: str) -> None:
        """Show the layers in a view: "Swipe", "Split", "Blink" or "Diff."."""
        self.form.view.setValue(view)  # which tells us

    def setPosition(self, part: float) -> None:
        """Place the line, 0 (all is restored) to 1 (all is raw)."""
        self.form.setPart(part)

    def problem(self) -> str:
        """Return why nothing can be compared, or nothing."""
        raw, restored = self.form.raw.layer(), self.form.restored.layer()
        if raw is None or restored is None:
            return NOTHING
        if wrong := misfit(raw, restored):
            return wrong
        if (
            displayed_axes(self.viewer, raw) is None
            or displayed_axes(self.viewer, restored) is None
        ):
            return "An axis on show is missing in one of the images. Show their last two axes."
        return ""

    def draw_line(self) -> None:
        """Add a line across the view, whose ends can be dragged."""
        canvas, restored = canvas_of(self), self.form.restored.layer()
        if canvas is None or restored is None or self.problem():
            return
        seen = CanvasMap(self.viewer, canvas)
        width, y = canvas.width(), canvas.height() / 3  # away from the handle
        ends = [seen.toWorld(QPointF(width * part, y)) for part in (0.3, 0.7)]
        if self.views.view == "Split":  # the line would be a third picture
            self.setView("Swipe")
        self.line.draw(np.array(ends), restored)
        if self._has_key:  # in a layer of shapes, B has another meaning
            self.line.layer.bind_key("B", self._on_key, overwrite=True)

    def save_picture(self, path: str = "") -> None:
        """Save what is on the canvas, with the line, as a PNG file."""
        if not path:
            path, _ = QFileDialog.getSaveFileName(
                self, "Save the picture", "compare.png", "PNG (*.png)"
            )
        if path:
            pixels = np.ascontiguousarray(self.viewer.screenshot(canvas_only=True, flash=False))
            height, width = pixels.shape[:2]
            picture = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
            if self.views.line is not None and self.views.line.line.isVisible():
                shown = self.views.line.line
                painter = QPainter(picture)
                painter.scale(width / shown.width(), height / shown.height())
                shown.render(painter, QPoint(), QRegion(), QWidget.RenderFlag.DrawChildren)
                painter.end()
            if not picture.save(path):
                self.form.message.show_message(
                    "error", f"“{path}” could not be written.", "Choose another folder."
                )

    # -- from Qt -------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._is_shown:
            self._is_shown = True
            self._connect(True)
            self._later.start()  # the window must know the dock first

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if self._is_shown and not event.spontaneous():  # not when the window is made an icon
            self._is_shown = False
            self._leave()

    # -- the viewer ----------------------------------------------------------------------------

    def _leave(self) -> None:
        for timer in (self._timer, self._later):
            timer.stop()
        for latest in (self._profiles, self._figures):
            latest.drop()
        self._connect(False)
        self._follow(())
        self._put_back()
        self.line.take()

    def _put_back(self) -> None:
        self.views.leave()
        self.views.unlink()
        if self._has_key:
            self._has_key = False
            self.viewer.bind_key("B", None)

    def _connect(self, on: bool) -> None:
        layers, dims = self.viewer.layers.events, self.viewer.dims.events
        camera = self.viewer.scene.camera.events
        pairs = [
            (layers.inserted, self._on_list),
            (layers.removed, self._on_list),
            (layers.renamed, self._on_list),
            (layers.reordered, self._on_list),
            (dims.current_step, self._on_change),
            (dims.ndisplay, self._on_display),
            (dims.order, self._on_display),
            (camera.center, self._on_camera),
            (camera.zoom, self._on_camera),
        ]
        for emitter, slot in pairs:
            (emitter.connect if on else emitter.disconnect)(slot)

    def _follow(self, layers: tuple[Any, ...]) -> None:
        """Hear of new pixels of these layers."""
        for layer in self._followed:
            layer.events.data.disconnect(self._on_display)
            layer.events.set_data.disconnect(self._on_change)
        self._followed = list(layers)
        for layer in self._followed:
            layer.events.data.connect(self._on_display)
            layer.events.set_data.connect(self._on_change)

    def _on_list(self) -> None:
        self._later.start()  # several changes at once; and napari has to finish first

    def _on_change(self) -> None:
        self._timer.start()

    def _on_camera(self) -> None:
        if self._told is not None and self._told.is_part:
            self._timer.start()

    def _on_display(self) -> None:
        self._later.start()

    def _on_layers(self) -> None:
        """Offer the layers that there are, and show the chosen ones again."""
        if not (isalive(self) and self._is_shown):
            return
        ours = (self.views.own, self.line.layer)
        images = [
            layer for layer in self.viewer.layers if isinstance(layer, Image) and layer not in ours
        ]
        was = self.form.raw.layer(), self.form.restored.layer(), self.form.clean.layer()
        for combo in (self.form.raw, self.form.restored, self.form.clean):
            combo.setLayers(images)
        pair = default_pair(images)
        if (
            self.form.raw.layer() is None
            and self.form.restored.layer() is None
            and pair is not None
        ):
            for combo, layer in zip((self.form.raw, self.form.restored), pair, strict=True):
                combo.setLayer(layer)
        lost = self.views.view and self.views.own is None and self.views.view == "Diff."
        if self.views.view == "Swipe" and self.views.own is None and self.views.line is not None:
            lost = True
        if lost:  # the user removed the layer of the view
            self.form.view.setValue("Blink")
        now = self.form.raw.layer(), self.form.restored.layer(), self.form.clean.layer()
        same = was == now
        state = self._shown_state()
        if same and self.views.view and state == self._state:
            self.views.rename()
            self._timer.start()
        else:
            self._apply()

    def _apply(self) -> None:
        """Show what is chosen."""
        if not self._is_shown:
            return
        self._put_back()
        self._state = self._shown_state()
        wrong, raw, restored = self.problem(), self.form.raw.layer(), self.form.restored.layer()
        self._follow(() if wrong else (raw, restored))
        if not wrong:
            if self.form.contrast.value() == "Same" and not raw.rgb:
                self.views.link(raw, restored)
            self.line.put(restored)
            self.views.setPart(self.form.part())
            self.views.show(self.form.view.value(), raw, restored, canvas_of(self))
            self._bind()
        self._say()
        self._timer.start()

    def _shown_state(self) -> tuple[Any, ...]:
        dims = self.viewer.dims
        pair = self.form.raw.layer(), self.form.restored.layer()
        arrays = [id(layer.data) for layer in pair if layer is not None]
        return self.form.view.value(), dims.ndisplay, tuple(dims.order), arrays

    def _bind(self) -> None:
        try:
            self.viewer.bind_key("B", self._on_key)
            self._has_key = True
        except ValueError:  # another plugin has it: the button is left
            self._has_key = False

    def _on_key(self, _: Any) -> Iterator[None]:
        self.views.peek(True)
        yield
        self.views.peek(False)

    # -- measuring -----------------------------------------------------------------------------

    def _measure(self) -> None:
        """Ask for the curves and the figures of the slice on show."""
        if not (isalive(self) and self._is_shown):
            return
        raw, restored = self.form.raw.layer(), self.form.restored.layer()
        self._profiles.drop()
        self._figures.drop()
        if self.problem():
            self.form.plot.clear()
            self._told = None
            self._say()
            return
        canvas = canvas_of(self)
        box = CanvasMap(self.viewer, canvas).box if canvas is not None else None
        self._profiles.ask(profile_question(self.viewer, raw, restored, self.line.ends()))
        self._told, question = figures_question(
            self.viewer, raw, restored, self.form.clean.layer(), box, MOST_PIXELS
        )
        self._figures.ask(question)

    def _on_profile(self, answer: Answer) -> None:
        found: Profile | None = answer.result
        if found is None:
            self.form.plot.clear()
            self.form.sayLine(answer.problem)
            return
        self.form.plot.setCurves(found.distance, found.raw, found.restored, found.unit)
        self.form.sayLine(found.words)

    def _on_figures(self, answer: Answer) -> None:
        if self._told is None:
            return
        self._told = self._told._replace(figures=answer.result, problem=answer.problem)
        if answer.result is not None:
            self.views.setSpread(answer.result.spread)
        self._say()

    def _say(self) -> None:
        wrong = self.problem()
        is_flat = self.viewer.dims.ndisplay == 2
        self.form.say(wrong, is_flat=is_flat, has_key=self._has_key)
        self.draw_button.setEnabled(not wrong and is_flat)
        self.save_button.setEnabled(len(self.viewer.layers) > 0)
        if not wrong:
            self.form.tell(self._told.words() if self._told is not None else ("", "", ""))

    # -- building ------------------------------------------------------------------------------

    def _build(self) -> None:
        self.form = CompareForm(self)
        area = QScrollArea(self)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        area.setWidget(self.form)
        area.setMinimumHeight(160)
        self.draw_button = self._button(
            "&Draw line", "Add a line to the image; drag its ends.", self.draw_line
        )
        self.save_button = self._button(
            "&Save picture…", "Save what is on the canvas as a PNG file.", self.save_picture
        )
        row = QHBoxLayout()
        row.setContentsMargins(0, 8, 0, 8)
        row.setSpacing(6)
        row.addWidget(self.draw_button, 1)
        row.addWidget(self.save_button, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(MARGIN, 8, MARGIN, 0)
        whole.setSpacing(0)
        whole.addWidget(area, 1)
        whole.addWidget(separator(self))
        whole.addLayout(row)

    def _button(self, text: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = QPushButton(text, self)
        button.setProperty("role", "footer")
        button.setAccessibleName(text.replace("&", ""))
        button.setToolTip(tip)
        button.setFixedHeight(row_height(self) + 6)
        button.clicked.connect(lambda: act())
        return button

    def _single(self, wait: int, act: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(wait)
        timer.timeout.connect(act)
        return timer
