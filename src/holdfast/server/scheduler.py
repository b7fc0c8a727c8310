"""Starts jobs when their time has come."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from sqlalchemy import Connection

from holdfast.server import jobs, sessions
from holdfast.server.clock import Clock, milliseconds, moment_of
from holdfast.server.job_runner import JobRunner
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_RETRY_SECONDS = 30.0


class Scheduler:
    """Waits for the next time of any job. The times themselves are in the rows of the jobs."""

    def __init__(self, store: Store, clock: Clock, runner: JobRunner) -> None:
        self._store = store
        self._clock = clock
        self._runner = runner
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Look at the jobs again: one of them may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Start jobs as they come due, until cancelled."""
        while True:
            self._changed.clear()
            try:
                for session in await self._store.write(self._begin_due):
                    self._runner.launch(session)
                first = await self._store.read(jobs.first_due)
            except Exception:
                # read), a scheduler that gave up would leave people without backups unnoticed.
                _LOGGER.exception("The schedule cannot be followed at the moment")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await self._wait(first)

    def _begin_due(self, connection: Connection) -> list[UUID]:
        now = self._clock.now()
        begun = []
        for job in jobs.due_jobs(connection, now):
            if jobs.running_session(connection, job.uid) is not None:
                _LOGGER.warning('Job "%s" is due and still running: skipped this time', job.name)
                continue
            begun.append(sessions.begin_session(connection, job.uid, milliseconds(now)))
        return begun

    async def _wait(self, until: int | None) -> None:
        """Return when the moment has come, or something has changed."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._changed.wait())]
        if until is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(moment_of(until))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
