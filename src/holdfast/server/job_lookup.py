"""Jobs as others look for them. Each function runs in a transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.server import tables
from holdfast.server.refusal import RefusedError
from holdfast.server.session_state import JobSessionState


def job_in_use(connection: Connection, uid: UUID | None) -> Row[Any]:
    """Given a job's UID, return its row; refuse when there is no such job (any more)."""
    job = tables.job
    row = connection.execute(select(job).where(job.c.uid == uid, ~job.c.deleted)).first()
    if row is None:
        raise RefusedError(f"Cannot find job [{uid}].")
    return row


def running_session(connection: Connection, job_uid: UUID) -> Row[Any] | None:
    """Given a job, return the row of its session that has not stopped yet, if there is one."""
    session = tables.job_session
    return connection.execute(
        select(session).where(
            session.c.job_uid == job_uid, session.c.state != JobSessionState.STOPPED
        )
    ).first()


def is_free(connection: Connection, name: str, job: UUID | None = None) -> bool:
    """Say whether no job (but `job`, if given) has a name, in upper or lower case."""
    table = tables.job
    others = select(table.c.name).where(~table.c.deleted)
    if job is not None:
        others = others.where(table.c.uid != job)
    names = connection.scalars(others)
    # By case folding here, since databases do not agree on what lower case is.
    return name.casefold() not in {other.casefold() for other in names}
