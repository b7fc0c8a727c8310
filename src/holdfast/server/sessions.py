"""Job sessions and task sessions: moved on, ended. Each runs in a writing transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from holdfast.server import tables
from holdfast.server.publish import publish_job_session, publish_task_session, row_of
from holdfast.server.session_state import (
    JobSessionState,
    Result,
    TaskSessionState,
    check_job_session,
    check_task_session,
    overall_result,
)


@dataclass(frozen=True)
class Machine:
    """A machine or directory of a session that is running, and the task session it has there."""

    task_session: UUID
    kind: str
    name: str
    path: str
    format: str | None
    reference: str


def start_working(connection: Connection, uid: UUID) -> list[Machine] | None:
    """Let a session that was begun work; return its machines, or None if it was stopped already."""
    row = row_of(connection, tables.job_session, uid)
    if row.state != JobSessionState.STARTING:
        return None
    _set_job_session(connection, row, state=JobSessionState.WORKING)
    task, job_object = tables.task_session, tables.job_object
    rows = connection.execute(
        select(job_object, task.c.uid.label("task_session"))
        .join(task, task.c.job_object_uid == job_object.c.uid)
        .where(task.c.job_session_uid == uid)
        # Machines that came with a host or a tag have its position.
        .order_by(job_object.c.position, job_object.c.name)
    )
    return [
        Machine(row.task_session, row.kind, row.name, row.path, row.format, row.reference)
        for row in rows
    ]


def request_stop(connection: Connection, uid: UUID, reason: str) -> None:
    """Note that a session is to stop and why. One that is stopping already keeps its reason."""
    row = row_of(connection, tables.job_session, uid)
    if row.state != JobSessionState.STOPPING:
        _set_job_session(connection, row, state=JobSessionState.STOPPING, failure_message=reason)


def was_asked_to_stop(session: Row[Any], going_down: str | None) -> bool:
    """Say whether a session that has not ended was asked to stop, and not because the server went
    down, for which `going_down` is the reason."""
    stopping: bool = session.state == JobSessionState.STOPPING
    return stopping and bool(session.failure_message != going_down)


def set_progress(connection: Connection, uid: UUID, percent: int) -> None:
    """Note how far a session is. Never goes back."""
    row = row_of(connection, tables.job_session, uid)
    if row.state == JobSessionState.WORKING and percent > row.progress:
        _set_job_session(connection, row, progress=min(percent, 100))


def start_task(connection: Connection, uid: UUID) -> None:
    """Let a pending task session begin."""
    _set_task_session(
        connection,
        row_of(connection, tables.task_session, uid),
        state=TaskSessionState.IN_PROGRESS,
    )


def ensure_started(connection: Connection, uid: UUID) -> None:
    """Let a task session begin, unless it has."""
    if row_of(connection, tables.task_session, uid).state == TaskSessionState.PENDING:
        start_task(connection, uid)


def note_waiting(connection: Connection, uid: UUID, reason: str) -> None:
    """Note what a task session that has not ended waits for; nothing, when that is empty."""
    row = row_of(connection, tables.task_session, uid)
    if row.state != TaskSessionState.COMPLETED and row.reason != reason:
        _set_task_session(connection, row, reason=reason)


def set_total_size(connection: Connection, uid: UUID, total_size: int) -> None:
    """Note the size of a machine's disks, or of a directory's tree, in bytes, while it runs."""
    row = row_of(connection, tables.task_session, uid)
    if row.state == TaskSessionState.IN_PROGRESS:
        _set_task_session(connection, row, total_size=total_size)


def note_point(connection: Connection, uid: UUID, point: UUID) -> None:
    """Note which point a task session has made, before it ends."""
    row = row_of(connection, tables.task_session, uid)
    _set_task_session(connection, row, machine_point_uid=point)


def complete_task(
    connection: Connection, uid: UUID, now: int, result: Result, reason: str, **more: Any
) -> None:
    """End a task session; `more` are other columns that become known with its end."""
    _set_task_session(
        connection,
        row_of(connection, tables.task_session, uid),
        state=TaskSessionState.COMPLETED,
        result=result,
        reason=reason,
        ended=now,
        **more,
    )


def fail_task(connection: Connection, uid: UUID, now: int, reason: str) -> None:
    """End a task session as failed, for the reason given, unless it has ended already."""
    if row_of(connection, tables.task_session, uid).state != TaskSessionState.COMPLETED:
        complete_task(connection, uid, now, Result.FAILED, reason)


def end_session(
    connection: Connection,
    uid: UUID,
    now: int,
    *,
    cut_short: str | None = None,
    warnings: Sequence[str] = (),
) -> Result:
    """End a session, whatever it was doing; return its result. One that has ended stays so.

    A session that was asked to stop fails with the reason given then; one that was `cut_short`
    with that reason. Its machines that have not ended fail with the same reason.
    """
    row = row_of(connection, tables.job_session, uid)
    if row.state == JobSessionState.STOPPED:
        return Result(row.result)
    if row.state == JobSessionState.STOPPING:
        cut_short = row.failure_message
    task = tables.task_session
    unfinished = connection.scalars(
        select(task.c.uid).where(
            task.c.job_session_uid == uid, task.c.state != TaskSessionState.COMPLETED
        )
    ).all()
    for task_uid in unfinished:
        reason = cut_short or "The machine was not backed up."
        complete_task(connection, task_uid, now, Result.FAILED, reason)
    tasks = connection.execute(select(task).where(task.c.job_session_uid == uid)).all()
    result = overall_result(Result(each.result) for each in tasks)
    if cut_short is not None:
        result = Result.FAILED
    elif warnings and result is Result.SUCCESS:
        result = Result.WARNING
    _set_job_session(
        connection,
        row,
        state=JobSessionState.STOPPED,
        result=result,
        ended=max(now, row.created),
        progress=row.progress if cut_short is not None else 100,
        failure_message=cut_short or _summary(tasks, warnings),
    )
    return result


def unfinished_sessions(connection: Connection) -> list[UUID]:
    """Return the sessions that have not ended, oldest first."""
    session = tables.job_session
    return list(
        connection.scalars(
            select(session.c.uid)
            .where(session.c.state != JobSessionState.STOPPED)
            .order_by(session.c.created)
        )
    )


def _set_job_session(connection: Connection, row: Row[Any], **values: Any) -> None:
    if "state" in values:
        check_job_session(row.state, values["state"])
    table = tables.job_session
    connection.execute(update(table).where(table.c.uid == row.uid).values(values))
    publish_job_session(connection, row.uid)


def _set_task_session(connection: Connection, row: Row[Any], **values: Any) -> None:
    if "state" in values:
        check_task_session(row.state, values["state"])
    if values.get("ended") is not None:
        values["ended"] = max(values["ended"], row.created)
    table = tables.task_session
    connection.execute(update(table).where(table.c.uid == row.uid).values(values))
    publish_task_session(connection, row.uid)


def _is_noted(task: Row[Any]) -> bool:
    # That of a success says how the machine was backed up.
    return bool(task.reason) and task.result != Result.SUCCESS


def _summary(tasks: Sequence[Row[Any]], warnings: Sequence[str]) -> str | None:
    """Given the ended task sessions, return why the session is not a plain success, shortly."""
    failed = [task for task in tasks if task.result == Result.FAILED]
    if failed:
        count = f"{len(failed)} of {len(tasks)} machines failed. " if len(tasks) > 1 else ""
        return f"{count}{failed[0].display_name}: {failed[0].reason}"
    noted = [f"{task.display_name}: {task.reason}" for task in tasks if _is_noted(task)]
    return next(iter([*noted, *warnings]), None)
