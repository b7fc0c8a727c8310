"""Job sessions, begun: of a whole job, of what failed in it, of some of its machines.

Each function runs in a writing transaction. The session runs when it is handed to the job runner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, func, insert, select, update

from holdfast.server import copy_plan, tables
from holdfast.server.clock import moment_of
from holdfast.server.hosted_objects import HOSTED
from holdfast.server.job_lookup import job_in_use, running_session
from holdfast.server.job_objects import machines_of, objects_of
from holdfast.server.job_specification import is_copy
from holdfast.server.publish import publish_job_session, publish_task_session, row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_state import ASIDE, Cause, JobSessionState, Result, TaskSessionState


def begin_session(
    connection: Connection, job_uid: UUID | None, now: int, cause: Cause = Cause.PERSON
) -> UUID:
    """Begin a session of a job, all its machines pending; return its UID.

    Those of a copy job are the machines that have something to copy. Machines of hosts come when
    the session runs, with `add_machines`. Refuse while the job runs.
    """
    job = job_in_use(connection, job_uid)
    if not is_copy(job.kind):
        objects = _objects(connection, job)
    elif cause is Cause.CHECK:
        objects = []  # it is about what was copied, not about what there is to copy
    else:
        objects = copy_plan.objects_to_copy(connection, job, moment_of(now))
    return open_session(connection, job, objects, now, cause)


def begin_retry(
    connection: Connection, job_uid: UUID | None, now: int, cause: Cause = Cause.PERSON
) -> UUID:
    """Begin a session of the machines of a job that failed when they were last backed up.

    Return its UID. Refuse while the job runs, or when there is nothing to retry.
    """
    job = job_in_use(connection, job_uid)
    last = _last_session(connection, job.uid)
    if last is None:
        raise RefusedError(f'Job "{job.name}" has not run yet, so there is nothing to retry.')
    failed = objects_to_retry(connection, job)
    if failed is None:
        raise RefusedError(
            f'No machine failed in the last session of job "{job.name}", '
            "so there is nothing to retry."
        )
    # A retry by hand does not count among those that the schedule makes.
    attempt = last.attempt + (1 if cause is Cause.RETRY else 0)
    return open_session(connection, job, failed, now, cause, is_retry=True, attempt=attempt)


def objects_to_retry(connection: Connection, job: Row[Any]) -> list[Row[Any]] | None:
    """Return the objects of a job that failed when they were last backed up.

    None of them when its last session failed before it had any; None when nothing has failed.
    """
    machines = objects_of if is_copy(job.kind) else machines_of
    failed = [row for row in machines(connection, job.uid) if _has_failed(connection, row.uid)]
    last = _last_session(connection, job.uid)
    if failed or (last is not None and _failed_without_machines(connection, last)):
        return failed
    return None


def open_session(
    connection: Connection,
    job: Row[Any],
    objects: Iterable[Row[Any]],
    now: int,
    cause: Cause,
    *,
    is_retry: bool = False,
    attempt: int = 0,
) -> UUID:
    """Begin a session of some objects of a job; return its UID. Refuse while the job runs."""
    if running_session(connection, job.uid) is not None:
        raise RefusedError(f'Job "{job.name}" is already running.')
    uid, session = uuid4(), tables.job_session
    newest = select(func.max(session.c.created)).where(session.c.job_uid == job.uid)
    # Later than the last one, also when the clock was set back: order is told by it.
    created = max(now, (connection.scalar(newest) or 0) + 1)
    connection.execute(
        insert(tables.job_session).values(
            uid=uid,
            job_uid=job.uid,
            job_name=job.name,
            job_kind=job.kind,
            created=created,
            state=JobSessionState.STARTING,
            result=Result.NONE,
            progress=0,
            is_retry=is_retry,
            cause=cause,
            attempt=attempt,
        )
    )
    publish_job_session(connection, uid)
    for job_object in objects:
        _insert_task_session(connection, uid, job_object, created)
    if cause not in ASIDE:
        # Whatever was to be tried again is tried now; this session's end says what comes next.
        table = tables.job
        connection.execute(update(table).where(table.c.uid == job.uid).values(retry_at=None))
    return uid


def add_machines(connection: Connection, session: UUID, objects: Iterable[Row[Any]]) -> None:
    """Give a session that was begun more machines, all pending."""
    created = row_of(connection, tables.job_session, session).created
    for job_object in objects:
        _insert_task_session(connection, session, job_object, created)


def _objects(connection: Connection, job: Row[Any]) -> list[Row[Any]]:
    return [row for row in objects_of(connection, job.uid) if row.kind not in HOSTED]


def _failed_without_machines(connection: Connection, session: Row[Any]) -> bool:
    """Say whether a session failed before it was known which machines it is about."""
    task = tables.task_session
    any_machine = select(task.c.uid).where(task.c.job_session_uid == session.uid).limit(1)
    without = connection.execute(any_machine).first() is None
    return without and session.result == Result.FAILED


def _last_session(connection: Connection, job_uid: UUID) -> Row[Any] | None:
    """Return the newest session of a job that was no part of it."""
    session = tables.job_session
    return connection.execute(
        select(session)
        .where(session.c.job_uid == job_uid, session.c.cause.not_in(ASIDE))
        .order_by(session.c.created.desc())
        .limit(1)
    ).first()


def _has_failed(connection: Connection, object_uid: UUID) -> bool:
    """Say whether an object failed when it was last backed up."""
    task = tables.task_session
    newest = select(func.max(task.c.created)).where(task.c.job_object_uid == object_uid)
    found = select(task.c.uid).where(
        task.c.job_object_uid == object_uid,
        task.c.created == newest.scalar_subquery(),
        task.c.result == Result.FAILED,
    )
    return connection.execute(found).first() is not None


def _insert_task_session(
    connection: Connection, session_uid: UUID, job_object: Row[Any], created: int
) -> None:
    uid = uuid4()
    connection.execute(
        insert(tables.task_session).values(
            uid=uid,
            job_session_uid=session_uid,
            job_uid=job_object.job_uid,
            job_object_uid=job_object.uid,
            display_name=job_object.name,
            reference=job_object.reference,
            created=created,
            state=TaskSessionState.PENDING,
            result=Result.NONE,
            reason="",
            total_size=0,
        )
    )
    publish_task_session(connection, uid)
