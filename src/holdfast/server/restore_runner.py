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
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.durability import remove_durably
from holdfast.engine.errors import EngineError, HypervisorUnavailable, LeftUnfinished
from holdfast.engine.tree_staging import remove_left
from holdfast.server import restore_sessions, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_restore import given_up, left_by
from holdfast.server.point_restore import PointRestore
from holdfast.server.publish import row_of
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import (
    DiscardInstant,
    MigrateInstant,
    Plan,
    RestoreFiles,
    is_instant,
)
from holdfast.server.session_runner import SessionRunner
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 2
#: How long after one look at what restores have left the next comes.
_SETTLE_SECONDS = 30.0
_STOPPED = "The restore was stopped."


class RestoreRunner(SessionRunner):
    """The restores that are running now."""

    def __init__(self, store: Store, clock: Clock, restore: PointRestore) -> None:
        super().__init__(store, clock, restore_sessions, "restore", _STOPPED)
        self._restore = restore
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Those that a crash or a stop of the server interrupted, until they are put right.
        self._interrupted: set[UUID] = set()
        self._closing = False
        self._left = asyncio.Event()

    def launch(self, session: UUID) -> None:
        """Let a restore that was begun run. What becomes of it is in its row."""
        self._begin(session, self._run(session))

    async def resume(self) -> None:
        """Put right, in the background, what a crash interrupted and `end_interrupted` left."""
        for row in await self._store.read(restore_sessions.unfinished):
            self._interrupted.add(row.uid)
            self._begin(row.uid, self._put_right(row))

    async def keep_settling(self) -> None:
        """Put right, as soon as it can be done, what ended restores left; until cancelled."""
        while True:
            self._left.clear()
            try:
                for row in await self._store.read(restore_sessions.left_over):
                    await self._settle(row)
            except SQLAlchemyError:
                _LOGGER.exception("What restores have left cannot be looked at at the moment")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    await self._left.wait()

    async def _settle(self, row: Row[Any]) -> None:
        try:
            await self._restore.settle(row, msgspec.json.decode(row.plan, type=Plan))
        except (HypervisorUnavailable, LeftUnfinished) as error:
            _LOGGER.warning("Restore %s is not put right yet: %s", row.uid, error)
            return
        except (EngineError, RefusedError) as error:
            _LOGGER.warning("Restore %s of %s is put right: %s", row.uid, row.display_name, error)
        except SQLAlchemyError:
            raise
        except Exception:
            # One that cannot be settled, for whatever reason, must not keep others from it.
            _LOGGER.exception("Restore %s is not put right yet", row.uid)
            return
        await self._store.write(lambda c: restore_sessions.put_right(c, row.uid))

    async def stop_all(self, reason: str) -> None:
        """Stop every restore, for the reason given, and return when all have ended.

        What can be gone on with after the next start does not end: machines that run from their
        restore point, and are moved or taken away; and what a crash had interrupted.
        """
        self._closing = True
        self._restore.leave_going()
        await super().stop_all(reason)

    def _goes_on(self, row: Row[Any]) -> bool:
        plan = msgspec.json.decode(row.plan, type=Plan)
        if isinstance(plan, MigrateInstant | DiscardInstant) and (
            row.state != JobSessionState.STOPPING
        ):
            self._interrupted.add(row.uid)
        return row.uid in self._interrupted

    async def _end_cancelled(self, session: UUID) -> None:
        if session not in self._interrupted:
            await super()._end_cancelled(session)
        elif not self._closing:
            await self._give_up(session)

    async def _end_failed(self, session: UUID, error: BaseException) -> None:
        if isinstance(error, LeftUnfinished):
            await self._leave(session, str(error))
        else:
            await super()._end_failed(session, error)

    async def _give_up(self, session: UUID) -> None:
        """End a restore that a crash interrupted and that was stopped before it was put right."""
        row = await self._store.read(lambda c: row_of(c, tables.restore_session, session))
        plan = msgspec.json.decode(row.plan, type=Plan)
        if note := given_up(plan, row.ledger):
            await self._end(session, note=note)
            return
        await self._end_leaving(session, _STOPPED, left_by(plan, row.ledger))

    async def _leave(self, session: UUID, failure: str) -> None:
        """End a restore that has failed and left something to be put right later."""
        row = await self._store.read(lambda c: row_of(c, tables.restore_session, session))
        plan = msgspec.json.decode(row.plan, type=Plan)
        if given_up(plan, row.ledger):
            # The machine may run from its point: it is discarded, or kept, as one that does.
            await self._end(session, note=failure)
            return
        await self._end_leaving(session, failure, left_by(plan, row.ledger))

    async def _end_leaving(self, session: UUID, failure: str, left: str | None) -> None:
        await self._write_end(session, partial(restore_sessions.end, failure=failure, left=left))
        if left is not None:
            self._left.set()

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
                plan = msgspec.json.decode(row.plan, type=RestoreFiles)
                directory, above = Path(plan.directory), plan.names[:-1]
                await asyncio.to_thread(remove_left, directory, above, temporary.name)
        except (OSError, EngineError) as error:
            _LOGGER.warning("What a restore has left at %s cannot be removed: %s", temporary, error)

        def end(connection: Connection, session: UUID = row.uid) -> None:
            now = milliseconds(clock.now())
            restore_sessions.end(connection, session, now, failure=STOPPED_UNEXPECTEDLY)

        await store.write(end)
