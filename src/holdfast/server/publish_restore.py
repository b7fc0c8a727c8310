"""Shows restores to managers; as `publish` does for the rest."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from holdfast.server import tables
from holdfast.server.names import session_name
from holdfast.server.outbox import Resource, publish
from holdfast.server.publish import row_of


def publish_restore_session(connection: Connection, uid: UUID) -> None:
    """Show a restore session."""
    row = row_of(connection, tables.restore_session, uid)
    values = {
        "VmDisplayName": row.display_name,
        "JobUid": row.job_uid,
        "JobName": row.job_name,
        "JobType": row.kind,
        "CreationTimeUTC": row.created,
        "EndTimeUTC": row.ended,
        "State": row.state,
        "Result": row.result,
        "Progress": row.progress,
        "FailureMessage": row.failure_message,
        "RestoredObjRef": row.reference,
    }
    publish(
        connection,
        Resource(
            "RestoreSession",
            uid,
            session_name(row.display_name, row.created),
            {name: value for name, value in values.items() if value is not None},
            {"point": row.machine_point_uid},
        ),
    )
