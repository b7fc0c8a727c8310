"""What Holdfast adds to the API about the health of backups: checks, and the state of points."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call, not_found
from holdfast.api.description import Answer, Operation, document
from holdfast.api.file_listing import server_of_row, started
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import json_answer
from holdfast.api.own_shapes import TEXT
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.catalog.reader import Row
from holdfast.catalog.select import Restriction
from holdfast.query.expression import Operator
from holdfast.query.request import Query, default_order
from holdfast.representation.json_schema import JsonSchema
from holdfast.schema.resources.restore_points import POINT_TYPE
from holdfast.schema.roles import ADMINISTRATOR, VM_RESTORERS

_POINT: JsonSchema = {
    "type": "object",
    "properties": {
        "uid": TEXT | {"format": "uuid"},
        "machine": TEXT,
        "created": {"type": "integer", "description": "Milliseconds since 1970, UTC."},
        "type": TEXT | {"enum": list(POINT_TYPE.values)},
        "damaged": {
            "anyOf": [
                TEXT | {"description": "What the last check found; such a point is not restored."},
                {"type": "null"},
            ]
        },
        "kept_for": {
            "type": "array",
            "items": TEXT,
            "description": "For which periods it is kept for long: Weekly, Monthly, Yearly.",
        },
        "encryption": {
            "anyOf": [
                TEXT | {"description": "The UID of the password that it is encrypted with."},
                {"type": "null"},
            ]
        },
    },
    "required": ["uid", "machine", "created", "type", "damaged", "kept_for", "encryption"],
    "additionalProperties": False,
}

CHECK = Operation(
    "Check the backup of a job: every file is read and compared with its checksum",
    "Holdfast",
    {202: document("Task", "The task; it leads to the session, which says what was found.")},
    ADMINISTRATOR,
)
DAMAGED = Operation(
    "List the restore points of machines that are damaged, as the last checks found",
    "Holdfast",
    {
        200: Answer(
            "The points, the newest first.",
            {
                "type": "object",
                "properties": {"points": {"type": "array", "items": _POINT}},
                "required": ["points"],
                "additionalProperties": False,
            },
        )
    },
    ADMINISTRATOR,
)
POINT = Operation(
    "Read the state of a machine's restore point",
    "Holdfast",
    {200: Answer("The point.", _POINT)},
    VM_RESTORERS,
)


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(f"{PREFIX}/jobs/{{id}}/check", {"POST": check}, describe={"POST": CHECK})
    router.add(f"{PREFIX}/vmRestorePoints", {"GET": damaged_points}, describe={"GET": DAMAGED})
    router.add(f"{PREFIX}/vmRestorePoints/{{id}}", {"GET": point}, describe={"GET": POINT})


async def check(call: Call) -> Response:
    """Start checking what a job has backed up, and answer with the task.

    What is damaged is the reason in the session; machines whose newest point is damaged are backed
    up at once.
    """
    require(call, ADMINISTRATOR, "check backups")
    resource = call.manager.schema["Job"]
    uid = await Place(resource).expect(call)
    server, _ = await server_of_row(call, resource, uid)
    return await started(call, "CheckJob", server, "check-job", uid)


async def damaged_points(call: Call) -> Response:
    """Answer with all points of machines that are damaged, each as `point` answers it."""
    require(call, ADMINISTRATOR, "read the state of all restore points")
    resource = call.manager.schema["VmRestorePoint"]
    order = default_order(call.manager.schema, resource)
    # More than nothing: a point without damage has no such text at all.
    only = (Restriction("damaged", Operator.GREATER, ""),)
    found = await call.manager.reader.rows(Query(resource, None, order, None, True), only)
    return json_answer({"points": [_document(row) for row in found.rows]})


async def point(call: Call) -> Response:
    """Answer with the state of a machine's point: whether it is damaged, for what it is kept."""
    require(call, VM_RESTORERS, "read restore points")
    resource = call.manager.schema["VmRestorePoint"]
    uid = await Place(resource).expect(call)
    identity = (Restriction("uid", Operator.EQUAL, uid.bytes),)
    row = await call.manager.reader.first(resource, identity, entities=True)
    if row is None:
        raise not_found(resource, uid)
    return json_answer(_document(row))


def _document(row: Row) -> dict[str, Any]:
    return {
        "uid": row["UID"],
        "machine": row["VmDisplayName"],
        "created": row["CreationTimeUTC"],
        "type": row["PointType"],
        "damaged": row["Damaged"],
        "kept_for": row["KeptFor"].split(",") if row["KeptFor"] else [],
        "encryption": row["Encryption"],
    }
