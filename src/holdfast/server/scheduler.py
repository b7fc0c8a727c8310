"""Starts jobs when their time has come, and stops them when their backup window closes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from holdfast.server import job_schedules, sessions, tables
from holdfast.server.alarm import Alarm
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.copy_plan import has_points_to_copy
from holdfast.server.hosted_objects import all_away
from holdfast.server.job_lookup import running_session
from holdfast.server.job_runner import JobRunner
from holdfast.server.job_specification import IMMEDIATE_COPY
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_start import begin_retry, begin_session, objects_to_retry
from holdfast.server.session_state import ASIDE, Cause, JobSessionState
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_RETRY_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 60.0
WINDOW_CLOSED = "The session was stopped because the backup window of its job closed."


class Scheduler:
    """Waits for the next time of any job. The times themselves are in the rows of the jobs."""

    def __init__(self, store: Store, clock: Clock, runner: JobRunner) -> None:
        self._store = store
        self._clock = clock
        self._runner = runner
        self._alarm = Alarm(clock)
        #: What time it was when the jobs were last looked at; None before that.
        self._seen: datetime | None = None
        runner.when_ended(self.wake)

    def wake(self) -> None:
        """Look at the jobs again: one of them may have changed."""
        self._alarm.wake()

    async def run(self) -> None:
        """Start jobs as they come due, until cancelled."""
        while True:
            self._alarm.clear()
            try:
                await self._look_at_clock()
                first = await self._store.read(self._next_time)
                # It is woken by all that goes on: nobody else has to wait for it to write nothing.
                if first is not None and first <= milliseconds(self._clock.now()):
                    for session in await self._store.write(self._begin_due):
                        self._runner.launch(session)
                    for session in await self._store.write(self._close_windows):
                        self._runner.interrupt(session)
                    first = await self._store.read(self._next_time)
            except Exception:
                # Whatever it is (a full disk, a database that is away, a row that cannot be
                # read), a scheduler that gave up would leave people without backups unnoticed.
                _LOGGER.exception("The schedule cannot be followed at the moment")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                # Not for longer: the clock may be set back meanwhile.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                        await self._alarm.wait(first)

    async def _look_at_clock(self) -> None:
        """See to it that no job waits for a time that a clock was at which has been set back."""
        now = self._clock.now()
        if self._seen is None or now < self._seen:
            await self._store.write(lambda c: job_schedules.bring_back(c, now))
        self._seen = now

    def _begin_due(self, connection: Connection) -> list[UUID]:
        now = self._clock.now()
        begun = []
        for job in job_schedules.due_jobs(connection, now):
            running = running_session(connection, job.uid)
            if running is not None and (running.cause in ASIDE or job.kind == IMMEDIATE_COPY):
                # A backup of one machine must not cost the others their night, and a point that
                # was made during the copying of others must not be forgotten.
                job_schedules.put_off(connection, job.uid, now)
                continue
            if running is not None:
                _LOGGER.warning('Job "%s" is due and still running: skipped this time', job.name)
                continue
            if job.kind == IMMEDIATE_COPY and not has_points_to_copy(connection, job, now):
                continue
            begun.append(begin_session(connection, job.uid, milliseconds(now), Cause.SCHEDULE))
        for job in job_schedules.due_retries(connection, now):
            objects = objects_to_retry(connection, job)
            if running_session(connection, job.uid) is not None or (
                objects is not None and all_away(connection, job, objects)
            ):
                # Tried now, it would be lost, or fail for the same reason.
                job_schedules.put_off_retry(connection, job, now)
                continue
            try:
                begun.append(begin_retry(connection, job.uid, milliseconds(now), Cause.RETRY))
            except RefusedError as refusal:
                # What had failed was backed up since.
                _LOGGER.info("No retry: %s", refusal)
        return begun

    def _close_windows(self, connection: Connection) -> list[UUID]:
        now = self._clock.now()
        closed = []
        for session, closing in _closings(connection, now):
            if closing <= now and session.state != JobSessionState.STOPPING:
                sessions.request_stop(connection, session.uid, WINDOW_CLOSED)
                closed.append(session.uid)
        return closed

    def _next_time(self, connection: Connection) -> int | None:
        times = [
            milliseconds(closing)
            for session, closing in _closings(connection, self._clock.now())
            if session.state != JobSessionState.STOPPING
        ]
        if (first := job_schedules.first_due(connection)) is not None:
            times.append(first)
        return min(times, default=None)


def _closings(connection: Connection, now: datetime) -> list[tuple[Row[Any], datetime]]:
    """Return the sessions that run in a backup window, each with the moment when it closes."""
    found = []
    for uid in sessions.unfinished_sessions(connection):
        session = row_of(connection, tables.job_session, uid)
        job = row_of(connection, tables.job, session.job_uid)
        closing = job_schedules.closing_of(job, session, now)
        if closing is not None:
            found.append((session, closing))
    return found
