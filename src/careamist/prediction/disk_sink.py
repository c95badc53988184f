"""Results as files: under another name until they are complete, taken up again if broken off."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from careamist.errors import DiskFullError, OutputExistsError, SettingsError
from careamist.prediction.journal import Journal
from careamist.prediction.output import SPREAD, Output, total_bytes
from careamist.prediction.plan import split
from careamist.prediction.writers.file_paths import output_paths

if TYPE_CHECKING:
    from careamist.dataset.region import ImageRegionData
    from careamist.prediction.writers.protocol import ResultFile, Writer

Overwrite = Literal["error", "skip", "replace"]
_PATIENCE = 60.0  # seconds that another worker is given to create a file


@dataclass
class _Open:
    """A result that is being written."""

    output: Output
    files: dict[str, ResultFile]  # by postfix; none where nothing is left to do
    journal: Journal


class DiskSink:
    """Results as files in a folder, named after their sources.

    A result is written beside its place as ``NAME.part`` and gets its name when it is complete. One
    that was broken off is taken up again tile by tile, if it would be made in the same way.

    Parameters
    ----------
    folder : Path
        Where the files go; made when needed.
    writer : Writer
        How they are written.
    overwrite : {"error", "skip", "replace"}
        What happens where a file is there: nothing is predicted at all, that image is left out, or
        the file is replaced once the new one is complete.
    root : Path, optional
        Folder of the sources: their places below it are repeated below `folder`.
    options : Any
        For the writer.
    share : (int, int), optional
        (k, n): this is worker k, from 0, of n that do a share of the job each.
    check : callable, optional
        Called while results are completed; may raise to end that.
    """

    def __init__(
        self,
        folder: Path,
        writer: Writer,
        *,
        overwrite: Overwrite = "error",
        root: Path | None = None,
        options: Any = None,
        share: tuple[int, int] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.writer, self.overwrite, self.root = folder, writer, overwrite, root
        self.options, self.share = options, share
        self._check = check
        self.paths: dict[int, Path] = {}
        self._open: dict[int, _Open] = {}
        self._own: dict[int, NDArray[np.intp]] = {}  # tiles of this worker, where there are several

    def check(self, outputs: Sequence[Output]) -> None:
        """Make sure that every file can be written, none twice, and that the disk has room."""
        sources = [output.source for output in outputs]
        found = output_paths(self.folder, sources, self.writer.EXTENSION, self.root)
        self.paths = {output.index: path for output, path in zip(outputs, found, strict=True)}
        taken: dict[Path, str] = {}
        for output in outputs:
            for path in self._targets(output).values():
                if (other := taken.setdefault(path, output.source)) != output.source:
                    raise OutputExistsError(
                        f"{other} and {output.source} would both be written to {path}.",
                        "Rename one of them, or predict them into different folders.",
                    )
        wanted = []
        for output in outputs:
            there = [path for path in self._targets(output).values() if path.exists()]
            if there and self.overwrite == "error":
                raise OutputExistsError(
                    f"{there[0]} is already there.",
                    "Choose another folder, or keep it (overwrite='skip') or replace it "
                    "(overwrite='replace').",
                )
            if len(there) < len(self._targets(output)) or self.overwrite == "replace":
                wanted.append(output)
        self._check_room(wanted)
        if self.share is not None:
            place, count = self.share
            if not 0 <= place < count:
                raise SettingsError(
                    f"There is no share {place} of {count}:", f"give 0 to {count - 1}."
                )
            if nameless := [o.source for o in outputs if not o.recipe.get("identity")]:
                raise SettingsError(
                    f"{nameless[0]} is no file, so that workers cannot share it.", "Save it first."
                )
            self._own = split(outputs, count, by_tiles=self.writer.BY_TILES)[place].tiles

    def start(self, output: Output) -> NDArray[np.intp]:
        """Begin the file, or go on with one that was broken off."""
        targets = self._targets(output)
        worker = "" if self.share is None else f"-{self.share[0]}"
        journal = Journal(_beside(self.paths[output.index], ".tiles"), output.recipe, worker)
        is_there = self.overwrite == "skip" and all(path.exists() for path in targets.values())
        if is_there or (self.share is not None and output.index not in self._own):
            self._open[output.index] = _Open(output, {}, journal)
            return np.arange(0)
        with _disk_errors(self.folder):
            self.paths[output.index].parent.mkdir(parents=True, exist_ok=True)
            files = self._files(output, journal)
            self._open[output.index] = _Open(output, files, journal)
        missing = np.flatnonzero(~journal.done(len(output.tiles)))
        return np.intersect1d(missing, self._own[output.index]) if self._own else missing

    def _files(self, output: Output, journal: Journal) -> dict[str, ResultFile]:
        """Open the files of a result: new ones, or those that were begun in the same way."""
        parts = {postfix: _part(path) for postfix, path in self._targets(output).items()}
        mark = _beside(self.paths[output.index], ".creating")
        if self.share is not None:
            if journal.exists() and not journal.fits():
                raise SettingsError(
                    f"Another worker makes {self.paths[output.index]} in another way.",
                    "Give all of them the same options, tile_size and precision too.",
                )
            _wait_for_others(mark, journal)
        goes_on = (
            bool(output.recipe.get("identity"))
            and journal.fits()
            and all(map(Path.exists, parts.values()))
        )
        begin = self.writer.reopen if goes_on else self.writer.create
        if not goes_on:
            journal.remove()
            for part in parts.values():
                _remove(part)
        try:
            files = {
                postfix: begin(part, _of(output, postfix), self.options)
                for postfix, part in parts.items()
            }
            journal.begin()
        finally:
            mark.unlink(missing_ok=True)
        return files

    def write(self, region: ImageRegionData) -> None:
        """Write one region, and write down that it is there."""
        specs: Any = region.region_spec
        opened = self._open[specs["data_idx"]]
        output, box = opened.output, opened.output.box(specs)
        with _disk_errors(self.folder):
            opened.files[""].write(box, output.pixels(region.data))
            if output.spread:
                spread = output.pixels(region.additional_metadata[SPREAD])
                opened.files[SPREAD].write(box, spread)
            opened.journal.add(output.tiles.number_of(specs))

    def finish(self, index: int) -> str | None:
        """Give the file its name; None where other workers have tiles left to write."""
        opened = self._open[index]  # it can be looked at while it is completed
        if not opened.files:
            del self._open[index]
            return str(self.paths[index]) if self.paths[index].exists() else None
        targets, claimed = self._targets(opened.output), False
        try:
            with _disk_errors(self.folder):
                all_there = bool(opened.journal.done(len(opened.output.tiles)).all())
                if self.share is None and not all_there:
                    raise RuntimeError(f"Tiles of {opened.output.source} are missing.")
                claimed = all_there and self._claims(index)
                if not claimed:
                    for file in opened.files.values():
                        file.close()
                    opened.journal.close()
                    del self._open[index]
                    return None
                for file in opened.files.values():
                    file.complete(self._check)
                for target in targets.values():
                    _publish(_part(target), target)
                opened.journal.remove()
                del self._open[index]
        finally:
            if claimed:
                _remove(_beside(self.paths[index], ".completing"))
        return str(self.paths[index])

    def leave(self, index: int, error: BaseException) -> None:
        """Keep what is there for another run, unless that is nothing or the disk is full."""
        opened = self._open.pop(index, None)
        if opened is None:
            return
        for file in opened.files.values():
            file.close()
        none_done = opened.files and not opened.journal.done(len(opened.output.tiles)).any()
        opened.journal.close()
        if self.share is None and (none_done or isinstance(error, DiskFullError)):
            opened.journal.remove()
            for target in self._targets(opened.output).values():
                _remove(_part(target))

    def view(self, index: int) -> Any:
        """Return what is there of an image that is being written."""
        return self._open[index].files[""].view()

    def _claims(self, index: int) -> bool:
        """Return whether this worker completes a result: of several, only the first does."""
        mark = _beside(self.paths[index], ".completing")
        try:
            mark.touch(exist_ok=self.share is None)
        except FileExistsError:
            return False
        return True

    def _targets(self, output: Output) -> dict[str, Path]:
        """Return the files of a result by what they hold."""
        path, ending = self.paths[output.index], self.writer.EXTENSION
        if not output.spread:
            return {"": path}
        stem = path.name.removesuffix(ending)
        return {"": path, SPREAD: path.with_name(f"{stem}_{SPREAD}{ending}")}

    def _check_room(self, outputs: Sequence[Output]) -> None:
        there = next(
            p for p in (self.folder.absolute(), *self.folder.absolute().parents) if p.exists()
        )
        free = shutil.disk_usage(there).free
        begun = sum(
            _size(_part(path)) for output in outputs for path in self._targets(output).values()
        )
        needed = total_bytes(outputs) - begun
        if self.share is None and needed > free:
            raise DiskFullError(
                f"The results take {_in_words(needed)}, {there} has {_in_words(free)} left.",
                "Free some space, or choose a folder on another disk.",
            )


def _wait_for_others(mark: Path, journal: Journal) -> None:
    """Return when this worker may create a result, or another one has."""
    end = time.monotonic() + _PATIENCE
    while not journal.fits():
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            if time.monotonic() > end:
                raise SettingsError(
                    f"Another worker seems to be creating a result ({mark}).",
                    "If none is, remove that file and start again.",
                ) from None
            time.sleep(0.1)
        else:
            return


def _of(output: Output, postfix: str) -> Output:
    return replace(output, result_type="float32", spread=False) if postfix else output


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _part(path: Path) -> Path:
    return _beside(path, ".part")


def _publish(part: Path, target: Path) -> None:
    """Give a complete result its name; what had it is there until then."""
    if not target.is_dir():
        os.replace(part, target)
        return
    old = _beside(target, ".old")
    _remove(old)
    os.replace(target, old)
    os.replace(part, target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0


def _in_words(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say that a disk is full in our words."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
            raise
        raise DiskFullError(
            f"The disk of {folder} is full.",
            "Free some space, or choose a folder on another disk, and start again: images that "
            "are complete stay (overwrite='skip').",
        ) from error
