"""Puts the server right after it was stopped in whatever way: run on every start, before all else.

Sessions that were running are ended, temporary files are removed, points whose data is gone are no
longer shown. A repository that is away delays what concerns it, not the start.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select

from holdfast.engine.errors import EngineError
from holdfast.engine.files_folder import snapshot_names
from holdfast.server import (
    hosted_points,
    job_schedules,
    journal,
    points,
    replicas,
    sessions,
    tables,
)
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.journal import ChainKey
from holdfast.server.names import imported_folder
from holdfast.server.part_backup import one_off_ended
from holdfast.server.publish import row_of
from holdfast.server.publish_job import publish_job
from holdfast.server.repositories import BackupPlace, Repositories
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: How long the answers to commands are kept; nobody asks again after that.
COMMANDS_KEPT = timedelta(days=30)
SHUT_DOWN = "The backup server was shut down."
STOPPED_UNEXPECTEDLY = "The backup server stopped unexpectedly while this was running."


async def recover(store: Store, clock: Clock, repositories: Repositories) -> None:
    """Put right what is quickly put right. Nothing else may run meanwhile.

    The journal is settled after, while the server is already at work.
    """
    await store.write(lambda connection: job_schedules.resume(connection, clock.now()))
    await store.write(lambda connection: _end_sessions(connection, clock.now()))
    await store.write(lambda connection: _forget_old_commands(connection, clock.now()))
    await store.write(replicas.end_processing)
    await store.write(_show_jobs)
    backup, job = tables.backup, tables.job
    query = select(backup.c.uid, job.c.folder).join(job, job.c.uid == backup.c.job_uid)
    for row in await store.read(lambda c: c.execute(query).all()):
        place = await repositories.place_of(row.uid)
        try:
            # Of an imported backup they may be those of a server that is at work there.
            if row.folder != imported_folder(row.uid):
                await _sweep(place)
            await _withdraw_lost_points(store, place)
        except EngineError as error:
            _LOGGER.warning("Not checked: %s", error)


def _end_sessions(connection: Connection, now: datetime) -> None:
    for uid in sessions.unfinished_sessions(connection):
        row = row_of(connection, tables.job_session, uid)
        stopped = sessions.was_asked_to_stop(row, SHUT_DOWN)
        sessions.end_session(connection, uid, milliseconds(now), cut_short=STOPPED_UNEXPECTEDLY)
        job_schedules.session_ended(connection, uid, now, stopped=stopped, cut_off=True)
        one_off_ended(connection, uid, now)


def _show_jobs(connection: Connection) -> None:
    """Show all jobs again: a new version may have more to say of them than the one before."""
    for uid in connection.scalars(select(tables.job.c.uid).where(~tables.job.c.deleted)).all():
        publish_job(connection, uid)


def _forget_old_commands(connection: Connection, now: datetime) -> None:
    before = milliseconds(now - COMMANDS_KEPT)
    connection.execute(delete(tables.command).where(tables.command.c.created < before))


async def _sweep(place: BackupPlace) -> None:
    """Remove temporary files from a backup's folder. Raise EngineError if it is away."""
    await asyncio.to_thread(place.repository.ensure_available)
    folder = place.path(place.folder_name)
    if await asyncio.to_thread(folder.is_dir):
        left = await place.repository.sweep_partial(folder)
        # Nothing is noted of what was only read, by a copy or a restore.
        for name in [*left, *await place.files().sweep_locks()]:
            _LOGGER.info("Removed %s, left by interrupted work, from %s", name, folder)


async def _withdraw_lost_points(store: Store, place: BackupPlace) -> None:
    """Stop showing points whose data somebody has taken away, and those built on them."""
    shown, busy = await store.read(lambda connection: _shown_points(connection, place.backup))
    # While the journal has something on a chain, its files are not as the catalog says.
    settled = [
        row for row in shown if ChainKey.of(place.backup, row.kind, row.reference) not in busy
    ]
    lost = await asyncio.to_thread(_lost_points, place, settled)
    # Looked at again: a disk that went away during the look would seem to have lost everything.
    await asyncio.to_thread(place.repository.ensure_available)
    for row in lost:
        _LOGGER.error(
            'The restore point of "%s" made at %s cannot be restored any more: %s is gone from '
            "the repository %s, or something it is built on. It is no longer shown.",
            row.display_name,
            row.created,
            row.path or row.snapshot_id,
            place.repository.path,
        )
    if lost:
        await store.write(lambda connection: _withdraw(connection, lost))


def _shown_points(connection: Connection, backup: UUID) -> tuple[list[Row[Any]], set[ChainKey]]:
    """Return the points of a backup, oldest first, with their files: one row for each file."""
    point, disk, file = tables.machine_point, tables.machine_disk, tables.backup_file
    rows = connection.execute(
        select(point, file.c.uid.label("file_uid"), file.c.path, file.c.parent_uid)
        .outerjoin(disk, disk.c.point_uid == point.c.uid)
        .outerjoin(
            file, file.c.uid == func.coalesce(disk.c.backup_file_uid, point.c.backup_file_uid)
        )
        .where(point.c.backup_uid == backup)
        .order_by(point.c.created, disk.c.position)
    )
    return list(rows), {intent.key for intent in journal.standing(connection)}


def _lost_points(place: BackupPlace, rows: list[Row[Any]]) -> list[Row[Any]]:
    """Given points, oldest first, return those of which any data is gone. Blocking."""
    if not rows:
        return []
    snapshots: set[str] = set()
    if any(row.snapshot_id is not None for row in rows):
        snapshots = _present_snapshots(place)
    lost_files: set[UUID] = set()
    lost_points: set[UUID] = set()
    for row in rows:
        if row.snapshot_id is not None:
            gone = row.snapshot_id not in snapshots
        else:
            gone = row.parent_uid in lost_files or _is_gone(place.path(row.path))
            if gone:
                lost_files.add(row.file_uid)
            gone = gone or any(_is_gone(place.path(path)) for path in _small_files(row))
        if gone:
            lost_points.add(row.uid)
    return [row for row in rows if row.uid in lost_points]


def _small_files(row: Row[Any]) -> list[str]:
    """Return the paths of what a machine's point needs beside its disks."""
    if row.detail is None:
        return []
    return hosted_points.small_files_of(row.detail, row.path)


def _present_snapshots(place: BackupPlace) -> set[str]:
    try:
        return set(snapshot_names(place.files().folder, ""))
    except FileNotFoundError:
        return set()


def _is_gone(path: Path) -> bool:
    # Only "there is no such file" counts; whatever else is wrong may pass.
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _withdraw(connection: Connection, lost: list[Row[Any]]) -> None:
    # The newest first, since the others are what it is built on. Files that are still there stay
    # where they are: worthless as they lie, but nobody has asked for them to be deleted.
    withdrawn: set[UUID] = set()
    file = tables.backup_file
    for row in reversed(lost):
        if row.uid not in withdrawn:
            withdrawn.add(row.uid)
            points.withdraw_point(connection, row.uid)
        built_on = select(file.c.uid).where(file.c.parent_uid == row.file_uid).limit(1)
        # Of a machine, one disk may be lost and another still be what a later point is built on.
        if row.file_uid is not None and connection.execute(built_on).first() is None:
            points.remove_file(connection, row.file_uid)
