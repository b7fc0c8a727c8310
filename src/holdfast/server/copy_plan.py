"""What a copy job has to copy: points that its repository lacks. Each runs in a transaction.

What is wanted of a machine is what the job keeps, by number, days, weeks, months and years, and
with each increment what it is built on. What retention would remove at once is not copied
otherwise, and what it has removed is not copied again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, ScalarSelect, func, insert, or_, select, update

from holdfast.server import points, tables
from holdfast.server.clock import moment_of
from holdfast.server.clock_watch import jumps
from holdfast.server.copy_links import links_of
from holdfast.server.fulls import files_of
from holdfast.server.job_options import decode_options
from holdfast.server.job_specification import COPY_KINDS, REPLICA
from holdfast.server.journal import ChainKey
from holdfast.server.keeping import Policy, keeping
from holdfast.server.publish import row_of

Point = Row[Any]


def source_backups(connection: Connection, job: Row[Any]) -> list[UUID]:
    """Return the backups that a copy job copies from, in their repositories' order."""
    links = links_of(connection, job.uid)
    jobs = [link.linked_job_uid for link in links if link.linked_job_uid]
    repositories = [link.linked_repository_uid for link in links if link.linked_repository_uid]
    backup, maker = tables.backup, tables.job
    query = (
        select(backup.c.uid)
        .join(maker, maker.c.uid == backup.c.job_uid)
        .where(
            or_(backup.c.job_uid.in_(jobs), backup.c.repository_uid.in_(repositories)),
            backup.c.repository_uid != job.repository_uid,
            maker.c.kind.not_in((*COPY_KINDS, REPLICA)),
        )
        .order_by(backup.c.repository_uid, backup.c.uid)
    )
    return list(connection.scalars(query))


def points_to_copy(
    connection: Connection, job: Row[Any], reference: str, now: datetime
) -> list[Point]:
    """Return the points of one machine to copy, each after what it is built on.

    A point has its own columns, those of its backup file, ``stored_size`` of all its files, and
    ``restore_point_created``. What an increment is built on may have no point any more, because a
    merge is about to take it away: then it is not in the list, and the increment cannot be copied
    before that merge is done. Points that are known to be damaged are left out.
    """
    backup = points.backup_of_job(connection, job.uid)
    there = _points(connection, [backup], reference)
    offered = _points(connection, source_backups(connection, job), reference)
    files = _files(connection, offered)
    left_over = _names_without_point(connection, backup)
    offered = [
        row
        for row in offered
        # A damaged one would be found so again, each time, and what comes after it not be copied.
        if row.damaged is None
        # Of a machine that has lost a disk here, later points may need another: it is not replaced.
        and left_over.isdisjoint(files.names[row.uid])
    ]
    gfs = decode_options(job.options).gfs
    policy = Policy(job.retention, job.retention_days, gfs, jumps(connection))
    return _missing(there, offered, policy, now, files)


def machines_to_copy(connection: Connection, job: Row[Any], now: datetime) -> Iterator[Point]:
    """Return, of each machine that has something to copy, the newest point of that."""
    point = tables.machine_point
    sources = source_backups(connection, job)
    references = connection.scalars(
        select(point.c.reference)
        .where(point.c.backup_uid.in_(sources))
        .distinct()
        .order_by(point.c.reference)
    ).all()
    for reference in references:
        if found := points_to_copy(connection, job, reference, now):
            yield max(found, key=lambda row: row.created)


def has_points_to_copy(connection: Connection, job: Row[Any], now: datetime) -> bool:
    """Say whether a copy job has anything to do."""
    return next(machines_to_copy(connection, job, now), None) is not None


def with_source(connection: Connection, job: Row[Any]) -> set[str]:
    """Return the machines of which backups that a copy job copies from have points."""
    point = tables.machine_point
    sources = source_backups(connection, job)
    found = select(point.c.reference).where(point.c.backup_uid.in_(sources)).distinct()
    return set(connection.scalars(found))


def files_of_chain(connection: Connection, key: ChainKey) -> list[Row[Any]]:
    """Return the backup files that the points of a chain have, each after what it is built on."""
    found = {
        file.uid: file
        for point in points.points_of(connection, key.backup, key.chain)
        for file in files_of(connection, point)
    }
    return sorted(found.values(), key=lambda row: (row.created, row.uid))


def original_of(connection: Connection, job: Row[Any], file: Row[Any]) -> Row[Any] | None:
    """Return the backup file that one in a copy is the same as, byte by byte; None without one."""
    table = tables.backup_file
    name = PurePosixPath(file.path).name
    same = connection.execute(
        select(table).where(
            table.c.backup_uid.in_(source_backups(connection, job)), table.c.sha256 == file.sha256
        )
    )
    return next((row for row in same if PurePosixPath(row.path).name == name), None)


def is_compressed(connection: Connection, backup: UUID) -> bool:
    """Say whether the job that makes a backup compresses it."""
    maker = row_of(connection, tables.job, row_of(connection, tables.backup, backup).job_uid)
    return decode_options(maker.options).level is not None


def objects_to_copy(connection: Connection, job: Row[Any], now: datetime) -> list[Row[Any]]:
    """Return the objects in a copy job for the machines that have something to copy.

    A copy job has no objects of its own: these are made so that its task sessions have something
    to name, and are not shown.
    """
    table = tables.job_object
    found = []
    for position, newest in enumerate(machines_to_copy(connection, job, now)):
        same = (table.c.job_uid == job.uid) & (table.c.reference == newest.reference)
        shown = {
            "name": newest.display_name,
            "path": newest.source_path,
            "format": _format_of(connection, newest),
            "position": position,
        }
        known = connection.execute(update(table).where(same).values(shown))
        if not known.rowcount:
            fixed = {"uid": uuid4(), "job_uid": job.uid, "reference": newest.reference}
            connection.execute(insert(table).values(**fixed, **shown, kind=newest.kind))
        found.append(connection.execute(select(table).where(same)).one())
    return found


def _format_of(connection: Connection, point: Point) -> str | None:
    """Return the format of the disk image that a point is of, where the job that made it says."""
    job_object, backup = tables.job_object, tables.backup
    found: str | None = connection.scalar(
        select(job_object.c.format)
        .join(backup, backup.c.job_uid == job_object.c.job_uid)
        .where(backup.c.uid == point.backup_uid, job_object.c.reference == point.reference)
    )
    return found


def parent_name(connection: Connection, file: UUID | None) -> str | None:
    """Given the file that an increment is built on, return that file's name; None without one."""
    if file is None:
        return None
    table = tables.backup_file
    path = connection.scalars(select(table.c.path).where(table.c.uid == file)).one()
    return PurePosixPath(path).name


def copied_file(connection: Connection, backup: UUID, path: str) -> UUID | None:
    """Return the file of a path in a backup; None when it is not there.

    A copy has the name of what it is a copy of, and every point's file has a name of its own.
    """
    file = tables.backup_file
    found: UUID | None = connection.scalar(
        select(file.c.uid).where(file.c.backup_uid == backup, file.c.path == path)
    )
    return found


def _points(connection: Connection, backups: Sequence[UUID], reference: str) -> list[Point]:
    """Return the points of a machine in some backups, oldest first."""
    point, file, whole = tables.machine_point, tables.backup_file, tables.restore_point
    query = (
        select(
            point,
            file.c.path,
            file.c.parent_uid,
            file.c.file_size,
            file.c.data_size,
            file.c.virtual_size,
            file.c.sha256,
            whole.c.created.label("restore_point_created"),
            func.coalesce(_size_of_disks(), file.c.file_size).label("stored_size"),
        )
        .join(whole, whole.c.uid == point.c.restore_point_uid)
        .outerjoin(file, file.c.uid == point.c.backup_file_uid)
        .where(point.c.backup_uid.in_(backups), point.c.reference == reference)
        .order_by(point.c.created, point.c.uid)
    )
    return list(connection.execute(query))


def _size_of_disks() -> ScalarSelect[Any]:
    """Return the size of all files of the disks of a machine of a host; NULL of other points."""
    disk, file = tables.machine_disk, tables.backup_file.alias()
    return (
        select(func.sum(file.c.file_size))
        .join(disk, disk.c.backup_file_uid == file.c.uid)
        .where(disk.c.point_uid == tables.machine_point.c.uid)
        .scalar_subquery()
    )


@dataclass(frozen=True)
class _Files:
    """The backup files of points: of each point their names, and the files they are built on."""

    names: dict[UUID, set[str]]
    built_on: dict[UUID, list[UUID]]
    points: dict[UUID, UUID]  # which one a file is of


def _files(connection: Connection, rows: Sequence[Point]) -> _Files:
    found = _Files({row.uid: set() for row in rows}, {row.uid: [] for row in rows}, {})
    disk, file = tables.machine_disk, tables.backup_file
    of_disks = connection.execute(
        select(disk.c.point_uid, file.c.uid, file.c.path, file.c.parent_uid)
        .join(disk, disk.c.backup_file_uid == file.c.uid)
        .where(disk.c.point_uid.in_([row.uid for row in rows if row.detail is not None]))
    )
    images = [
        (row.uid, row.backup_file_uid, row.path, row.parent_uid)
        for row in rows
        if row.detail is None and row.backup_file_uid is not None
    ]
    for point, uid, path, parent in (*of_disks, *images):
        found.names[point].add(PurePosixPath(path).name)
        found.points[uid] = point
        if parent is not None:
            found.built_on[point].append(parent)
    return found


def _names_without_point(connection: Connection, backup: UUID) -> set[str]:
    """Return the names of the files in a backup that no point has, but others may be built on."""
    file, point, disk = tables.backup_file, tables.machine_point, tables.machine_disk
    held = select(point.c.uid).where(point.c.backup_file_uid == file.c.uid)
    of_disk = select(disk.c.point_uid).where(disk.c.backup_file_uid == file.c.uid)
    paths = connection.scalars(
        select(file.c.path).where(file.c.backup_uid == backup, ~held.exists(), ~of_disk.exists())
    )
    return {PurePosixPath(path).name for path in paths}


@dataclass(frozen=True)
class _Candidate:
    """A point that is there or may be, as `keeping` wants to see it."""

    row: Point
    # One that was found damaged there counts, too: what is older is not copied again for it.
    is_good = True
    was_kept_for = ()

    @property
    def created(self) -> datetime:
        return moment_of(points.made_at(self.row))


def _missing(
    there: Sequence[Point],
    offered: Sequence[Point],
    policy: Policy,
    now: datetime,
    files: _Files,
) -> list[Point]:
    copied = {row.copied_from for row in there}
    new = [row for row in offered if row.uid not in copied]
    candidates = sorted([*there, *new], key=lambda row: (row.created, row.uid))
    found_surplus = keeping([_Candidate(row) for row in candidates], policy, now).surplus
    surplus = {candidate.row.uid for candidate in found_surplus}
    wanted = {row.uid for row in new} - surplus
    by_uid = {row.uid: row for row in offered}
    found: dict[UUID, Point] = {}
    waiting = [row for row in new if row.uid in wanted]
    while waiting:
        row = waiting.pop()
        if row.uid in copied or row.uid in found:
            continue
        found[row.uid] = row
        # When a disk was written anew, those of one machine may be built on different points.
        before = (files.points.get(each) for each in files.built_on[row.uid])
        waiting += [by_uid[uid] for uid in before if uid in by_uid]
    # What a point is built on is older.
    return sorted(found.values(), key=lambda row: (row.created, row.uid))
