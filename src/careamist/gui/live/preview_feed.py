"""What a training is asked to show, and what it has shown: the two ends of a queue. No Qt."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import numpy as np

from careamist.dataset.sources import open_stacks
from careamist.gui.data.findings import pixels_of
from careamist.gui.live.preview_place import Place, middle_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from careamist.gui.data.data_source import DataChoice
    from careamist.lightning.preview import PreviewRequest, PreviewResult

RAW = 0  # the “step” of the image itself
DETAIL = 50  # pixels of a thumbnail, one to one
_FILE_EDGE = 256  # pixels of an image that is not on the screen


class PreviewFeed:
    """The side of the training: answers from what was left for it, in the training's thread.

    Parameters
    ----------
    choice : DataChoice
        The image. One that is no layer is shown in the middle.

    Attributes
    ----------
    place : Place or None
        What is on the screen; set by the window.
    is_live : bool
        Whether anybody wants to see it.
    results : queue.SimpleQueue
        (raw detail or None, detail, result) of each preview.
    """

    def __init__(self, choice: DataChoice) -> None:
        self.place: Place | None = None
        self.is_live = True
        self.results: queue.SimpleQueue[tuple[Any, Any, PreviewResult]] = queue.SimpleQueue()
        self._choice = choice
        self._stack: Any = None
        self._centre: tuple[int, ...] | None = None  # of the first detail

    def request(self) -> PreviewRequest | None:
        """Return what to show now."""
        from careamist.lightning.preview import PreviewRequest

        if not self.is_live or (self._choice.layer is not None and self.place is None):
            return None
        if self._stack is None:
            data, data_type = pixels_of(self._choice)
            self._stack = open_stacks(data, data_type, self._choice.axes)[0]
        place = self.place
        if place is None:
            stack = self._stack
            place = middle_place(stack.original_axes, tuple(stack.original_data_shape), _FILE_EDGE)
        return PreviewRequest(self._stack, *place)

    def take(self, result: PreviewResult) -> None:
        """Leave a preview, and a detail of it, for the window."""
        first, size = result.start, result.data.shape[1:]
        centre = tuple(at + n // 2 for at, n in zip(first, size, strict=True))
        is_first = self._centre is None
        if self._centre is None:
            self._centre = centre
        box = _detail_box(first, size, self._centre) or _detail_box(first, size, centre)
        assert box is not None
        start, length = box
        part = tuple(slice(a - f, a - f + n) for a, f, n in zip(start, first, length, strict=True))
        raw = None
        if is_first:
            request = result.request
            pixels = request.stack.extract_patch(request.sample, result.channels, start, length)
            raw = _flat(np.array(pixels))
        self.results.put((raw, _flat(result.data[(slice(None), *part)]), result))


def _detail_box(
    first: tuple[int, ...], size: tuple[int, ...], centre: tuple[int, ...]
) -> tuple[list[int], list[int]] | None:
    """Return start and size of a detail about a centre, None if that is not in the box."""
    if not all(f <= c < f + n for f, n, c in zip(first, size, centre, strict=True)):
        return None
    length = [min(n, DETAIL) for n in size]
    start = [
        min(max(c - m // 2, f), f + n - m)
        for f, n, c, m in zip(first, size, centre, length, strict=True)
    ]
    return start, length


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return C × rows × columns of a plane in C(Z)YX."""
    shape = list(pixels.shape[1:])
    if len(shape) > 2:
        shape.remove(1)  # the axis of the slider
    return np.array(pixels).reshape(len(pixels), *shape)
