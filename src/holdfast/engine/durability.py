"""Files that are whole and on stable storage before anybody sees their name.

Everything is written under a temporary name ending in ``.partial``, synchronised, and given its
final name in one step; the folder is synchronised after. What a crash leaves is a ``.partial``.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from holdfast.engine.together import together

PARTIAL_SUFFIX = ".partial"
_HASH_READ_SIZE = 4 * 1024 * 1024
_SYNCHRONISE_SECONDS = 0.5
#: How file systems say that they have no hard links, or that a file has no room for another.
NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def partial_name(path: Path, purpose: str = "") -> Path:
    """Given a final path, return the temporary one beside it; a purpose tells two apart."""
    return path.with_name(f"{path.name}{'.' + purpose if purpose else ''}{PARTIAL_SUFFIX}")


def synchronise(path: Path) -> None:
    """Bring a file or a folder (its names) to stable storage. Blocking; raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def synchronised_meanwhile(path: Path) -> AsyncIterator[None]:
    """Bring a file to stable storage again and again while a block has it written.

    So the disk works at the same time as what is written is computed, and little is left to do
    when it is whole. The file may not be there yet, or be another account's. Raise OSError.
    """
    over = asyncio.Event()
    async with together() as group:
        group.create_task(_synchronise_until(over, path))
        try:
            yield
        finally:
            # Not cancelled: the kernel tells an error of the disk once, and that must be heard.
            over.set()


async def _synchronise_until(over: asyncio.Event, path: Path) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SYNCHRONISE_SECONDS):
                await over.wait()
                return
        with contextlib.suppress(FileNotFoundError, PermissionError):
            await asyncio.to_thread(synchronise, path)


async def publish(partial: Path, target: Path, *, overwrite: bool = False) -> None:
    """Synchronise ``partial`` and give it the name ``target`` in the same folder.

    Raise FileExistsError when ``target`` exists and may not be overwritten, and OSError.
    """
    await asyncio.to_thread(_publish, partial, target, overwrite)


def _publish(partial: Path, target: Path, overwrite: bool) -> None:
    synchronise(partial)
    if overwrite:
        partial.replace(target)
    else:
        _rename_to_new(partial, target)
    synchronise(target.parent)


def _rename_to_new(partial: Path, target: Path) -> None:
    # rename() would silently replace a file that appeared meanwhile; link() refuses.
    try:
        target.hardlink_to(partial)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        partial.rename(target)
    else:
        partial.unlink()


@contextlib.asynccontextmanager
async def discarded_on_exit(*temporaries: Path) -> AsyncIterator[list[Path]]:
    """Remove the temporaries before and after the work, however it ends.

    The list yielded is of those that are removed after: what is taken out of it stays.
    """
    await asyncio.to_thread(remove_if_possible, *temporaries)
    discarded = list(temporaries)
    try:
        yield discarded
    finally:
        await asyncio.to_thread(remove_if_possible, *discarded)


def remove_if_possible(*temporaries: Path) -> None:
    """Remove temporaries, as far as they can be. Blocking."""
    for path in temporaries:
        # A folder that is gone, or a disk that is, holds no temporary worth an error here: the
        # error that made the work end is the one to be told.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


async def remove_durably(path: Path) -> None:
    """Remove a file, so that it stays removed after a power loss. Missing is fine."""
    await asyncio.to_thread(_remove_durably, path)


def _remove_durably(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        synchronise(path.parent)
    except FileNotFoundError:
        return  # the whole folder is gone


async def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Given a file, return its SHA-256 in hexadecimal, computed in a thread.

    ``on_bytes`` is told, in the event loop, how many bytes have been read so far. Raise OSError.
    """
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def tell(bytes_read: int) -> None:
        if on_bytes is not None and not stopped.is_set():
            loop.call_soon_threadsafe(on_bytes, bytes_read)

    try:
        return await asyncio.to_thread(_sha256, path, tell, stopped)
    finally:
        stopped.set()  # a cancelled await does not end its thread by itself


def _sha256(path: Path, tell: Callable[[int], None], stopped: threading.Event) -> str:
    digest = hashlib.sha256()
    bytes_read = 0
    with path.open("rb", buffering=0) as file:
        while not stopped.is_set() and (chunk := file.read(_HASH_READ_SIZE)):
            digest.update(chunk)
            bytes_read += len(chunk)
            tell(bytes_read)
    return digest.hexdigest()


async def write_new(path: Path, content: bytes) -> str:
    """Write a small new file durably, for its owner only; return its SHA-256 in hexadecimal.

    Raise FileExistsError and OSError.
    """
    partial = partial_name(path)
    async with discarded_on_exit(partial):
        await asyncio.to_thread(write_private, partial, content)
        await publish(partial, path)
    return hashlib.sha256(content).hexdigest()


def write_private(path: Path, content: bytes) -> None:
    """Write a small new file for its owner only, not synchronised. Blocking; raise OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def write_json(path: Path, value: object) -> None:
    """Write a small JSON file durably, replacing what was there. Blocking; raise OSError."""
    partial = partial_name(path)
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
        _publish(partial, path, True)
    finally:
        remove_if_possible(partial)
