"""What Holdfast adds to the API about machines that run from their restore point.

They are asked about at their backup servers, as mounts are.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call
from holdfast.api.errors import BackupServerDown, BadRequest, NotFound
from holdfast.api.file_listing import action_of, answered, started
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import json_answer, json_object, read_as
from holdfast.api.own_restore_descriptions import (
    INSTANT,
    INSTANT_ACTIONS,
    ONE_INSTANT,
    START_INSTANT,
)
from holdfast.api.own_restores import expect_may_name, point_of, with_host
from holdfast.api.resources import own_restrictions
from holdfast.api.routing import Router
from holdfast.catalog.select import Restriction
from holdfast.query.expression import Operator
from holdfast.query.request import Query, default_order
from holdfast.schema.naming import guid_of
from holdfast.schema.roles import VM_RESTORERS
from holdfast.server.messages import InstantRecovery, InstantSpecification

PATH = f"{PREFIX}/instantRecoveries"


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    path = f"{PREFIX}/vmRestorePoints/{{id}}/instantRecovery"
    router.add(path, {"POST": start}, describe=START_INSTANT)
    router.add(PATH, {"GET": recoveries}, describe=INSTANT)
    router.add(f"{PATH}/{{id}}", {"GET": recovery, "POST": act}, describe=ONE_INSTANT)


async def start(call: Call) -> Response:
    """Start running a machine from a restore point; answer with the task, which leads to a session.

    The body is an `InstantSpecification`; its ``host`` may be a UID, too.
    """
    require(call, VM_RESTORERS, "restore machines")
    uid, server = await point_of(call)
    wanted = read_as(with_host(await json_object(call)), InstantSpecification)
    expect_may_name(call, wanted.folder)
    arguments: dict[str, Any] = {
        "new_name": wanted.name,
        "host": None if wanted.host is None else str(wanted.host),
        "folder": wanted.folder,
        "new_identifiers": wanted.new_identifiers,
    }
    command = "start-instant-recovery"
    return await started(call, "StartInstantRecovery", server, command, uid, arguments)


async def recoveries(call: Call) -> Response:
    """Answer with the machines that run from a restore point, under ``recoveries``.

    Those of a backup server that does not answer are not known; it is an error when there are no
    others.
    """
    require(call, VM_RESTORERS, "read instant recoveries")
    found, silent = await _all_of(call)
    if silent and not found:
        raise BackupServerDown(f"Backup server [{silent[0]}] does not answer.")
    return json_answer({"recoveries": [_document(server, each) for server, each in found]})


async def recovery(call: Call) -> Response:
    """Answer with one machine that runs from a restore point."""
    require(call, VM_RESTORERS, "read instant recoveries")
    return json_answer(_document(*await _named(call)))


async def act(call: Call) -> Response:
    """Start migrating a machine to its own storage, or discarding it, as ``action`` says.

    Answer with the task, which leads to a session.
    """
    require(call, VM_RESTORERS, "restore machines")
    action = action_of(call)
    if action not in INSTANT_ACTIONS:
        raise BadRequest(f"Parameter action: expected one of {', '.join(INSTANT_ACTIONS)}.")
    server, found = await _named(call)
    command = f"{action}-instant-recovery"
    return await started(call, INSTANT_ACTIONS[action], server, command, found.uid)


async def _named(call: Call) -> tuple[UUID, InstantRecovery]:
    """Return the instant recovery that the address names, and its backup server.

    Raises NotFound, or BackupServerDown when a server that may have it does not answer.
    """
    written: str = call.request.path_params["id"]
    try:
        uid = guid_of(written)
    except ValueError:
        raise NotFound(f"Cannot find instant recovery [{written}].") from None
    found, silent = await _all_of(call)
    for server, each in found:
        if each.uid == uid:
            return server, each
    if silent:
        raise BackupServerDown(f"Backup server [{silent[0]}] does not answer.")
    raise NotFound(f"Cannot find instant recovery [{uid}].")


async def _all_of(call: Call) -> tuple[list[tuple[UUID, InstantRecovery]], list[UUID]]:
    """Return those that the caller may see, by server, and the servers that do not answer."""
    resource = call.manager.schema["BackupServer"]
    order = default_order(call.manager.schema, resource)
    rows = await call.manager.reader.rows(Query(resource, None, order, None, True))
    found, silent = [], []
    for server in [guid_of(row["UID"]) for row in rows.rows]:
        try:
            with answered():
                line = call.manager.connection_to(server)
                listed = await line.look("/instant-recoveries", list[InstantRecovery], {})
        except BackupServerDown:
            silent.append(server)
            continue
        found += [(server, each) for each in listed if await _may_see(call, each)]
    return found, silent


async def _may_see(call: Call, each: InstantRecovery) -> bool:
    """Say whether the caller may restore the point that a machine runs from."""
    resource = call.manager.schema["VmRestorePoint"]
    limits = own_restrictions(call, resource)
    if not limits:
        return True
    identity = Restriction("uid", Operator.EQUAL, each.point.bytes)
    row = await call.manager.reader.first(resource, (identity, *limits), entities=False)
    return row is not None


def _document(server: UUID, each: InstantRecovery) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(each)
    return {"server": str(server), **told}
