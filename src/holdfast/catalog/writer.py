"""Writing rows: upserts and removals, all from the schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from sqlite3 import Connection
from typing import Any
from uuid import UUID

from holdfast.catalog.select import quoted
from holdfast.catalog.tables import columns_of, is_text
from holdfast.catalog.values import encoder
from holdfast.query.literals import fold
from holdfast.schema.resource import NAME, ResourceType

#: The relation to the backup server that a row comes from.
OWNER = "server"


@dataclass(frozen=True)
class RowState:
    """The whole state of a row to be: values by name, UIDs of related rows by relation.

    `columns` are further columns by their own names (bytes or numbers as stored).
    """

    uid: UUID
    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    relations: Mapping[str, UUID] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


class WrongRow(ValueError):
    """A row that does not fit its type; the message names type and value."""


def put(connection: Connection, resource: ResourceType, state: RowState) -> None:
    """Given the state of a row, make it so: inserted, or every column replaced.

    A row of another backup server stays as it is.

    Raises WrongRow; nothing is written then.
    """
    text, columns = _upsert(resource)
    stored = _stored(resource, state)
    connection.execute(text, [stored.get(column) for column in columns])


def remove(
    connection: Connection, resource: ResourceType, uid: UUID, *, owner: UUID | None = None
) -> None:
    """Given a UID, remove that row of a type, if it is there.

    With `owner`, only a row of that backup server.
    """
    text = f"DELETE FROM {quoted(resource.table)} WHERE uid = ?"
    if owner is None:
        connection.execute(text, (uid.bytes,))
    else:
        connection.execute(f"{text} AND server_uid = ?", (uid.bytes, owner.bytes))


@lru_cache(maxsize=256)
def _upsert(resource: ResourceType) -> tuple[str, tuple[str, ...]]:
    columns = ("uid", *columns_of(resource))
    listed = ", ".join(quoted(column) for column in columns)
    marks = ", ".join("?" for _ in columns)
    updates = ", ".join(f"{quoted(c)} = excluded.{quoted(c)}" for c in columns[1:])
    table = quoted(resource.table)
    text = (
        f"INSERT INTO {table} ({listed}) VALUES ({marks}) ON CONFLICT (uid) DO UPDATE SET {updates}"
    )
    if any(relation.name == OWNER for relation in resource.relations):
        # A backup server may not write over what another one has.
        text += f" WHERE {table}.server_uid = excluded.server_uid"
    return text, columns


@lru_cache(maxsize=256)
def _encoders(resource: ResourceType) -> dict[str, tuple[str, bool, Callable[[Any], Any]]]:
    """Value names to column, whether text is folded beside it, and the encoder."""
    return {
        element.name: (
            element.column,
            is_text(element.type) and not element.repeated,
            encoder(element.type, repeated=element.repeated),
        )
        for element in (*((NAME,) if resource.key else ()), *resource.values)
    }


def _stored(resource: ResourceType, state: RowState) -> dict[str, Any]:
    encoders = _encoders(resource)
    values = {**state.values, "Name": state.name} if resource.key else state.values
    stored: dict[str, Any] = {"uid": state.uid.bytes, **state.columns}
    for relation, uid in state.relations.items():
        try:
            stored[resource.relation(relation).column] = uid.bytes
        except KeyError:
            raise WrongRow(f"{resource.name} has no relation {relation}") from None
    for element in resource.stored:
        if element.taken_from and values.get(element.name) is None:
            values = {**values, element.name: _part(values, element.taken_from)}
    for name, value in values.items():
        if value is None:
            continue
        if name not in encoders:
            raise WrongRow(f"{resource.name} has no value {name}")
        column, is_folded, encode = encoders[name]
        try:
            stored[column] = encode(value)
        except (ValueError, TypeError) as error:
            raise WrongRow(f"{resource.name}.{name}: {error}") from None
        if is_folded:
            stored[f"{column}_key"] = fold(value)
    return stored


def _part(values: Mapping[str, Any], path: str) -> Any:
    """Given values and the path of a part of a structure, return the part; None if not there."""
    found: Any = values
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found
