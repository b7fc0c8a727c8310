"""Parts that the descriptions of Holdfast's own JSON are put together from."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from holdfast.api.description import Answer, document
from holdfast.representation.json_schema import JsonSchema

TEXT: JsonSchema = {"type": "string"}
UID: JsonSchema = {"type": "string", "format": "uuid"}

#: The answers of a call that something is begun by.
STARTED: dict[int, Answer] = {202: document("Task", "The task under which it is done.")}


def or_null(described: JsonSchema) -> JsonSchema:
    """Return what is either as described or null."""
    return {"anyOf": [described, {"type": "null"}]}


def object_of(properties: dict[str, JsonSchema]) -> JsonSchema:
    """Return an object with these members, all of them, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def components_of(*wanted: type[Any]) -> dict[str, Any]:
    """Return the schemas of bodies that are read as these types, by component name.

    Each is described by the first paragraph of its type's docstring: the rest of the text is for
    those who read the code.
    """
    template = "#/components/schemas/{name}"
    found: dict[str, Any] = msgspec.json.schema_components(wanted, ref_template=template)[1]
    for described in found.values():
        described["description"] = cleandoc(described["description"]).partition("\n\n")[0]
    return found
