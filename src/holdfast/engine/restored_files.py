"""The files that a machine's restore makes: all are whole before the first gets its name.

What is about to be written, and what is about to be named, is told to a ledger first. After a crash
at any moment the ledger says what is left to do: take everything away again (`take_back`), or
finish the naming (`finish_naming`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import (
    discarded_on_exit,
    partial_name,
    publish,
    remove_durably,
    write_private,
)
from holdfast.engine.errors import CannotFinish, EngineError, LeftUnfinished
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_restore import adopt_permissions, make_private, restore_image
from holdfast.engine.libvirt_point import DiskPoint
from holdfast.engine.process import finished
from holdfast.engine.progress import Phases, Progress, ProgressCallback
from holdfast.engine.qemu_image import absolute, create_overlay_arguments, run_qemu_image

_PURPOSE = "restored"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Overlay:
    """An empty layer on a disk of the point: what is written goes there, the point stays as is."""

    disk: DiskPoint


@dataclass(frozen=True, slots=True)
class FileToBe:
    """A file to be: a disk of the point, a layer on one, or small content."""

    path: Path
    format: str
    source: DiskPoint | Overlay | bytes

    @property
    def partial(self) -> Path:
        """Its temporary name."""
        return partial_name(self.path, _PURPOSE)

    @property
    def target(self) -> str:
        """Where the guest has the disk; empty for what is none."""
        match self.source:
            case DiskPoint():
                return self.source.state.target
            case Overlay():
                return self.source.disk.state.target
            case _:
                return ""


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file that is whole and about to be named ``path``.

    It is known again by its inode and the time it was last written, in nanoseconds: neither changes
    with its name. A ``new`` one takes no other's place: there was none when it was whole.
    ``device`` is None in what older versions have noted.
    """

    path: str
    inode: int
    written: int
    new: bool = False
    device: int | None = None


class Ledger(Protocol):
    """Where a restore writes down what it is about to do, so that a crash can be put right."""

    async def writing(self, paths: Sequence[str]) -> None:
        """Files that are to have these names are about to be written under temporary ones."""

    async def naming(self, files: Sequence[WholeFile]) -> None:
        """These files are about to be named."""


class NoLedger:
    """The ledger of those who put nothing right after a crash."""

    async def writing(self, paths: Sequence[str]) -> None:
        """Note nothing."""

    async def naming(self, files: Sequence[WholeFile]) -> None:
        """Note nothing."""


class ProvenLedger:
    """A ledger that lets no file be named before there is proof that the backup files are good."""

    def __init__(self, ledger: Ledger, proof: Awaitable[None]) -> None:
        self._ledger = ledger
        self._proof = proof

    async def writing(self, paths: Sequence[str]) -> None:
        """Note it."""
        await self._ledger.writing(paths)

    async def naming(self, files: Sequence[WholeFile]) -> None:
        """Note it when the proof is there, or raise its error."""
        await self._proof
        await self._ledger.naming(files)


@contextlib.asynccontextmanager
async def written(
    folder: Path,
    files: Sequence[FileToBe],
    on_progress: ProgressCallback,
    ledger: Ledger,
    *,
    overwrite: bool,
    key: DataKey | None = None,
    allowed: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    """Write all files and name them, for a block that makes use of them.

    ``folder`` holds the point, and ``key`` is that of an encrypted one. With ``overwrite`` each
    takes the place of the one that is there: it cannot be cancelled any more once it has begun to
    name them, or a machine would have one disk from the point and another that is not. ``allowed``
    is called right before that, and raises why none may be named any more. Without ``overwrite``
    none may be there, and new ones are taken away again when the block fails, unless it fails with
    LeftUnfinished.

    With ``overwrite``, raise LeftUnfinished when some were named and others could not be, or when
    it cannot be seen whether: these keep their temporary names, for `finish_naming`.
    """
    made: list[Path] = []
    whole: list[WholeFile] = []
    if overwrite:
        await asyncio.to_thread(expect_regular, [file.path for file in files])
    await ledger.writing([str(file.path) for file in files])
    with uncancelled_when_done() as outcome:
        async with discarded_on_exit(*(file.partial for file in files)) as temporaries:
            try:
                await _write(folder, files, on_progress, key)
                whole += await asyncio.to_thread(_whole_files, files)
                await ledger.naming(whole)
                if allowed is not None:
                    await allowed()
                naming = _name_all(files, whole, made, overwrite)
                await (carried_out(naming) if overwrite else finished(naming))
                yield
            except BaseException as error:  # cancellation too: no part of a restore may stay
                if not overwrite and not isinstance(error, LeftUnfinished):
                    await finished(_remove_all(made))
                if overwrite and (state := await carried_out(_state_of(whole))):
                    temporaries.clear()
                    raise LeftUnfinished(f"{error} {state}") from error
                raise
            outcome.done = True


@dataclass(slots=True)
class Outcome:
    """Whether some work is done."""

    done: bool = False


@contextlib.contextmanager
def uncancelled_when_done() -> Iterator[Outcome]:
    """Let nobody cancel a block that has noted that its work is done.

    What is left to do then, such as closing a connection, may be cut short. A restore that has
    succeeded must not be taken for one that was stopped.
    """
    outcome = Outcome()
    try:
        yield outcome
    except asyncio.CancelledError:
        if not outcome.done:
            raise


async def carried_out(work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work to its end; whoever cancels it meanwhile has come too late."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    return task.result()


async def take_back(paths: Iterable[str], files: Iterable[WholeFile]) -> None:
    """Take away what an interrupted restore has left: what was written, and what was named.

    What somebody else has put there under the same name stays. Raise OSError.
    """
    for path in paths:
        partial = partial_name(Path(path), _PURPOSE)
        await remove_durably(partial)
        await remove_durably(partial_name(partial))
    for file in files:
        if await asyncio.to_thread(_is_there, Path(file.path), file):
            await remove_durably(Path(file.path))


async def all_named(files: Sequence[WholeFile]) -> bool:
    """Say whether all files of an interrupted restore have got their names."""
    return await asyncio.to_thread(lambda: all(_is_there(Path(each.path), each) for each in files))


async def finish_naming(files: Sequence[WholeFile]) -> None:
    """Go on where an interrupted restore in place was naming its files.

    Raise CannotFinish when a new file is gone, or when the machine has run on some of the new files
    and some of the old. Raise ImageInUse when it runs now, and EngineError when what is to be
    replaced is not there at the moment; then, none was named.
    """
    await asyncio.to_thread(_ensure_nameable, files)
    await _name_unnamed(files)


async def _name_unnamed(files: Sequence[WholeFile]) -> None:
    for file in await asyncio.to_thread(_unnamed, files):
        await _name(_partial_of(file), Path(file.path), not file.new)


def partials_there(paths: Iterable[str]) -> list[Path]:
    """Given names of files to be, return the temporaries of them that are there. Blocking."""
    partials = [partial_name(Path(path), _PURPOSE) for path in paths]
    return [partial for partial in partials if os.path.lexists(partial)]


def _ensure_nameable(files: Sequence[WholeFile]) -> None:
    unnamed = _unnamed(files)
    for file in files:
        if file in unnamed:
            if file.new and os.path.lexists(file.path):
                raise CannotFinish(
                    f"{file.path} was not there when it was restored, and another file is now: it "
                    "is not overwritten."
                )
            continue
        path = Path(file.path)
        if not os.path.lexists(path):
            raise EngineError(
                f"Neither {path} nor {_partial_of(file)} is there. Is the disk or share mounted?"
            )
        status = path.lstat()
        # A machine that is powered on writes to its disk: then only the inode says that it is ours.
        if status.st_ino != file.inode:
            raise CannotFinish(f"{_partial_of(file)}, which was to become {path}, is gone.")
        if unnamed and status.st_mtime_ns != file.written:
            raise CannotFinish(
                f"{path} was restored and {unnamed[0].path} was not, and the machine has run since "
                "then. Restore it again."
            )
    if unnamed:
        # None is named while a machine runs on one of them.
        there = [Path(file.path) for file in files if os.path.lexists(file.path)]
        with unchanged_while_read(there):
            pass


def _partial_of(file: WholeFile) -> Path:
    return partial_name(Path(file.path), _PURPOSE)


def _unnamed(files: Sequence[WholeFile]) -> list[WholeFile]:
    """Return those of some files that still have their temporary names. Blocking."""
    return [file for file in files if _is_there(_partial_of(file), file)]


def _whole_files(files: Sequence[FileToBe]) -> list[WholeFile]:
    found = []
    for file in files:
        status = file.partial.lstat()
        new = not os.path.lexists(file.path)
        found.append(
            WholeFile(str(file.path), status.st_ino, status.st_mtime_ns, new, status.st_dev)
        )
    return found


def _is_there(path: Path, file: WholeFile) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return (status.st_ino, status.st_mtime_ns) == (file.inode, file.written)


async def _write(
    folder: Path, files: Sequence[FileToBe], on_progress: ProgressCallback, key: DataKey | None
) -> None:
    disks = [file.source for file in files if isinstance(file.source, DiskPoint)]
    sizes = [max(disk.state.virtual_size, 1) for disk in disks]
    phases = Phases(on_progress, sizes or [1])
    number = 0
    for file in files:
        if isinstance(file.source, bytes):
            try:
                await asyncio.to_thread(write_private, file.partial, file.source)
            except OSError as error:
                raise writing_failure(error, file.path) from error
            continue
        if isinstance(file.source, Overlay):
            backing = absolute(folder / file.source.disk.file.name)
            size = file.source.disk.state.virtual_size if key is not None else None
            await asyncio.to_thread(make_private, file.partial)
            await run_qemu_image(
                create_overlay_arguments(absolute(file.partial), backing, "qcow2", size),
                doing=f"Making {file.path}",
                writing=file.partial,
            )
            continue
        advance = phases.phase(number)
        number += 1

        def tell(progress: Progress, advance: Callable[[float], None] = advance) -> None:
            advance(progress.fraction)

        point = folder / file.source.file.name
        await restore_image(point, file.partial, tell, format=file.format, key=key)


def expect_regular(paths: Iterable[Path]) -> None:
    """Refuse to replace what is no file: what takes the place of a block device is no disk."""
    for path in paths:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise EngineError(f"{path} is not a regular file; it is not overwritten.")


async def _name_all(
    files: Sequence[FileToBe], whole: Sequence[WholeFile], made: list[Path], overwrite: bool
) -> None:
    there = [file.path for file in files if overwrite and await asyncio.to_thread(file.path.exists)]
    # None is named while a machine runs on one of them.
    with unchanged_while_read(there):
        pass
    for file, known in zip(files, whole, strict=True):
        await _name(file.partial, file.path, overwrite and not known.new)
        made.append(file.path)


async def _state_of(files: Sequence[WholeFile]) -> str:
    """Return what is to be said of files that may be named in part; empty for all or none."""
    try:
        unnamed = len(await asyncio.to_thread(_unnamed, files))
    except OSError as error:
        return (
            "Whether disks of the machine were replaced before that cannot be seen now: "
            f"{error.strerror or error}."
        )
    if 0 < unnamed < len(files):
        return "Some disks of the machine were replaced before that, and some were not."
    return ""


async def _remove_all(paths: Iterable[Path]) -> None:
    for path in paths:
        await remove_durably(path)


async def _name(partial: Path, path: Path, overwrite: bool) -> None:
    try:
        if overwrite and await asyncio.to_thread(path.exists):
            # A machine running on the old file would go on writing to it, unseen, after the rename.
            with unchanged_while_read([path]):
                await asyncio.to_thread(adopt_permissions, partial, path)
                await publish(partial, path, overwrite=True)
        else:
            await publish(partial, path)
    except FileExistsError as error:
        raise EngineError(f"{path} exists already; it is not overwritten.") from error
    except OSError as error:
        raise writing_failure(error, path) from error
