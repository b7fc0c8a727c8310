"""Chains of which no file may be removed or merged, since a machine runs from one of their points.

The database keeps the two apart: an instant recovery begins only while the journal has nothing that
changes files of the chain, and the journal takes no such entry as long as there is one.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, select

from holdfast.server import tables
from holdfast.server.refusal import RefusedError


def holder(connection: Connection, backup: UUID, chain: str) -> str | None:
    """Return the name of a machine that runs from a point of a chain; None when none does."""
    table = tables.instant_recovery
    name: str | None = connection.scalar(
        select(table.c.name).where(table.c.backup_uid == backup, table.c.chain == chain)
    )
    return name


def refuse_if_held(connection: Connection, backup: UUID, chain: str) -> None:
    """Raise RefusedError when a machine runs from a point of a chain."""
    if (name := holder(connection, backup, chain)) is not None:
        raise RefusedError(
            f'The machine "{name}" runs from this backup: nothing of it is removed before the '
            "machine has moved to its own storage or is discarded."
        )
