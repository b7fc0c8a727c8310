"""Rows of every type with every value set, made from the declarations alone."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid5

from holdfast.catalog.writer import RowState, put
from holdfast.schema import types
from holdfast.schema.core import CORE
from holdfast.schema.resource import ResourceType

_NAMESPACE = UUID("5c4e3a00-0000-4000-8000-000000000000")


def uid_of(type_name: str) -> UUID:
    """Given a type's name, return the UID of its one row."""
    return uuid5(_NAMESPACE, type_name)


def value_of(value_type: types.Type, name: str) -> Any:
    """Given a type and a name, return a value that is of the type."""
    match value_type:
        case types.Structure():
            parts = (*value_type.attributes, *value_type.children)
            value = {part.name: element_value(part) for part in parts}
            return value | ({value_type.text: "1,0"} if value_type.text else {})
        case types.Boolean():
            return True
        case types.Integer():
            return 7
        case types.DateTime():
            return 4_000_000_000_000
        case types.Real():
            return 1.5
        case types.Enumeration():
            return value_type.values[-1]
        case types.Uid():
            return str(uid_of(value_type.entity))
        case types.Guid():
            return str(uid_of(name))
        case types.Href():
            return "/jobs/1"
        case _:
            return f"{name} & é"


def element_value(element: types.Element) -> Any:
    """Given an element, return a value for it."""
    value = value_of(element.type, element.name)
    return [value, value] if element.repeated else value


def row_of(resource: ResourceType) -> RowState:
    """Given a type, return the row of it: every value, and relations to the rows of the others."""
    values = {
        element.name: element_value(element)
        for element in resource.values
        if element.taken_from is None
    }
    relations = {relation.name: uid_of(relation.target) for relation in resource.relations}
    for relation in resource.relations:
        for element in resource.values:
            if element.column == relation.column:
                values[element.name] = str(relations[relation.name])
    return RowState(uid_of(resource.name), f"{resource.name} 1", values, relations)


def fill(connection: Connection) -> None:
    """Given an empty catalog, put the row of every type, but of the manager's own tasks."""
    for resource in CORE:
        if resource.name != "Task":
            put(connection, resource, row_of(resource))
