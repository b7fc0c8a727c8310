"""What the calls about restores that Holdfast adds to the API say of themselves."""

from __future__ import annotations

from holdfast.api.description import ActionChoice, Answer, Body, Operation, Parameter, document
from holdfast.api.own_shapes import TEXT, UID, components_of, object_of, or_null
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import VM_RESTORERS
from holdfast.server.messages import InstantSpecification, RestoreSpecification

_AREA = "Restore"
_RECOVERY = "HoldfastInstantRecovery"


def _schemas() -> dict[str, JsonSchema]:
    wanted = (RestoreSpecification, InstantSpecification)
    found = components_of(*wanted)
    for described in found.values():
        host = {"type": "string", "description": "The UID or the GUID of a host."}
        described["properties"]["host"] = or_null(host)
    recovery = {
        "server": UID,
        "uid": UID,
        "point": UID,
        "host": UID,
        "host_name": TEXT,
        "name": TEXT | {"description": "The name of the machine."},
        "uuid": TEXT | {"description": "The UUID of the machine on its host."},
        "state": TEXT | {"enum": ["Starting", "Running", "Migrating", "Discarding"]},
        "created": {"type": "integer", "description": "Milliseconds since 1970, UTC."},
        "session": or_null(UID | {"description": "The restore session that is at it."}),
        "progress": or_null({"type": "integer", "description": "How far that is, in percent."}),
    }
    found[_RECOVERY] = object_of(recovery)
    return found


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
                object_of({"recoveries": {"type": "array", "items": named(_RECOVERY)}}),
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
