"""Carries out what a manager asks for: each request once, however often it is asked.

What a command does to the rows and the answer it gets are written in one transaction, so the
answer to a request id is there exactly when its effect is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Connection, insert, select

from holdfast.engine.errors import EngineError
from holdfast.server import outbox, tables
from holdfast.server.clock import Clock, milliseconds
from holdfast.server.job_runner import JobRunner
from holdfast.server.messages import Command, Outcome
from holdfast.server.operations import Done, Operation, Preparation
from holdfast.server.refusal import RefusedError
from holdfast.server.store import Store


class Commands:
    """Where commands arrive."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        runner: JobRunner,
        wake: Iterable[Callable[[], None]],
        operations: Mapping[str, Operation],
        prepared: Mapping[str, Preparation],
    ) -> None:
        """`prepared` are operations that look outside the database before they know what to do.

        `wake` are called after each command: something may be due at another time now.
        """
        self._operations = operations
        self._prepared = prepared
        self._preparing: dict[UUID, asyncio.Future[Operation]] = {}
        self._store = store
        self._clock = clock
        self._runner = runner
        self._wake = tuple(wake)
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

    async def outcome(self, request_id: UUID) -> Outcome | None:
        """Given a request id, return how that command ended; None if none was carried out."""
        return await self._store.read(lambda c: _known_outcome(c, request_id))

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
        for wake in self._wake:
            wake()
        return outcome

    async def _operation(self, command: Command) -> Operation:
        """Return what a command does. One that comes twice at once is prepared once."""
        name = command.operation
        prepare = self._prepared.get(name)
        if prepare is None:
            unknown = _refusing(f'The backup server knows no operation "{name}".')
            return self._operations.get(name, unknown)
        if await self.outcome(command.request_id) is not None:
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
        if (known := _known_outcome(connection, command.request_id)) is not None:
            return Done(), known
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
            awaits=done.awaits,
        )
        connection.execute(
            insert(tables.command).values(
                request_id=command.request_id,
                operation=command.operation,
                asked_by=command.asked_by,
                created=milliseconds(now),
                outcome=msgspec.json.encode(outcome).decode(),
                awaits=outcome.awaits,
            )
        )
        return done, outcome


def _refusing(reason: str) -> Operation:
    def refuse(_connection: Connection, _command: Command, _now: datetime) -> Done:
        raise RefusedError(reason)

    return refuse


def _nothing(_connection: Connection, _command: Command, _now: datetime) -> Done:
    """What is left to do for a command that was carried out before."""
    return Done()


def _known_outcome(connection: Connection, request_id: UUID) -> Outcome | None:
    table = tables.command
    text = connection.scalar(select(table.c.outcome).where(table.c.request_id == request_id))
    return None if text is None else msgspec.json.decode(text, type=Outcome)
