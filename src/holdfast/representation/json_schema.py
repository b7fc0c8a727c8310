"""JSON Schemas of everything the API answers with, made from the declarations.

In answers no declared member is left out and none is added: absent values are null, absent lists
empty. In requests nothing is required that the declaration calls optional.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.representation import shapes
from holdfast.representation.json import member_name
from holdfast.schema import file_system, types
from holdfast.schema.naming import urn_prefix
from holdfast.schema.resource import ResourceType, Schema
from holdfast.schema.resources.reports import FRAMES
from holdfast.schema.services import (
    ERROR,
    LINK,
    LINKS,
    PAGING_INFO,
    SERVICES,
    SYSTEM_SESSION_EVENTS,
)

JsonSchema = dict[str, Any]

REFERENCE = shapes.REFERENCE_ROOT
REFERENCES = shapes.REFERENCES_ROOT
QUERY_RESULT = "QueryResult"

_GUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z$"
_NULL: JsonSchema = {"type": "null"}


def named(component: str) -> JsonSchema:
    """Given a component's name, return the reference to it."""
    return {"$ref": f"#/components/schemas/{component}"}


def collection_name(resource: ResourceType) -> str:
    """Given a type, return the name of the component that is a collection of its entities."""
    return f"{resource.name}Collection"


def view_name(plural: str) -> str:
    """Given the root of a view's entities, return the name of the component that it is."""
    return f"{plural}View"


def changes_name(resource: ResourceType) -> str:
    """Given a type, return the name of the component that is its document in a request."""
    return f"{resource.name}Changes"


def components(schema: Schema) -> dict[str, JsonSchema]:
    """Given the resource types, return the schemas of all answers by their names."""
    found: dict[str, JsonSchema] = {
        LINK.name: _structure(LINK.type, answer=True),
        PAGING_INFO.name: _structure(PAGING_INFO.type, answer=True),
        ERROR.name: _structure(ERROR.type, answer=True),
        SYSTEM_SESSION_EVENTS.name: _structure(SYSTEM_SESSION_EVENTS.type, answer=True),
        REFERENCE: _structure(shapes.reference(schema).type, answer=True),
        REFERENCES: _collection(shapes.REFERENCES_MEMBER, named(REFERENCE)),
    }
    for resource in schema:
        found[resource.name] = _entity(resource)
        found[collection_name(resource)] = _collection(resource.plural, named(resource.name))
        for view in resource.views:
            if view.plural is not None:
                found[view_name(view.plural)] = _collection(view.plural, named(resource.name))
    found[QUERY_RESULT] = _query_result(schema)
    for service in SERVICES:
        found[service.root] = _service(service.element)
        if service.plural is not None:
            items = {service.plural: _list(named(service.root))}
            found[service.plural] = _object(items, required=items)
    for root in (*(frame.root for frame in FRAMES), *file_system.OBJECTS):
        found[root.name] = _record(root)
    for root in file_system.LISTS:
        found[root.name] = _structure(root.type, answer=True)
    return found


def request_schema(root: types.Element) -> JsonSchema:
    """Given the declaration of a request's body, return its schema."""
    return _structure(root.type, answer=False)


def changes_schema(root: types.Element) -> JsonSchema:
    """Given the declaration of a document that says what is to change, return its schema.

    It is a document as it was read, or any part of it.
    """
    described = _partial(request_schema(root))
    text = _nullable({"type": "string"})
    ignored = {"Links": _nullable(_list(named(LINK.name))), "Href": text, "Type": text}
    described["properties"] = ignored | described["properties"]
    return described


def _partial(described: JsonSchema) -> JsonSchema:
    """Given a schema, return it with every member of its objects null or left out at will."""
    if "anyOf" in described:
        return {"anyOf": [_partial(choice) for choice in described["anyOf"]]}
    match described.get("type"):
        case "array":
            return described | {"items": _partial(described["items"])}
        case "object":
            partial = {name: _partial(part) for name, part in described["properties"].items()}
            members = {
                name: part if _NULL in part.get("anyOf", ()) else _nullable(part)
                for name, part in partial.items()
            }
            return _object(members, required=())
        case _:
            return described


def _entity(resource: ResourceType) -> JsonSchema:
    described = _structure(shapes.entity(resource).type, answer=True)
    # A member for what such documents do not have is there all the same, and null.
    for name, missing in (("Type", not resource.typed), ("Href", not resource.addressed)):
        if missing:
            described["properties"][name] = _NULL
            described["required"].append(name)
    return described


def _record(root: types.Element) -> JsonSchema:
    described = _structure(root.type, answer=True)
    members: JsonSchema = {"Links": _list(named(LINK.name)), "Href": _NULL, "Type": _NULL}
    described["properties"] = members | described["properties"]
    described["required"] = list(described["properties"])
    return described


def _service(element: types.Element) -> JsonSchema:
    """A service leaves out what it does not have, other than rows."""
    described = _structure(element.type, answer=True)
    optional = {part.name for part in _parts(element.type) if part.optional and part is not LINKS}
    described["required"] = [name for name in described["required"] if name not in optional]
    return described


def _collection(member: str, item: JsonSchema) -> JsonSchema:
    properties = {member: _list(item), PAGING_INFO.name: named(PAGING_INFO.name)}
    return _object(properties, required=(member,))


def _query_result(schema: Schema) -> JsonSchema:
    members: dict[str, JsonSchema] = {
        "Refs": _nullable(_object({"Refs": _list(named(REFERENCE))}, required=("Refs",))),
        "Entities": _nullable(_containers(shapes.query_containers(schema, key=True))),
        "Resources": _nullable(_containers(shapes.query_containers(schema, key=False))),
        "Links": _NULL,
        PAGING_INFO.name: named(PAGING_INFO.name),
    }
    return _object(members, required=members)


def _containers(containers: Iterable[shapes.Container]) -> JsonSchema:
    properties = {}
    for container in containers:
        items = [named(resource.name) for _, resource in container.items]
        one = items[0] if len(items) == 1 else {"anyOf": items}
        properties[container.name] = _object({container.name: _list(one)}, (container.name,))
    return _object(properties, required=()) | {"minProperties": 1, "maxProperties": 1}


def _parts(structure: types.Type) -> tuple[types.Element, ...]:
    if not isinstance(structure, types.Structure):
        raise TypeError("expected a structure")
    return (*structure.children, *structure.attributes)


def _structure(structure: types.Type, *, answer: bool) -> JsonSchema:
    parts = _parts(structure)
    properties = {member_name(part): _member(part, answer=answer) for part in parts}
    text = structure.text if isinstance(structure, types.Structure) else None
    if text is not None:
        properties[text] = {"type": "string"}
    if answer:
        return _object(properties, required=properties)
    needed = [member_name(part) for part in parts if not (part.optional or part.repeated)]
    return _object(properties, required=needed)


def _member(element: types.Element, *, answer: bool) -> JsonSchema:
    if element is LINKS:
        return _list(named(LINK.name))
    described = _value(element.type, answer=answer)
    if element.repeated:
        return _list(described)
    return _nullable(described) if shapes.may_be_missing(element) else described


def _value(value_type: types.Type, *, answer: bool) -> JsonSchema:
    match value_type:
        case types.Structure(flat=True):
            return _list(_value(value_type.children[0].type, answer=answer))
        case types.Structure():
            return _structure(value_type, answer=answer)
        case types.Enumeration():
            return {"type": "string", "enum": list(value_type.names)}
        case types.Uid():
            return {"type": "string", "pattern": f"^{urn_prefix(value_type.entity)}{_GUID}$"}
        case types.Guid():
            return {"type": "string", "pattern": f"^{_GUID}$"}
        case types.Boolean():
            return {"type": "boolean"}
        case types.Integer():
            return {"type": "integer", "format": "int64"}
        case types.Real():
            return {"type": "number", "format": "double"}
        case types.DateTime():
            return {"type": "string", "format": "date-time", "pattern": _MOMENT}
        case types.Href():
            return {"type": "string", "format": "uri"}
        case _:
            return {"type": "string"}


def _list(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": items}


def _nullable(described: JsonSchema) -> JsonSchema:
    return {"anyOf": [described, _NULL]}


def _object(properties: Mapping[str, JsonSchema], required: Iterable[str]) -> JsonSchema:
    described: JsonSchema = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    if needed := list(required):
        described["required"] = needed
    return described
