"""Removes backups whose time is over: their points are withdrawn, then their files removed.

As with retention, the catalog stops showing a point in the transaction that writes into the
journal what is to be done; then the files go, by settling the journal. What cannot be removed
now, its repository being away, is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, update

from holdfast.engine.errors import EngineError
from holdfast.engine.key_file import SUFFIX as KEY_FILE_SUFFIX
from holdfast.server import journal, points, tables
from holdfast.server.alarm import Alarm
from holdfast.server.chain_holds import holder
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.clock_watch import note_time
from holdfast.server.hosted_points import disks_of, small_files
from holdfast.server.job_lookup import running_session
from holdfast.server.journal import ChainKey, Intent, RemoveFiles, RemoveImage
from holdfast.server.publish import row_of, withdraw
from holdfast.server.refusal import RefusedError
from holdfast.server.repositories import Repositories
from holdfast.server.settlement import Settlement
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_AGAIN = timedelta(minutes=10)


class Expiry:
    """Waits for the end of backups that are kept for a time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        repositories: Repositories,
        locks: ChainLocks,
        settlement: Settlement,
    ) -> None:
        self._store = store
        self._clock = clock
        self._repositories = repositories
        self._locks = locks
        self._settlement = settlement
        self._alarm = Alarm(clock)

    def wake(self) -> None:
        """Look again: there may be another backup that is kept for a time."""
        self._alarm.wake()

    async def run(self) -> None:
        """Remove backups as they expire, until cancelled."""
        while True:
            self._alarm.clear()
            again = milliseconds(self._clock.now() + _AGAIN)
            try:
                left = await self._store.read(_first)
                if left is not None and left <= milliseconds(self._clock.now()):
                    # Unless the clock has jumped.
                    await self._store.write(lambda c: note_time(c, self._clock.now()))
                    for backup in await self._store.read(self._expired):
                        await self._try_remove(backup)
                    left = await self._store.read(_first)
            except Exception:
                # A backup that stays too long does no harm; one that never goes fills the disk.
                _LOGGER.exception("Backups that have expired cannot be removed at the moment")
                left = again
            # What has expired and is still there could not be removed.
            now = milliseconds(self._clock.now())
            await self._alarm.wait(again if left is not None and left <= now else left)

    def _expired(self, connection: Connection) -> list[UUID]:
        backup = tables.backup
        now = milliseconds(self._clock.now())
        rows = connection.execute(select(backup).where(backup.c.expires <= now))
        return [row.uid for row in rows if running_session(connection, row.job_uid) is None]

    async def _try_remove(self, backup: UUID) -> None:
        """Remove a backup, or say why not: one that stays is no reason for others to stay."""
        try:
            await self._remove(backup)
        except (EngineError, RefusedError) as error:
            _LOGGER.warning("The backup %s has expired and stays for now: %s", backup, error)
        except Exception:  # whatever is wrong with one backup, the others are to go
            _LOGGER.exception("The backup %s has expired and cannot be removed now", backup)

    async def _remove(self, backup: UUID) -> None:
        chains = await self._store.read(lambda connection: _chains(connection, backup))
        if await self._store.read(lambda connection: _is_held(connection, chains)):
            return
        for key in chains:
            async with self._locks.work.hold(key):
                # What stands from before comes first, as in retention.
                if await self._settlement.settle_chain(key):
                    return
                await self._store.write(partial(self._withdraw, key))
                if await self._settlement.settle_chain(key):
                    return
        place = await self._repositories.place_of(backup)
        if await self._store.write(lambda connection: _forget(connection, backup)):
            folder = place.path(place.folder_name)
            with contextlib.suppress(OSError, EngineError):  # somebody keeps something else there
                await asyncio.to_thread(remove_folder, folder)

    def _withdraw(self, key: ChainKey, connection: Connection) -> None:
        withdraw_chain(connection, key, milliseconds(self._clock.now()))


def remove_folder(folder: Path) -> None:
    """Remove the folder of a backup if only files of keys are in it. Blocking; raise OSError."""
    keys = list(folder.glob(f"*{KEY_FILE_SUFFIX}*"))
    # They go only when nothing is left that they could open.
    if set(folder.iterdir()).issubset(keys):
        for file in keys:
            file.unlink()
        folder.rmdir()


def withdraw_chain(connection: Connection, key: ChainKey, now: int) -> Intent | None:
    """Stop showing all points of a chain and note that their files are to go, newest first.

    Return what was noted last.
    """
    noted = None
    for row in reversed(points.points_of(connection, key.backup, key.chain)):
        files = {row.backup_file_uid} | {disk.uid for disk in disks_of(connection, row.uid)}
        small = () if row.detail is None else tuple(small_files(connection, row.uid))
        points.withdraw_point(connection, row.uid)
        for file in files:
            noted = journal.declare(connection, key, RemoveImage(file), now)
        if small:
            noted = journal.declare(connection, key, RemoveFiles(small), now)
    return noted


def _first(connection: Connection) -> int | None:
    first: int | None = connection.scalar(select(func.min(tables.backup.c.expires)))
    return first


def _chains(connection: Connection, backup: UUID) -> set[ChainKey]:
    point = tables.machine_point
    references = select(point.c.reference).where(point.c.backup_uid == backup).distinct()
    shown = {ChainKey(backup, reference) for reference in connection.scalars(references)}
    noted = {intent.key for intent in journal.standing(connection)}
    return shown | {key for key in noted if key.backup == backup}


def _is_held(connection: Connection, chains: set[ChainKey]) -> bool:
    return any(holder(connection, key.backup, key.chain) is not None for key in chains)


def _forget(connection: Connection, uid: UUID) -> bool:
    """Take an empty backup out of the catalog; say whether it was empty."""
    for table in (tables.machine_point, tables.backup_file, tables.intent, tables.restore_point):
        found = select(table.c.uid).where(table.c.backup_uid == uid).limit(1)
        if connection.execute(found).first() is not None:
            # Files that no point names, left by a loss: nobody has asked for them to be deleted.
            connection.execute(
                update(tables.backup).where(tables.backup.c.uid == uid).values(expires=None)
            )
            _LOGGER.error("The backup %s has expired and still holds something: it stays", uid)
            return False
    row = row_of(connection, tables.backup, uid)
    connection.execute(delete(tables.backup).where(tables.backup.c.uid == row.uid))
    withdraw(connection, "Backup", uid)
    return True
