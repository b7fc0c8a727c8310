"""Puts one file or folder of a snapshot back where it was, without ever leaving that directory.

restic writes into a staging folder of our own inside the directory; from there the file gets its
name in one step. The folders on the way are opened one by one, following no link: what somebody
has put there since the backup leads nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from holdfast.engine.errors import EngineError
from holdfast.engine.failures import writing_failure
from holdfast.engine.files import ResticRepository
from holdfast.engine.files_folder import staging_folder

#: A restored file that may not take the place of the present one is named so beside it.
PREFIX = "RESTORED-"
_MOST_NAMES = 1000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1


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
    staging = staging_folder(directory, token)
    try:
        await asyncio.to_thread(_make_staging, staging)
        path = "/" + "/".join(names)
        await repository.restore_part(snapshot_id, path, staging)
        missing = await asyncio.to_thread(_missing_above, directory, names)
        folders = await _described(repository, snapshot_id, missing)
        return await asyncio.to_thread(_put, staging, names, directory, overwrite, folders)
    except OSError as error:
        raise writing_failure(error, directory / names[-1]) from error
    finally:
        await asyncio.to_thread(remove_staging, staging)


def remove_staging(staging: Path) -> None:
    """Remove a staging folder, following no link; a missing one is fine. Blocking."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(staging.lstat().st_mode):
            shutil.rmtree(staging, ignore_errors=True)


def _make_staging(staging: Path) -> None:
    if not staging.parent.is_dir():
        raise EngineError(f"The directory {staging.parent} to restore to does not exist any more.")
    remove_staging(staging)
    staging.mkdir(mode=0o700)


def _missing_above(directory: Path, names: tuple[str, ...]) -> list[str]:
    """Return the paths in the snapshot of the folders that will have to be made."""
    above = [names[:depth] for depth in range(1, len(names))]
    return [_path(each) for each in above if not os.path.lexists(directory.joinpath(*each))]


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


def _put(
    staging: Path,
    names: tuple[str, ...],
    directory: Path,
    overwrite: bool,
    folders: Mapping[str, _Folder],
) -> Path:
    *above, name = names
    with _opened(staging, above) as source, _opened(directory, above, make=folders) as target:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if overwrite and _is_file(name, target) and stat.S_ISREG(status.st_mode):
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
            given = name
        else:
            given = _renamed_to_new(name, source, target)
        os.fsync(target)
    return directory.joinpath(*above, given)


@contextlib.contextmanager
def _opened(
    root: Path, names: list[str], *, make: Mapping[str, _Folder] | None = None
) -> Iterator[int]:
    """Open a folder below a root, name by name.

    With `make`, folders that are missing are made, as they are described there.
    """
    descriptor = os.open(root, _FOLDER)
    try:
        for depth, name in enumerate(names, start=1):
            made = make is not None and _made(name, descriptor)
            try:
                below = os.open(name, _FOLDER, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                raise EngineError(
                    f"{name} in {root} is not a folder any more, but a link or a file; "
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
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), given)
