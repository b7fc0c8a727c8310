"""What Holdfast adds to the API about restores: machines of hosts, and that they can be stopped."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call
from holdfast.api.file_listing import server_of_row, started
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import guid_in, json_object, read_as
from holdfast.api.own_restore_descriptions import RESTORE, STOP
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.schema.roles import ADMINISTRATOR, VM_RESTORERS
from holdfast.server.messages import RestoreSpecification


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    path = f"{PREFIX}/restoreSessions/{{id}}/stop"
    router.add(path, {"POST": stop}, describe={"POST": STOP})
    path = f"{PREFIX}/vmRestorePoints/{{id}}/restore"
    router.add(path, {"POST": restore}, describe={"POST": RESTORE})


async def stop(call: Call) -> Response:
    """Start stopping a restore and answer with the task."""
    require(call, VM_RESTORERS, "stop restores")
    resource = call.manager.schema["RestoreSession"]
    uid = await Place(resource).expect(call)
    server, _ = await server_of_row(call, resource, uid)
    return await started(call, "StopRestoreSession", server, "stop-restore", uid)


async def restore(call: Call) -> Response:
    """Start restoring a machine of a host and answer with the task, which leads to the session.

    The body is a `RestoreSpecification`; its ``host`` may be a UID, too.
    """
    require(call, VM_RESTORERS, "restore machines")
    uid, server = await point_of(call)
    wanted = read_as(with_host(await json_object(call)), RestoreSpecification)
    expect_may_name(call, wanted.folder)
    arguments: dict[str, Any] = {
        "new_name": wanted.name,
        "overwrite": wanted.in_place,
        "power_on": wanted.power_on,
        "host": None if wanted.host is None else str(wanted.host),
        "folder": wanted.folder,
        "new_identifiers": wanted.new_identifiers,
        "disks": wanted.disks,
        "format": wanted.format or "",
        "force": wanted.force,
    }
    return await started(call, "StartVMRestore", server, "restore-machine", uid, arguments)


def expect_may_name(call: Call, folder: str) -> None:
    """Raise Forbidden if a folder is named by somebody who may not.

    What is in a disk was written by its guest, and a backup server may write anywhere.
    """
    if folder:
        require(call, ADMINISTRATOR, "say in which folder of a host or a backup server to write")


async def point_of(call: Call) -> tuple[UUID, UUID]:
    """Return the restore point that the address names, and its backup server. Raises NotFound."""
    resource = call.manager.schema["VmRestorePoint"]
    uid = await Place(resource).expect(call)
    server, _ = await server_of_row(call, resource, uid)
    return uid, server


def with_host(given: dict[str, Any]) -> dict[str, Any]:
    """Given a body, return it with the GUID of its host, of which a UID will do."""
    if given.get("host") is None:
        return given
    return given | {"host": str(guid_in(given["host"], "host"))}
