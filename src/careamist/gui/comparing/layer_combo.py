"""A list of layers that keeps its choice while layers come, go and are renamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from careamist.gui.forms.rows import Combo


class LayerCombo(Combo):
    """Offers layers by name.

    Parameters
    ----------
    nothing : str
        What is shown while no layer is chosen.
    tip : str
        What is chosen.
    optional : bool
        Whether the user may choose nothing.
    """

    def __init__(self, nothing: str, tip: str, *, optional: bool = False) -> None:
        super().__init__()
        self._nothing, self._is_optional = nothing, optional
        self._layers: list[Any] = []
        self.setToolTip(tip)
        self.setLayers([])

    def setLayers(self, layers: Sequence[Any]) -> None:
        """Offer these layers; the chosen one stays if it is among them."""
        chosen = self.layer()
        self._layers = [None, *layers] if self._is_optional else list(layers)
        self.clear()
        self.addItems([self._nothing if la is None else str(la.name) for la in self._layers])
        self.setPlaceholderText(self._nothing)
        self.setLayer(chosen)

    def layer(self) -> Any:
        """Return the chosen layer, or None."""
        at = self.currentIndex()
        return self._layers[at] if 0 <= at < len(self._layers) else None

    def setLayer(self, layer: Any) -> None:
        """Choose a layer, or nothing; a layer that is not offered is nothing."""
        places = [at for at, other in enumerate(self._layers) if other == layer]
        self.setCurrentIndex(places[0] if places else 0 if self._is_optional else -1)
