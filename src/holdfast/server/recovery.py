"""Puts the server right after it was stopped in whatever way: run on every start, before all else.

Sessions that were running are ended, temporary files are removed, points whose data is gone are
noted as damaged. A repository that is away delays what concerns it, not the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, select

from holdfast.engine.errors import EngineError
from holdfast.engine.file_check import missing_file
from holdfast.server import (
    hosted_points,
    job_schedules,
    journal,
    replicas,
    sessions,
    tables,
)
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.damage import is_missing, missing_snapshot, note_damage, points_needing
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


async def recover(store: Store, clock: Clock, repositories: Repositories) -> set[ChainKey]:
    """Put right what is quickly put right. Nothing else may run meanwhile.

    The journal is settled after, while the server is already at work. Return the chains that are
    to be checked then, since what was missing of them is there again.
    """
    await store.write(lambda connection: job_schedules.resume(connection, clock.now()))
    await store.write(lambda connection: _end_sessions(connection, clock.now()))
    await store.write(lambda connection: _forget_old_commands(connection, clock.now()))
    await store.write(replicas.end_processing)
    await store.write(_show_jobs)
    backup, job = tables.backup, tables.job
    query = select(backup.c.uid, job.c.folder).join(job, job.c.uid == backup.c.job_uid)
    back: set[ChainKey] = set()
    for row in await store.read(lambda c: c.execute(query).all()):
        place = await repositories.place_of(row.uid)
        try:
            # Of an imported backup they may be those of a server that is at work there.
            if row.folder != imported_folder(row.uid):
                await _sweep(place)
            back |= await _note_lost_points(store, place)
        except EngineError as error:
            _LOGGER.warning("Not checked: %s", error)
    return back


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


async def _note_lost_points(store: Store, place: BackupPlace) -> set[ChainKey]:
    """Note as damaged the points whose data somebody has taken away, and those built on them.

    They stay: what was taken away may come back, and is then to be what it was. Return the chains
    of points that were noted so before, and of which all is there again.
    """
    points, files, busy = await store.read(lambda connection: _recorded(connection, place.backup))
    gone, lost = await asyncio.to_thread(_look_for, place, points, files)
    # Looked at again: a disk that went away during the look would seem to have lost everything.
    await asyncio.to_thread(place.repository.ensure_available)
    chains = defaultdict(list)
    for row in points:
        if (key := ChainKey.of(place.backup, row.kind, row.reference)) not in busy:
            chains[key].append(row)

    def note(connection: Connection) -> set[ChainKey]:
        back = set()
        needing = lost | (points_needing(connection, place.backup, gone) if gone else {})
        for key, of_chain in chains.items():
            # What a check has found says more than that something is not there.
            news = [row for row in of_chain if row.uid in needing and row.damaged is None]
            note_damage(connection, news, needing)
            if any(is_missing(row.damaged) and row.uid not in needing for row in of_chain):
                back.add(key)
        return back

    return await store.write(note)


def _recorded(
    connection: Connection, backup: UUID
) -> tuple[list[Row[Any]], dict[UUID, Row[Any]], set[ChainKey]]:
    """Return the points of a backup, its files, and the chains that are not as the catalog says:
    those that the journal has something on.
    """
    point, file = tables.machine_point, tables.backup_file
    points = connection.execute(select(point).where(point.c.backup_uid == backup))
    files = connection.execute(select(file).where(file.c.backup_uid == backup))
    busy = {intent.key for intent in journal.standing(connection)}
    return list(points), {row.uid: row for row in files}, busy


def _look_for(
    place: BackupPlace, points: list[Row[Any]], files: dict[UUID, Row[Any]]
) -> tuple[dict[UUID, str], dict[UUID, str]]:
    """Return which backup files are gone, and which points have lost something else. Blocking."""
    gone = {
        uid: missing_file(place.path(row.path))
        for uid, row in files.items()
        if _is_gone(place.path(row.path))
    }
    lost: dict[UUID, str] = {}
    snapshots: set[str] = set()
    if any(row.snapshot_id is not None for row in points):
        snapshots = place.files().snapshot_files()
    for row in points:
        if row.snapshot_id is not None:
            if row.snapshot_id not in snapshots:
                lost[row.uid] = missing_snapshot(place.files(), row.snapshot_id)
        elif row.detail is not None:
            path = files[row.backup_file_uid].path
            small = [place.path(each) for each in hosted_points.small_files_of(row.detail, path)]
            for each in filter(_is_gone, small):
                lost[row.uid] = missing_file(each)
    return gone, lost


def _is_gone(path: Path) -> bool:
    # Only "there is no such file" counts; whatever else is wrong may pass.
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
