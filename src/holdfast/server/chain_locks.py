"""One at a time on each chain: a backup, a merge, a removal or a restore."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast.server.journal import ChainKey


class ChainLocks:
    """A lock for each chain that somebody works on."""

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
