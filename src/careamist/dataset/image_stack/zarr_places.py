"""Where Zarr arrays and groups lie: in a folder, in a zip file, or behind a URL.

A place is one folder of a store, whatever holds it. Its URI is what zarr prints for the array or
group there, and leads back to it: `place_of(place.uri)`. The metadata are read here, key by key,
so that an error names the file that is broken and a group without a key of its own is no obstacle.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import unquote

from careamist.errors import CareamistError, SettingsError, SourceNotFoundError, UnreadableError

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store

METADATA_KEYS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
CONNECT_SECONDS = 5.0  # a host that is down is reported after this
SILENCE_SECONDS = 20.0  # and one that stops sending after this
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PACKAGES |= {"http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "fsspec": "fsspec"}


@dataclass(frozen=True)
class Node:
    """The metadata of an array or a group."""

    kind: Literal["array", "group"]
    zarr_format: Literal[2, 3]
    metadata: dict[str, Any]
    attributes: dict[str, Any]


class Place(ABC):
    """One folder of a store."""

    uri: str
    _parent: Place | None = None

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a file in this folder, None if there is none."""

    @abstractmethod
    def names(self) -> list[str] | None:
        """Return the folders in this one, 2 before 10; None if they cannot be listed."""

    @abstractmethod
    def files(self) -> Iterable[str] | None:
        """Return all files below, relative to here with ``/``; None if they cannot be listed."""

    @property
    @abstractmethod
    def parent(self) -> Place | None:
        """The folder around this one, None at the end."""

    @abstractmethod
    def _enter(self, name: str) -> Place: ...

    @abstractmethod
    def _store(self) -> tuple[Store, str]:
        """Return a read-only store and the key of this folder in it."""

    def child(self, path: str) -> Place:
        """Return a folder below, whether or not it exists."""
        place: Place = self
        for part in PurePosixPath(path).parts:
            if part in ("..", "/"):
                raise UnreadableError(
                    f"The metadata of {self.uri} name '{path}', which is outside of it.",
                    "Give the array itself.",
                )
            inner = place._enter(part)
            inner._parent, place = place, inner
        return place

    @cached_property
    def node(self) -> Node | None:
        """The array or group here, None if no metadata say so."""
        if (metadata := self._json("zarr.json")) is not None:
            kind = metadata.get("node_type")
            if kind not in ("array", "group"):
                raise UnreadableError(
                    f"{self.uri}/zarr.json says node_type={kind!r};", "expected 'array' or 'group'."
                )
            attributes = metadata.get("attributes")
            return Node(kind, 3, metadata, attributes if isinstance(attributes, dict) else {})
        attributes = self._json(".zattrs")
        if (metadata := self._json(".zarray")) is not None:
            return Node("array", 2, metadata, attributes or {})
        metadata = self._json(".zgroup")
        if metadata is None and attributes is None:
            return None
        return Node("group", 2, metadata or {}, attributes or {})

    def open_array(self) -> zarr.Array[Any]:
        """Open the array here; only its metadata are read."""
        import zarr

        assert self.node is not None
        try:
            store, key = self._store()
            return zarr.open_array(
                store=store, path=key, mode="r", zarr_format=self.node.zarr_format
            )
        except CareamistError:
            raise
        except Exception as error:  # whatever metadata can break
            raise UnreadableError(
                f"{self.uri} cannot be opened as a Zarr array ({reason(error)}).",
                "If it names a codec, install the package that brings it; "
                "otherwise the store is damaged or of an unknown version.",
            ) from error

    def _json(self, name: str) -> dict[str, Any] | None:
        content = self.read(name)
        if content is None:
            return None
        try:
            parsed = json.loads(content)
        except ValueError as error:  # also of bytes that are no text
            raise UnreadableError(
                f"{self.uri}/{name} is not valid JSON ({reason(error)}).",
                "Copy the store again from where it was made.",
            ) from error
        if not isinstance(parsed, dict):
            raise UnreadableError(
                f"{self.uri}/{name} holds a {type(parsed).__name__};", "expected a JSON object."
            )
        return parsed


class LocalPlace(Place):
    """A folder on a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = f"file://{path.as_posix()}"

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self) -> list[str] | None:
        if not self.path.is_dir():
            return []
        with os.scandir(self.path) as entries:
            return natural(
                entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."
            )

    def files(self) -> Iterable[str] | None:
        start = len(os.path.join(self.path, ""))
        return (
            os.path.join(folder, name)[start:].replace(os.sep, "/")
            for folder, _, names in os.walk(self.path)
            for name in names
        )

    @property
    def parent(self) -> Place | None:
        if self._parent is None and self.path.parent != self.path:
            self._parent = LocalPlace(self.path.parent)
        return self._parent

    def _enter(self, name: str) -> Place:
        return LocalPlace(self.path / name)

    def _store(self) -> tuple[Store, str]:
        from zarr.storage import LocalStore

        return LocalStore(self.path, read_only=True), ""


class ZipPlace(Place):
    """A folder in a zip file, which is never unpacked."""

    def __init__(self, archive: zipfile.ZipFile, key: str = "") -> None:
        self.archive, self.key = archive, key
        self.uri = f"zip://{archive.filename}/{key}".rstrip("/")

    def read(self, name: str) -> bytes | None:
        try:
            return self.archive.read(f"{self.key}/{name}".lstrip("/"))
        except KeyError:
            return None

    def names(self) -> list[str] | None:
        heads = (name.partition("/") for name in self._below())
        return natural({head for head, slash, _ in heads if slash and head[:1] not in ("", ".")})

    def files(self) -> Iterable[str] | None:
        return (name for name in self._below() if name and not name.endswith("/"))

    @property
    def parent(self) -> Place | None:
        if self._parent is None and self.key:
            self._parent = ZipPlace(self.archive, self.key.rpartition("/")[0])
        return self._parent

    def _below(self) -> Iterable[str]:
        prefix = f"{self.key}/" if self.key else ""
        names = self.archive.namelist()
        return (name[len(prefix) :] for name in names if name.startswith(prefix))

    def _enter(self, name: str) -> Place:
        return ZipPlace(self.archive, f"{self.key}/{name}".lstrip("/"))

    def _store(self) -> tuple[Store, str]:
        from zarr.storage import ZipStore

        return ZipStore(cast("str", self.archive.filename), mode="r"), self.key


class RemotePlace(Place):
    """A folder behind a URL that fsspec understands."""

    def __init__(self, url: str) -> None:
        self.uri = url.rstrip("/")

    def read(self, name: str) -> bytes | None:
        files, path = self._files
        try:
            return cast("bytes", files.cat_file(f"{path.rstrip('/')}/{name}"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except Exception as error:  # each backend has its own
            if getattr(error, "status", None) == 403:  # what buckets say for "not found"
                return None
            raise UnreadableError(
                f"{self.uri}/{name} cannot be fetched ({reason(error)}).",
                "Check the address, the network and, for a bucket, your credentials.",
            ) from error

    def names(self) -> list[str] | None:
        if not self.uri.startswith(("http://", "https://")):  # a web server has no listing
            files, path = self._files
            try:
                entries = files.ls(path, detail=True)
            except FileNotFoundError:
                return []
            folders = (entry["name"] for entry in entries if entry["type"] == "directory")
            return natural(name.rstrip("/").rpartition("/")[2] for name in folders)
        if self.node is not None and self.node.zarr_format == 3:
            metadata: Any = self.node.metadata.get("consolidated_metadata")
        else:
            metadata = self._json(".zmetadata")
        keys = metadata.get("metadata") if isinstance(metadata, dict) else None
        if not isinstance(keys, dict):
            return None
        heads = {key.partition("/")[0] for key in keys}
        return natural(head for head in heads if head and head not in METADATA_KEYS)

    def files(self) -> Iterable[str] | None:
        return None  # too many requests

    @property
    def parent(self) -> Place | None:
        outer = self.uri.rpartition("/")[0]
        if self._parent is None and not outer.endswith(("/", ":")):
            self._parent = RemotePlace(outer)
        return self._parent

    def _enter(self, name: str) -> Place:
        return RemotePlace(f"{self.uri}/{name}")

    def _store(self) -> tuple[Store, str]:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(self.uri, self._options(), read_only=True), ""

    @cached_property
    def _files(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            return cast("tuple[Any, str]", url_to_fs(self.uri, **self._options()))
        except ImportError as error:
            package = (
                _PACKAGES.get(self.uri.partition(":")[0]) if error.name != "fsspec" else "fsspec"
            )
            raise UnreadableError(
                f"{self.uri} needs another package ({reason(error)}).",
                f"Run: pip install {package}" if package else "Install it and try again.",
            ) from error
        except ValueError as error:
            raise SettingsError(
                f"{self.uri} is not understood ({reason(error)}):",
                "expected a path, or a URL of file, zip, http, https, s3 or gs.",
            ) from error

    def _options(self) -> dict[str, Any]:
        """Return what keeps a request from hanging."""
        if not self.uri.startswith(("http://", "https://")):
            return {}
        from aiohttp import ClientTimeout

        limits = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        return {"client_kwargs": {"timeout": limits}}


def place_of(source: object) -> Place:
    """Return the place that a path or a URI names; it exists, unless it is remote.

    Raises
    ------
    SourceNotFoundError
        If there is nothing.
    SettingsError
        If it is not a path or a URI.
    UnreadableError
        If it is a file that is not a zip file.
    """
    if not isinstance(source, (str, Path)) or not str(source).strip():
        raise SettingsError(
            f"{source!r} was given as a Zarr store;",
            "expected a path or a URI: for an array that is open, str(array.store_path).",
        )
    scheme, mark, rest = str(source).partition("://")
    if mark and scheme.lower() not in ("file", "zip", "local"):
        return RemotePlace(str(source))
    candidates = _spellings(rest) if mark else [str(source)]
    for path in map(Path, candidates):
        if place := _local(path):
            return place
    path = Path(candidates[0])
    around = next(folder for folder in path.absolute().parents if folder.is_dir())
    there = LocalPlace(around).names() or []
    raise SourceNotFoundError(
        f"There is nothing at {source}.",
        f"In {around} there are the folders {', '.join(there[:10])}." if there else "Check it.",
    )


def natural(names: Iterable[str]) -> list[str]:
    """Return names sorted as people count: 2 before 10."""
    return sorted(names, key=_natural_key)


def _natural_key(name: str) -> list[tuple[int, str]]:
    parts = re.split("([0-9]+)", name)  # texts and numbers take turns
    return [(int(part), "") if n % 2 else (0, part) for n, part in enumerate(parts)]


def reason(error: BaseException) -> str:
    """Return what an exception says, in one line, or its name if it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _spellings(rest: str) -> list[str]:
    """Return what the part of a file URI behind ``://`` may mean.

    Zarr writes paths into it as they are; others escape them, and put a slash before a drive.
    """
    plain = [rest, unquote(rest)]
    return plain + [text[1:] for text in plain if re.match(r"/[A-Za-z]:", text)]


def _local(path: Path) -> Place | None:
    if path.is_dir():
        return LocalPlace(path)
    for outer in (path, *path.parents):
        if not outer.exists():
            continue
        if outer.is_dir():
            return None
        if outer == path and path.name in METADATA_KEYS:
            return LocalPlace(path.parent)
        return _zipped(outer).child(path.relative_to(outer).as_posix())
    return None


def _zipped(path: Path) -> Place:
    try:
        place = ZipPlace(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise UnreadableError(
            f"{path} is a file;", "expected a folder that holds a Zarr store, or a zip file of one."
        ) from error
    return place
