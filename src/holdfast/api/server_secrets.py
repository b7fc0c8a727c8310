"""Credentials and passwords: made, changed and deleted on their backup server.

They are kept there alone, encrypted; the catalog never holds a secret, nor does a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.backup_servers import body_of, expect_create, refusals_of, server_of
from holdfast.api.call import Call, not_found
from holdfast.api.errors import BadRequest
from holdfast.api.routing import Router
from holdfast.catalog.select import Restriction
from holdfast.query.expression import Operator
from holdfast.schema.naming import guid_of
from holdfast.schema.resources.credentials import (
    CREDENTIALS_CHANGE,
    CREDENTIALS_SPEC,
    PASSWORD_KEY_SPEC,
)
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import Element


@dataclass(frozen=True)
class Secrets:
    """One kind of secret: its type, its commands' name, its bodies, what answers its making."""

    type_name: str
    command: str
    specification: Element
    change: Element
    made: int

    async def create(self, call: Call) -> Response:
        """Make one on the backup server; answered when the catalog shows it."""
        require(call, ADMINISTRATOR, f"create {self.type_name}")
        expect_create(call)
        server = await server_of(call)
        body = await body_of(call, self.specification)
        made = await self._have_done(call, server, "create", None, body)
        path = call.manager.schema[self.type_name].collection
        location = call.address(f"/backupServers/{server}{path}/{made}")
        return Response(status_code=self.made, headers={"Location": location})

    async def edit(self, call: Call) -> Response:
        """Change one. What the body leaves out, the secret above all, stays as it is."""
        require(call, ADMINISTRATOR, f"edit {self.type_name}")
        server, uid = await self._named(call)
        body = await body_of(call, self.change)
        written = body.pop("Id", None)
        if written and not _is(written, uid):
            raise BadRequest(f"Id: expected {uid}, as in the address.")
        await self._have_done(call, server, "edit", uid, body)
        return Response(status_code=204)

    async def delete(self, call: Call) -> Response:
        """Delete one."""
        require(call, ADMINISTRATOR, f"delete {self.type_name}")
        server, uid = await self._named(call)
        await self._have_done(call, server, "delete", uid, {})
        return Response(status_code=204)

    async def _named(self, call: Call) -> tuple[UUID, UUID]:
        """The backup server and the secret that the address names. Raises NotFound."""
        resource = call.manager.schema[self.type_name]
        server = await server_of(call)
        uid = call.path_uid(resource, "item")
        identity = (
            Restriction("uid", Operator.EQUAL, uid.bytes),
            Restriction("server_uid", Operator.EQUAL, server.bytes),
        )
        if await call.manager.reader.first(resource, identity, entities=True) is None:
            raise not_found(resource, uid)
        return server, uid

    async def _have_done(
        self, call: Call, server: UUID, verb: str, target: UUID | None, body: dict[str, Any]
    ) -> UUID | None:
        arguments = {name.lower(): value for name, value in body.items()}
        operation = f"{verb}-{self.command}"
        with refusals_of("The backup server"):
            outcome = await call.manager.servers.execute(
                server, operation, target, arguments, call.session.user_name
            )
        if not outcome.success:
            raise BadRequest(outcome.message)
        return outcome.made.uid if outcome.made else None


def add_routes(router: Router) -> None:
    """Given a router, add the methods of this module to the routes of secrets."""
    credentials = Secrets("Credentials", "credentials", CREDENTIALS_SPEC, CREDENTIALS_CHANGE, 201)
    passwords = Secrets("Passwords", "password", PASSWORD_KEY_SPEC, PASSWORD_KEY_SPEC, 202)
    for path, secrets in (("credentials", credentials), ("passwords", passwords)):
        below = f"/backupServers/{{id}}/{path}"
        router.add(below, {"POST": secrets.create})
        router.add(f"{below}/{{item}}", {"PUT": secrets.edit, "DELETE": secrets.delete})


def _is(written: str, uid: UUID) -> bool:
    try:
        return guid_of(written) == uid
    except ValueError:
        return False
