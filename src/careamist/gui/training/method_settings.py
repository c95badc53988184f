"""The settings of each method: its defaults for an image, and what was changed in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from careamist.config import PRESETS, Configuration, DataConfig, apply_preset
from careamist.config.factories import fitting_patch
from careamist.config.methods import METHODS
from careamist.gui.forms.remembered import Remembered, differences, merged

if TYPE_CHECKING:
    from careamist.gui.data.data_source import DataChoice

PARTS = ("algorithm_config", "data_config", "training_config")
_OF_THE_IMAGE = ("patch_size", "axes", "data_type", "n_channels", "n_channels_out", "target_axes")
_NAME = "methods"


class MethodSettings:
    """What was changed, by method; kept from one day to the next.

    Parameters
    ----------
    memory : Remembered
        Where it is kept.
    """

    def __init__(self, memory: Remembered) -> None:
        self._memory = memory
        self._changes: dict[str, dict[str, Any]] = {}
        self._efforts: dict[str, str] = {}
        for key in METHODS:
            kept = memory.table(_NAME).get(key)
            kept = kept if isinstance(kept, dict) else {}
            effort = kept.get("effort")
            self._efforts[key] = effort if effort in PRESETS else "standard"
            self._changes[key] = {part: _table(kept.get(part)) for part in PARTS}

    def effort(self, key: str) -> str:
        """Return the preset of a method."""
        return self._efforts[key]

    def setEffort(self, key: str, effort: str) -> None:
        """Choose a preset: what it sets is no longer changed by hand."""
        self._efforts[key] = effort
        preset, changes = PRESETS[effort], self._changes[key]
        for name in preset.training:
            changes["training_config"].pop(name, None)
        for name in preset.data:
            changes["data_config"].pop(name, None)
        model = _table(changes["algorithm_config"].get("model"))
        for name in preset.model:
            model.pop(name, None)

    def reset(self, key: str) -> None:
        """Forget what was changed of a method."""
        self._changes[key] = {part: {} for part in PARTS}

    def defaults(self, key: str, image: DataChoice | None) -> Configuration:
        """Return the settings of a method for an image, nothing changed."""
        method = METHODS[key]
        algorithm: Any = method.algorithm
        if image is not None and "C" in image.axes and not method.needs_target:
            apart = algorithm.model.model_copy(update={"independent_channels": True})
            algorithm = algorithm.model_copy(update={"model": apart})
        config = apply_preset(Configuration(algorithm_config=algorithm), self._efforts[key])
        if image is None:
            return config
        changed = self._with(config.algorithm_config, key, "algorithm_config")
        patch = fitting_patch(image.sizes, changed.model.grid_for(len(image.sizes)))
        data = {"axes": image.array_axes, "patch_size": patch}
        values = config.data_config.model_dump() | data
        return config.model_copy(update={"data_config": DataConfig.model_validate(values)})

    def changed(self, key: str, defaults: Configuration, image: DataChoice | None) -> Configuration:
        """Return the settings of a method for an image, with what was changed."""
        patch = self._changes[key]["data_config"].get("patch_size")
        if patch is not None and image is not None:
            sizes = image.sizes
            if len(patch) != len(sizes) or any(n < p for n, p in zip(sizes, patch, strict=True)):
                del self._changes[key]["data_config"]["patch_size"]  # it was for another image
        parts = {part: self._with(getattr(defaults, part), key, part) for part in PARTS}
        return defaults.model_copy(update=parts)

    def take(self, key: str, part: str, value: BaseModel, defaults: Configuration) -> None:
        """Remember how a part of the settings differs from its defaults."""
        default = getattr(defaults, part)
        self._changes[key][part] = differences(
            value.model_dump(mode="json"), default.model_dump(mode="json")
        )

    def save(self) -> None:
        """Write all of it, but for what belongs to the image at hand."""
        kept = {}
        for key, changes in self._changes.items():
            parts = {
                part: {n: v for n, v in changes[part].items() if n not in _OF_THE_IMAGE}
                for part in PARTS
            }
            kept[key] = {"effort": self._efforts[key]} | {p: v for p, v in parts.items() if v}
        self._memory.set(_NAME, kept)

    def _with(self, default: Any, key: str, part: str) -> Any:
        """Return a part with what was changed; the default where that is not valid any more."""
        changes = self._changes[key][part]
        try:
            values = merged(default.model_dump(mode="json"), changes)
            return type(default).model_validate(values, by_name=True)
        except ValidationError:
            self._changes[key][part] = {}
            return default


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
