"""Descriptions of the calls about hosts of virtual machines."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from holdfast.api.description import Answer, Body, Operation, document
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import HostEdit, HostSpecification

_AREA = "Holdfast"
_HOST = "HoldfastHost"
_ONE_HOST = "HoldfastHostWithMachines"
_TEXT: JsonSchema = {"type": "string"}
_UID: JsonSchema = {"type": "string", "format": "uuid"}


def _or_null(described: JsonSchema) -> JsonSchema:
    return {"anyOf": [described, {"type": "null"}]}


def _object(properties: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schemas() -> dict[str, JsonSchema]:
    wanted = (HostSpecification, HostEdit)
    template = "#/components/schemas/{name}"
    found: dict[str, Any] = msgspec.json.schema_components(wanted, ref_template=template)[1]
    for described in found.values():
        # The rest of the text is for those who read the code.
        described["description"] = cleandoc(described["description"]).partition("\n\n")[0]
    found[HostSpecification.__name__]["properties"] |= {
        "server": _TEXT | {"description": "The backup server's UID; needed with more than one."},
        "credentials": _or_null(_TEXT | {"description": "The UID or the GUID of credentials."}),
    }
    host = {
        "uid": _UID,
        "name": _TEXT,
        "uri": _TEXT,
        "description": _TEXT,
        "server": _or_null(_UID),
        "credentials": _or_null(_UID),
        "staging": _or_null(_TEXT | {"description": "The folder that QEMU writes to."}),
        "state": {"type": "string", "enum": ["Available", "Unavailable"]},
        "reason": _TEXT | {"description": "Why it is not available; empty when it is."},
        "last_scan": _or_null({"type": "integer", "description": "Milliseconds since 1970, UTC."}),
        "hostname": _or_null(_TEXT),
        "hypervisor": _or_null(_TEXT | {"description": "The version of QEMU."}),
        "library": _or_null(_TEXT | {"description": "The version of libvirt."}),
        "acceleration": _or_null({"type": "string", "enum": ["kvm", "tcg"]}),
        "acceleration_note": _or_null(_TEXT),
        "reference": _TEXT | {"description": "What a job includes to have all its machines."},
    }
    items = {
        "type": "array",
        "items": _object({"reference": _TEXT, "type": _TEXT, "name": _TEXT}),
        "description": "Its machines (Vm) and their tags (Tag), by name.",
    }
    return {**found, _HOST: _object(host), _ONE_HOST: _object(host | {"objects": items})}


#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()

_STARTED = {202: document("Task", "The task under which it is done.")}

HOSTS = {
    "GET": Operation(
        "List all hosts of virtual machines",
        _AREA,
        {
            200: Answer(
                "The hosts, by name.", _object({"hosts": {"type": "array", "items": named(_HOST)}})
            )
        },
        ADMINISTRATOR,
    ),
    "POST": Operation(
        "Add a host of virtual machines, if it answers",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
        body=Body(named(HostSpecification.__name__), required=True),
    ),
}
ONE_HOST = {
    "GET": Operation(
        "Read one host, with what it has",
        _AREA,
        {200: Answer("The host.", named(_ONE_HOST))},
        ADMINISTRATOR,
    ),
    "PUT": Operation(
        "Change one host; what is left out stays as it is",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
        body=Body(named(HostEdit.__name__), required=True),
    ),
    "DELETE": Operation(
        "Remove one host, unless a job has something of it; its restore points stay",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
    ),
}
RESCAN = {
    "POST": Operation(
        "Look at one host now: what it can, and which machines it has",
        _AREA,
        _STARTED,
        ADMINISTRATOR,
    )
}
