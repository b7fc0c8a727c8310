"""Commands that began what goes on for a while: answered when that has ended."""

from __future__ import annotations

from uuid import UUID

import msgspec
from sqlalchemy import Connection, select, update

from holdfast.server import outbox, tables
from holdfast.server.messages import Outcome


def conclude(connection: Connection, work: UUID, *, success: bool, message: str) -> None:
    """Answer, in the transaction that ends some work, the commands that await it."""
    table = tables.command
    query = select(table.c.request_id, table.c.outcome).where(table.c.awaits == work)
    for row in connection.execute(query).all():
        ended = msgspec.structs.replace(
            msgspec.json.decode(row.outcome, type=Outcome),
            success=success,
            message=message,
            cursor=outbox.cursor(connection),
            awaits=None,
        )
        same = table.c.request_id == row.request_id
        encoded = msgspec.json.encode(ended).decode()
        connection.execute(update(table).where(same).values(outcome=encoded, awaits=None))
