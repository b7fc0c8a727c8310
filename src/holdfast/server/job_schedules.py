"""When jobs are due: reckoned, found, moved on. Each function runs in a writing transaction.

All of it stands in the rows of the jobs (`next_run`, `retry_at`), so that a restart changes
nothing: what was noted is still due.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from holdfast.server import copy_links, tables
from holdfast.server.clock import milliseconds, moment_of
from holdfast.server.job_lookup import job_in_use, running_session
from holdfast.server.job_specification import IMMEDIATE_COPY
from holdfast.server.publish import row_of
from holdfast.server.publish_job import publish_job
from holdfast.server.refusal import RefusedError
from holdfast.server.schedule import (
    CONTINUOUS_DISTANCE,
    AfterJob,
    Continuously,
    Schedule,
    decode_hours,
    decode_schedule,
    next_run,
)
from holdfast.server.session_state import Cause, Result

#: How much later a job is tried that cannot begin because it, or a part of it, runs.
_PUT_OFF = timedelta(minutes=1)


def reckon(connection: Connection, uid: UUID, now: datetime) -> None:
    """Note anew when a job is due, its schedule having been made, changed or switched."""
    job = row_of(connection, tables.job, uid)
    schedule = decode_schedule(job.schedule)
    due = None
    # A continuous job that runs is due when that run ends. A copy job that waits for new points
    # looks for some at once; it may have got others to copy.
    waits = _runs_again(job) and running_session(connection, uid) is not None
    if job.schedule_enabled and not waits:
        due = _due(job, schedule, now)
    _set(connection, uid, next_run=due)


def toggle_schedule(connection: Connection, uid: UUID | None, now: datetime) -> bool:
    """Switch a job's schedule on or off; return whether it is on now."""
    job = job_in_use(connection, uid)
    if job.schedule is None:
        raise RefusedError(f'Job "{job.name}" has no schedule.')
    enabled = not job.schedule_enabled
    _set(connection, job.uid, schedule_enabled=enabled, retry_at=None)
    reckon(connection, job.uid, now)
    return enabled


def due_jobs(connection: Connection, now: datetime) -> list[Row[Any]]:
    """Return the jobs whose time has come, and give each its next time, counted from now.

    One that is late, its backup window having closed, waits for that to open.
    """
    job, due = tables.job, []
    rows = connection.execute(
        select(job).where(job.c.schedule_enabled, job.c.next_run <= milliseconds(now))
    ).all()
    for row in rows:
        if (opening := _within_window(row, now)) > milliseconds(now):
            _set(connection, row.uid, next_run=opening)
            continue
        schedule = decode_schedule(row.schedule)
        # The next time of these is known when a session has ended.
        waits = isinstance(schedule, Continuously | AfterJob)
        _set(connection, row.uid, next_run=None if waits else _due(row, schedule, now))
        due.append(row)
    return due


def put_off(connection: Connection, uid: UUID, now: datetime) -> None:
    """Let a job that was due be due a little later instead."""
    job = row_of(connection, tables.job, uid)
    _set(connection, uid, next_run=_from_outside(job, now + _PUT_OFF))


def bring_back(connection: Connection, now: datetime) -> None:
    """Let no job wait for longer than its schedule can say: the clock was ahead, and is right now.

    What was reckoned then is a long way off.
    """
    job = tables.job
    later = (job.c.next_run > milliseconds(now)) | (job.c.retry_at > milliseconds(now))
    for row in connection.execute(select(job).where(job.c.schedule_enabled, later)).all():
        latest = _latest_run(row, now)
        if None not in (row.next_run, latest) and row.next_run > latest:
            _set(connection, row.uid, next_run=latest)
        if row.retry_at is not None and row.retry_at > (again := _next_try(row, now)):
            _set(connection, row.uid, retry_at=again)


def _latest_run(job: Row[Any], now: datetime) -> int | None:
    """Return when a job that is due some time, in milliseconds, is due at the latest."""
    match schedule := decode_schedule(job.schedule):
        case Continuously() | AfterJob():
            return _from_outside(job, now + max(CONTINUOUS_DISTANCE, _PUT_OFF))
        case _:
            return _due(job, schedule, now)


def due_retries(connection: Connection, now: datetime) -> list[Row[Any]]:
    """Return the jobs whose failed machines are to be tried again now; late ones as above."""
    job, due = tables.job, []
    rows = connection.execute(
        select(job).where(job.c.schedule_enabled, job.c.retry_at <= milliseconds(now))
    ).all()
    for row in rows:
        opening = _within_window(row, now)
        is_open = opening <= milliseconds(now)
        _set(connection, row.uid, retry_at=None if is_open else opening)
        due += [row] if is_open else []
    return due


def put_off_retry(connection: Connection, job: Row[Any], now: datetime) -> None:
    """Let what failed be tried again later, since it cannot be now; that is no try."""
    _set(connection, job.uid, retry_at=_next_try(job, now))


def _next_try(job: Row[Any], now: datetime) -> int:
    """Return when what has failed now is to be tried again: not at once, to fail at once again."""
    pause = max(timedelta(minutes=job.retry_minutes), _PUT_OFF)
    return _within_window(job, now + pause)


def first_due(connection: Connection) -> int | None:
    """Return when the next scheduled run of any job is, in milliseconds; None without one."""
    job = tables.job
    found = connection.execute(
        select(func.min(job.c.next_run), func.min(job.c.retry_at)).where(job.c.schedule_enabled)
    ).one()
    return min((moment for moment in found if moment is not None), default=None)


def resume(connection: Connection, now: datetime) -> None:
    """After a start, let every job wait for its next time from now on.

    Runs that were missed are not made up for; a retry, or a run after another job, that was noted
    before the stop still comes.
    """
    job = tables.job
    for row in connection.execute(select(job).where(job.c.schedule_enabled)).all():
        schedule = decode_schedule(row.schedule)
        missed = row.next_run is not None and row.next_run <= milliseconds(now)
        if isinstance(schedule, Continuously) or (missed and not isinstance(schedule, AfterJob)):
            _set(connection, row.uid, next_run=_due(row, schedule, now))


def session_ended(
    connection: Connection, uid: UUID, now: datetime, *, stopped: bool, cut_off: bool
) -> None:
    """Note what is due because a session has ended.

    `stopped` says that it was asked to stop, by a person or because its window closed: then
    nothing is tried again. `cut_off` says that the server went down in the middle: then no other
    job follows.
    """
    session = row_of(connection, tables.job_session, uid)
    job = row_of(connection, tables.job, session.job_uid)
    if not cut_off and session.cause in (Cause.PERSON, Cause.SCHEDULE) and not session.is_retry:
        for row in followers_of(connection, job.uid):
            if row.schedule_enabled and not row.deleted:
                _set(connection, row.uid, next_run=_within_window(row, now))
    if _made_points(connection, uid):
        for row in copy_links.immediate_copiers_of(connection, job):
            _set(connection, row.uid, next_run=_from_outside(row, now))
    if not job.schedule_enabled:
        return
    may_retry = (
        session.result == Result.FAILED
        and session.cause in (Cause.SCHEDULE, Cause.RETRY)
        and not stopped
        and session.attempt < job.retry_times
    )
    if may_retry:
        _set(connection, job.uid, retry_at=_next_try(job, now))
    if _runs_again(job) and job.next_run is None:
        # It bears a time to come when the clock was ahead before.
        earliest = min(moment_of(session.created), now) + CONTINUOUS_DISTANCE
        due = _due(job, decode_schedule(job.schedule), max(now, earliest))
        _set(connection, job.uid, next_run=due)
    elif job.kind == IMMEDIATE_COPY and job.next_run is not None:
        # It was put off because of this session.
        _set(connection, job.uid, next_run=_from_outside(job, now))


def closing_of(job: Row[Any], session: Row[Any], now: datetime) -> datetime | None:
    """Return when the backup window closes on a session of a job, if ever."""
    window = decode_hours(job.backup_window)
    if window is None:
        return None
    begun = moment_of(session.created)
    if begun <= now:
        return window.closes(begun)
    # It bears a time to come, the clock having been ahead. What a person began may be outside.
    scheduled = session.cause in (Cause.SCHEDULE, Cause.RETRY)
    return now if scheduled and not window.is_open(now) else window.closes(now)


def followers_of(connection: Connection, uid: UUID) -> list[Row[Any]]:
    """Return the jobs whose schedule is to start after a job."""
    job = tables.job
    rows = connection.execute(select(job).where(~job.c.deleted, job.c.schedule.is_not(None)))
    return [row for row in rows if _job_before(row) == uid]


def check_chain(connection: Connection, uid: UUID, schedule: Schedule | None) -> None:
    """Refuse a schedule after a job that is not there, or that itself waits for this one."""
    if not isinstance(schedule, AfterJob):
        return
    before: UUID | None = schedule.job
    seen = {uid}
    while before is not None:
        if before in seen:
            raise RefusedError("A job cannot start after itself, nor after one that follows it.")
        seen.add(before)
        before = _job_before(job_in_use(connection, before))


def _runs_again(job: Row[Any]) -> bool:
    """Say whether a job begins again when it has ended: not one that waits for new points."""
    return isinstance(decode_schedule(job.schedule), Continuously) and job.kind != IMMEDIATE_COPY


def _made_points(connection: Connection, session: UUID) -> bool:
    task = tables.task_session
    found = select(task.c.uid).where(
        task.c.job_session_uid == session, task.c.machine_point_uid.is_not(None)
    )
    return connection.execute(found.limit(1)).first() is not None


def _from_outside(job: Row[Any], moment: datetime) -> int:
    """Given when something else makes a job due, return when it may begin."""
    schedule = decode_schedule(job.schedule)
    hours = schedule.hours if isinstance(schedule, Continuously) else None
    return _within_window(job, moment if hours is None else hours.opens(moment))


def _job_before(job: Row[Any]) -> UUID | None:
    schedule = decode_schedule(job.schedule)
    return schedule.job if isinstance(schedule, AfterJob) else None


def _due(job: Row[Any], schedule: Schedule | None, after: datetime) -> int | None:
    due = next_run(schedule, after, decode_hours(job.backup_window))
    return None if due is None else milliseconds(due)


def _within_window(job: Row[Any], moment: datetime) -> int:
    window = decode_hours(job.backup_window)
    return milliseconds(moment if window is None else window.opens(moment))


def _set(connection: Connection, uid: UUID, **values: Any) -> None:
    connection.execute(update(tables.job).where(tables.job.c.uid == uid).values(values))
    publish_job(connection, uid)
