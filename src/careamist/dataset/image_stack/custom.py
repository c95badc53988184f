"""Formats of the user's own: a function that reads a file, or one that makes image stacks."""

from __future__ import annotations

import inspect as signatures
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from careamist.dataset.image_stack.base import SlicedStack
from careamist.dataset.image_stack.protocol import ImageInfo, ImageStack
from careamist.errors import CareamistError, SettingsError, UnreadableError


@dataclass(frozen=True)
class ReadFuncLoading:
    """Files that a function reads whole.

    Parameters
    ----------
    read_source_func : callable
        Takes a `Path` first and returns an array of real numbers in the axes of the
        configuration. It is given the axes too if it has a parameter ``axes``, a second one
        without a default, or takes further positional arguments (``*args``).
    read_kwargs : mapping, optional
        More keyword arguments for it.
    extension_filter : str
        Which files of a folder are meant, as for `pathlib.Path.rglob`: ``"*.npy"``.
    """

    read_source_func: Callable[..., NDArray[Any]]
    read_kwargs: Mapping[str, Any] | None = None
    extension_filter: str = ""

    def read(self, path: Path, axes: str) -> NDArray[Any]:
        """Return the pixels of a file.

        Raises
        ------
        UnreadableError
            If the function raises, or returns something that is no array.
        """
        kwargs = dict(self.read_kwargs or {})
        try:
            parameters = list(signatures.signature(self.read_source_func).parameters.values())
        except ValueError:  # some builtins have no signature
            parameters = []
        more: tuple[str, ...] = ()
        if any(p.name == "axes" and p.kind is not p.POSITIONAL_ONLY for p in parameters[1:]):
            kwargs.setdefault("axes", axes)
        elif _second_is_axes(parameters, kwargs):
            more = (axes,)
        try:
            pixels = self.read_source_func(path, *more, **kwargs)
        except (CareamistError, MemoryError):
            raise
        except Exception as error:  # whatever the user's function raises
            raise UnreadableError(
                f"{path} could not be read by {_name(self.read_source_func)} "
                f"({type(error).__name__}: {error}).",
                "Check the function and the file.",
            ) from error
        if not (hasattr(pixels, "shape") and hasattr(pixels, "dtype")):
            raise UnreadableError(
                f"{_name(self.read_source_func)} returned {type(pixels).__name__} for {path}:",
                "expected an array.",
            )
        return np.asarray(pixels)

    def load(self, source: Any, axes: str) -> list[ImageStack]:
        """Return the stack of one file."""
        return [ReadStack(self, Path(source), axes)]


@dataclass(frozen=True)
class ImageStackLoading:
    """Image stacks that a function makes from whatever names the data.

    Parameters
    ----------
    image_stack_loader : callable
        ``image_stack_loader(data, axes, **kwargs)`` returns a sequence of image stacks; `data`
        is what was given to `train` or `predict`, of any type.
    image_stack_loader_kwargs : mapping, optional
        More keyword arguments for it.
    """

    image_stack_loader: Callable[..., Sequence[ImageStack]]
    image_stack_loader_kwargs: Mapping[str, Any] | None = None

    def load(self, source: Any, axes: str) -> list[ImageStack]:
        """Return the stacks that the function makes of `source`.

        Raises
        ------
        SettingsError
            If something is returned that lacks members of an image stack.
        UnreadableError
            If the function raises.
        """
        name = _name(self.image_stack_loader)
        try:
            made: Any = self.image_stack_loader(
                source, axes, **(self.image_stack_loader_kwargs or {})
            )
            stacks: list[ImageStack] = list(made) if isinstance(made, Iterable) else [made]
        except (CareamistError, MemoryError):
            raise
        except Exception as error:  # whatever the user's function raises
            raise UnreadableError(
                f"{source} could not be opened by {name} ({type(error).__name__}: {error}).",
                "Check the function and what it was given.",
            ) from error
        for stack in stacks:
            if missing := [name for name in _MEMBERS if not hasattr(stack, name)]:
                raise SettingsError(
                    f"{name} returned {type(stack).__name__}, which lacks {', '.join(missing)}:",
                    "expected objects with the members of careamist.dataset.image_stack."
                    "ImageStack.",
                )
        return stacks


Loading = ReadFuncLoading | ImageStackLoading


def as_loading(
    loading: Loading | None,
    read_source_func: Callable[..., NDArray[Any]] | None = None,
    extension_filter: str = "",
) -> Loading | None:
    """Return the one way of loading that was given, in either spelling."""
    if read_source_func is None:
        if extension_filter:
            raise SettingsError(
                f"extension_filter='{extension_filter}' was given without read_source_func.",
                "Give both, or loading=ReadFuncLoading(...) with it.",
            )
        return loading
    if loading is not None:
        raise SettingsError("Both loading and read_source_func were given.", "Give one of them.")
    return ReadFuncLoading(read_source_func, extension_filter=extension_filter)


_MEMBERS = (
    "source",
    "data_shape",
    "data_dtype",
    "original_data_shape",
    "original_axes",
    "extract_patch",
)


class ReadStack(SlicedStack):
    """A file that a function reads whole, again whenever another one was read in between."""

    # of all such stacks: one file at a time
    _held: ClassVar[WeakKeyDictionary[ReadStack, NDArray[Any]]] = WeakKeyDictionary()

    def __init__(self, loading: ReadFuncLoading, path: Path, axes: str) -> None:
        self._loading, self._path, self._axes = loading, path, axes
        pixels = self._pixels()
        info = ImageInfo(str(path), pixels.shape, pixels.dtype, axes, chunk_shape=pixels.shape)
        super().__init__(info, axes)

    def _read(self, slices: tuple[slice | list[int], ...]) -> NDArray[Any]:
        box: NDArray[Any] = self._pixels()[slices]
        return box

    def _pixels(self) -> NDArray[Any]:
        held = self._held.get(self)
        if held is None:
            self._held.clear()
            held = self._held[self] = self._loading.read(self._path, self._axes)
        return held


def _second_is_axes(parameters: Sequence[signatures.Parameter], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a function takes a second argument by place that is not given yet."""
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(by_place) > 1:
        return by_place[1].default is signatures.Parameter.empty and by_place[1].name not in kwargs
    return any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
