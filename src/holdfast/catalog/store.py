"""The embedded store: one SQLite file, one writer, readers in threads.

Nothing here runs on the event loop: a slow query holds up its own thread and nothing else.
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

from sqlalchemy import create_engine

from holdfast.catalog.migration import migrate
from holdfast.catalog.tables import metadata_for
from holdfast.schema.resource import Schema

Result = TypeVar("Result")

#: Seconds after which a read is given up.
READ_LIMIT = 60.0

_READERS = 4
_STEPS_BETWEEN_CHECKS = 20_000


class ReadTooLong(Exception):
    """The query took longer than the limit and was given up."""


class CatalogStore:
    """A catalog's database. `open` before use, `close` after."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.schema = schema
        self._path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="catalog-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="catalog-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def open(self, *, from_schema: bool = False) -> None:
        """Make or migrate the database.

        With `from_schema` the tables come straight from the schema, without migrations: for a
        schema that no migration knows.
        """
        await asyncio.to_thread(self._prepare, from_schema)

    def _prepare(self, from_schema: bool) -> None:
        engine = create_engine(f"sqlite:///{self._path}")
        try:
            if from_schema:
                metadata_for(self.schema).create_all(engine)
            else:
                migrate(engine)
        finally:
            engine.dispose()
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""
        await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
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
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return result

    async def read(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        """Given a function that reads rows, run it on one consistent state; return its result.

        Raises ReadTooLong.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._ask, question)

    def _ask(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._connection()
        give_up_at = time.monotonic() + READ_LIMIT
        connection.set_progress_handler(
            lambda: time.monotonic() > give_up_at, _STEPS_BETWEEN_CHECKS
        )
        connection.execute("BEGIN")
        try:
            return question(connection)
        except sqlite3.OperationalError as error:
            if time.monotonic() > give_up_at:
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
