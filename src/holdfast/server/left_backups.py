"""Sees to it that no backup leaves anything at its machine, above all no guest that stands frozen.

Before a backup touches a machine, which it is and on which host stands in the database, and goes
only with the recorded point, or when the machine was found as it ought to be. So whatever ends a
backup early (an error, a stop, a host that stops to answer, the end of Holdfast), the machine is
gone to at once, again and again until it answers, and after the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.errors import EngineError, MachineMissing
from holdfast.server import tables
from holdfast.server.chain_locks import ChainLocks
from holdfast.server.hosts import Hosts
from holdfast.server.refusal import RefusedError
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)

#: How many seconds later a machine is gone to again, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0


def note_backup(
    connection: Connection, host: UUID, uuid: str, chain: UUID, folders: Collection[Path]
) -> None:
    """Write down that a backup of a chain begins at a machine, which writes to some folders."""
    forget_backup(connection, host, uuid, chain)
    values = {"host_uid": host, "uuid": uuid, "backup_uid": chain}
    paths = msgspec.json.encode(sorted(map(str, folders))).decode()
    connection.execute(insert(tables.left_backup).values(**values, folders=paths))


def forget_backup(connection: Connection, host: UUID, uuid: str, chain: UUID) -> None:
    """Write down that a backup has left nothing at its machine."""
    table = tables.left_backup
    same = (table.c.host_uid == host) & (table.c.uuid == uuid) & (table.c.backup_uid == chain)
    connection.execute(delete(table).where(same))


class LeftBackups:
    """The backups that have not ended as they should."""

    def __init__(self, store: Store, hosts: Hosts, locks: ChainLocks) -> None:
        self._store = store
        self._hosts = hosts
        self._locks = locks
        self._woken = asyncio.Event()
        #: What is being ended, each by a task of its own.
        self._taken_up: set[Row[Any]] = set()

    def wake(self) -> None:
        """Look at once: a backup has ended, and may have left something."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """End what is left, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                woken = self._woken
                try:
                    rows = await self._store.read(_left)
                except SQLAlchemyError:
                    _LOGGER.exception("What backups have left cannot be looked at at the moment")
                    await _wait(woken, _FIRST_PAUSE)
                    continue
                for row in rows:
                    if row not in self._taken_up:
                        self._taken_up.add(row)
                        tasks.create_task(self._end(row), name=f"end of a backup of {row.uuid}")
                await woken.wait()

    async def _end(self, row: Row[Any]) -> None:
        """End what a backup has left at a machine. A host that is slow delays no others."""
        pause = _FIRST_PAUSE
        while True:
            woken = self._woken
            try:
                if await self._settle(row):
                    # What a next backup leaves is found by whoever it wakes when it has ended.
                    self._taken_up.discard(row)
                    return
            except SQLAlchemyError:
                _LOGGER.exception("What a backup may have left at %s is not noted", row.uuid)
            pause = _FIRST_PAUSE if await _wait(woken, pause) else min(2 * pause, _LONGEST_PAUSE)

    async def _settle(self, row: Row[Any]) -> bool:
        """End what a backup has left at a machine; say whether that need not be tried again.

        While somebody works on the machine, it is left to him: he wakes us when he has done.
        """
        if self._locks.machines.is_held(row.uuid):
            return False
        async with self._locks.machines.hold(row.uuid):
            if row not in await self._store.read(_left):
                return True
            folders = [Path(each) for each in msgspec.json.decode(row.folders, type=list[str])]
            try:
                access = await self._hosts.access(row.host_uid)
                with contextlib.suppress(MachineMissing):  # it has nothing that could be left
                    await self._hosts.platform.end_left_backup(
                        access, row.uuid, folders, str(row.backup_uid)
                    )
            except (EngineError, RefusedError) as error:
                _LOGGER.warning(
                    "What a backup may have left at %s is not ended yet: %s", row.uuid, error
                )
                return False
            except SQLAlchemyError:
                raise
            except Exception:
                # One machine, whatever is wrong with it, must not keep others frozen.
                _LOGGER.exception("What a backup may have left at %s is not ended yet", row.uuid)
                return False
            await self._store.write(
                lambda c: forget_backup(c, row.host_uid, row.uuid, row.backup_uid)
            )
            return True


async def _wait(woken: asyncio.Event, seconds: float) -> bool:
    """Wait until somebody wakes us, for some seconds at most; say whether somebody has."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    return True


def _left(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(tables.left_backup)))
