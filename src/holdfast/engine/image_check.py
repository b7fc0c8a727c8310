"""Whether the structure of backup files is whole."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import ChainBroken
from holdfast.engine.qemu_image import check_image
from holdfast.engine.together import together

_MOST_AT_ONCE = 4
_KNOWN_SECONDS = 24 * 60 * 60
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that was found sound: what tells that nobody has written to it since, and when."""

    identity: tuple[int, ...]
    key: DataKey | None
    at: float


_known: dict[Path, _Found] = {}
#: What was written is remembered in the threads that have written it.
_changing = threading.Lock()


async def ensure_sound(files: Iterable[Path], key: DataKey | None = None) -> None:
    """Check the structure of backup files, some at a time; raise ChainBroken for a damaged one.

    Raise ToolMissing, or ToolFailed when one could not be checked, KeyRefused when one is encrypted
    and ``key`` is not its key.
    """
    turns = asyncio.Semaphore(min(os.cpu_count() or 1, _MOST_AT_ONCE))

    async def check(file: Path) -> None:
        async with turns:
            # Before it is read: what is written to it meanwhile is not known to be sound.
            identity = await asyncio.to_thread(_identity_of, file)
            if damage := await check_image(file, key):
                raise ChainBroken(f"The backup file {file} is damaged: {damage}.")
            if identity is not None:
                _remember(file, identity, key)

    async with together() as group:
        for file in files:
            group.create_task(check(file))


async def ensure_still_sound(files: Iterable[Path], key: DataKey | None = None) -> None:
    """As `ensure_sound`, but leave out files that were found sound, or written, within a day.

    Unless they were written to since. So a chain that gets a point every hour is not read each
    time. A restart forgets: what a crash has made of files is seen.
    """
    unknown = await asyncio.to_thread(lambda: [each for each in files if not _is_known(each, key)])
    await ensure_sound(unknown, key)


def remember_sound(file: Path, key: DataKey | None) -> None:
    """Take a file as sound that has just been written whole, for `ensure_still_sound`. Blocking."""
    identity = _identity_of(file)
    if identity is not None:
        _remember(file, identity, key)


def _is_known(file: Path, key: DataKey | None) -> bool:
    found = _known.get(file)
    return (
        found is not None
        and found.key == key
        and found.identity == _identity_of(file)
        and time.monotonic() - found.at < _KNOWN_SECONDS
    )


def _remember(file: Path, identity: tuple[int, ...], key: DataKey | None) -> None:
    with _changing:
        _known.pop(file, None)
        _known[file] = _Found(identity, key, time.monotonic())
        while len(_known) > _MOST_KNOWN:
            del _known[next(iter(_known))]


def _identity_of(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None  # the check says what is wrong with it
    # The last cannot be set by anybody: it is when the file itself or its attributes were changed.
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
