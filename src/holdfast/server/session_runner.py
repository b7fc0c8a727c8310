"""Runs sessions of one kind, each to its end: supervised, their progress published."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from holdfast.engine.errors import EngineError
from holdfast.engine.progress import Progress, ProgressCallback
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.job_runner import UNEXPECTED
from holdfast.server.refusal import RefusedError
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_PROGRESS_SECONDS = 1.0
_RETRY_SECONDS = 5.0


class Sessions(Protocol):
    """What is written down of sessions of one kind: a module with these functions."""

    def unfinished(self, connection: Connection, /) -> list[Row[Any]]:
        """Return the sessions that have not ended, oldest first."""

    def request_stop(self, connection: Connection, uid: UUID, reason: str, /) -> None:
        """Note that a session is to stop and why."""

    def set_progress(self, connection: Connection, uid: UUID, percent: int, /) -> None:
        """Note how far a session is."""

    def end(
        self,
        connection: Connection,
        uid: UUID,
        now: int,
        /,
        *,
        failure: str | None = None,
        note: str = "",
    ) -> Any:
        """End a session: failed, for the reason given; with a warning; or well."""


class SessionRunner:
    """The sessions of one kind that are running now.

    `kind` names one in the log, `stopped` is why one fails whose row has no other reason;
    `sessions` is the module with what is written down of them.
    """

    def __init__(
        self, store: Store, clock: Clock, sessions: Sessions, kind: str, stopped: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._sessions = sessions
        self._kind = kind
        self._stopped = stopped
        self._work: dict[UUID, asyncio.Task[str]] = {}
        self._supervisors: dict[UUID, asyncio.Task[None]] = {}

    def interrupt(self, session: UUID) -> None:
        """Let go of a session that was asked to stop: what it is doing is cancelled at once."""
        if (work := self._work.pop(session, None)) is not None:
            work.cancel()

    async def ended(self, session: UUID) -> None:
        """Return when a session that was launched has ended."""
        if (supervisor := self._supervisors.get(session)) is not None:
            await asyncio.wait({supervisor})

    async def wait_until_idle(self) -> None:
        """Return when no session runs."""
        while self._supervisors:
            await asyncio.wait(list(self._supervisors.values()))

    async def stop_all(self, reason: str) -> None:
        """Stop every session, for the reason given, and return when all have ended."""

        def request(connection: Connection) -> None:
            for row in self._sessions.unfinished(connection):
                if not self._goes_on(row):
                    self._sessions.request_stop(connection, row.uid, reason)

        await self._store.write(request)
        for session in list(self._work):
            self.interrupt(session)
        await SessionRunner.wait_until_idle(self)
        # One that was begun, but never launched, has nobody else to end it.
        for row in await self._store.read(self._sessions.unfinished):
            if not self._goes_on(row):
                await self._end(row.uid, failure=reason)

    def _goes_on(self, _row: Row[Any]) -> bool:
        """Say whether a session is not ended by a stop of the server, but goes on at its start."""
        return False

    def _begin(self, session: UUID, running: Coroutine[None, None, str]) -> None:
        """Let a session run; what it returns is noted, what it raises is why it failed."""
        work = asyncio.create_task(running, name=f"{self._kind} {session}")
        self._work[session] = work
        self._supervisors[session] = asyncio.create_task(self._supervise(session, work))

    async def _supervise(self, session: UUID, work: asyncio.Task[str]) -> None:
        """See a session to its end, whatever its work does. This task is never cancelled."""
        try:
            await asyncio.wait({work})
            self._work.pop(session, None)
            if work.cancelled():
                await self._end_cancelled(session)
            elif error := work.exception():
                await self._end_failed(session, error)
            else:
                await self._end(session, note=work.result())
        finally:
            del self._supervisors[session]

    async def _end_cancelled(self, session: UUID) -> None:
        await self._end(session, failure=self._stopped)

    async def _end_failed(self, session: UUID, error: BaseException) -> None:
        known = isinstance(error, EngineError | RefusedError)
        if not known:
            _LOGGER.error("%s %s ended unexpectedly", self._kind, session, exc_info=error)
        await self._end(session, failure=str(error) if known else UNEXPECTED)

    async def _end(self, session: UUID, *, failure: str | None = None, note: str = "") -> None:
        await self._write_end(session, partial(self._sessions.end, failure=failure, note=note))

    async def _write_end(
        self, session: UUID, end: Callable[[Connection, UUID, int], object]
    ) -> None:
        """End a session; try until the database takes it, since none may stay running."""

        def write(connection: Connection) -> None:
            end(connection, session, milliseconds(self._clock.now()))

        while True:
            try:
                await self._store.write(write)
            except SQLAlchemyError:
                _LOGGER.exception("The end of %s %s cannot be written yet", self._kind, session)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _told(
        self, session: UUID, work: Callable[[ProgressCallback], Coroutine[Any, Any, str]]
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
        await self._store.write(lambda c: self._sessions.set_progress(c, session, percent))
