"""Starts and undoes failover plans: one machine after the other.

A machine that cannot take over does not keep those after it from doing so: in a disaster, most of
it is better than nothing. The plan's outcome names it; the run has failed when it went so with all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from holdfast.server import failover_plans, failover_sessions, replicas, tables
from holdfast.server.clock import Clock, milliseconds, moment_of, pause
from holdfast.server.failover_record import Operation
from holdfast.server.failover_runner import FailoverRunner
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.job_runner import UNEXPECTED
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState
from holdfast.server.session_state import Result
from holdfast.server.store import Store

_LOGGER = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0


class FailoverPlanRunner:
    """The plans that are being started or undone."""

    def __init__(self, store: Store, clock: Clock, runner: FailoverRunner) -> None:
        self._store = store
        self._clock = clock
        self._runner = runner
        self._work: dict[UUID, asyncio.Task[None]] = {}

    def launch(self, plan: UUID, doing: str, until: int | None = None) -> None:
        """Let a plan that was begun go on; what becomes of it is in its row.

        Machines take over from their newest point, or the newest that is not later than ``until``,
        in milliseconds since 1970 UTC.
        """
        work = asyncio.create_task(self._run(plan, doing, until), name=f"failover plan {plan}")
        self._work[plan] = work
        work.add_done_callback(lambda _: self._work.pop(plan, None))

    async def wait_until_idle(self) -> None:
        """Return when no plan is being started or undone."""
        while self._work:
            await asyncio.wait(list(self._work.values()))

    async def stop_all(self, reason: str) -> None:
        """Begin with no further machine; a plan that was stopped tells why."""
        plans = list(self._work)
        for work in list(self._work.values()):
            work.cancel()
        await self.wait_until_idle()
        for plan in plans:
            await self._end(plan, reason, success=False)

    async def _run(self, plan: UUID, doing: str, until: int | None) -> None:
        try:
            machines = await self._store.read(lambda c: failover_plans.machines_of(c, plan))
            if doing == failover_plans.START:
                outcome, success = await self._start(machines, until)
            else:
                outcome, success = await self._undo(machines)
        except Exception:  # whatever it was, no plan may seem to be going on for ever
            _LOGGER.exception("Failover plan %s ended unexpectedly", plan)
            outcome, success = UNEXPECTED, False
        await self._end(plan, outcome, success=success)

    async def _end(self, plan: UUID, outcome: str, *, success: bool) -> None:
        """End a plan's run; try until the database takes it, since none may seem to go on."""
        while True:
            try:
                await self._store.write(
                    lambda c: failover_plans.end(c, plan, outcome, success=success)
                )
            except SQLAlchemyError:
                _LOGGER.exception("The end of failover plan %s cannot be written yet", plan)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _start(self, machines: Sequence[Row[Any]], until: int | None) -> tuple[str, bool]:
        problems = []
        for number, machine in enumerate(machines, start=1):
            problem = await self._take_over(machine, until)
            if problem is not None:
                problems.append(problem)
            if number < len(machines):
                await pause(self._clock, timedelta(seconds=machine.delay))
        return _outcome("have taken over", len(machines), problems)

    async def _take_over(self, machine: Row[Any], until: int | None) -> str | None:
        def begin(connection: Connection) -> UUID | None:
            replica = replicas.find_replica(connection, machine.replica_uid)
            if machine.started and replica.state == ReplicaState.FAILOVER:
                return None  # by an earlier start of the plan
            session = failover_sessions.begin(
                connection,
                replica.uid,
                Operation.FAILOVER,
                FailoverOptions(),
                milliseconds(self._clock.now()),
                _point(connection, replica, until),
            )
            # Before it is done: after a crash, undoing the plan finds it.
            failover_plans.set_started(connection, machine.uid, started=True)
            return session

        problem = await self._done(machine, begin)
        if problem is not None:
            await self._store.write(lambda c: self._forget(c, machine))
        return problem

    async def _undo(self, machines: Sequence[Row[Any]]) -> tuple[str, bool]:
        started = [machine for machine in reversed(machines) if machine.started]
        problems = []
        for machine in started:

            def begin(connection: Connection, machine: Row[Any] = machine) -> UUID | None:
                replica = replicas.find_replica(connection, machine.replica_uid)
                if replica.state == ReplicaState.READY:
                    return None  # undone by hand, or it never came that far
                now = milliseconds(self._clock.now())
                return failover_sessions.begin(
                    connection, replica.uid, Operation.UNDO, FailoverOptions(), now
                )

            problem = await self._done(machine, begin)
            if problem is None:
                await self._store.write(partial(_not_started, machine=machine.uid))
            else:
                problems.append(problem)
                await self._store.write(partial(self._forget, machine=machine))
        return _outcome("stand ready again", len(started), problems)

    async def _done(self, machine: Row[Any], begin: Any) -> str | None:
        """Have an operation done to its end; return why it failed, or None."""
        try:
            session = await self._store.write(begin)
        except RefusedError as refusal:
            return str(refusal)
        if session is None:
            return None
        self._runner.launch(session)
        await self._runner.ended(session)
        row = await self._store.read(lambda c: row_of(c, tables.failover_session, session))
        if row.result != Result.FAILED:
            return None
        replica = await self._store.read(lambda c: replicas.find_replica(c, machine.replica_uid))
        return f"{replica.machine_name}: {row.failure_message}"

    @staticmethod
    def _forget(connection: Connection, machine: Row[Any]) -> None:
        replica = replicas.find_replica(connection, machine.replica_uid)
        # One that has taken over for good cannot be undone; it must not keep the plan for ever.
        if replica.state in replicas.AT_REST | {ReplicaState.PERMANENT}:
            failover_plans.set_started(connection, machine.uid, started=False)


def _not_started(connection: Connection, machine: UUID) -> None:
    failover_plans.set_started(connection, machine, started=False)


def _point(connection: Connection, replica: Row[Any], until: int | None) -> UUID | None:
    if until is None:
        return None
    good = failover_sessions.good_points(connection, replica.uid)
    found = [row for row in good if row.created <= until]
    if not found:
        raise RefusedError(
            f'Replica "{replica.machine_name}" has no good restore point of {moment_of(until)} or '
            "earlier."
        )
    uid: UUID = found[-1].uid
    return uid


def _outcome(done: str, machines: int, problems: Sequence[str]) -> tuple[str, bool]:
    """Return how a run ended, in words, and whether it went well with any machine."""
    well = machines - len(problems)
    told = " ".join([f"{well} of {machines} machines {done}.", *problems])
    return told, well > 0 or not problems
