"""What Holdfast adds to the API, under a path of its own and in JSON alone.

Nothing here shows in the documents of the API proper, whose clients may be strict.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call
from holdfast.api.description import Body, Operation, document
from holdfast.api.errors import BadRequest
from holdfast.api.negotiation import sends_json
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.catalog.writer import OWNER
from holdfast.representation.requests import read_json
from holdfast.schema.naming import guid_of
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import Command

PREFIX = "/holdfast/v1"

# The backup server has the last word on a specification; this is what one looks like.
_TEXT = {"type": "string"}
_JOB_SPECIFICATION = {
    "type": "object",
    "required": ["name", "sources", "repository"],
    "properties": {
        "name": _TEXT,
        "kind": {"type": "string", "enum": ["Backup", "NasBackup"], "default": "Backup"},
        "sources": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["path"], "properties": {"path": _TEXT}},
        },
        "repository": _TEXT | {"description": "The UID or the GUID of a repository."},
        "description": _TEXT,
        "retention": {"type": "integer", "minimum": 1, "description": "Points to keep."},
        "schedule": {"type": ["object", "null"]},
    },
}
_CREATE_JOB = Operation(
    "Create a job",
    "Holdfast",
    {202: document("Task", "The task under which it is done.")},
    ADMINISTRATOR,
    body=Body(json=_JOB_SPECIFICATION, required=True),
)


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add(f"{PREFIX}/jobs", {"POST": create_job}, describe={"POST": _CREATE_JOB})


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
    if not sends_json(call.request):
        # Also keeps out what a page of another site can send without asking first.
        raise BadRequest("Header Content-Type: expected application/json.")
    found = read_json(await call.body())
    if not isinstance(found, dict):
        raise BadRequest("The body: expected a JSON object.")
    return found


def _repository(specification: dict[str, Any]) -> UUID:
    try:
        return guid_of(str(specification.get("repository", "")))
    except ValueError as error:
        raise BadRequest(f"repository: {error}.") from None
