"""What the calls about restores that Holdfast adds to the API say of themselves."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from holdfast.api.description import Body, Operation, document
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import VM_RESTORERS
from holdfast.server.messages import RestoreSpecification

_AREA = "Restore"


def _schemas() -> dict[str, JsonSchema]:
    template = "#/components/schemas/{name}"
    wanted = (RestoreSpecification,)
    found: dict[str, Any] = msgspec.json.schema_components(wanted, ref_template=template)[1]
    for described in found.values():
        # The rest of the text is for those who read the code.
        described["description"] = cleandoc(described["description"]).partition("\n\n")[0]
        host = {"type": "string", "description": "The UID or the GUID of a host."}
        described["properties"]["host"] = {"anyOf": [host, {"type": "null"}]}
    return found


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
