"""Carries out what a manager asks for: each request once, however often it is asked.

What a command does to the rows and the answer it gets are written in one transaction, so the
answer to a request id is there exactly when its effect is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection, insert, select

from holdfast.engine.errors import EngineError
from holdfast.server import jobs, outbox, sessions, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.job_runner import JobRunner
from holdfast.server.jobs import CloneSpecification, JobSpecification
from holdfast.server.messages import Command, Made, Outcome
from holdfast.server.names import session_name
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.scheduler import Scheduler
from holdfast.server.session_state import JobSessionState
from holdfast.server.store import Store

_OK = "Ok"
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What a command has done to the rows, and what is still to be done when they are written."""

    message: str = _OK
    made: Made | None = None
    launch: UUID | None = None
    interrupt: UUID | None = None
    then: Callable[[], None] | None = None


#: What a command does to the rows, in a writing transaction.
Operation = Callable[[Connection, Command, datetime], Done]

#: For a command that must look at things outside the database first: gives what it then does.
Preparation = Callable[[Command], Awaitable[Operation]]


class Commands:
    """Where commands arrive."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        runner: JobRunner,
        scheduler: Scheduler,
        prepared: Mapping[str, Preparation],
    ) -> None:
        """`prepared` are operations beside those of jobs and job sessions."""
        self._prepared = prepared
        self._preparing: dict[UUID, asyncio.Future[Operation]] = {}
        self._store = store
        self._clock = clock
        self._runner = runner
        self._scheduler = scheduler
        self._running: set[asyncio.Task[Outcome]] = set()
        self._closed = False

    async def execute(self, command: Command) -> Outcome:
        """Carry a command out, unless it was already; return its outcome."""
        if self._closed:
            # Not kept: asked again later, the same request is carried out.
            return Outcome(success=False, message="The backup server is shutting down.", cursor=0)
        # In a task of its own: when whoever asked goes away in the middle, what was written must
        # still be followed by what belongs to it.
        task = asyncio.create_task(self._execute(command))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Take no more commands, and return when those that run have ended."""
        self._closed = True
        if self._running:
            await asyncio.wait(list(self._running))

    async def _execute(self, command: Command) -> Outcome:
        operation = await self._operation(command)
        done, outcome = await self._store.write(lambda c: self._answer(c, command, operation))
        if done.then is not None:
            done.then()
        if done.launch is not None:
            self._runner.launch(done.launch)
        if done.interrupt is not None:
            self._runner.interrupt(done.interrupt)
        self._scheduler.wake()
        return outcome

    async def _operation(self, command: Command) -> Operation:
        """Return what a command does. One that comes twice at once is prepared once."""
        prepare = self._prepared.get(command.operation)
        if prepare is None:
            return _operation(command.operation)
        if await self._store.read(lambda c: _known_outcome(c, command)) is not None:
            return _nothing
        preparing = self._preparing.get(command.request_id)
        if preparing is None:
            preparing = asyncio.ensure_future(prepare(command))
            self._preparing[command.request_id] = preparing
        try:
            return await preparing
        except (EngineError, RefusedError) as error:
            return _refusing(str(error))
        finally:
            self._preparing.pop(command.request_id, None)

    def _answer(
        self, connection: Connection, command: Command, operation: Operation
    ) -> tuple[Done, Outcome]:
        table = tables.command
        if (text := _known_outcome(connection, command)) is not None:
            return Done(), msgspec.json.decode(text, type=Outcome)
        now = self._clock.now()
        done, success = Done(), True
        try:
            # What was written before a refusal is taken back; the refusal itself is kept.
            with connection.begin_nested():
                done = operation(connection, command, now)
        except RefusedError as refusal:
            done, success = Done(str(refusal)), False
        outcome = Outcome(
            success=success,
            message=done.message,
            cursor=outbox.cursor(connection),
            made=done.made,
        )
        connection.execute(
            insert(table).values(
                request_id=command.request_id,
                operation=command.operation,
                asked_by=command.asked_by,
                created=milliseconds(now),
                outcome=msgspec.json.encode(outcome).decode(),
            )
        )
        return done, outcome


def _known_outcome(connection: Connection, command: Command) -> str | None:
    table = tables.command
    known = select(table.c.outcome).where(table.c.request_id == command.request_id)
    found: str | None = connection.scalar(known)
    return found


def _operation(name: str) -> Operation:
    return OPERATIONS.get(name) or _refusing(f'The backup server knows no operation "{name}".')


def _refusing(reason: str) -> Operation:
    def refuse(_connection: Connection, _command: Command, _now: datetime) -> Done:
        raise RefusedError(reason)

    return refuse


def _nothing(_connection: Connection, _command: Command, _now: datetime) -> Done:
    """What is left to do for a command that was carried out before."""
    return Done()


def _start_job(connection: Connection, command: Command, now: datetime) -> Done:
    return _begin(connection, command, now, retry=False)


def _retry_job(connection: Connection, command: Command, now: datetime) -> Done:
    return _begin(connection, command, now, retry=True)


def _begin(connection: Connection, command: Command, now: datetime, *, retry: bool) -> Done:
    uid = sessions.begin_session(connection, command.target, milliseconds(now), retry=retry)
    row = row_of(connection, tables.job_session, uid)
    name = session_name(row.job_name, row.created)
    return Done(made=Made(type="BackupJobSession", uid=uid, name=name), launch=uid)


def _stop_job(connection: Connection, command: Command, _now: datetime) -> Done:
    job = jobs.job_in_use(connection, command.target)
    running = jobs.running_session(connection, job.uid)
    if running is None:
        raise RefusedError(f'Job "{job.name}" is not running.')
    return _stop(connection, running.uid, command)


def _stop_session(connection: Connection, command: Command, _now: datetime) -> Done:
    table = tables.job_session
    row = connection.execute(select(table).where(table.c.uid == command.target)).first()
    if row is None:
        raise RefusedError(f"Cannot find backup session [{command.target}].")
    if row.state == JobSessionState.STOPPED:
        name = session_name(row.job_name, row.created)
        raise RefusedError(f'Session "{name}" has ended already.')
    return _stop(connection, row.uid, command)


def _stop(connection: Connection, session: UUID, command: Command) -> Done:
    by = f" by {command.asked_by}" if command.asked_by else ""
    sessions.request_stop(connection, session, f"The session was stopped{by}.")
    return Done(interrupt=session)


def _clone_job(connection: Connection, command: Command, now: datetime) -> Done:
    specification = _read(command, CloneSpecification)
    uid, name = jobs.clone_job(connection, command.target, specification, now)
    return Done(made=Made(type="Job", uid=uid, name=name))


def _toggle_schedule(connection: Connection, command: Command, now: datetime) -> Done:
    jobs.toggle_schedule(connection, command.target, now)
    return Done()


def _delete_job(connection: Connection, command: Command, _now: datetime) -> Done:
    jobs.delete_job(connection, command.target)
    return Done()


def _create_job(connection: Connection, command: Command, now: datetime) -> Done:
    specification = _read(command, JobSpecification)
    uid = jobs.create_job(connection, specification, now)
    return Done(made=Made(type="Job", uid=uid, name=specification.name.strip()))


def _read(command: Command, wanted: type[T]) -> T:
    """Return a command's arguments as the type they should have; refuse what does not fit."""
    try:
        return msgspec.convert(command.arguments, wanted)
    except msgspec.ValidationError as error:
        raise RefusedError(
            f"The arguments of {command.operation} are not valid: {error}"
        ) from error


OPERATIONS: Mapping[str, Operation] = {
    "start-job": _start_job,
    "stop-job": _stop_job,
    "retry-job": _retry_job,
    "clone-job": _clone_job,
    "toggle-schedule": _toggle_schedule,
    "delete-job": _delete_job,
    "stop-session": _stop_session,
    "create-job": _create_job,
}
