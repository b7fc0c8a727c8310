"""Runs restore sessions, a few at a time, each to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.durability import remove_durably
from holdfast.engine.errors import EngineError, HypervisorUnavailable, LeftUnfinished
from holdfast.engine.progress import Progress, ProgressCallback
from holdfast.engine.tree_restore import remove_staging
from holdfast.server import restore_sessions, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_restore import given_up, left_by
from holdfast.server.job_runner import UNEXPECTED
from holdfast.server.point_restore import PointRestore
from holdfast.server.publish import row_of
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import DiscardInstant, MigrateInstant, Plan, is_instant
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_PROGRESS_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_AT_ONCE = 2
#: How long after one look at what restores have left the next comes.
_SETTLE_SECONDS = 30.0


class RestoreRunner:
    """The restores that are running now."""

    def __init__(self, store: Store, clock: Clock, restore: PointRestore) -> None:
        self._store = store
        self._clock = clock
        self._restore = restore
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._work: dict[UUID, asyncio.Task[str]] = {}
        self._supervisors: dict[UUID, asyncio.Task[None]] = {}
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
        """Put right, as soon as it can be done, what restores that ended have left; until
        cancelled."""
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

    def _begin(self, session: UUID, running: Coroutine[None, None, str]) -> None:
        work = asyncio.create_task(running, name=f"restore {session}")
        self._work[session] = work
        self._supervisors[session] = asyncio.create_task(self._supervise(session, work))

    def interrupt(self, session: UUID) -> None:
        """Let go of a restore that was asked to stop: what it is doing is cancelled at once."""
        if (work := self._work.pop(session, None)) is not None:
            work.cancel()

    async def wait_until_idle(self) -> None:
        """Return when no restore runs."""
        while self._supervisors:
            await asyncio.wait(list(self._supervisors.values()))

    async def stop_all(self, reason: str) -> None:
        """Stop every restore, for the reason given, and return when all have ended.

        What can be gone on with after the next start does not end: machines that run from their
        restore point, and are moved or taken away.
        """

        def request(connection: Connection) -> None:
            for row in restore_sessions.unfinished(connection):
                if row.uid in self._interrupted:
                    continue
                plan = msgspec.json.decode(row.plan, type=Plan)
                stopping = row.state == JobSessionState.STOPPING
                if isinstance(plan, MigrateInstant | DiscardInstant) and not stopping:
                    self._interrupted.add(row.uid)
                else:
                    restore_sessions.request_stop(connection, row.uid, reason)

        self._closing = True
        self._restore.leave_going()
        await self._store.write(request)
        for session in list(self._work):
            self.interrupt(session)
        await self.wait_until_idle()
        # One that was begun, but never launched, has nobody else to end it.
        for row in await self._store.read(restore_sessions.unfinished):
            if row.uid not in self._interrupted:
                await self._end(row.uid, failure=reason)

    async def _supervise(self, session: UUID, work: asyncio.Task[str]) -> None:
        """See a restore to its end, whatever its work does. This task is never cancelled."""
        try:
            await asyncio.wait({work})
            self._work.pop(session, None)
            if work.cancelled() and self._closing and session in self._interrupted:
                return  # the next start goes on with it
            if work.cancelled() and session in self._interrupted:
                await self._give_up(session)
            elif work.cancelled():
                await self._end(session, failure="The restore was stopped.")
            elif isinstance(error := work.exception(), LeftUnfinished):
                await self._leave(session, str(error))
            elif error:
                known = isinstance(error, EngineError | RefusedError)
                if not known:
                    _LOGGER.error("Restore %s ended unexpectedly", session, exc_info=error)
                await self._end(session, failure=str(error) if known else UNEXPECTED)
            else:
                await self._end(session, note=work.result())
        finally:
            del self._supervisors[session]

    async def _give_up(self, session: UUID) -> None:
        """End a restore that a crash interrupted and that was stopped before it was put right."""
        row = await self._store.read(lambda c: row_of(c, tables.restore_session, session))
        plan = msgspec.json.decode(row.plan, type=Plan)
        if note := given_up(plan, row.ledger):
            await self._end(session, note=note)
            return
        await self._end(session, failure="The restore was stopped.", left=left_by(plan, row.ledger))

    async def _leave(self, session: UUID, failure: str) -> None:
        """End a restore that has failed and left something to be put right later."""
        row = await self._store.read(lambda c: row_of(c, tables.restore_session, session))
        plan = msgspec.json.decode(row.plan, type=Plan)
        if given_up(plan, row.ledger):
            # The machine may run from its point: it is discarded, or kept, as one that does.
            await self._end(session, note=failure)
            return
        await self._end(session, failure=failure, left=left_by(plan, row.ledger))

    async def _end(
        self,
        session: UUID,
        *,
        failure: str | None = None,
        note: str = "",
        left: str | None = None,
    ) -> None:
        """End a restore; try until the database takes it, since none may stay running."""

        def end(connection: Connection) -> None:
            now = milliseconds(self._clock.now())
            restore_sessions.end(connection, session, now, failure=failure, note=note, left=left)

        while True:
            try:
                await self._store.write(end)
            except SQLAlchemyError:
                _LOGGER.exception("The end of restore %s cannot be written yet", session)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
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
                raise RefusedError("The restore was stopped.")
            return await self._told(session, partial(self._restore.run, session, plan))

    async def _put_right(self, row: Row[Any]) -> str:
        await self._store.write(lambda c: restore_sessions.start_working(c, row.uid))
        plan = msgspec.json.decode(row.plan, type=Plan)
        return await self._told(row.uid, partial(self._restore.put_right, row, plan))

    async def _told(
        self, session: UUID, work: Callable[[ProgressCallback], Coroutine[None, None, str]]
    ) -> str:
        """Do some work of a session, whose progress is published meanwhile."""
        fractions = [0.0]

        def note(progress: Progress) -> None:
            fractions[0] = progress.fraction

        publishing = asyncio.create_task(self._keep_publishing(session, fractions))
        try:
            return await work(note)
        finally:
            publishing.cancel()
            # Whoever stops it now is too late: what is done must not be told as stopped.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(publishing, return_exceptions=True)

    async def _keep_publishing(self, session: UUID, fractions: list[float]) -> None:
        """Publish the progress while it changes, until cancelled."""
        published = 0
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            percent = int(100 * fractions[0])
            if percent > published:
                published = percent
                await self._publish(session, percent)

    async def _publish(self, session: UUID, percent: int) -> None:
        await self._store.write(lambda c: restore_sessions.set_progress(c, session, percent))


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
