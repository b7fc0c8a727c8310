"""The restore points of a data directory, read beside a running backup server or without one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Row, func, select

from holdfast.cli.data_directory import DataDirectory
from holdfast.server import tables
from holdfast.server.database import open_database, sqlite_url


@dataclass(frozen=True)
class Point:
    """One machine or directory as it was at one moment. `size` is that of the source, in bytes.

    `damaged` says why it cannot be restored, as the last check found; `kept_for` for which periods
    (Weekly, Monthly, Yearly) it is kept for long; `password` is the hint of the password that it is
    encrypted with.
    """

    uid: UUID
    created: datetime
    job: str
    name: str
    kind: str
    size: int
    damaged: str | None = None
    kept_for: tuple[str, ...] = ()
    password: str | None = None


_KINDS = {"image": "disk image", "machine": "machine"}


def read_points(directory: DataDirectory) -> list[Point]:
    """Given a data directory, return its points, newest first. Raise Failure when there is none."""
    directory.expect()
    point, backup, job = tables.machine_point, tables.backup, tables.job
    file, key, password = tables.backup_file, tables.data_key, tables.password_key
    query = (
        select(point, func.coalesce(job.c.name, backup.c.name).label("job"), password.c.hint)
        .join(backup, backup.c.uid == point.c.backup_uid)
        .outerjoin(file, file.c.uid == point.c.backup_file_uid)
        .outerjoin(key, key.c.uid == file.c.key_uid)
        .outerjoin(password, password.c.uid == key.c.password_uid)
        .outerjoin(job, job.c.uid == backup.c.job_uid)
        .order_by(point.c.created.desc(), point.c.display_name, point.c.uid)
    )
    engine = open_database(sqlite_url(directory.server / "server.sqlite"))
    try:
        with engine.connect().execution_options(read_only=True) as connection:
            return [_point(row) for row in connection.execute(query)]
    finally:
        engine.dispose()


def _point(row: Row[tuple[object, ...]]) -> Point:
    created = datetime.fromtimestamp(row.created / 1000, UTC)
    kind = _KINDS.get(row.kind, row.kind)
    return Point(
        uid=row.uid,
        created=created,
        job=row.job,
        name=row.display_name,
        kind=kind,
        size=row.total_size,
        damaged=row.damaged,
        kept_for=tuple(row.kept_for.split(",")) if row.kept_for else (),
        password=row.hint,
    )
