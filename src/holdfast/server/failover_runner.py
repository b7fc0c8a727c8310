"""Runs sessions of failovers, each to its end, and brings to an end what was interrupted.

They do not wait for one another, nor for backups and restores: whoever asks for one is in need.
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.errors import EngineError
from holdfast.engine.progress import Progress
from holdfast.server import failover_sessions
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.failover import Failovers
from holdfast.server.job_runner import UNEXPECTED
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_PROGRESS_SECONDS = 1.0
_RETRY_SECONDS = 5.0
#: How long after a failure it is tried to settle what was left: twice as long each time.
_FIRST_SETTLE_SECONDS = 1.0
_SETTLE_SECONDS = 30.0
CUT_SHORT = (
    f"{STOPPED_UNEXPECTEDLY} What it had begun is brought to an end now; the state of the replica "
    "tells which."
)


class FailoverRunner:
    """The operations on replicas that are running now."""

    def __init__(self, store: Store, clock: Clock, failovers: Failovers) -> None:
        self._store = store
        self._clock = clock
        self._failovers = failovers
        self._work: dict[UUID, asyncio.Task[str]] = {}
        self._supervisors: dict[UUID, asyncio.Task[None]] = {}
        self._recovered = asyncio.Event()
        #: Set when an operation has failed, and may have left something to be settled.
        self._failed = asyncio.Event()

    def launch(self, session: UUID) -> None:
        """Let an operation that was begun run. What becomes of it is in its row."""
        work = asyncio.create_task(self._run(session), name=f"failover {session}")
        self._work[session] = work
        self._supervisors[session] = asyncio.create_task(self._supervise(session, work))

    def interrupt(self, session: UUID) -> None:
        """Let go of an operation that was asked to stop: it is taken back, where it can be."""
        if (work := self._work.pop(session, None)) is not None:
            work.cancel()

    async def ended(self, session: UUID) -> None:
        """Return when a session that was launched has ended."""
        if (supervisor := self._supervisors.get(session)) is not None:
            await asyncio.wait({supervisor})

    async def wait_until_idle(self) -> None:
        """Return when nothing runs, and what was interrupted before the start was looked at."""
        await self._recovered.wait()
        while self._supervisors:
            await asyncio.wait(list(self._supervisors.values()))

    async def stop_all(self, reason: str) -> None:
        """Stop every operation, for the reason given, and return when all have ended."""

        def request(connection: Connection) -> None:
            for row in failover_sessions.unfinished(connection):
                failover_sessions.request_stop(connection, row.uid, reason)

        await self._store.write(request)
        for session in list(self._work):
            self.interrupt(session)
        while self._supervisors:
            await asyncio.wait(list(self._supervisors.values()))
        # One that was begun, but never launched, has nobody else to end it.
        for row in await self._store.read(failover_sessions.unfinished):
            await self._end(row.uid, failure=reason)

    async def keep_settling(self) -> None:
        """Bring to an end what was interrupted, as soon as its hosts answer; until cancelled."""
        delay = _FIRST_SETTLE_SECONDS
        while True:
            self._failed.clear()
            if await self._settle():
                delay = _SETTLE_SECONDS
            self._recovered.set()
            try:
                await asyncio.wait_for(self._failed.wait(), delay)
            except TimeoutError:
                # A daemon that was started anew answers within seconds, a host within minutes.
                delay = min(2 * delay, _SETTLE_SECONDS)
            else:
                delay = _FIRST_SETTLE_SECONDS

    async def _settle(self) -> bool:
        """Bring to an end what can be; say whether nothing is left."""
        try:
            # In this order: of what was not settled then, nothing can have begun since.
            unsettled = await self._failovers.unsettled()
            running = await self._busy()
        except SQLAlchemyError:
            _LOGGER.exception("What was interrupted cannot be looked at at the moment")
            return False
        return all([await self._recover(uid) for uid in unsettled if uid not in running])

    async def _recover(self, uid: UUID) -> bool:
        """Bring to an end what was interrupted with a replica; say whether that was possible."""
        try:
            await self._failovers.recover(uid)
        except (EngineError, RefusedError) as error:
            _LOGGER.warning("Replica %s is not settled yet: %s", uid, error)
        except Exception:
            # One that cannot be settled, for whatever reason, must not keep others from it.
            _LOGGER.exception("Replica %s is not settled yet", uid)
        else:
            return True
        return False

    async def _busy(self) -> set[UUID]:
        rows = await self._store.read(failover_sessions.unfinished)
        return {row.replica_uid for row in rows}

    async def _supervise(self, session: UUID, work: asyncio.Task[str]) -> None:
        """See an operation to its end, whatever it does. This task is never cancelled."""
        try:
            await asyncio.wait({work})
            self._work.pop(session, None)
            if work.cancelled():
                await self._end(session, failure="It was stopped.")
            elif error := work.exception():
                known = isinstance(error, EngineError | RefusedError)
                if not known:
                    _LOGGER.error("Failover %s ended unexpectedly", session, exc_info=error)
                await self._end(session, failure=str(error) if known else UNEXPECTED)
            else:
                await self._end(session, note=work.result())
                return
            self._failed.set()
        finally:
            del self._supervisors[session]

    async def _end(self, session: UUID, *, failure: str | None = None, note: str = "") -> None:
        """End a session; try until the database takes it, since none may stay running."""

        def end(connection: Connection) -> None:
            now = milliseconds(self._clock.now())
            failover_sessions.end(connection, session, now, failure=failure, note=note)

        while True:
            try:
                await self._store.write(end)
            except SQLAlchemyError:
                _LOGGER.exception("The end of failover %s cannot be written yet", session)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _run(self, session: UUID) -> str:
        if not await self._store.write(lambda c: failover_sessions.start_working(c, session)):
            raise RefusedError("It was stopped.")  # its row has the reason
        fractions = [0.0]

        def note(progress: Progress) -> None:
            fractions[0] = progress.fraction

        publishing = asyncio.create_task(self._keep_publishing(session, fractions))
        try:
            return await self._failovers.run(session, note)
        finally:
            publishing.cancel()
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
        await self._store.write(lambda c: failover_sessions.set_progress(c, session, percent))


async def end_interrupted(store: Store, clock: Clock) -> None:
    """End the sessions that a crash interrupted. Run on every start, before all else."""
    now = milliseconds(clock.now())

    def end(connection: Connection) -> None:
        for row in failover_sessions.unfinished(connection):
            failover_sessions.end(connection, row.uid, now, failure=CUT_SHORT)

    await store.write(end)
