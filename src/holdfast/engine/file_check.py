"""Whether a file of a backup is still what was written."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import ChainBroken, RepositoryUnavailable

_LOGGER = logging.getLogger(__name__)

#: How a disk, or a file system that has checksums of its own, says that data is lost.
_LOST = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA})
#: What lies there is no file, or not the way to it.
_NO_FILE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})
#: How what is said ends of something that is not there.
MISSING = "is missing."


async def check_file(
    path: Path, sha256: str, on_bytes: Callable[[int], None] | None = None
) -> None:
    """Read a file of a backup; raise ChainBroken, naming it, unless it has this SHA-256.

    Only what is found twice is damage: a disk or a network may fail to read once. Raise
    RepositoryUnavailable when the file cannot be read for a reason that says nothing about it.
    ``on_bytes`` is told how many bytes were read so far.
    """
    problem = await _problem_of(path, sha256, on_bytes)
    if problem is None:
        return
    await asyncio.to_thread(_forget, path)
    again = await _problem_of(path, sha256, on_bytes)
    if again is not None:
        raise ChainBroken(again)
    _LOGGER.warning("%s It was read again, and is as it was written.", problem)


def missing_file(path: Path) -> str:
    """Return what is said of a file of a backup that is not there."""
    return f"The backup file {path} {MISSING}"


async def _problem_of(
    path: Path, sha256: str, on_bytes: Callable[[int], None] | None
) -> str | None:
    """Return what is wrong with a file, or None."""
    try:
        digest = await sha256_of(path, on_bytes)
    except FileNotFoundError:
        return missing_file(path)
    except OSError as error:
        problem = f"The backup file {path} cannot be read: {error.strerror or error}."
        if error.errno in _LOST | _NO_FILE:
            return problem
        raise RepositoryUnavailable(problem) from error
    if digest != sha256:
        return (
            f"The backup file {path} is damaged: its checksum is not the one it was written with."
        )
    return None


def _forget(path: Path) -> None:
    """Have the kernel forget what it has of a file in memory: the disk is to be asked. Blocking."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
