"""Rows of every type of a schema, made from its declarations.

Of each type there are two: one with every value and relation, one with what must be there alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid5

from holdfast.catalog.writer import RowState, put
from holdfast.representation.shapes import may_be_missing
from holdfast.schema import types
from holdfast.schema.resource import ResourceType, Schema

AWKWARD = "a & b <c> \"d\" 'e' é 日本 ]]> &amp;\n\x01"
#: Of now, because some collections show what is recent alone; with a fraction of a second.
MOMENT = time.time_ns() // 1_000_000 // 1000 * 1000 + 560
#: What is below these, only their backup server can tell: even a bare row has one.
_ON_A_SERVER = {"VmRestorePoint", "VmReplicaPoint"}
_NAMESPACE = UUID("0c1b2c3d-0000-4000-8000-000000000000")


def uid(name: str, kind: str = "full") -> UUID:
    """Given a type's name, return the UID of its full or its bare row."""
    return uuid5(_NAMESPACE, f"{kind} {name}")


def value_of(value_type: types.Type, *, bare: bool) -> Any:
    """Given a type, return a value of it; a structure of a bare row has its required parts."""
    match value_type:
        case types.Structure():
            parts = (*value_type.attributes, *value_type.children)
            made = values_of(parts, bare=bare)
            return made | ({value_type.text: "0,1"} if value_type.text else {})
        case types.Enumeration():
            return value_type.names[-1 if bare else 0]
        case types.Uid() | types.Guid():
            return str(uid("anything"))
        case types.HierarchyRef():
            return "urn:VMware:Vm:7a1b2c3d-1111-4111-8111-111111111111.vm-1"
        case types.Href():
            return "/tasks"  # what everybody may read
        case types.Boolean():
            return not bare
        case types.Integer():
            return 0 if bare else 2**53 + 1
        case types.Real():
            return 0.0 if bare else 1.25
        case types.DateTime():
            return MOMENT
        case _:
            return "" if bare else AWKWARD


def values_of(parts: Sequence[types.Element], *, bare: bool) -> dict[str, Any]:
    """Given elements, return a value of each by their names; a bare row has the required ones."""
    made: dict[str, Any] = {}
    for part in parts:
        if bare and (part.repeated or may_be_missing(part)):
            continue
        value = value_of(part.type, bare=bare)
        made[part.name] = [value, value] if part.repeated else value
    return made


def _name(type_name: str, kind: str) -> str:
    return f'{type_name} {kind} & <"é">'


def _row(
    schema: Schema, resource: ResourceType, logon_session: UUID, number: int, *, bare: bool
) -> RowState:
    kind = "bare" if bare else "full"
    values = values_of(resource.values, bare=bare)
    columns: dict[str, Any] = {}
    relations: dict[str, UUID] = {}
    if not bare:
        relations = {
            relation.name: uid(relation.target)
            for relation in resource.relations
            if relation.target in schema
        }
    elif resource.name in _ON_A_SERVER:
        relations = {"server": uid("BackupServer")}
    elif resource.parent is not None:
        relations = {resource.parent: uid(resource.relation(resource.parent).target)}
    # Some relations are elements, too, kept in one column.
    columns_of = {resource.relation(name).column: found for name, found in relations.items()}
    for element in resource.values:
        if (related := columns_of.get(element.column)) is not None:
            values[element.name] = str(related)
    if not resource.key and resource.identifier != "UID":
        is_text = isinstance(resource.value(resource.identifier).type, types.String)
        own = uid(resource.name, kind)
        values[resource.identifier] = f"{resource.name}-{number}" if is_text else str(own)
    if resource.private_to_logon:
        columns["logon_session_uid"] = logon_session.bytes
    for link in resource.links:
        if link.any_of is not None:
            words = link.any_of.title().replace("_", "")
            columns[f"{link.any_of}_uid"] = None if bare else uid("Job").bytes
            values |= {f"{words}Type": "Job", f"{words}Name": _name("Job", "full")}
    name = _name(resource.name, kind) if resource.key else ""
    if resource.named and not bare:
        name += " 100% a/b?c=%2F%3F%25#d;e+f"  # it stands in addresses
    return RowState(uid(resource.name, kind), name, values, relations, columns)


def fill(connection: Connection, schema: Schema, logon_session: UUID) -> None:
    """Given an empty catalog, put the rows; those of a logon session are of the given one."""
    _put_rows(connection, schema, schema, logon_session)


def give(connection: Connection, schema: Schema, logon_session: UUID) -> None:
    """Given a filled catalog, make the rows of a logon session those of the given one."""
    own = [resource for resource in schema if resource.private_to_logon]
    _put_rows(connection, schema, own, logon_session)


def _put_rows(
    connection: Connection, schema: Schema, types: Iterable[ResourceType], logon_session: UUID
) -> None:
    for resource in types:
        for number, bare in enumerate((False, True)):
            row = _row(schema, resource, logon_session, number, bare=bare)
            put(connection, resource, row)
