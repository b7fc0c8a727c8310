"""Who may work on a chain, and who may touch its files: one at a time each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast.server.journal import ChainKey


class KeyedLocks:
    """A lock for each chain that somebody asks for."""

    def __init__(self) -> None:
        self._locks: dict[ChainKey, asyncio.Lock] = {}
        self._users: Counter[ChainKey] = Counter()

    @asynccontextmanager
    async def hold(self, key: ChainKey) -> AsyncIterator[None]:
        """Wait for a chain, and hold it."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]


class ChainLocks:
    """The locks of a server's chains.

    `work` is held by whoever adds to a chain or takes from it: a backup, retention, recovery.
    `files` is held while files of points that exist are changed or removed, and while a restore
    reads them. So a restore waits for a merge, but not for a backup. Whoever takes both takes
    `work` first.
    """

    def __init__(self) -> None:
        self.work = KeyedLocks()
        self.files = KeyedLocks()
