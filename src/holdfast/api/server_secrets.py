"""Credentials and passwords: made, changed and deleted on their backup server.

They are kept there alone, encrypted; the catalog never holds a secret, nor does a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.responses import Response

from holdfast.api import backup_server_descriptions as descriptions
from holdfast.api.backup_servers import body_of, expect_create, refusals_of, server_of
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.schema.naming import guid_of
from holdfast.schema.resources.credentials import (
    CREDENTIALS_CHANGE,
    CREDENTIALS_SPEC,
    PASSWORD_KEY_SPEC,
)
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
        expect_create(call)
        server = await server_of(call)
        body = await body_of(call, self.specification)
        made = await self._have_done(call, server, "create", None, body)
        path = call.manager.schema[self.type_name].collection
        location = call.address(f"/backupServers/{server}{path}/{made}")
        return Response(status_code=self.made, headers={"Location": location})

    async def edit(self, call: Call) -> Response:
        """Change one. What the body leaves out, the secret above all, stays as it is."""
        server, uid = await self._named(call)
        body = await body_of(call, self.change)
        written = body.pop("Id", None)
        addressed = call.path_uid(call.manager.schema[self.type_name], "item")
        if written and not _is(written, addressed):
            raise BadRequest(f"Id: expected {addressed}, as in the address.")
        await self._have_done(call, server, "edit", uid, body)
        return Response(status_code=204)

    async def delete(self, call: Call) -> Response:
        """Delete one."""
        server, uid = await self._named(call)
        await self._have_done(call, server, "delete", uid, {})
        return Response(status_code=204)

    async def _named(self, call: Call) -> tuple[UUID, UUID]:
        """The backup server and the secret that the address names. Raises NotFound."""
        schema = call.manager.schema
        above = schema["BackupServer"]
        child = next(c for c in above.children if c.target == self.type_name)
        server = await server_of(call)
        return server, await Place(schema[self.type_name], above, child).expect(call)

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
    described = (
        (
            "credentials",
            credentials,
            descriptions.CREATE_CREDENTIALS,
            descriptions.EDIT_CREDENTIALS,
            descriptions.DELETE_CREDENTIALS,
        ),
        (
            "passwords",
            passwords,
            descriptions.CREATE_PASSWORD,
            descriptions.EDIT_PASSWORD,
            descriptions.DELETE_PASSWORD,
        ),
    )
    for path, secrets, create, edit, delete in described:
        below = f"/backupServers/{{id}}/{path}"
        router.add(below, {"POST": secrets.create}, describe={"POST": create})
        router.add(
            f"{below}/{{item}}",
            {"PUT": secrets.edit, "DELETE": secrets.delete},
            describe={"PUT": edit, "DELETE": delete},
        )


def _is(written: str, uid: UUID) -> bool:
    try:
        return guid_of(written) == uid
    except ValueError:
        return False
