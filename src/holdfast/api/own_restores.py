"""What Holdfast adds to the API about restores: they can be stopped."""

from __future__ import annotations

from uuid import UUID, uuid4

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call, not_found
from holdfast.api.own import PREFIX
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.catalog.writer import OWNER
from holdfast.schema.roles import MACHINE_RESTORERS
from holdfast.server.messages import Command


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(f"{PREFIX}/restoreSessions/{{id}}/stop", {"POST": stop})


async def stop(call: Call) -> Response:
    """Start stopping a restore and answer with the task."""
    require(call, MACHINE_RESTORERS, "stop restores")
    resource = call.manager.schema["RestoreSession"]
    uid: UUID = call.path_uid(resource)
    server = await call.manager.reader.related(resource, uid, OWNER)
    if server is None:
        raise not_found(resource, uid)
    command = Command(
        request_id=uuid4(),
        operation="stop-restore",
        target=uid,
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, "StopRestoreSession", server, command)
    return await task_answer(call, task)
