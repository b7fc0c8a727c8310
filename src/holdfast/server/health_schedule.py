"""When the backup of a job is checked. Each function runs in a transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, update

from holdfast.server import points, tables
from holdfast.server.clock import moment_of
from holdfast.server.job_options import Days
from holdfast.server.session_state import ASIDE


def check_is_due(job: Row[Any], session: Row[Any], days: Days | None, now: datetime) -> bool:
    """Say whether a session of a job is to check what the job has backed up."""
    if days is None or session.is_retry or session.cause in ASIDE:
        return False
    checked = moment_of(job.checked or job.created)
    # A clock that was ahead must not put it off until then.
    return checked > now or days.due(checked, now)


def note_check(connection: Connection, job: UUID, begun: int) -> None:
    """Note that the backup of a job was checked by a session that began then, in ms."""
    table = tables.job
    connection.execute(update(table).where(table.c.uid == job).values(checked=begun))


def newest_is_damaged(connection: Connection, backup: UUID, reference: str) -> bool:
    """Say whether the next point of a machine has to be made anew, from nothing."""
    newest = points.newest_point(connection, backup, reference)
    return newest is not None and newest.damaged is not None
