"""Machines of which a copy job has copies, and nothing to copy from any more.

Copies are there for when what they were copied from is lost. So they stay as the copy job says of
its own points, and where it says that machines that are gone are removed after some days, the days
begin when a session first finds nothing to copy from. Each runs in a transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select

from holdfast.server import copy_plan, tables
from holdfast.server.publish import row_of


def note_lost_sources(
    connection: Connection, job: UUID, references: Collection[str], now: int
) -> set[str]:
    """Write down which of some machines have nothing to be copied from; forget all others.

    Return those of which that is new.
    """
    table = tables.lost_source
    row = row_of(connection, tables.job, job)
    lost = set(references) - copy_plan.with_source(connection, row) if references else set[str]()
    of_job = table.c.job_uid == job
    known = set(connection.scalars(select(table.c.reference).where(of_job)))
    if known - lost:
        connection.execute(delete(table).where(of_job, table.c.reference.in_(known - lost)))
    for reference in lost - known:
        connection.execute(insert(table).values(job_uid=job, reference=reference, since=now))
    return lost - known


def lost_since(connection: Connection, job: UUID, reference: str) -> int | None:
    """Return since when a machine has nothing to be copied from, in ms; None when it has."""
    table = tables.lost_source
    query = select(table.c.since).where(table.c.job_uid == job, table.c.reference == reference)
    found: int | None = connection.scalar(query)
    return found
