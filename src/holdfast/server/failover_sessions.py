"""Sessions of failovers: begun, moved on, ended, shown. Each runs in a writing transaction.

To managers they are restore sessions.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Connection, Row, insert, select

from holdfast.server import failover_elsewhere, replicas, tables
from holdfast.server.failover_record import Operation, check, record_of
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.names import session_name
from holdfast.server.outbox import Resource, publish
from holdfast.server.publish import row_of
from holdfast.server.refusal import RefusedError
from holdfast.server.session_rows import SessionRows
from holdfast.server.session_state import JobSessionState, Result


def begin(
    connection: Connection,
    replica: UUID | None,
    operation: Operation,
    options: FailoverOptions,
    now: int,
    point: UUID | None = None,
) -> UUID:
    """Begin an operation on a replica; return the session's UID. Refuse what is not possible.

    `point` is the one to fail over to, None for the newest.
    """
    row, table = replicas.find_replica(connection, replica), tables.failover_session
    running = select(table.c.operation).where(
        table.c.replica_uid == row.uid, table.c.state != JobSessionState.STOPPED
    )
    if (other := connection.scalar(running)) is not None:
        raise RefusedError(f'Replica "{row.machine_name}": {other} is under way already.')
    check(row, operation, force=options.force)
    if operation is Operation.FAILBACK:
        options = failover_elsewhere.checked(connection, row, options)
    elif options.elsewhere:
        raise RefusedError("host, folder, name: these are for a failback to another place alone.")
    point = point or _point_of(connection, row, operation)
    backup = row_of(connection, tables.backup, row.backup_uid)
    uid = uuid4()
    connection.execute(
        insert(table).values(
            uid=uid,
            replica_uid=row.uid,
            operation=operation,
            options=msgspec.json.encode(options).decode(),
            point_uid=point,
            job_uid=backup.job_uid,
            job_name=row_of(connection, tables.job, backup.job_uid).name,
            created=now,
            state=JobSessionState.STARTING,
            result=Result.NONE,
            progress=0,
            failure_message="",
        )
    )
    _publish(connection, uid)
    return uid


def _point_of(connection: Connection, row: Row[Any], operation: Operation) -> UUID | None:
    record = record_of(row)
    # One that stands ready may still know of the point that a failover was taken back from.
    if row.state not in replicas.AT_REST and record is not None and record.point is not None:
        return record.point
    found = good_points(connection, row.uid)
    if not found and operation is Operation.FAILOVER:
        raise RefusedError(f'Replica "{row.machine_name}" has no good restore point.')
    uid: UUID | None = found[-1].uid if found else None
    return uid


def good_points(connection: Connection, replica: UUID) -> list[Row[Any]]:
    """Return the points of a replica that are not known to be damaged, oldest first."""
    found = replicas.points_of(connection, replica)
    return [point for point in found if point.damaged is None]


def find(connection: Connection, uid: UUID | None) -> Row[Any] | None:
    """Return the row of a session, or None."""
    table = tables.failover_session
    return connection.execute(select(table).where(table.c.uid == uid)).first()


def name_of(connection: Connection, uid: UUID) -> str:
    """Return the name of a session: which machine, and what is done with it."""
    row = row_of(connection, tables.failover_session, uid)
    machine = row_of(connection, tables.replica, row.replica_uid).machine_name
    return session_name(f"{machine} ({row.operation.replace('-', ' ')})", row.created)


def _publish(connection: Connection, uid: UUID) -> None:
    row = row_of(connection, tables.failover_session, uid)
    replica = row_of(connection, tables.replica, row.replica_uid)
    values = {
        "VmDisplayName": replica.machine_name,
        "JobUid": row.job_uid,
        "JobName": row.job_name,
        "JobType": "RestoreVm",
        "CreationTimeUTC": row.created,
        "EndTimeUTC": row.ended,
        "State": row.state,
        "Result": row.result,
        "Progress": row.progress,
        "FailureMessage": row.failure_message,
        "RestoredObjRef": replica.reference,
    }
    shown = {name: value for name, value in values.items() if value is not None}
    publish(connection, Resource("RestoreSession", uid, name_of(connection, uid), shown))


_ROWS = SessionRows(tables.failover_session, _publish)
start_working = _ROWS.start_working
request_stop = _ROWS.request_stop
set_progress = _ROWS.set_progress
end = _ROWS.end
unfinished = _ROWS.unfinished
