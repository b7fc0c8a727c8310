"""Restore points: recorded, looked up, taken out of the catalog. Each runs in a transaction.

A point is recorded only when its data is whole and on stable storage, and taken out before the
first byte of its data changes.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from holdfast.engine.image import ImageResult, MergeResult
from holdfast.engine.image_rebuild import Rebuilt
from holdfast.server import tables
from holdfast.server.publish import (
    publish_backup,
    publish_backup_file,
    publish_job_session,
    publish_machine_point,
    publish_restore_point,
    row_of,
    withdraw,
    withdraw_machine_point,
)
from holdfast.server.sessions import Machine


def backup_of_job(connection: Connection, job_uid: UUID) -> UUID:
    """Given a job, return the UID of its backup in its present repository, made if need be."""
    job, backup = row_of(connection, tables.job, job_uid), tables.backup
    existing: UUID | None = connection.scalar(
        select(backup.c.uid).where(
            backup.c.job_uid == job_uid, backup.c.repository_uid == job.repository_uid
        )
    )
    if existing is not None:
        return existing
    uid = uuid4()
    connection.execute(
        insert(backup).values(
            uid=uid,
            name=job.name,
            job_uid=job_uid,
            repository_uid=job.repository_uid,
            folder=job.folder,
        )
    )
    publish_backup(connection, uid)
    return uid


def newest_point(connection: Connection, backup: UUID, reference: str) -> Row[Any] | None:
    """Return the newest point of a machine, with its file's path where it has one."""
    point, file = tables.machine_point, tables.backup_file
    return connection.execute(
        select(point, file.c.path)
        .outerjoin(file, file.c.uid == point.c.backup_file_uid)
        .where(point.c.backup_uid == backup, point.c.reference == reference)
        .order_by(point.c.created.desc())
        .limit(1)
    ).first()


def points_of(connection: Connection, backup: UUID, reference: str) -> list[Row[Any]]:
    """Return the points of a machine, oldest first."""
    point = tables.machine_point
    return list(
        connection.execute(
            select(point)
            .where(point.c.backup_uid == backup, point.c.reference == reference)
            .order_by(point.c.created)
        )
    )


def holds(file: UUID) -> ColumnElement[bool]:
    """Given a backup file, return the condition that a point has it, as its only disk or one."""
    point, disk = tables.machine_point, tables.machine_disk
    of_disk = select(disk.c.point_uid).where(disk.c.backup_file_uid == file)
    return (point.c.backup_file_uid == file) | point.c.uid.in_(of_disk)


def restore_point_uid(session: UUID) -> UUID:
    """Given a job session, return the UID that its restore point has or will have."""
    return uuid5(session, "RestorePoint")


def ensure_restore_point(connection: Connection, session: UUID, backup: UUID) -> UUID:
    """Return the restore point of a session, made when its first machine has a point."""
    table, uid = tables.restore_point, restore_point_uid(session)
    if connection.execute(select(table.c.uid).where(table.c.uid == uid)).first() is not None:
        return uid
    created = row_of(connection, tables.job_session, session).created
    connection.execute(
        insert(table).values(uid=uid, backup_uid=backup, job_session_uid=session, created=created)
    )
    publish_restore_point(connection, uid)
    connection.execute(
        update(tables.job_session)
        .where(tables.job_session.c.uid == session)
        .values(restore_point_uid=uid)
    )
    publish_job_session(connection, session)
    return uid


def ensure_copied_restore_point(
    connection: Connection, session: UUID, backup: UUID, original: UUID, created: int
) -> UUID:
    """Return the restore point of a backup that is a copy of another, made when need be.

    It is of the moment `created` that the original is of, which may be gone by now; a session
    makes one for each that it copies.
    """
    table, uid = tables.restore_point, copied_restore_point_uid(backup, original)
    if connection.execute(select(table.c.uid).where(table.c.uid == uid)).first() is None:
        connection.execute(
            insert(table).values(
                uid=uid, backup_uid=backup, job_session_uid=session, created=created
            )
        )
        publish_restore_point(connection, uid)
    return uid


def copied_restore_point_uid(backup: UUID, original: UUID) -> UUID:
    """Given a copy job's backup and a restore point, return the UID of the copy of that."""
    return uuid5(backup, f"RestorePoint {original}")


def record_image(
    connection: Connection,
    *,
    backup: UUID,
    restore_point: UUID,
    point: UUID,
    machine: Machine,
    created: int,
    path: str,
    parent: UUID | None,
    result: ImageResult,
    copied_from: UUID | None = None,
    key: UUID | None = None,
) -> None:
    """Record a backup file and the point it holds; `parent` is the file it is built on.

    `key` is what it is encrypted with.
    """
    file_uid = uuid4()
    connection.execute(
        insert(tables.backup_file).values(
            uid=file_uid,
            backup_uid=backup,
            restore_point_uid=restore_point,
            parent_uid=parent,
            path=path,
            created=created,
            file_size=result.file_size,
            data_size=result.data_size,
            virtual_size=result.virtual_size,
            sha256=result.sha256,
            key_uid=key,
        )
    )
    publish_backup_file(connection, file_uid)
    record_point(
        connection,
        backup=backup,
        restore_point=restore_point,
        point=point,
        machine=machine,
        created=created,
        total_size=result.virtual_size,
        backup_file_uid=file_uid,
        copied_from=copied_from,
    )


def record_snapshot(
    connection: Connection,
    *,
    backup: UUID,
    restore_point: UUID,
    point: UUID,
    machine: Machine,
    created: int,
    snapshot_id: str,
    total_size: int,
    copied_from: UUID | None = None,
) -> None:
    """Record a snapshot as the point of a directory; `total_size` of its files in bytes."""
    record_point(
        connection,
        backup=backup,
        restore_point=restore_point,
        point=point,
        machine=machine,
        created=created,
        total_size=total_size,
        snapshot_id=snapshot_id,
        copied_from=copied_from,
    )


def withdraw_point(connection: Connection, uid: UUID) -> None:
    """Take a point out of the catalog, and its restore point with it when it was the last there.

    Its file stays, until nothing is built on it any more.
    """
    row = row_of(connection, tables.machine_point, uid)
    point, disk = tables.machine_point, tables.machine_disk
    connection.execute(delete(disk).where(disk.c.point_uid == uid))
    connection.execute(delete(point).where(point.c.uid == uid))
    if row.backup_file_uid is not None:
        withdraw_machine_point(connection, row)
    others = select(point.c.uid).where(point.c.restore_point_uid == row.restore_point_uid)
    if connection.execute(others.limit(1)).first() is None:
        table = tables.restore_point
        connection.execute(delete(table).where(table.c.uid == row.restore_point_uid))
        withdraw(connection, "RestorePoint", row.restore_point_uid)


def remove_file(connection: Connection, uid: UUID) -> None:
    """Take a backup file out of the catalog; the database refuses while anything is built on it."""
    connection.execute(delete(tables.backup_file).where(tables.backup_file.c.uid == uid))
    withdraw(connection, "BackupFile", uid)


def record_merge(connection: Connection, full: UUID, increment: UUID, result: MergeResult) -> None:
    """Record that an increment has become a full and taken the place of the full before it."""
    file = tables.backup_file
    before, after = row_of(connection, file, full), row_of(connection, file, increment)
    connection.execute(
        update(file)
        .where(file.c.uid == increment)
        .values(
            parent_uid=None,
            file_size=result.file_size,
            data_size=merged_data_size(before, after),
            sha256=result.sha256,
        )
    )
    remove_file(connection, full)
    publish_backup_file(connection, increment)
    point = tables.machine_point
    for uid in connection.scalars(select(point.c.uid).where(holds(increment))).all():
        publish_machine_point(connection, uid)


def record_rebuilt(connection: Connection, uid: UUID, onto: UUID | None, result: Rebuilt) -> None:
    """Record that a backup file was written anew, on another file or as a full."""
    file = tables.backup_file
    connection.execute(
        update(file)
        .where(file.c.uid == uid)
        .values(
            parent_uid=onto,
            file_size=result.file_size,
            data_size=result.data_size,
            sha256=result.sha256,
        )
    )
    publish_backup_file(connection, uid)
    point = tables.machine_point
    for holder in connection.scalars(select(point.c.uid).where(holds(uid))).all():
        publish_machine_point(connection, holder)


def show_point(connection: Connection, uid: UUID) -> None:
    """Show a machine's point again, since something about it has changed."""
    publish_machine_point(connection, uid)


def merged_data_size(full: Row[Any], increment: Row[Any]) -> int:
    """Given the rows of two files, return how much data their merger holds at most, in bytes."""
    return int(min(full.data_size + increment.data_size, increment.virtual_size))


def note_made(connection: Connection, point: UUID, made: int, *, is_right: bool) -> None:
    """Note what time it was when a point was made, which is not the one that it bears.

    When that `is_right`, the clock having been ahead before, the points before it that were made
    later by that clock were made by then, too.
    """
    table, row = tables.machine_point, row_of(connection, tables.machine_point, point)
    connection.execute(update(table).where(table.c.uid == point).values(made=made))
    if is_right:
        connection.execute(
            update(table)
            .where(table.c.backup_uid == row.backup_uid, table.c.reference == row.reference)
            .where(table.c.created < row.created)
            .where(func.coalesce(table.c.made, table.c.created) > made)
            .values(made=made)
        )


def made_at(point: Row[Any]) -> int:
    """Given the row of a point, return what time it was when that was made, in milliseconds."""
    made: int = point.created if point.made is None else point.made
    return made


def made_of(connection: Connection, point: UUID | None) -> int | None:
    """Return what was noted, if anything, of when the point was made that another is a copy of."""
    table = tables.machine_point
    made: int | None = connection.scalar(select(table.c.made).where(table.c.uid == point))
    return made


def record_point(
    connection: Connection,
    *,
    backup: UUID,
    restore_point: UUID,
    point: UUID,
    machine: Machine,
    created: int,
    total_size: int,
    backup_file_uid: UUID | None = None,
    snapshot_id: str | None = None,
    copied_from: UUID | None = None,
) -> None:
    """Record the point of an image, whose file is recorded, or of a directory: a snapshot."""
    connection.execute(
        insert(tables.machine_point).values(
            uid=point,
            backup_uid=backup,
            restore_point_uid=restore_point,
            kind=machine.kind,
            reference=machine.reference,
            display_name=machine.name,
            source_path=machine.path,
            created=created,
            total_size=total_size,
            backup_file_uid=backup_file_uid,
            snapshot_id=snapshot_id,
            copied_from=copied_from,
            made=made_of(connection, copied_from),
        )
    )
    publish_machine_point(connection, point)
