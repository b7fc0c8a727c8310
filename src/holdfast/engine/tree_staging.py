"""A private folder inside a directory that others may own, and the way to there, held open.

Whoever owns a folder can rename what is in it at any moment and put a link in its place. So all
that is done here goes by descriptors that were opened once, following no link but such as root or
our own account made, or such as lead to what their owner has anyway. All functions block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.engine.errors import EngineError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
_NOT_A_FOLDER = frozenset({errno.ELOOP, errno.ENOTDIR})
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def path_of(descriptor: int) -> Path:
    """Given a folder that is held open, return a path to it for programs that we start.

    It leads to that folder, whatever it is called by now and wherever it was moved.
    """
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


@contextlib.contextmanager
def opened_directory(directory: Path) -> Iterator[int]:
    """Open a directory by its absolute path. Raise EngineError for a way that is not to be trusted,
    and OSError.
    """
    way = _followed(None, Path(directory).absolute().parts, _MOST_LINKS, directory)
    try:
        descriptor = os.open(".", FOLDER, dir_fd=way)
    finally:
        os.close(way)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _followed(start: int | None, parts: Sequence[str], links: int, directory: Path) -> int:
    """Open what is reached from a folder, or from the root, by some names."""
    here = os.open("/", _WAY) if start is None else os.dup(start)
    try:
        for part in parts:
            if part in ("/", "//"):
                continue
            below = _below(here, part, links, directory)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def _below(here: int, name: str, links: int, directory: Path) -> int:
    try:
        return os.open(name, _WAY, dir_fd=here)
    except OSError as error:
        if error.errno not in _NOT_A_FOLDER:
            raise
    link = os.open(name, _LINK, dir_fd=here)
    try:
        status = os.fstat(link)
        if not stat.S_ISLNK(status.st_mode) or not links:
            raise EngineError(f"{name} on the way to {directory} is not a folder.")
        target = os.readlink("", dir_fd=link)
    finally:
        os.close(link)
    start = None if target.startswith("/") else here
    found = _followed(start, Path(target).parts, links - 1, directory)
    # Who may make links in a folder of his own must not lead us into another's.
    if status.st_uid not in (0, os.geteuid(), os.fstat(found).st_uid):
        os.close(found)
        raise EngineError(
            f"{name} on the way to {directory} is a link to a folder that does not belong to the "
            "owner of the link; nothing is restored through it."
        )
    return found


@contextlib.contextmanager
def staging_in(directory: int, name: str) -> Iterator[int]:
    """Make a folder in a directory that nobody else may look into, open it, and remove it after.

    Raise EngineError when somebody put another in its place, and OSError.
    """
    descriptor = _private_folder(directory, name)
    try:
        yield descriptor
    finally:
        _empty(descriptor)
        os.close(descriptor)
        with contextlib.suppress(OSError):  # what another has put there meanwhile stays
            os.rmdir(name, dir_fd=directory)


def _private_folder(directory: int, name: str) -> int:
    os.mkdir(name, 0o700, dir_fd=directory)
    descriptor = os.open(name, FOLDER, dir_fd=directory)
    try:
        if not _is_ours(directory, descriptor, name) or not _is_empty(descriptor):
            raise EngineError(
                f"The folder {name} was replaced while a restore began to work in it; nothing was "
                "restored."
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_empty(folder: int) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def _is_ours(directory: int, folder: int, name: str) -> bool:
    """Say whether a folder is as one that we make in a directory: of our account, for nobody else.

    Some file systems know of no owners or permissions; a new file, which nobody can exchange, shows
    what they make of them.
    """
    probe_name = f"{name}.probe"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    probe = os.open(probe_name, flags, 0o600, dir_fd=directory)
    try:
        usual, found = os.fstat(probe), os.fstat(folder)
    finally:
        os.close(probe)
        with contextlib.suppress(OSError):
            os.unlink(probe_name, dir_fd=directory)
    open_to = (found.st_mode & _OTHERS_MAY_WRITE) & ~usual.st_mode
    return found.st_uid == usual.st_uid and not open_to


def remove_left(directory: Path, above: Sequence[str], name: str) -> None:
    """Remove what a restore that was killed has left: in a directory, and in the folders that lead
    from there to what it restored. Nothing there is fine. Raise OSError or EngineError.
    """
    with contextlib.suppress(FileNotFoundError), opened_directory(directory) as top:
        here = os.dup(top)
        try:
            _remove(here, name)
            for part in above:
                below = os.open(part, FOLDER, dir_fd=here)
                os.close(here)
                here = below
                _remove(here, name)
        finally:
            os.close(here)


def _remove(directory: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{name}.probe", dir_fd=directory)
    try:
        folder = os.open(name, FOLDER, dir_fd=directory)
    except OSError:
        return  # none, or none of ours
    try:
        _empty(folder)
    finally:
        os.close(folder)
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=directory)


def _empty(folder: int) -> None:
    """Remove all that is in a folder, following no link; what cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.name, ignore_errors=True, dir_fd=folder)
                else:
                    os.unlink(entry.name, dir_fd=folder)
