"""The way to the database: every transaction runs in a thread, writing ones in a single one.

So nothing blocks the event loop, and what is checked in a writing transaction cannot be made
untrue by another before it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from holdfast.server import outbox
from holdfast.server.database import migrate, open_database

_LOGGER = logging.getLogger(__name__)
_READERS = 2

T = TypeVar("T")


class Store:
    """The server's database. To be made in the event loop that uses it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="server-database-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="server-database-reader")
        self._published = asyncio.Condition()
        self._cursor = 0
        self._closed = False
        self._released = False

    @classmethod
    async def open(cls, url: str) -> Store:
        """Given a database URL, return the store, its schema brought up to date."""
        engine = open_database(url)
        store = cls(engine)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(store._writer, migrate, engine)
        store._cursor = await store.read(outbox.cursor)
        return store

    async def close(self) -> None:
        """Let running transactions end, wake whoever waits for changes, and disconnect."""
        self._closed = True
        await self._wake()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.shutdown)
        await loop.run_in_executor(None, self._readers.shutdown)
        self._engine.dispose()

    async def release(self) -> None:
        """Let nobody wait for changes any more."""
        self._released = True
        await self._wake()

    @property
    def closed(self) -> bool:
        """Whether the store takes no more transactions."""
        return self._closed

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a reading transaction and return what it returns."""

        def transaction() -> T:
            with self._engine.connect() as connection:
                connection = connection.execution_options(read_only=True)
                with connection.begin():
                    return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, transaction)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a writing transaction and return what it returns.

        When the task is cancelled meanwhile, the transaction still runs to its end before the
        cancellation goes on: nobody is left in doubt about what was committed.
        """

        def transaction() -> tuple[T, int]:
            with self._engine.begin() as connection:
                result = work(connection)
                return result, outbox.cursor(connection)

        future = asyncio.get_running_loop().run_in_executor(self._writer, transaction)
        try:
            result, cursor = await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            if future.cancelled():
                raise
            if error := future.exception():
                _LOGGER.error("A transaction failed while its task was stopped", exc_info=error)
            else:
                await self._advance(future.result()[1])
            raise
        await self._advance(cursor)
        return result

    async def wait_for_changes(self, after: int, seconds: float) -> None:
        """Return when something beyond the cursor `after` is published, or the time is over."""
        try:
            async with asyncio.timeout(seconds), self._published:
                await self._published.wait_for(
                    lambda: self._released or self._closed or self._cursor > after
                )
        except TimeoutError:
            return

    async def _advance(self, cursor: int) -> None:
        if cursor > self._cursor:
            self._cursor = cursor
            await self._wake()

    async def _wake(self) -> None:
        async with self._published:
            self._published.notify_all()
