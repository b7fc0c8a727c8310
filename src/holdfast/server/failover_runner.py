"""Runs sessions of failovers, each to its end, and brings to an end what was interrupted.

They do not wait for one another, nor for backups and restores: whoever asks for one is in need.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.errors import EngineError
from holdfast.server import failover_sessions
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.failover import Failovers
from holdfast.server.recovery import STOPPED_UNEXPECTEDLY
from holdfast.server.refusal import RefusedError
from holdfast.server.session_runner import SessionRunner
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
#: How long after a failure it is tried to settle what was left: twice as long each time.
_FIRST_SETTLE_SECONDS = 1.0
_SETTLE_SECONDS = 30.0
CUT_SHORT = (
    f"{STOPPED_UNEXPECTEDLY} What it had begun is brought to an end now; the state of the replica "
    "tells which."
)


class FailoverRunner(SessionRunner):
    """The operations on replicas that are running now."""

    def __init__(self, store: Store, clock: Clock, failovers: Failovers) -> None:
        super().__init__(store, clock, failover_sessions, "failover", "It was stopped.")
        self._failovers = failovers
        self._recovered = asyncio.Event()
        #: Set when an operation has failed, and may have left something to be settled.
        self._failed = asyncio.Event()

    def launch(self, session: UUID) -> None:
        """Let an operation that was begun run. What becomes of it is in its row."""
        self._begin(session, self._run(session))

    async def wait_until_idle(self) -> None:
        """Return when nothing runs, and what was interrupted before the start was looked at."""
        await self._recovered.wait()
        await super().wait_until_idle()

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
            # The one before may have waited for its host, and somebody has asked meanwhile.
            if uid in await self._busy():
                return True
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

    async def _end(self, session: UUID, *, failure: str | None = None, note: str = "") -> None:
        await super()._end(session, failure=failure, note=note)
        if failure is not None:
            self._failed.set()

    async def _run(self, session: UUID) -> str:
        if not await self._store.write(lambda c: failover_sessions.start_working(c, session)):
            raise RefusedError("It was stopped.")  # its row has the reason
        return await self._told(session, partial(self._failovers.run, session))


async def end_interrupted(store: Store, clock: Clock) -> None:
    """End the sessions that a crash interrupted. Run on every start, before all else."""
    now = milliseconds(clock.now())

    def end(connection: Connection) -> None:
        for row in failover_sessions.unfinished(connection):
            failover_sessions.end(connection, row.uid, now, failure=CUT_SHORT)

    await store.write(end)
