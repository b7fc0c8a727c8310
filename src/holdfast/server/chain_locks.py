"""Who may work on a chain, and who may touch its files."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Generic, TypeVar

from holdfast.engine.errors import MachineBusy
from holdfast.server.journal import ChainKey
from holdfast.server.refusal import RefusedError

#: How many seconds to wait for one's turn at a machine: the full backup of a large one takes long.
LONGEST_TURN = 24 * 3600.0

#: How many seconds to wait for a point whose files are being merged, before saying so.
PATIENCE = 15.0


K = TypeVar("K", bound=Hashable)


class KeyedLocks(Generic[K]):
    """A lock for each chain, or whatever else a key names, that somebody asks for."""

    def __init__(self) -> None:
        self._locks: dict[K, asyncio.Lock] = {}
        self._users: Counter[K] = Counter()

    def is_held(self, key: K) -> bool:
        """Say whether somebody has what the key names, or waits for it."""
        return key in self._locks

    @asynccontextmanager
    async def hold(self, key: K) -> AsyncIterator[None]:
        """Wait for what the key names, and hold it. Who waits longest comes first."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]


class _Files:
    """Who has the files of one chain: any number of readers, or one who changes them."""

    def __init__(self) -> None:
        self.users = 0
        self.readers = 0
        self.writing = False
        self.waiting_to_write = 0
        self.asked_to_leave: set[Callable[[], None]] = set()
        self._changed = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds."""
        while not condition():
            await self._changed.wait()

    def tell(self) -> None:
        """Let whoever waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()


class FileLocks:
    """For each chain, many may read its files at once; who changes them is alone with them.

    Who waits to change them comes before whoever wants to read them later; readers who can, are
    asked to leave.
    """

    def __init__(self) -> None:
        self._files: dict[ChainKey, _Files] = {}

    @asynccontextmanager
    async def share(
        self, key: ChainKey, please_leave: Callable[[], None] | None = None
    ) -> AsyncIterator[None]:
        """Wait until a chain's files can be read, and keep them as they are meanwhile.

        `please_leave` is called when somebody waits to change them.
        """
        with self._used(key) as files:
            await files.wait_until(lambda: not (files.writing or files.waiting_to_write))
            files.readers += 1
            if please_leave is not None:
                files.asked_to_leave.add(please_leave)
            try:
                yield
            finally:
                if please_leave is not None:
                    files.asked_to_leave.discard(please_leave)
                files.readers -= 1
                files.tell()

    @asynccontextmanager
    async def hold(self, key: ChainKey) -> AsyncIterator[None]:
        """Wait for a chain's files, and have them alone."""
        with self._used(key) as files:
            files.waiting_to_write += 1
            try:
                for please_leave in list(files.asked_to_leave):
                    please_leave()
                await files.wait_until(lambda: not (files.writing or files.readers))
                files.writing = True
            finally:
                files.waiting_to_write -= 1
                files.tell()
            try:
                yield
            finally:
                files.writing = False
                files.tell()

    @contextmanager
    def _used(self, key: ChainKey) -> Iterator[_Files]:
        files = self._files.setdefault(key, _Files())
        files.users += 1
        try:
            yield files
        finally:
            files.users -= 1
            if not files.users:
                del self._files[key]


@asynccontextmanager
async def share_soon(
    locks: FileLocks, key: ChainKey, please_leave: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """As `FileLocks.share`, but refuse when the files cannot be had within a moment."""
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(PATIENCE):
                await held.enter_async_context(locks.share(key, please_leave))
        except TimeoutError as error:
            raise RefusedError(
                "The restore point is being worked on by retention. Try again later."
            ) from error
        yield


@asynccontextmanager
async def hold_within(
    locks: KeyedLocks[K], key: K, what: str, seconds: float
) -> AsyncIterator[None]:
    """As `KeyedLocks.hold`, but raise MachineBusy after so many seconds; `what` is in its words."""
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(seconds):
                await held.enter_async_context(locks.hold(key))
        except TimeoutError as error:
            raise MachineBusy(
                f"The {what} was not free within {seconds / 60:g} minutes: another job, "
                "a restore or a failover works on it."
            ) from error
        yield


def turn_at(
    locks: KeyedLocks[str], uuid: str, name: str, seconds: float | None = None
) -> AbstractAsyncContextManager[None]:
    """Wait until nobody else works on a machine, and keep it so for the time of a block.

    Raise MachineBusy when that takes longer than so many seconds, LONGEST_TURN unless told.
    """
    seconds = LONGEST_TURN if seconds is None else seconds
    return hold_within(locks, uuid.lower(), f'machine "{name}"', seconds)


class ChainLocks:
    """The locks of a server's chains.

    `work` is held by whoever adds to a chain or takes from it: a backup, a copy, retention,
    recovery. `files` is held while files of points that exist are changed or removed, and shared by
    restores, mounts and copies, which read them. So a restore waits for a merge, but not for a
    backup.

    `machines` is held, by a machine's UUID, by whoever has QEMU copy its disks, or gives it others:
    libvirt allows only one at a time. Whoever takes several takes `work` first, `files` last.
    """

    def __init__(self) -> None:
        self.work: KeyedLocks[ChainKey] = KeyedLocks()
        self.machines: KeyedLocks[str] = KeyedLocks()
        self.files = FileLocks()
