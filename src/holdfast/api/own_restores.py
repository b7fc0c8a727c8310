"""What Holdfast adds to the API about restores: they can be stopped."""

from __future__ import annotations

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call
from holdfast.api.description import Operation, document
from holdfast.api.file_listing import server_of_row, started
from holdfast.api.own import PREFIX
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.schema.roles import VM_RESTORERS

_STOP = Operation(
    "Stop a restore",
    "Restore",
    {202: document("Task", "The task under which it is stopped.")},
    VM_RESTORERS,
)


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    path = f"{PREFIX}/restoreSessions/{{id}}/stop"
    router.add(path, {"POST": stop}, describe={"POST": _STOP})


async def stop(call: Call) -> Response:
    """Start stopping a restore and answer with the task."""
    require(call, VM_RESTORERS, "stop restores")
    resource = call.manager.schema["RestoreSession"]
    uid = await Place(resource).expect(call)
    server, _ = await server_of_row(call, resource, uid)
    return await started(call, "StopRestoreSession", server, "stop-restore", uid)
