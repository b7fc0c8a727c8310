"""What older versions have noted of files that they made is understood."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, Row, select

from holdfast.engine.known_file import KnownFile, remove_known
from holdfast.server import instant_records, tables
from holdfast.server.database import open_database, sqlite_url
from holdfast.server.failover_record import record_of


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(sqlite_url(tmp_path / "test.sqlite"))
    yield made
    made.dispose()


async def test_files_of_which_only_names_were_noted_are_kept(
    engine: Engine, tmp_path: Path
) -> None:
    upgrade(engine, "0016")
    layer = tmp_path / "copy-vda.instant.qcow2"
    layer.write_bytes(b"what was written")
    insert(tmp_path, [str(layer), str(tmp_path / "gone")])
    upgrade(engine)
    [known] = files(engine)
    assert known == [KnownFile(str(layer)), KnownFile(str(tmp_path / "gone"))]
    [said] = await remove_known(known)
    assert said.startswith(f"{layer} stays, since it is not known whether")
    assert layer.exists()


def test_files_of_a_failback_of_which_only_the_inodes_were_noted_are_known(tmp_path: Path) -> None:
    disk, other = tmp_path / "web-vda.qcow2", tmp_path / "web_VARS.fd"
    for path in (disk, other):
        path.write_bytes(b"written")
    inode = disk.stat().st_ino
    noted = [{"path": str(path), "inode": inode} for path in (disk, other, tmp_path / "gone")]
    place = {"host": str(uuid4()), "folder": str(tmp_path), "name": "web", "uuid": str(uuid4())}
    ledger = json.dumps({"doing": "failback", "place": place | {"files": noted}})
    record = record_of(cast(Row[Any], SimpleNamespace(failover=ledger)))
    assert record is not None
    assert record.place is not None
    assert [file.is_there() for file in record.place.files] == [True, False, False]


def upgrade(engine: Engine, revision: str = "head") -> None:
    # Without a look at what the rows refer to: they are alone.
    config = Config()
    config.set_main_option("script_location", "holdfast.server:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def insert(folder: Path, noted: list[Any]) -> None:
    with closing(sqlite3.connect(folder / "test.sqlite")) as database:
        columns = database.execute("PRAGMA table_info(instant_recovery)").fetchall()
        row = dict.fromkeys((column[1] for column in columns), uuid4().hex)
        row |= {"files": json.dumps(noted), "created": 1}
        marks = ", ".join("?" * len(row))
        statement = f"INSERT INTO instant_recovery ({', '.join(row)}) VALUES ({marks})"  # noqa: S608
        database.execute(statement, tuple(row.values()))
        database.commit()


def files(engine: Engine) -> list[list[KnownFile]]:
    with engine.connect() as connection:
        rows = connection.execute(select(tables.instant_recovery)).all()
    return [instant_records.files_of(row) for row in rows]
