"""Runs restore sessions, a few at a time, each to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row

from holdfast.engine.durability import remove_durably
from holdfast.engine.tree_restore import remove_staging
from holdfast.server import restore_sessions, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_restore import given_up
from holdfast.server.point_restore import PointRestore
from holdfast.server.publish import row_of
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import Plan, is_instant
from holdfast.server.session_runner import SessionRunner
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 2
_STOPPED = "The restore was stopped."


class RestoreRunner(SessionRunner):
    """The restores that are running now."""

    def __init__(self, store: Store, clock: Clock, restore: PointRestore) -> None:
        super().__init__(store, clock, restore_sessions, "restore", _STOPPED)
        self._restore = restore
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Those that a crash interrupted, until they are put right.
        self._interrupted: set[UUID] = set()
        self._closing = False

    def launch(self, session: UUID) -> None:
        """Let a restore that was begun run. What becomes of it is in its row."""
        self._begin(session, self._run(session))

    async def resume(self) -> None:
        """Put right, in the background, what a crash interrupted and `end_interrupted` left."""
        for row in await self._store.read(restore_sessions.unfinished):
            self._interrupted.add(row.uid)
            self._begin(row.uid, self._put_right(row))

    async def stop_all(self, reason: str) -> None:
        """Stop every restore, for the reason given, and return when all have ended.

        Those that a crash interrupted are not ended: the next start goes on with them.
        """
        self._closing = True
        await super().stop_all(reason)

    def _is_resumed(self, session: UUID) -> bool:
        return session in self._interrupted

    async def _end_cancelled(self, session: UUID) -> None:
        if not self._is_resumed(session):
            await super()._end_cancelled(session)
        elif not self._closing:
            await self._give_up(session)

    async def _give_up(self, session: UUID) -> None:
        """End a restore that a crash interrupted and that was stopped before it was put right."""
        row = await self._store.read(lambda c: row_of(c, tables.restore_session, session))
        note = given_up(msgspec.json.decode(row.plan, type=Plan), row.ledger)
        failure = None if note else _STOPPED
        await self._end(session, failure=failure, note=note)

    async def _run(self, session: UUID) -> str:
        row = await self._store.read(lambda c: row_of(c, tables.restore_session, session))
        at_once = is_instant(msgspec.json.decode(row.plan, type=Plan))
        # A machine that is to run again in seconds waits for no copies.
        async with contextlib.nullcontext() if at_once else self._slots:
            plan = await self._store.write(lambda c: restore_sessions.start_working(c, session))
            if plan is None:
                # Its row has the reason. What was never begun must not be told as done.
                raise RefusedError(_STOPPED)
            return await self._told(session, partial(self._restore.run, session, plan))

    async def _put_right(self, row: Row[Any]) -> str:
        await self._store.write(lambda c: restore_sessions.start_working(c, row.uid))
        plan = msgspec.json.decode(row.plan, type=Plan)
        return await self._told(row.uid, partial(self._restore.put_right, row, plan))


async def end_interrupted(store: Store, clock: Clock) -> None:
    """End the restores that a crash interrupted, and remove what is left of them.

    Run on every start, before all else. A target that is away keeps its temporary, which nobody
    takes for the whole; the session ends all the same. Those of machines of hosts, which may have
    to wait for their host, are left to `RestoreRunner.resume`.
    """
    for row in await store.read(restore_sessions.unfinished):
        if not row.temporary:
            continue
        temporary = Path(row.temporary)
        try:
            if row.kind == "RestoreVm":
                await remove_durably(temporary)
            else:
                await asyncio.to_thread(remove_staging, temporary)
        except OSError as error:
            _LOGGER.warning("What a restore has left at %s cannot be removed: %s", temporary, error)

        def end(connection: Connection, session: UUID = row.uid) -> None:
            now = milliseconds(clock.now())
            restore_sessions.end(connection, session, now, failure=STOPPED_UNEXPECTEDLY)

        await store.write(end)
