"""What Holdfast adds to the API about hosts of virtual machines; answered from the catalog."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest, NotFound
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import guid_in, json_answer, json_object, read_as
from holdfast.api.own_host_descriptions import HOSTS, ONE_HOST, RESCAN
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.catalog.reader import Row
from holdfast.catalog.select import Restriction
from holdfast.catalog.writer import OWNER
from holdfast.query.expression import Operator
from holdfast.query.request import Query, default_order
from holdfast.schema.naming import guid_of
from holdfast.schema.resource import ResourceType
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import Command, HostEdit, HostSpecification

PATH = f"{PREFIX}/hosts"


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(PATH, {"GET": hosts, "POST": add_host}, describe=HOSTS)
    router.add(
        f"{PATH}/{{id}}",
        {"GET": host, "PUT": edit_host, "DELETE": remove_host},
        describe=ONE_HOST,
    )
    router.add(f"{PATH}/{{id}}/rescan", {"POST": rescan_host}, describe=RESCAN)


async def hosts(call: Call) -> Response:
    """Answer with all hosts by name, under ``hosts``."""
    require(call, ADMINISTRATOR, "read hosts")
    resource = call.manager.schema["ManagedServer"]
    found = await call.manager.reader.rows(_all_of(call, resource))
    # Other managed servers, such as a backup server's own machine, are no hosts.
    return json_answer({"hosts": [_document(row) for row in found.rows if row["Uri"]]})


async def host(call: Call) -> Response:
    """Answer with one host, its machines and their tags."""
    require(call, ADMINISTRATOR, "read hosts")
    row = await _expect(call)
    resource = call.manager.schema["HierarchyItem"]
    root = guid_of(row["UID"])
    below = (Restriction("hierarchy_root_uid", Operator.EQUAL, root.bytes),)
    found = await call.manager.reader.rows(_all_of(call, resource), below)
    objects = [
        {"reference": item["ObjectRef"], "type": item["ObjectType"], "name": item["ObjectName"]}
        for item in found.rows
        if item["ObjectType"] != "Host"
    ]
    return json_answer(_document(row) | {"objects": objects})


async def add_host(call: Call) -> Response:
    """Start adding a host on a backup server, which asks the host first.

    The body has a ``uri`` and, if wanted, ``name``, ``description``, ``credentials`` and, where
    there are several backup servers, ``server``. What cannot be right is refused at once, by the
    name of its field; why the host cannot be reached is the reason in the task.
    """
    require(call, ADMINISTRATOR, "add hosts")
    given = await json_object(call)
    written = given.pop("server", None)
    specification = read_as(_with_credentials(given), HostSpecification)
    server = await server_named(call, written)
    return await _started(call, "AddHost", server, "add-host", None, specification)


async def edit_host(call: Call) -> Response:
    """Start changing a host: the body says what changes, the rest stays as it is."""
    require(call, ADMINISTRATOR, "edit hosts")
    edit = read_as(_with_credentials(await json_object(call)), HostEdit)
    uid, server = await _named(call)
    return await _started(call, "EditHost", server, "edit-host", uid, edit)


async def remove_host(call: Call) -> Response:
    """Start removing a host. Restore points of its machines stay."""
    require(call, ADMINISTRATOR, "remove hosts")
    uid, server = await _named(call)
    return await _started(call, "RemoveHost", server, "remove-host", uid)


async def rescan_host(call: Call) -> Response:
    """Start looking at a host: which machines it has, and what it can."""
    require(call, ADMINISTRATOR, "rescan hosts")
    uid, server = await _named(call)
    return await _started(call, "RescanHost", server, "rescan-host", uid)


async def _started(
    call: Call,
    operation: str,
    server: UUID,
    command: str,
    target: UUID | None,
    arguments: HostSpecification | HostEdit | None = None,
) -> Response:
    wanted = Command(
        request_id=uuid4(),
        operation=command,
        target=target,
        arguments={} if arguments is None else msgspec.to_builtins(arguments),
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, operation, server, wanted)
    return await task_answer(call, task)


async def _expect(call: Call) -> Row:
    """Return the row of the host that the address names. Raises NotFound."""
    resource = call.manager.schema["ManagedServer"]
    uid = call.path_uid(resource)
    identity = (Restriction("uid", Operator.EQUAL, uid.bytes),)
    row = await call.manager.reader.first(resource, identity, entities=True)
    if row is None or not row["Uri"]:
        raise NotFound(f"Cannot find host [{uid}].")
    return row


async def _named(call: Call) -> tuple[UUID, UUID]:
    """Return the host that the address names, and its backup server. Raises NotFound."""
    uid = guid_of((await _expect(call))["UID"])
    resource = call.manager.schema["ManagedServer"]
    server = await call.manager.reader.related(resource, uid, OWNER)
    if server is None:
        raise NotFound(f"Cannot find host [{uid}].")
    return uid, server


async def server_named(call: Call, written: Any) -> UUID:
    """Return the backup server that a body names, or the only one. Raises BadRequest."""
    resource = call.manager.schema["BackupServer"]
    found = await call.manager.reader.rows(_all_of(call, resource))
    servers = [guid_of(row["UID"]) for row in found.rows]
    if written is None:
        if len(servers) == 1:
            return servers[0]
        raise BadRequest(f"server: expected the UID of one of the {len(servers)} backup servers.")
    wanted = guid_in(written, "server")
    if wanted not in servers:
        raise BadRequest(f"server: there is no backup server {wanted}.")
    return wanted


def _with_credentials(given: dict[str, Any]) -> dict[str, Any]:
    """Given a body, return it with the GUID of its credentials, of which a UID will do."""
    if given.get("credentials") is None:
        return given
    return given | {"credentials": str(guid_in(given["credentials"], "credentials"))}


def _all_of(call: Call, resource: ResourceType) -> Query:
    return Query(resource, None, default_order(call.manager.schema, resource), None, True)


def _document(row: Row) -> dict[str, Any]:
    return {
        "uid": row["UID"],
        "name": row["Name"],
        "uri": row["Uri"],
        "description": row["Description"] or "",
        "server": row["server.UID"],
        "credentials": row["CredentialsUid"],
        "staging": row["Staging"],
        "state": row["State"],
        "reason": row["Reason"] or "",
        "last_scan": row["LastScan"],
        "hostname": row["HostName"],
        "hypervisor": row["HypervisorVersion"],
        "library": row["LibraryVersion"],
        "acceleration": row["Acceleration"],
        "acceleration_note": row["AccelerationNote"],
        "reference": f"urn:Libvirt:Host:{row['UID']}.{row['UID']}",
    }
