"""Copies the bytes of a file, and tells what was read."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import writing_failure
from holdfast.engine.progress import Progress, ProgressCallback

FOR_OWNER = 0o600
"""The permissions of what nobody else may read."""
_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Which backup file to copy, where to, and what is known of it.

    ``target`` has the name of ``source``, in the folder that holds the copy of what the file is
    built on. ``file_size`` in bytes, which tells the progress, and ``sha256`` are those that were
    recorded when the file was written. At most ``rate_limit`` bytes a second are copied.
    """

    source: Path
    target: Path
    file_size: int
    sha256: str
    rate_limit: int | None = None


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

        return _copy(plan, partial, mode, stopped, note)

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
    plan: CopyPlan,
    partial: Path,
    mode: int,
    stopped: threading.Event,
    tell: Callable[[int], object],
) -> str:
    digest, source = hashlib.sha256(), plan.source
    copied, begun = 0, time.monotonic()
    # So that even the least limit is felt after each piece, and not in long pauses.
    chunk_size = _CHUNK if plan.rate_limit is None else min(_CHUNK, max(plan.rate_limit // 4, 4096))
    try:
        reading = source.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(source, error) from error
    with reading:
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            # Buffered: a raw file may write less than it is given, and raises nothing.
            with os.fdopen(descriptor, "wb") as writing:
                while not stopped.is_set() and (chunk := _read(reading.read, source, chunk_size)):
                    digest.update(chunk)
                    writing.write(chunk)
                    copied += len(chunk)
                    tell(copied)
                    if plan.rate_limit is not None:
                        stopped.wait(begun + copied / plan.rate_limit - time.monotonic())
        except OSError as error:
            raise writing_failure(error, partial) from error
    return digest.hexdigest()


def _read(read: Callable[[int], bytes | None], source: Path, size: int) -> bytes:
    try:
        return read(size) or b""
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> ChainBroken:
    return ChainBroken(f"The backup file {source} cannot be read: {error.strerror or error}.")
