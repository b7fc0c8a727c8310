"""Puts one file or folder of a snapshot back where it was, without ever leaving that directory.

restic writes into a staging folder of our own inside the directory; from there the file gets its
name in one step. The directory, the staging folder and the folders on the way are opened one by
one, following no link, and held: what somebody puts there, at any moment, leads nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Literal

import msgspec

from holdfast.engine.durability import NO_HARD_LINKS
from holdfast.engine.errors import EngineError
from holdfast.engine.failures import tool_failure, writing_failure
from holdfast.engine.files import ResticRepository, synchronise_tree
from holdfast.engine.files_folder import staging_folder
from holdfast.engine.process import finished, run
from holdfast.engine.tree_staging import FOLDER, opened_directory, path_of, staging_in

#: A restored file that may not take the place of the present one is named so beside it.
PREFIX = "RESTORED-"
_MOST_NAMES = 1000
_RENAME_NOREPLACE = 1
_NO_SUCH_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class _Folder(msgspec.Struct, frozen=True):
    """A folder, as ``restic ls --json`` tells it; of its mode, the last 9 bits are Unix's."""

    struct_type: Literal["node"]
    path: str
    mode: int = 0o700
    uid: int = 0
    gid: int = 0


_FOLDER_LINE = msgspec.json.Decoder(_Folder)


async def restore_into_tree(
    repository: ResticRepository,
    snapshot_id: str,
    names: tuple[str, ...],
    directory: Path,
    *,
    token: str,
    overwrite: bool,
) -> Path:
    """Given the names that lead to a file or folder in a snapshot, put it back; return its path.

    What is there already stays, and the restored one is named ``RESTORED-<name>``, unless
    `overwrite` is set: a file then takes the place of a file; a folder never replaces anything.
    Folders on the way that are missing are made again, with the owners and permissions they had.
    Raise EngineError; then, and when cancelled, nothing is changed but folders that were missing.
    """
    staging_name = staging_folder(directory, token).name
    above, path = names[:-1], _path(names)
    try:
        async with AsyncExitStack() as held:
            top = await _entered(held, opened_directory(directory))
            missing = await asyncio.to_thread(_missing_above, top, above, directory)
            staging = await _entered(held, staging_in(top, staging_name))
            place = path_of(staging)
            await repository.restore_part(snapshot_id, path, place, shown=directory / names[-1])
            folders = await _described(repository, snapshot_id, missing)
            source = await _entered(held, _opened(staging, above, directory))
            target = await _entered(held, _opened(top, above, directory, make=folders))
            try:
                given = await _placed(names[-1], source, target, overwrite)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # A folder on the way is another file system.
                near = await _entered(held, staging_in(target, staging_name))
                await _copy(names[-1], source, near)
                given = await _placed(names[-1], near, target, overwrite)
    except FileNotFoundError as error:
        if not await asyncio.to_thread(directory.is_dir):
            raise EngineError(
                f"The directory {directory} to restore to does not exist any more."
            ) from error
        raise writing_failure(error, directory / names[-1]) from error
    except OSError as error:
        raise writing_failure(error, directory / names[-1]) from error
    return directory.joinpath(*above, given)


async def _entered(held: AsyncExitStack, context: AbstractContextManager[int]) -> int:
    """Enter a context in a thread, and leave it in one when the stack ends."""
    entered: list[int] = []

    async def leave() -> None:
        await finished(_in_a_thread(lambda: context.__exit__(None, None, None)))

    async def enter() -> None:
        entered.append(await asyncio.to_thread(context.__enter__))
        held.push_async_callback(leave)

    # Also when cancelled meanwhile, it must be left again.
    await finished(enter())
    return entered[0]


async def _placed(name: str, source: int, target: int, overwrite: bool) -> str:
    """As `_put`, in a thread; only when that has ended, the folders are let go of."""
    given: list[str] = []

    async def put() -> None:
        given.append(await asyncio.to_thread(_put, name, source, target, overwrite))

    await finished(put())
    return given[0]


async def _in_a_thread(work: Callable[[], object]) -> None:
    await asyncio.to_thread(work)


async def _copy(name: str, source: int, target: int) -> None:
    """Copy a file or folder, with all that is known of it, to another file system, and wait until
    it is on stable storage there.
    """
    copied = path_of(target) / name
    arguments = ["cp", "--archive", "--no-target-directory", "--"]
    completed = await run([*arguments, os.fspath(path_of(source) / name), os.fspath(copied)])
    if completed.exit_code != 0:
        raise tool_failure(completed, doing=f"Copying {name}", writing=copied)
    await synchronise_tree(path_of(target))


def _missing_above(top: int, above: Sequence[str], directory: Path) -> list[str]:
    """Return the paths in the snapshot of the folders that will have to be made."""
    for depth in range(len(above)):
        try:
            with _opened(top, above[: depth + 1], directory):
                continue
        except FileNotFoundError:
            return [_path(above[:each]) for each in range(depth + 1, len(above) + 1)]
    return []


async def _described(
    repository: ResticRepository, snapshot_id: str, wanted: list[str]
) -> dict[str, _Folder]:
    """Given paths of folders, return what a snapshot knows of them."""
    found: dict[str, _Folder] = {}

    def take(line: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # the snapshot itself
            folder = _FOLDER_LINE.decode(line)
            if folder.path in wanted:
                found[folder.path] = folder

    for path in wanted:
        await repository.list_folder(snapshot_id, path, take)
    return found


def _path(names: Sequence[str]) -> str:
    return "/" + "/".join(names)


def _put(name: str, source: int, target: int, overwrite: bool) -> str:
    """Move an entry of one folder to another; return the name that it has there."""
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if overwrite and _is_file(name, target) and stat.S_ISREG(status.st_mode):
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        given = name
    else:
        given = _renamed_to_new(name, source, target)
    os.fsync(target)
    return given


@contextlib.contextmanager
def _opened(
    root: int, names: Sequence[str], directory: Path, *, make: Mapping[str, _Folder] | None = None
) -> Iterator[int]:
    """Open a folder below one that is open, name by name. `directory` is what people call that.

    With `make`, folders that are missing are made, as they are described there.
    """
    descriptor = os.dup(root)
    try:
        for depth, name in enumerate(names, start=1):
            made = make is not None and _made(name, descriptor)
            try:
                below = os.open(name, FOLDER, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                raise EngineError(
                    f"{name} in {directory} is not a folder any more, but a link or a file; "
                    "nothing is restored through it."
                ) from error
            os.close(descriptor)
            descriptor = below
            if made and make is not None and (known := make.get(_path(names[:depth]))) is not None:
                _describe(descriptor, known)
        yield descriptor
    finally:
        os.close(descriptor)


def _made(name: str, above: int) -> bool:
    """Make a folder unless there is something; say whether. Nobody else may look into it yet."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    os.fsync(above)
    return True


def _describe(folder: int, known: _Folder) -> None:
    """Give a folder that was just made the owner and the permissions it had."""
    try:
        os.fchown(folder, known.uid, known.gid)
    except PermissionError:
        return  # only root may give it away; for others than us it stays closed
    with contextlib.suppress(PermissionError):
        os.fchmod(folder, known.mode & 0o777)


def _is_file(name: str, folder: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _renamed_to_new(name: str, source: int, target: int) -> str:
    """Move an entry to a name that is free: its own, or one beside it; return that name."""
    for number in range(_MOST_NAMES):
        suffix = f"{number}-" if number > 1 else ""
        given = name if number == 0 else f"{PREFIX}{suffix}{name}"
        try:
            _rename_no_replace(name, source, given, target)
        except FileExistsError:
            continue
        return given
    raise EngineError(f"There are too many restored copies of {name} already.")


def _rename_no_replace(name: str, source: int, given: str, target: int) -> None:
    # rename() replaces a file, and an empty folder, without a word; Python does not offer
    # renameat2(). A C library without it is older than any this runs on.
    library = ctypes.CDLL(None, use_errno=True)
    result = library.renameat2(
        source, os.fsencode(name), target, os.fsencode(given), _RENAME_NOREPLACE
    )
    if result == 0:
        return
    number = ctypes.get_errno()
    if number not in _NO_SUCH_RENAME:
        raise OSError(number, os.strerror(number), given)
    # NFS and many file systems of FUSE know no such rename. A link is refused as well where
    # something is; a folder can have none.
    if not stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
        try:
            os.link(name, given, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
        else:
            os.unlink(name, dir_fd=source)
            return
    if _is_there(given, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), given)
    os.rename(name, given, src_dir_fd=source, dst_dir_fd=target)


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
