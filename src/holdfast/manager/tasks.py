"""Tasks: following what was asked for from Running to Finished."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid4

import msgspec

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.values import encoder
from holdfast.catalog.writer import RowState, put, remove
from holdfast.manager.collection import Collector
from holdfast.manager.connection import BackupServerNotTrusted, BackupServerUnavailable
from holdfast.manager.errors import LogonSessionOver
from holdfast.manager.logon_sessions import LogonSession
from holdfast.manager.task_links import link_of
from holdfast.server.messages import Command, Made, Outcome

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0
#: How long to wait until it is asked again whether something that was begun has ended.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

_INTERRUPTED = "The manager was stopped before this was done. It was not tried again."
_FORGOTTEN = "The backup server does not know any more how this ended."
_COLLECTING = "Data collection started. To view results, go to Sessions."


@dataclass(frozen=True)
class _Task:
    """What stays the same through a task's life."""

    uid: UUID
    logon_session: UUID
    number: int
    operation: str


class Tasks:
    """The tasks of all logon sessions.

    A task is Running while the backup server works on it (and, where a command begins what lasts,
    such as the start of a failover plan, until that has ended), OperationFinished when that is done
    but not yet collected, and Finished when the catalog shows its effect. A command is kept until
    then: a manager that starts again asks how it ended, by its request id, until the backup server
    answers. One that had not been taken up before the stop is not sent again, since nobody expects
    a job to start hours later.
    """

    def __init__(
        self, store: CatalogStore, collector_of: Callable[[UUID], Collector | None]
    ) -> None:
        self._store = store
        self._collector_of = collector_of
        self._resource = store.schema["Task"]
        self._followed: dict[UUID, asyncio.Task[None]] = {}

    async def start(
        self, session: LogonSession, operation: str, server: UUID, command: Command
    ) -> UUID:
        """Given a command for a backup server, start a task that has it done; return its UID."""

        def insert(connection: Connection, task: _Task) -> None:
            connection.execute(
                "INSERT INTO unfinished_command (task_uid, server_uid, command) VALUES (?, ?, ?)",
                (task.uid.bytes, server.bytes, msgspec.json.encode(command).decode()),
            )

        task = await self._begin(session, operation, insert)
        self._follow(task, self._carry_out(task, server, command))
        return task.uid

    async def start_collection(self, session: LogonSession, operation: str, server: UUID) -> UUID:
        """Given a backup server, start a task that collects from it; return the task's UID."""
        task = await self._begin(session, operation, _nothing_more)
        self._follow(task, self._collect(task, server))
        return task.uid

    async def start_here(
        self, session: LogonSession, operation: str, work: Callable[[], Awaitable[str]]
    ) -> UUID:
        """Given work of the manager's own, start a task that does it; return the task's UID.

        The work returns the message to finish with. It is not gone on with after a restart.
        """
        task = await self._begin(session, operation, _nothing_more)
        self._follow(task, self._do_here(task, work))
        return task.uid

    async def delete(self, uid: UUID) -> None:
        """Given a task, stop following it and remove it."""
        followed = self._followed.pop(uid, None)
        if followed is not None:
            followed.cancel()
            await asyncio.wait([followed])

        def delete(connection: Connection) -> None:
            remove(connection, self._resource, uid)
            _forget_command(connection, uid)

        await self._store.write(delete)

    async def resume(self) -> None:
        """Follow to their end the tasks that a stop or crash interrupted."""

        finished = encoder(self._resource.value("State").type)("Finished")

        def unfinished(connection: Connection) -> list[tuple[_Task, UUID | None, str | None]]:
            rows = connection.execute(
                "SELECT t.uid, t.logon_session_uid, t.number, t.operation, c.server_uid, c.command"
                " FROM task AS t LEFT JOIN unfinished_command AS c ON c.task_uid = t.uid"
                " WHERE t.state <> ?",
                (finished,),
            )
            return [
                (
                    _Task(UUID(bytes=row[0]), UUID(bytes=row[1]), row[2], row[3]),
                    UUID(bytes=row[4]) if row[4] else None,
                    row[5],
                )
                for row in rows
            ]

        for task, server, command in await self._store.read(unfinished):
            if server is None or command is None:
                await self._finish(task, success=False, message=_INTERRUPTED)
            else:
                decoded = msgspec.json.decode(command, type=Command)
                self._follow(task, self._learn(task, server, decoded))

    async def stop(self) -> None:
        """Stop following; how the commands under way have ended is asked at the next start."""
        followed = list(self._followed.values())
        for task in followed:
            task.cancel()
        if followed:
            await asyncio.wait(followed)

    async def _begin(
        self,
        session: LogonSession,
        operation: str,
        also: Callable[[Connection, _Task], None],
    ) -> _Task:
        def insert(connection: Connection) -> _Task:
            numbered = connection.execute(
                "UPDATE logon_session SET tasks_numbered = tasks_numbered + 1"
                " WHERE uid = ? RETURNING tasks_numbered",
                (session.uid.bytes,),
            ).fetchone()
            if numbered is None:
                raise LogonSessionOver("The logon session has ended.")
            task = _Task(uuid4(), session.uid, numbered[0], operation)
            put(connection, self._resource, _state(task, "Running"))
            also(connection, task)
            return task

        return await self._store.write(insert)

    def _follow(self, task: _Task, work: Awaitable[None]) -> None:
        following = asyncio.ensure_future(self._guarded(task, work))
        self._followed[task.uid] = following
        following.add_done_callback(lambda _: self._followed.pop(task.uid, None))

    async def _guarded(self, task: _Task, work: Awaitable[None]) -> None:
        try:
            await work
        except BackupServerUnavailable as error:
            await self._finish(task, success=False, message=f"Backup server: {error}.")
        except Exception:  # noqa: BLE001 - the task must end; nobody else would ever finish it
            _log.exception("Task %s (%s) failed.", task.number, task.operation)
            message = "The operation failed inside the manager; its log has the details."
            await self._finish(task, success=False, message=message)

    async def _carry_out(self, task: _Task, server: UUID, command: Command) -> None:
        outcome = await self._collector(server).connection.execute(command)
        await self._conclude(task, server, command, outcome)

    async def _learn(self, task: _Task, server: UUID, command: Command) -> None:
        """Go on with a command that was sent before the manager was stopped.

        Unlike one that is sent now, it waits for a backup server that does not answer: what the
        command began may go on there for hours, and only the server knows how that ends.
        """
        outcome = await self._outcome(server, command)
        if outcome is None:
            await self._finish(task, success=False, message=_INTERRUPTED)
        else:
            await self._conclude(task, server, command, outcome)

    async def _conclude(
        self, task: _Task, server: UUID, command: Command, outcome: Outcome
    ) -> None:
        outcome = await self._ended(server, command, outcome)
        if not outcome.success:
            await self._finish(task, success=False, message=outcome.message)
            return
        link = link_of(command, outcome.made)
        await self._put(task, "OperationFinished", True, "OperationFinished")
        # Not the one of when the command was sent: the connection may have been changed since.
        await self._collector(server).reach(outcome.cursor)
        await self._finish(
            task, success=True, message=outcome.message, made=outcome.made, link=link
        )

    async def _ended(self, server: UUID, command: Command, outcome: Outcome) -> Outcome:
        """Return the outcome of a command when what it began has ended, however long that takes."""
        pause = _FIRST_PAUSE
        while outcome.awaits is not None:
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            latest = await self._outcome(server, command)
            if latest is None:
                return msgspec.structs.replace(
                    outcome, success=False, message=_FORGOTTEN, awaits=None
                )
            outcome = latest
        return outcome

    async def _outcome(self, server: UUID, command: Command) -> Outcome | None:
        """Return how a command ended as far as its backup server knows; None if it does not.

        One that does not answer is asked again: it knows when it is back. Raise
        BackupServerUnavailable when it is not connected, or not trusted.
        """
        pause = _FIRST_PAUSE
        while True:
            connection = self._collector(server).connection
            try:
                return await connection.outcome(command.request_id)
            except BackupServerNotTrusted:
                raise
            except BackupServerUnavailable as error:
                _log.debug("Backup server %s: %s", server, error)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    async def _do_here(self, task: _Task, work: Callable[[], Awaitable[str]]) -> None:
        await self._finish(task, success=True, message=await work())

    async def _collect(self, task: _Task, server: UUID) -> None:
        await self._collector(server).collect()
        await self._finish(task, success=True, message=_COLLECTING)

    def _collector(self, server: UUID) -> Collector:
        collector = self._collector_of(server)
        if collector is None:
            raise BackupServerUnavailable("it is not connected")
        return collector

    async def _finish(
        self,
        task: _Task,
        *,
        success: bool,
        message: str,
        made: Made | None = None,
        link: dict[str, Any] | None = None,
    ) -> None:
        while True:
            try:
                await self._put(task, "Finished", success, message, made, link)
            except sqlite3.Error:
                _log.exception("The end of task %s cannot be written yet.", task.number)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _put(
        self,
        task: _Task,
        state: str,
        success: bool,
        message: str,
        made: Made | None = None,
        link: dict[str, Any] | None = None,
    ) -> None:
        row = _state(task, state, {"Success": success, "Message": message}, made, link)
        present = "SELECT 1 FROM task WHERE uid = ?"

        def update(connection: Connection) -> None:
            if state == "Finished":
                _forget_command(connection, task.uid)
            # A task that was deleted meanwhile, or whose logon session ended, stays away.
            if connection.execute(present, (task.uid.bytes,)).fetchone():
                put(connection, self._resource, row)

        await self._store.write(update)


def _state(
    task: _Task,
    state: str,
    result: dict[str, object] | None = None,
    made: Made | None = None,
    link: dict[str, Any] | None = None,
) -> RowState:
    values = {
        "TaskId": f"task-{task.number}",
        "Number": task.number,
        "State": state,
        "Operation": task.operation,
        "Result": result,
    }
    columns: dict[str, object] = {"logon_session_uid": task.logon_session.bytes}
    if link is not None:
        values["Link"] = link
    elif made is not None:
        values["RelatedType"] = made.type
        # The API names what was made when it is a thing of its own, not when it is a session.
        values["RelatedName"] = None if made.type.endswith("Session") else made.name
        columns["related_uid"] = made.uid.bytes
    return RowState(task.uid, values=values, columns=columns)


def _nothing_more(_connection: Connection, _task: _Task) -> None:
    """What a task without a command writes down beside itself."""


def _forget_command(connection: Connection, task: UUID) -> None:
    connection.execute("DELETE FROM unfinished_command WHERE task_uid = ?", (task.bytes,))
