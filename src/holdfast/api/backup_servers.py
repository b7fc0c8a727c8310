"""Backup servers as an administrator manages them: connecting, changing, removing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from starlette.responses import Response

from holdfast.api import backup_server_descriptions as descriptions
from holdfast.api.call import Call
from holdfast.api.errors import BackupServerDown, BadRequest
from holdfast.api.negotiation import sends_json
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.manager.backup_servers import ConnectionRefused
from holdfast.manager.collection import PRIVATE_PORT
from holdfast.manager.connection import BackupServerNotTrusted, BackupServerUnavailable
from holdfast.manager.pinning import fingerprint_of
from holdfast.manager.stored_connections import ConnectionDetails
from holdfast.representation.requests import read_body
from holdfast.schema.resources.infrastructure import BACKUP_SERVER_SPEC
from holdfast.schema.types import Element

_ADDRESS = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,254}|\[?[0-9A-Fa-f:.]{2,45}\]?")
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_LONGEST_DESCRIPTION = 1024
_GREATEST_PORT = 65535


def add_routes(router: Router) -> None:
    """Given a router, add the methods of this module to the routes of backup servers."""
    router.add("/backupServers", {"POST": create}, describe={"POST": descriptions.CREATE_SERVER})
    router.add(
        "/backupServers/{id}",
        {"PUT": edit, "DELETE": remove},
        describe={"PUT": descriptions.EDIT_SERVER, "DELETE": descriptions.REMOVE_SERVER},
    )


async def create(call: Call) -> Response:
    """Connect a backup server. Its certificate's fingerprint must be given: none is just believed.

    Answered when the backup server has proved itself, and has accepted the token.
    """
    expect_create(call)
    given = _changes(await body_of(call, BACKUP_SERVER_SPEC))
    details = ConnectionDetails(
        address=_needed(given, "address", "DnsNameOrIpAddress", "a host name or an IP address"),
        port=given.get("port", PRIVATE_PORT),
        fingerprint=_needed(
            given,
            "fingerprint",
            "VbrCertificateThumbprint",
            "the fingerprint of the backup server's certificate, as its start prints it",
        ),
        token=_needed(
            given, "token", "Password", 'the backup server\'s token ("holdfast server token")'
        ),
        description=given.get("description", ""),
    )
    with refusals_of(details.address):
        uid = await call.manager.servers.add(details)
    return Response(status_code=202, headers={"Location": call.address(f"/backupServers/{uid}")})


async def edit(call: Call) -> Response:
    """Change how a backup server is reached. What the body leaves out stays as it is."""
    uid = await server_of(call)
    changes = _changes(await body_of(call, BACKUP_SERVER_SPEC))
    with refusals_of(changes.get("address", "The backup server")):
        await call.manager.servers.edit(uid, **changes)
    return Response(status_code=204)


async def remove(call: Call) -> Response:
    """Remove a backup server, with all that the catalog has of it. The server itself goes on."""
    uid = await server_of(call)
    with refusals_of("The backup server"):
        await call.manager.servers.remove(uid)
    return Response(status_code=204)


async def server_of(call: Call) -> UUID:
    """Return the UID of the backup server that the address names. Raises NotFound."""
    return await Place(call.manager.schema["BackupServer"]).expect(call)


def expect_create(call: Call) -> None:
    """Raise BadRequest if the call asks for another action than ``create``, or for none at all."""
    written = call.parameter("action")
    if written is not None and written.strip("/ ").casefold() != "create":
        raise BadRequest("Parameter action: expected create.")


async def body_of(call: Call, root: Element) -> dict[str, Any]:
    """Given the declaration of a body, return what the call's body says."""
    return read_body(await call.body(), is_json=sends_json(call.request), root=root)


@contextmanager
def refusals_of(server: str) -> Iterator[None]:
    """Given what to call a backup server, turn its refusal into an error of the API."""
    try:
        yield
    except ConnectionRefused as error:
        raise BadRequest(str(error)) from None
    except BackupServerNotTrusted as error:
        raise BadRequest(f"{server}: {error}.") from None
    except BackupServerUnavailable as error:
        raise BackupServerDown(f"{server}: {error}.") from None


def _changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Given a body, return what it says of a connection, checked. Raises BadRequest."""
    found: dict[str, Any] = {}
    if (description := body.get("Description")) is not None:
        if len(description) > _LONGEST_DESCRIPTION:
            raise BadRequest(f"Description: expected at most {_LONGEST_DESCRIPTION} characters.")
        found["description"] = description
    if address := body.get("DnsNameOrIpAddress"):
        if not _ADDRESS.fullmatch(address):
            raise BadRequest("DnsNameOrIpAddress: expected a host name or an IP address.")
        found["address"] = address.strip("[]")
    if (port := body.get("Port")) is not None:
        if not 1 <= port <= _GREATEST_PORT:
            raise BadRequest(f"Port: expected a number from 1 to {_GREATEST_PORT}.")
        found["port"] = port
    if token := body.get("Password"):
        if not _TOKEN.fullmatch(token):
            raise BadRequest("Password: expected the backup server's token.")
        found["token"] = token
    if fingerprint := body.get("VbrCertificateThumbprint"):
        try:
            found["fingerprint"] = fingerprint_of(fingerprint)
        except ValueError as error:
            raise BadRequest(f"VbrCertificateThumbprint: {error}.") from None
    return found


def _needed(given: Mapping[str, Any], name: str, element: str, expected: str) -> Any:
    if name not in given:
        raise BadRequest(f"{element}: expected {expected}.")
    return given[name]
