"""The outbox: what managers are told, written in the transaction that makes it true.

Only the newest state of each resource is kept, with a new number each time; so a reader that asks
for what came after its last number misses nothing, however long it was away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from holdfast.server import tables
from holdfast.server.messages import Change


@dataclass(frozen=True)
class Resource:
    """A resource as it is to be shown: names and values are those of the schema."""

    type: str
    uid: UUID
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    relations: dict[str, UUID] = field(default_factory=dict)


class _State(msgspec.Struct, frozen=True):
    """What the column ``state`` holds as JSON; NULL there means that the resource is gone."""

    name: str
    values: dict[str, Any]
    relations: dict[str, UUID]


def publish(connection: Connection, resource: Resource) -> None:
    """Tell the present state of a resource. The same as was told last is not told again."""
    state = _State(resource.name, resource.values, resource.relations)
    _put(connection, resource.type, resource.uid, msgspec.json.encode(state).decode())


def withdraw(connection: Connection, resource_type: str, uid: UUID) -> None:
    """Tell that a resource is gone."""
    _put(connection, resource_type, uid, None)


def cursor(connection: Connection) -> int:
    """Return the number of the newest change; 0 when there has been none."""
    return connection.scalar(select(func.max(tables.change.c.sequence))) or 0


def changes_after(connection: Connection, after: int, limit: int) -> tuple[list[Change], bool]:
    """Return at most `limit` changes beyond a cursor, oldest first, and whether there are more."""
    change = tables.change
    rows = connection.execute(
        select(change).where(change.c.sequence > after).order_by(change.c.sequence).limit(limit + 1)
    ).all()
    return [_change(row.sequence, row.type, row.uid, row.state) for row in rows[:limit]], (
        len(rows) > limit
    )


def _put(connection: Connection, resource_type: str, uid: UUID, state: str | None) -> None:
    change = tables.change
    same = (change.c.type == resource_type) & (change.c.uid == uid)
    told = connection.execute(select(change.c.state).where(same)).first()
    if told is not None and told.state == state:
        return
    newest = select(func.coalesce(func.max(change.c.sequence), 0) + 1).scalar_subquery()
    if told is not None:
        connection.execute(update(change).where(same).values(sequence=newest, state=state))
    else:
        new = {"sequence": newest, "type": resource_type, "uid": uid, "state": state}
        connection.execute(insert(change).values(new))


def _change(sequence: int, resource_type: str, uid: UUID, state: str | None) -> Change:
    if state is None:
        return Change(sequence=sequence, type=resource_type, uid=uid, removed=True)
    decoded = msgspec.json.decode(state, type=_State)
    return Change(
        sequence=sequence,
        type=resource_type,
        uid=uid,
        name=decoded.name,
        values=decoded.values,
        relations=decoded.relations,
    )
