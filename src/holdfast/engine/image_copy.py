"""Copies the files of points as they are to another repository, and proves that they are whole.

A backup file is never changed by this: the copy has the same bytes and the same name, so that an
increment finds the copy of its parent beside it by the name in its own header.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.durability import discarded_on_exit, partial_name, publish
from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import folder_gone, writing_failure
from holdfast.engine.image_chain import read_backup_header
from holdfast.engine.progress import Progress, ProgressCallback, ignore_progress

_CHUNK = 4 * 1024 * 1024
_FOR_ALL, FOR_OWNER = 0o666, 0o600  # of which the process takes away what it always does


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Which backup file to copy, where to, and what is known of it.

    ``target`` has the name of ``source``, in the folder that holds the copy of what the file is
    built on. ``file_size`` in bytes, which tells the progress, and ``sha256`` are those that were
    recorded when the file was written.
    """

    source: Path
    target: Path
    file_size: int
    sha256: str


async def copy_image(plan: CopyPlan, on_progress: ProgressCallback = ignore_progress) -> None:
    """Write ``plan.target``, whole and on stable storage. Nothing may change the source meanwhile.

    A file that is in the way is replaced, but only then: whoever calls this knows of no point in
    it. Raise ChainBroken when the source is missing, is not what was recorded, or is built on a
    file that the target's folder lacks; NoSpace or RepositoryUnavailable when the target cannot be
    written. Then, and when cancelled, nothing of the copy is left.
    """
    await asyncio.to_thread(_ensure_complete, plan)
    await _copy_whole(plan, on_progress, _FOR_ALL)
    on_progress(Progress(1.0, plan.file_size, plan.file_size))


async def copy_small_file(plan: CopyPlan) -> None:
    """As `copy_image`, with a file that is no image and that only its owner may read."""
    if not await asyncio.to_thread(plan.target.parent.is_dir):
        raise folder_gone(plan.target.parent)
    await _copy_whole(plan, ignore_progress, FOR_OWNER)


async def _copy_whole(plan: CopyPlan, on_progress: ProgressCallback, mode: int) -> None:
    partial = partial_name(plan.target)
    async with discarded_on_exit(partial):
        digest = await copy_bytes(plan, partial, on_progress, mode)
        if digest != plan.sha256:
            raise ChainBroken(
                f"The backup file {plan.source} is damaged: its SHA-256 is {digest}, and it was "
                f"{plan.sha256} when the file was written. It was not copied."
            )
        try:
            await publish(partial, plan.target, overwrite=True)
        except OSError as error:
            raise writing_failure(error, plan.target) from error


def _ensure_complete(plan: CopyPlan) -> None:
    """Raise unless the file is there, and its parent's copy where the file will look for it."""
    header = read_backup_header(plan.source)
    if not plan.target.parent.is_dir():
        raise folder_gone(plan.target.parent)
    if header.backing_name is not None:
        read_backup_header(plan.target.with_name(header.backing_name))


async def copy_bytes(
    plan: CopyPlan, partial: Path, on_progress: ProgressCallback, mode: int
) -> str:
    """Copy the source's bytes to ``partial``; return the SHA-256 of what was read.

    Raise ChainBroken when the source cannot be read, NoSpace or RepositoryUnavailable.
    """
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def tell(copied: int) -> None:
        if not stopped.is_set():
            fraction = min(copied / plan.file_size, 1.0) if plan.file_size else 1.0
            on_progress(Progress(fraction, copied, plan.file_size))

    def work() -> str:
        def note(copied: int) -> None:
            loop.call_soon_threadsafe(tell, copied)

        return _copy(plan.source, partial, mode, stopped, note)

    copying = loop.run_in_executor(None, work)
    try:
        return await asyncio.shield(copying)
    finally:
        # A cancelled await does not end its thread, and what that still writes must not appear
        # after the temporary file was removed.
        stopped.set()
        await asyncio.wait({copying})
        copying.exception()


def _copy(
    source: Path,
    partial: Path,
    mode: int,
    stopped: threading.Event,
    tell: Callable[[int], object],
) -> str:
    digest = hashlib.sha256()
    copied = 0
    try:
        reading = source.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(source, error) from error
    with reading:
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb", buffering=0) as writing:
                while not stopped.is_set() and (chunk := _read(reading.read, source)):
                    digest.update(chunk)
                    writing.write(chunk)
                    copied += len(chunk)
                    tell(copied)
        except OSError as error:
            raise writing_failure(error, partial) from error
    return digest.hexdigest()


def _read(read: Callable[[int], bytes | None], source: Path) -> bytes:
    try:
        return read(_CHUNK) or b""
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> ChainBroken:
    return ChainBroken(f"The backup file {source} cannot be read: {error.strerror or error}.")
