"""The folders of backups: what is recorded is what is there, whatever jobs are called."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select

from holdfast.engine.repository import folder_name
from holdfast.server import tables
from holdfast.server.database import open_database, sqlite_url
from holdfast.server.names import imported_folder

from .lab import Lab, write_image

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]
RUSSIAN = "Ночное резервное копирование виртуальных машин бухгалтерии 2"
JAPANESE = "経理部の仮想マシンを毎晩バックアップするためのジョブです第二版本番"


def folders(lab: Lab) -> list[str]:
    return sorted(path.name for path in lab.repository_path.iterdir() if path.is_dir())


async def recorded(lab: Lab) -> list[str]:
    return sorted(row.folder for row in await lab.rows(tables.backup))


async def restored(lab: Lab) -> list[bytes]:
    """Return what the points of the image hold, the oldest first."""
    return [await lab.restored(point.uid) for point in await lab.points("a")]


def leave_half_made(lab: Lab) -> list[Path]:
    left = [lab.repository_path / each / "half.qcow2.partial" for each in folders(lab)]
    for path in left:
        path.write_bytes(b"half made")
    return left


@pytest.mark.parametrize("name", [RUSSIAN, JAPANESE])
async def test_jobs_with_any_name_have_one_folder_each(open_lab: OpenLab, name: str) -> None:
    contents = []
    async with open_lab() as lab:
        tree = lab.source("share")
        tree.mkdir()
        (tree / "letter").write_text("kept")
        images = await lab.create_job("a.raw", job=f"{name}1")
        trees = await lab.create_job("share", job=f"{name}2", kind="NasBackup")
        for number in range(2):
            contents.append(write_image(lab.source("a.raw"), number))
            for job in (images, trees):
                session = await lab.run(job)
                assert session.values["Result"] == "Success", session.values
        assert len(folders(lab)) == 2
        assert folders(lab) == await recorded(lab)
        left = leave_half_made(lab)
    async with open_lab() as lab:
        assert not any(path.exists() for path in left)
        assert await restored(lab) == contents
        points = await lab.rows(tables.machine_point)
        point = next(row for row in points if row.snapshot_id is not None)
        [out] = await lab.server.restore.point(point.uid, lab.folder / "out")
        assert (out.path / "letter").read_text() == "kept"
        assert folders(lab) == await recorded(lab)


async def test_the_folder_of_an_older_version_is_known_by_its_name_after_the_update(
    open_lab: OpenLab,
) -> None:
    async with open_lab() as lab:
        job = await lab.create_job("a.raw", job=RUSSIAN)
        contents = [write_image(lab.source("a.raw"), 1)]
        await lab.run(job)
        [old] = await recorded(lab)
    real = folder_name(old)
    assert real != old
    # As the versions before have left it: the folder that was made was not the one recorded.
    (lab.repository_path / old).rename(lab.repository_path / real)
    with closing(sqlite3.connect(_database(lab.folder))) as database:
        database.execute("UPDATE backup_file SET path = replace(path, ?, ?)", (old, real))
        database.execute("DROP TABLE lost_source")
        database.execute("UPDATE alembic_version SET version_num = '0015'")
        database.commit()
    left = leave_half_made(lab)
    async with open_lab() as lab:
        assert not any(path.exists() for path in left)
        assert await recorded(lab) == [real] == [row.folder for row in await lab.rows(tables.job)]
        contents.append(write_image(lab.source("a.raw"), 2))
        assert (await lab.run(job)).values["Result"] == "Success"
        assert await restored(lab) == contents
        assert [row.parent_uid is None for row in await lab.rows(tables.backup_file)] == [
            True,
            False,
        ]
        assert folders(lab) == [real]


def _database(folder: Path) -> Path:
    [path] = (folder / "server").glob("*.sqlite")
    return path


def test_the_update_changes_only_names_under_which_nothing_lies(tmp_path: Path) -> None:
    long, odd = f"{'Б' * 50}-{'d' * 8}", "by hand [2]: a & b"
    assert folder_name(long) != long
    engine = open_database(sqlite_url(tmp_path / "test.sqlite"))
    config = Config()
    config.set_main_option("script_location", "holdfast.server:migrations")
    wanted = dict[UUID, str]()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0015")

    with closing(sqlite3.connect(tmp_path / "test.sqlite")) as database:

        def insert(table: str, **values: Any) -> None:
            columns = database.execute(f"PRAGMA table_info({table})").fetchall()
            row = {name: 1 for _, name, _, needed, default, _ in columns if needed and not default}
            row |= {k: v.hex if isinstance(v, UUID) else v for k, v in values.items()}
            marks = ", ".join("?" * len(row))
            statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"  # noqa: S608
            database.execute(statement, tuple(row.values()))

        def backup(folder: str, becomes: str, *, imported: bool = False, **has: str) -> None:
            uid, job = uuid4(), uuid4()
            of_job = imported_folder(uid) if imported else f"{folder}{len(wanted)}"
            insert("job", uid=job, folder=of_job, repository_uid=job)
            insert("backup", uid=uid, job_uid=job, repository_uid=job, folder=folder)
            wanted[uid], wanted[job] = becomes, folder_name(of_job)
            if path := has.get("path"):
                insert("backup_file", uid=uuid4(), backup_uid=uid, path=path, parent_uid=None)
            if snapshot := has.get("snapshot"):
                insert("machine_point", uid=uuid4(), backup_uid=uid, snapshot_id=snapshot)

        backup("short", "short")
        backup("short", "short", path="short/a.qcow2")
        backup(long, folder_name(long))
        backup(long, folder_name(long), path=f"{folder_name(long)}/a.qcow2")
        backup(long, long, snapshot="b" * 64)
        for folder in (odd, long):
            backup(folder, folder, imported=True)
            backup(folder, folder, imported=True, path=f"{folder}/a.qcow2")
            backup(folder, folder, imported=True, snapshot="b" * 64)
        database.commit()

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0016")
    with engine.connect() as connection:
        rows = [row for t in (tables.backup, tables.job) for row in connection.execute(select(t))]
    assert {row.uid: row.folder for row in rows} == wanted
    engine.dispose()
