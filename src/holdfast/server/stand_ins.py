"""Machines that have taken the place of others: who is meant by a reference now.

A failback to another place makes a new machine there. Jobs and points go on under the reference
that the machine had before; whoever asks where that is finds the new one. Each function runs in a
transaction.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from holdfast.server import tables


def current(connection: Connection, reference: str) -> str:
    """Given a machine's reference, return that of the machine that has its place now."""
    table = tables.stand_in
    found: str | None = connection.scalar(
        select(table.c.stand_in).where(table.c.reference == reference)
    )
    return reference if found is None else found


def all_of(connection: Connection) -> dict[str, str]:
    """Return the references whose place another machine has taken, with that of each."""
    table = tables.stand_in
    rows = connection.execute(select(table.c.reference, table.c.stand_in))
    return {row.reference: row.stand_in for row in rows}


def known_as(connection: Connection, reference: str) -> list[str]:
    """Return the references under which a machine is known: its own, and those it stands in for.

    None when another machine has taken its place.
    """
    found = all_of(connection)
    own = [] if reference in found else [reference]
    return own + [former for former, now in found.items() if now == reference]


def record(connection: Connection, reference: str, stand_in: str) -> None:
    """Write down that a machine has taken the place of the one that a reference means."""
    table = tables.stand_in
    before = current(connection, reference)
    same = table.c.stand_in == before
    connection.execute(update(table).where(same).values(stand_in=stand_in))
    for former in {reference, before}:
        connection.execute(delete(table).where(table.c.reference == former))
        connection.execute(insert(table).values(reference=former, stand_in=stand_in))
    # One that is back in its own place stands in for nobody there.
    connection.execute(delete(table).where(table.c.reference == stand_in))
