"""What Holdfast adds to the API, under a path of its own and in JSON alone.

Nothing here shows in the documents of the API proper, whose clients may be strict.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.catalog.writer import OWNER
from holdfast.schema.naming import guid_of
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import Command

PREFIX = "/holdfast/v1"


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(f"{PREFIX}/jobs", {"POST": create_job})


async def create_job(call: Call) -> Response:
    """Start making a job on the backup server that has the named repository.

    The body is a job specification: ``name``, ``kind`` (Backup or NasBackup), ``sources`` (each
    with a ``path`` on the backup server), ``repository`` (UID or GUID), and if wanted
    ``description``, ``retention`` (points to keep) and ``schedule``. The backup server checks it;
    what it refuses is the reason in the task.
    """
    require(call, ADMINISTRATOR, "create jobs")
    specification = await _object(call)
    repository = _repository(specification)
    server = await call.manager.reader.related(call.manager.schema["Repository"], repository, OWNER)
    if server is None:
        raise BadRequest(f"repository: there is no repository {repository}.")
    command = Command(
        request_id=uuid4(),
        operation="create-job",
        arguments=specification | {"repository": str(repository)},
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, "CreateJob", server, command)
    return await task_answer(call, task)


async def _object(call: Call) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await call.body(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body: expected a JSON object ({error}).") from None


def _repository(specification: dict[str, Any]) -> UUID:
    try:
        return guid_of(str(specification.get("repository", "")))
    except ValueError as error:
        raise BadRequest(f"repository: {error}.") from None
