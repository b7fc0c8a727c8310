"""Descriptions of the calls about hosts of virtual machines."""

from __future__ import annotations

from holdfast.api.description import Answer, Body, Operation
from holdfast.api.own_shapes import STARTED, TEXT, UID, components_of, object_of, or_null
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import HostEdit, HostSpecification

_AREA = "Holdfast"
_HOST = "HoldfastHost"
_ONE_HOST = "HoldfastHostWithMachines"


def _schemas() -> dict[str, JsonSchema]:
    wanted = (HostSpecification, HostEdit)
    found = components_of(*wanted)
    found[HostSpecification.__name__]["properties"] |= {
        "server": TEXT | {"description": "The backup server's UID; needed with more than one."},
        "credentials": or_null(TEXT | {"description": "The UID or the GUID of credentials."}),
    }
    host = {
        "uid": UID,
        "name": TEXT,
        "uri": TEXT,
        "description": TEXT,
        "server": or_null(UID),
        "credentials": or_null(UID),
        "staging": or_null(TEXT | {"description": "The folder that QEMU writes to."}),
        "state": {"type": "string", "enum": ["Available", "Unavailable"]},
        "reason": TEXT | {"description": "Why it is not available; empty when it is."},
        "last_scan": or_null({"type": "integer", "description": "Milliseconds since 1970, UTC."}),
        "hostname": or_null(TEXT),
        "hypervisor": or_null(TEXT | {"description": "The version of QEMU."}),
        "library": or_null(TEXT | {"description": "The version of libvirt."}),
        "acceleration": or_null({"type": "string", "enum": ["kvm", "tcg"]}),
        "acceleration_note": or_null(TEXT),
        "reference": TEXT | {"description": "What a job includes to have all its machines."},
    }
    items = {
        "type": "array",
        "items": object_of({"reference": TEXT, "type": TEXT, "name": TEXT}),
        "description": "Its machines (Vm) and their tags (Tag), by name.",
    }
    return {**found, _HOST: object_of(host), _ONE_HOST: object_of(host | {"objects": items})}


#: The schemas of bodies and answers, by component name.
SCHEMAS = _schemas()


HOSTS = {
    "GET": Operation(
        "List all hosts of virtual machines",
        _AREA,
        {
            200: Answer(
                "The hosts, by name.",
                object_of({"hosts": {"type": "array", "items": named(_HOST)}}),
            )
        },
        ADMINISTRATOR,
    ),
    "POST": Operation(
        "Add a host of virtual machines, if it answers",
        _AREA,
        STARTED,
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
        STARTED,
        ADMINISTRATOR,
        body=Body(named(HostEdit.__name__), required=True),
    ),
    "DELETE": Operation(
        "Remove one host, unless a job has something of it; its restore points stay",
        _AREA,
        STARTED,
        ADMINISTRATOR,
    ),
}
RESCAN = {
    "POST": Operation(
        "Look at one host now: what it can, and which machines it has",
        _AREA,
        STARTED,
        ADMINISTRATOR,
    )
}
