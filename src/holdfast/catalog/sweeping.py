"""After a feed has started anew: what its backup server no longer has is taken off or ended."""

from __future__ import annotations

from collections.abc import Iterable
from sqlite3 import Connection
from uuid import UUID

from holdfast.catalog.select import quoted
from holdfast.catalog.tables import key_column
from holdfast.catalog.values import encoder
from holdfast.catalog.writer import OWNER
from holdfast.query.literals import fold
from holdfast.schema.resource import ResourceType, Schema
from holdfast.schema.types import Enumeration

LOST = "The backup server no longer knows how this ended."

#: The state that a lost session ends in, whichever of these its type has.
_FINAL_STATES = ("Stopped", "Completed")

#: Where it is told, whichever of these its type has.
_REASONS = ("Reason", "FailureMessage")


def sweep(connection: Connection, schema: Schema, owner: UUID, seen: Iterable[UUID]) -> None:
    """Given a backup server and all that it still has, put the rest of its rows right.

    History stays: sessions are kept, and those that were running are ended as failed. Everything
    else that is gone there goes here, too.
    """
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS seen (uid BLOB PRIMARY KEY)")
    connection.execute("DELETE FROM seen")
    connection.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(uid.bytes,) for uid in seen])
    for resource in schema:
        if not any(relation.name == OWNER for relation in resource.relations):
            continue
        if _is_history(resource):
            _end(connection, resource, owner)
        else:
            connection.execute(
                f"DELETE FROM {quoted(resource.table)}"
                " WHERE server_uid = ? AND uid NOT IN (SELECT uid FROM seen)",
                (owner.bytes,),
            )
    connection.execute("DROP TABLE seen")


def _is_history(resource: ResourceType) -> bool:
    """Say whether rows of a type tell of something that happened: they have a result."""
    return any(
        isinstance(element.type, Enumeration) and element.type.undecided
        for element in resource.elements
    )


def _end(connection: Connection, resource: ResourceType, owner: UUID) -> None:
    elements = {element.name: element for element in resource.elements}
    state, result = elements["State"], elements["Result"]
    assert isinstance(state.type, Enumeration)  # noqa: S101 - a session's state is one of a list
    final = next(value for value in _FINAL_STATES if value in state.type.values)
    put = {
        state.column: encoder(state.type)(final),
        result.column: encoder(result.type)("Failed"),
    }
    for reason in _REASONS:
        if reason in elements:
            column = elements[reason].column
            put |= {column: LOST, key_column(column): fold(LOST)}
    sets = ", ".join(f"{quoted(column)} = ?" for column in put)
    connection.execute(
        f"UPDATE {quoted(resource.table)} SET {sets}"
        f" WHERE server_uid = ? AND {quoted(result.column)} = ?"
        " AND uid NOT IN (SELECT uid FROM seen)",
        (*put.values(), owner.bytes, Enumeration.UNDECIDED_INDEX),
    )
