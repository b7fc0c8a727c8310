"""What the calls about restores that Holdfast adds to the API say of themselves."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from holdfast.api.description import ActionChoice, Answer, Body, Operation, Parameter, document
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import VM_RESTORERS
from holdfast.server.messages import InstantSpecification, RestoreSpecification

_AREA = "Restore"
_RECOVERY = "HoldfastInstantRecovery"


def _schemas() -> dict[str, JsonSchema]:
    template = "#/components/schemas/{name}"
    wanted = (RestoreSpecification, InstantSpecification)
    found: dict[str, Any] = msgspec.json.schema_components(wanted, ref_template=template)[1]
    for described in found.values():
        # The rest of the text is for those who read the code.
        described["description"] = cleandoc(described["description"]).partition("\n\n")[0]
        host = {"type": "string", "description": "The UID or the GUID of a host."}
        described["properties"]["host"] = _or_null(host)
    uid: JsonSchema = {"type": "string", "format": "uuid"}
    text: JsonSchema = {"type": "string"}
    recovery = {
        "server": uid,
        "uid": uid,
        "point": uid,
        "host": uid,
        "host_name": text,
        "name": text | {"description": "The name of the machine."},
        "uuid": text | {"description": "The UUID of the machine on its host."},
        "state": text | {"enum": ["Starting", "Running", "Migrating", "Discarding"]},
        "created": {"type": "integer", "description": "Milliseconds since 1970, UTC."},
        "session": _or_null(uid | {"description": "The restore session that is at it."}),
        "progress": _or_null({"type": "integer", "description": "How far that is, in percent."}),
    }
    found[_RECOVERY] = _object(recovery)
    return found


def _or_null(described: JsonSchema) -> JsonSchema:
    return {"anyOf": [described, {"type": "null"}]}


def _object(properties: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


#: What can be done with a machine that runs from its restore point, and the task's operation.
INSTANT_ACTIONS = {"migrate": "MigrateInstantRecovery", "discard": "DiscardInstantRecovery"}

#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()

STOP = Operation(
    "Stop a restore",
    _AREA,
    {202: document("Task", "The task under which it is stopped.")},
    VM_RESTORERS,
)
RESTORE = Operation(
    "Restore a machine of a host: to a host, in place, or its disks to files",
    _AREA,
    {202: document("Task", "The task; it leads to the restore session.")},
    VM_RESTORERS,
    body=Body(named(RestoreSpecification.__name__), required=True),
)
_SESSION = {202: document("Task", "The task; it leads to the restore session.")}

START_INSTANT = {
    "POST": Operation(
        "Run a machine of a host from its restore point, within seconds",
        _AREA,
        _SESSION,
        VM_RESTORERS,
        body=Body(named(InstantSpecification.__name__), required=True),
    )
}
INSTANT = {
    "GET": Operation(
        "List the machines that run from a restore point",
        _AREA,
        {
            200: Answer(
                "The machines of the backup servers that answer.",
                _object({"recoveries": {"type": "array", "items": named(_RECOVERY)}}),
            )
        },
        VM_RESTORERS,
    )
}
ONE_INSTANT = {
    "GET": Operation(
        "Read one machine that runs from a restore point",
        _AREA,
        {200: Answer("The machine.", named(_RECOVERY))},
        VM_RESTORERS,
    ),
    "POST": Operation(
        "Migrate a machine to its own storage while it runs, or power it off and discard it",
        _AREA,
        _SESSION,
        VM_RESTORERS,
        parameters=(
            Parameter(
                "action",
                "What is to be done.",
                {"type": "string", "enum": list(INSTANT_ACTIONS)},
                True,
            ),
        ),
        actions=tuple(
            ActionChoice(name, task, VM_RESTORERS) for name, task in INSTANT_ACTIONS.items()
        ),
    ),
}
