"""Chains that are read only when what was interrupted there is finished, where that can be done.

A merge that was cut off, or failed for lack of space, has left a file that is neither what was
recorded nor yet what is to be recorded: it cannot be proved before the merge is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from holdfast.server import chain_locks, journal
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.journal import ChainKey
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store


class FinishedChains:
    """The chains of a server."""

    def __init__(self, store: Store, locks: ChainLocks, settlement: Settlement) -> None:
        self._store = store
        self._locks = locks
        self._settlement = settlement

    async def finish(self, key: ChainKey) -> list[str]:
        """Finish what was interrupted; return why that cannot be done now, if so.

        Not while somebody else works on the chain for longer than a moment.
        """
        if not await self._store.read(lambda c: journal.changes_files(c, key)):
            return []
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(chain_locks.PATIENCE):
                    await held.enter_async_context(self._locks.work.hold(key))
            except TimeoutError:
                return ["A backup, or retention, is at work there."]
            return await self._settlement.settle_chain(key)

    @asynccontextmanager
    async def share(self, key: ChainKey) -> AsyncIterator[None]:
        """As `FileLocks.share`, when what was interrupted is finished, if it can be."""
        await self.finish(key)
        async with self._locks.files.share(key):
            yield
