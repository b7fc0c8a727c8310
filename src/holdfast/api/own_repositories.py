"""What Holdfast adds to the API about repositories: making known what another server has made."""

from __future__ import annotations

from uuid import uuid4

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.backup_servers import refusals_of
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import json_object, read_as
from holdfast.api.own_hosts import server_named
from holdfast.api.own_repository_descriptions import IMPORT
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import Command, RepositoryImport


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    path = f"{PREFIX}/repositories/import"
    router.add(path, {"POST": import_repository}, describe=IMPORT)


async def import_repository(call: Call) -> Response:
    """Start making known what is in a repository; answer with the task, which ends with a report.

    The body is a `RepositoryImport`; its ``password`` opens backups of directories that no
    password known to the backup server does, and its ``server`` is needed where there are several.
    """
    require(call, ADMINISTRATOR, "import repositories")
    given = await json_object(call)
    written, password = given.pop("server", None), given.pop("password", None)
    wanted = read_as(given, RepositoryImport)
    if password is not None and not (isinstance(password, str) and password):
        raise BadRequest("password: expected text that is not empty.")
    server = await server_named(call, written)
    if password is not None:
        # A task would be written down with what it was asked for.
        with refusals_of("The backup server"):
            outcome = await call.manager.servers.execute(
                server,
                "offer-repository-password",
                None,
                {"folder": wanted.folder, "password": password},
                call.session.user_name,
            )
        if not outcome.success:
            raise BadRequest(outcome.message)
    command = Command(
        request_id=uuid4(),
        operation="import-repository",
        target=None,
        arguments=msgspec.to_builtins(wanted),
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, "ImportRepository", server, command)
    return await task_answer(call, task)
