"""The embedded store: one SQLite file, one writer, readers in threads.

Nothing here runs on the event loop, and what may take long has threads of its own: a slow query
holds up other slow queries and nothing else.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, create_engine

from holdfast.catalog.migration import migrate
from holdfast.catalog.tables import metadata_for
from holdfast.schema.resource import Schema

Result = TypeVar("Result")

#: Seconds after which a read is given up.
READ_LIMIT = 60.0

#: How many slow reads may wait for a thread; one more is refused.
LONGEST_QUEUE = 32

_QUICK_READERS = 3
_SLOW_READERS = 2
_STEPS_BETWEEN_CHECKS = 20_000


class ReadTooLong(Exception):
    """The query took longer than the limit and was given up."""


class TooManyReads(Exception):
    """So many slow queries are waiting that one more would wait too long."""


class CatalogStore:
    """A catalog's database. `open` before use, `close` after."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.schema = schema
        self._path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="catalog-writer")
        self._quick = ThreadPoolExecutor(_QUICK_READERS, thread_name_prefix="catalog-reader")
        self._slow = ThreadPoolExecutor(_SLOW_READERS, thread_name_prefix="catalog-slow-reader")
        self._slow_reads = 0
        self._closing = False
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def open(self, *, from_schema: bool = False) -> None:
        """Make or migrate the database.

        With `from_schema` the tables come straight from the schema, without migrations: for a
        schema that no migration knows.
        """
        await asyncio.to_thread(self._prepare, from_schema)

    def _prepare(self, from_schema: bool) -> None:
        engine = create_engine(URL.create("sqlite", database=str(self._path)))
        try:
            if from_schema:
                metadata_for(self.schema).create_all(engine)
            else:
                migrate(engine)
        finally:
            engine.dispose()
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Give up reads, wait for the write that is under way, and close every connection."""
        await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._quick.shutdown(cancel_futures=True)
        self._slow.shutdown(cancel_futures=True)
        self._writer.submit(_optimize, self._connection).result()
        self._writer.shutdown()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Given a function that changes rows, run it in one transaction and return its result.

        When this returns, the change is on stable storage. An exception undoes all of it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._change, change)

    def _change(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = change(connection)
            connection.execute("COMMIT")
        except BaseException:  # whatever it was, no transaction may stay open
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    async def read(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        """Given a function that reads rows, run it on one consistent state; return its result.

        It must be quick: whoever logs on waits in the same line. Raises ReadTooLong.
        """
        return await asyncio.get_running_loop().run_in_executor(self._quick, self._ask, question)

    async def read_slowly(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        """As `read`, for a question that may take long. Raises TooManyReads, too."""
        if self._slow_reads >= LONGEST_QUEUE:
            raise TooManyReads("Too many slow queries are running; try again later.")
        self._slow_reads += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._slow, self._ask, question)
        finally:
            self._slow_reads -= 1

    def _ask(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._connection()
        give_up_at = time.monotonic() + READ_LIMIT
        connection.set_progress_handler(
            lambda: self._closing or time.monotonic() > give_up_at, _STEPS_BETWEEN_CHECKS
        )
        connection.execute("BEGIN")
        try:
            return question(connection)
        except sqlite3.OperationalError as error:
            if self._closing or time.monotonic() > give_up_at:
                raise ReadTooLong(f"The query took longer than {READ_LIMIT:.0f} s.") from error
            raise
        finally:
            connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's own connection."""
        existing: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if existing is not None:
            return existing
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=30, check_same_thread=False
        )
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "cache_size = -16384",
            "mmap_size = 268435456",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        self._local.connection = connection
        self._connections.append(connection)
        return connection


def _optimize(connection_of: Callable[[], sqlite3.Connection]) -> None:
    """Let SQLite learn how the values are spread, as far as that has changed: plans rest on it."""
    connection = connection_of()
    connection.execute("PRAGMA analysis_limit = 1000")
    connection.execute("PRAGMA optimize")
