"""The database: its migrations, its rules, its transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, delete, inspect, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.server import database, outbox, tables
from holdfast.server.database import migrate, open_database, sqlite_url
from holdfast.server.outbox import Resource
from holdfast.server.store import Store

from .lab import Lab, write_image


def test_the_migrated_schema_is_the_one_the_tables_declare(tmp_path: Path) -> None:
    migrated = open_database(sqlite_url(tmp_path / "migrated.sqlite"))
    fresh = open_database(sqlite_url(tmp_path / "fresh.sqlite"))
    migrate(migrated)
    migrate(migrated)
    with fresh.begin() as connection:
        tables.metadata.create_all(connection)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        statements = _statements(connection)
    with fresh.connect() as connection:
        assert statements == _statements(connection)
    migrated.dispose()
    fresh.dispose()


async def test_rows_of_an_older_schema_are_kept_when_their_table_is_made_anew(
    tmp_path: Path,
) -> None:
    engine = open_database(sqlite_url(tmp_path / "test.sqlite"))
    config = Config()
    config.set_main_option("script_location", "holdfast.server:migrations")
    text = "b" * 32
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for table in ("repository", "job", "job_session", "backup", "restore_point"):
            _insert_something(connection, table, text)
        _insert_something(connection, "backup_file", text, {"parent_uid": None})
        _insert_something(connection, "machine_point", text, {"snapshot_id": None})
    migrate(engine)
    with engine.connect() as connection:
        point = connection.execute(select(tables.machine_point)).one()
        assert (point.restore_point_uid.hex, point.copied_from) == (text, None)
        kept = connection.execute(select(tables.restore_point)).one()
        assert (kept.uid.hex, kept.job_session_uid.hex) == (text, text)
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        with pytest.raises(IntegrityError):
            connection.execute(delete(tables.restore_point))
    engine.dispose()


def _insert_something(
    connection: Connection, table: str, text: str, given: dict[str, object] | None = None
) -> None:
    """Insert a row of which every UID is the same, so that all refer to each other."""
    columns = inspect(connection).get_columns(table)
    values = {
        column["name"]: 1 if "INT" in str(column["type"]) or "BOOL" in str(column["type"]) else text
        for column in columns
    } | (given or {})
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
    connection.exec_driver_sql(statement, tuple(values.values()))


def _statements(connection: Connection) -> set[str]:
    """Return what makes the constraints and indexes, which a comparison by Alembic leaves out."""
    found = set()
    inspector = inspect(connection)
    for table in set(inspector.get_table_names()) - {"alembic_version"}:
        found |= {
            f"{table} check {c['name']} {c['sqltext']}"
            for c in inspector.get_check_constraints(table)
        }
        found |= {
            f"{table} foreign {k['name']} {k['referred_table']}"
            for k in inspector.get_foreign_keys(table)
        }
        found |= {
            f"{table} index {i['name']} {i['column_names']} {i['unique']} "
            f"{i.get('dialect_options', {}).get('sqlite_where')}"
            for i in inspector.get_indexes(table)
        }
    return found


def test_a_database_of_the_newest_schema_is_opened_while_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.sqlite"
    engine = open_database(sqlite_url(path))
    migrate(engine)
    engine.dispose()
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        migrate(engine)
        writing.execute("ROLLBACK")
    engine.dispose()


async def test_the_database_is_durable(lab: Lab) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await lab.server._store.read(pragmas) == ["wal", 2, 1]
    assert await lab.write(pragmas) == ["wal", 2, 1]


async def test_a_file_that_another_is_built_on_cannot_be_taken_out(lab: Lab) -> None:
    job = await lab.create_job("a.raw")
    for seed in range(2):
        write_image(lab.source("a.raw"), seed)
        await lab.run(job)
    full = next(row for row in await lab.rows(tables.backup_file) if row.parent_uid is None)

    def take_out(connection: Connection) -> None:
        point = tables.machine_point
        connection.execute(delete(point).where(point.c.backup_file_uid == full.uid))
        connection.execute(delete(tables.backup_file).where(tables.backup_file.c.uid == full.uid))

    with pytest.raises(IntegrityError):
        await lab.write(take_out)
    assert len(await lab.points("a")) == 2


async def test_a_job_cannot_have_two_sessions_that_run(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw")
    await lab.run(job)
    await lab.run(job)
    table = tables.job_session
    with pytest.raises(IntegrityError):
        await lab.write(lambda c: c.execute(update(table).values(state="Working")))


def _publish(resource: Resource, connection: Connection) -> None:
    outbox.publish(connection, resource)


async def test_a_change_is_numbered_only_when_it_says_something_new(tmp_path: Path) -> None:
    store = await Store.open(sqlite_url(tmp_path / "test.sqlite"))
    uid, other = uuid4(), uuid4()
    for name, expected in (("a", 1), ("a", 1), ("b", 2)):
        resource = Resource("Backup", uid, name)
        await store.write(partial(_publish, resource))
        assert await store.read(outbox.cursor) == expected
    await store.write(partial(_publish, Resource("Backup", other, "c")))
    await store.write(lambda c: outbox.withdraw(c, "Backup", uid))
    told, more = await store.read(lambda c: outbox.changes_after(c, 0, 10))
    assert [(c.sequence, c.removed) for c in told] == [(3, False), (4, True)]
    assert not more
    await store.close()


async def test_a_transaction_is_ended_before_a_stop_goes_on(tmp_path: Path) -> None:
    store = await Store.open(sqlite_url(tmp_path / "test.sqlite"))
    uid = uuid4()
    writing = asyncio.create_task(store.write(partial(_publish, Resource("Backup", uid, "a"))))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.read(lambda c: c.scalar(select(tables.change.c.uid))) == uid
    await asyncio.wait_for(store.wait_for_changes(0, 5), 1)
    await store.close()
