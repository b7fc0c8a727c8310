"""Opens the server's database and brings its schema up to date.

The only place that knows which database engine it is.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

#: How long to wait for another process (the command line) that is writing, in seconds.
BUSY_SECONDS = 30

_MIGRATIONS = Path(__file__).parent / "migrations"


class BrokenReferencesError(Exception):
    """A migration left rows that refer to others that are not there. It is taken back."""


def sqlite_url(path: Path) -> str:
    """Given the path of an SQLite file, return its database URL."""
    return f"sqlite:///{path}"


def open_database(url: str) -> Engine:
    """Given a database URL, return an engine whose transactions are durable and serial.

    Nothing is connected yet.
    """
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version. Blocking; a new database is filled from nothing."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    # The command line opens the database of a server that runs: it must not keep that from writing.
    if _is_newest(engine, config):
        return
    with engine.connect() as connection:
        # SQLite changes a table by making it anew, which must not look like the loss of the rows
        # that others refer to. It can be told so outside a transaction only.
        _check_references(connection, at_once=False)
        try:
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                _ensure_references(connection)
        finally:
            _check_references(connection, at_once=True)


def _is_newest(engine: Engine, config: Config) -> bool:
    with engine.connect().execution_options(read_only=True) as connection, connection.begin():
        heads = MigrationContext.configure(connection).get_current_heads()
    return set(heads) == set(ScriptDirectory.from_config(config).get_heads())


def _check_references(connection: Connection, *, at_once: bool) -> None:
    if connection.dialect.name == "sqlite" and connection.connection.dbapi_connection is not None:
        cursor = connection.connection.dbapi_connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if at_once else 'OFF'}")


def _ensure_references(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise BrokenReferencesError(f"Rows refer to others that are gone: {broken[:5]}")


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own idea of when a transaction begins breaks savepoints; see _begin_sqlite.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_SECONDS * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that will write says so at once: one that began as a reader could be refused
    # in the middle when another process has written since.
    reading = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
