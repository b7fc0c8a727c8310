"""Restore sessions: begun, moved on, ended. Each runs in a writing transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from holdfast.server import instant_records, tables
from holdfast.server.publish import row_of
from holdfast.server.publish_restore import publish_restore_session
from holdfast.server.refusal import RefusedError
from holdfast.server.restore_plan import Plan, RestoreFiles, target_of, temporary_of
from holdfast.server.session_state import JobSessionState, Result, check_job_session


def begin(connection: Connection, plan: Plan, point: Row[Any], now: int) -> UUID:
    """Begin a restore; return its UID. Refuse while another one writes to the same place."""
    table, target, uid = tables.restore_session, target_of(plan), uuid4()
    running = select(table.c.uid).where(
        table.c.target == target, table.c.state != JobSessionState.STOPPED
    )
    if connection.execute(running).first() is not None:
        raise RefusedError(f"Another restore is writing to {target}.")
    connection.execute(
        insert(table).values(
            uid=uid,
            kind="FileLevelRestore" if isinstance(plan, RestoreFiles) else "RestoreVm",
            machine_point_uid=point.uid,
            job_uid=point.job_uid,
            job_name=point.job_name,
            display_name=point.display_name,
            reference=point.reference,
            created=now,
            state=JobSessionState.STARTING,
            result=Result.NONE,
            progress=0,
            failure_message="",
            plan=msgspec.json.encode(plan).decode(),
            target=target,
            temporary=temporary_of(plan, uid),
        )
    )
    publish_restore_session(connection, uid)
    return uid


def start_working(connection: Connection, uid: UUID) -> Plan | None:
    """Let a restore that was begun work; return its plan, or None if it was stopped already."""
    row = row_of(connection, tables.restore_session, uid)
    if row.state != JobSessionState.STARTING:
        return None
    _set(connection, row, state=JobSessionState.WORKING)
    plan: Plan = msgspec.json.decode(row.plan, type=Plan)
    return plan


def request_stop(connection: Connection, uid: UUID, reason: str) -> None:
    """Note that a restore is to stop and why. One that is stopping already keeps its reason."""
    row = row_of(connection, tables.restore_session, uid)
    if row.state != JobSessionState.STOPPING:
        _set(connection, row, state=JobSessionState.STOPPING, failure_message=reason)


def set_progress(connection: Connection, uid: UUID, percent: int) -> None:
    """Note how far a restore is. Never goes back."""
    row = row_of(connection, tables.restore_session, uid)
    if row.state == JobSessionState.WORKING and percent > row.progress:
        _set(connection, row, progress=min(percent, 100))


def end(
    connection: Connection,
    uid: UUID,
    now: int,
    *,
    failure: str | None = None,
    note: str = "",
    left: str | None = None,
) -> None:
    """End a restore: failed, for the reason given; with a warning; or well. Once ended, it stays.

    One that was asked to stop fails with the reason given then, unless it was done already. What
    it has `left` to be put right later, in words, keeps its ledger.
    """
    row = row_of(connection, tables.restore_session, uid)
    if row.state == JobSessionState.STOPPED:
        return
    if failure is not None and row.state == JobSessionState.STOPPING:
        failure = row.failure_message
    if left is not None:
        failure = f"{failure or ''} {left}".strip()
    result = Result.WARNING if note else Result.SUCCESS
    _set(
        connection,
        row,
        state=JobSessionState.STOPPED,
        result=Result.FAILED if failure is not None else result,
        ended=max(now, row.created),
        progress=row.progress if failure is not None else 100,
        failure_message=note if failure is None else failure,
        ledger=None if left is None else row.ledger,
    )
    plan = msgspec.json.decode(row.plan, type=Plan)
    instant_records.session_ended(connection, plan, failed=failure is not None)


def unfinished(connection: Connection) -> list[Row[Any]]:
    """Return the restores that have not ended, oldest first."""
    table = tables.restore_session
    query = select(table).where(table.c.state != JobSessionState.STOPPED)
    return list(connection.execute(query.order_by(table.c.created)))


def left_over(connection: Connection) -> list[Row[Any]]:
    """Return the restores that have ended and left something to be put right, oldest first."""
    table = tables.restore_session
    query = select(table).where(
        table.c.state == JobSessionState.STOPPED, table.c.ledger.is_not(None)
    )
    return list(connection.execute(query.order_by(table.c.created)))


def put_right(connection: Connection, uid: UUID) -> None:
    """Note that nothing is left any more of a restore that has ended."""
    table = tables.restore_session
    connection.execute(update(table).where(table.c.uid == uid).values(ledger=None))


def _set(connection: Connection, row: Row[Any], **values: Any) -> None:
    if "state" in values:
        check_job_session(row.state, values["state"])
    table = tables.restore_session
    connection.execute(update(table).where(table.c.uid == row.uid).values(values))
    publish_restore_session(connection, row.uid)
