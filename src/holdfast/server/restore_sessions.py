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
from holdfast.server.session_rows import SessionRows
from holdfast.server.session_state import JobSessionState, Result

_ROWS = SessionRows(tables.restore_session, publish_restore_session)
request_stop = _ROWS.request_stop
set_progress = _ROWS.set_progress
unfinished = _ROWS.unfinished


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
    if not _ROWS.start_working(connection, uid):
        return None
    row = row_of(connection, tables.restore_session, uid)
    plan: Plan = msgspec.json.decode(row.plan, type=Plan)
    return plan


def end(
    connection: Connection,
    uid: UUID,
    now: int,
    *,
    failure: str | None = None,
    note: str = "",
    left: str | None = None,
) -> None:
    """End a restore, as `SessionRows.end`, and what runs from its restore point with it.

    What it has `left` to be put right later, in words, keeps its ledger.
    """
    ledger = None if left is None else row_of(connection, tables.restore_session, uid).ledger
    if _ROWS.end(connection, uid, now, failure=failure, note=note, added=left, ledger=ledger):
        row = row_of(connection, tables.restore_session, uid)
        plan = msgspec.json.decode(row.plan, type=Plan)
        instant_records.session_ended(connection, plan, failed=failure is not None)


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
