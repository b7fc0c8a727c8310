"""Replicates a single machine now, and waits for it."""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy import Connection

from holdfast.engine.libvirt_connection import uninterrupted
from holdfast.server import replicas, sessions, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.hosted_objects import expand
from holdfast.server.job_lookup import job_in_use
from holdfast.server.job_runner import JobRunner
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_start import open_session
from holdfast.server.session_state import Cause, JobSessionState, Result
from holdfast.server.store import Store


class ReplicaRuns:
    """Runs the job of a replica, for that replica alone."""

    def __init__(self, store: Store, clock: Clock, runner: JobRunner) -> None:
        self._store = store
        self._clock = clock
        self._runner = runner

    async def replicate(self, uid: UUID) -> None:
        """Make a new point of a replica; raise RefusedError saying why that failed."""
        before = await self._newest(uid)
        session = await self._store.write(lambda connection: self._begin(connection, uid))
        self._runner.launch(session)
        try:
            await self._runner.ended(session)
        except asyncio.CancelledError:
            # Whoever takes back what was done must not meet it at the machine.
            await uninterrupted(self._call_off(session))
            raise
        row = await self._store.read(lambda c: row_of(c, tables.job_session, session))
        if row.result == Result.FAILED or await self._newest(uid) == before:
            reason = row.failure_message or await self._store.read(lambda c: _reason(c, session))
            raise RefusedError(f"The machine could not be replicated: {reason}")

    async def _call_off(self, session: UUID) -> None:
        def request(connection: Connection) -> None:
            state = row_of(connection, tables.job_session, session).state
            if state != JobSessionState.STOPPED:
                sessions.request_stop(connection, session, "The planned failover was called off.")

        await self._store.write(request)
        self._runner.interrupt(session)
        await self._runner.ended(session)

    async def _newest(self, uid: UUID) -> UUID | None:
        found = await self._store.read(lambda c: replicas.points_of(c, uid))
        newest: UUID | None = found[-1].uid if found else None
        return newest

    def _begin(self, connection: Connection, uid: UUID) -> UUID:
        replica = replicas.find_replica(connection, uid)
        backup = row_of(connection, tables.backup, replica.backup_uid)
        job = job_in_use(connection, backup.job_uid)
        for row in expand(connection, job.uid):
            if row.reference == replica.reference:
                now = milliseconds(self._clock.now())
                return open_session(connection, job, [row], now, Cause.PART)
        raise RefusedError(f'Job "{job.name}" does not replicate "{replica.name}" any more.')


def _reason(connection: Connection, session: UUID) -> str:
    table = tables.task_session
    query = table.select().where(table.c.job_session_uid == session)
    reasons = [row.reason for row in connection.execute(query) if row.reason]
    return " ".join(reasons) or "no point was made."
