"""What mounts and the catalog of files share: asking a backup server, listing, sending a file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from urllib.parse import quote
from uuid import UUID, uuid4

from starlette.responses import Response, StreamingResponse

from holdfast.api.call import Call
from holdfast.api.errors import ApiError, BackupServerDown, BadRequest, NotFound, Unreadable
from holdfast.api.resources import task_answer
from holdfast.catalog.writer import OWNER
from holdfast.manager.connection import (
    BackupServerConnection,
    BackupServerRefused,
    BackupServerUnavailable,
)
from holdfast.query.request import Page, parse_page
from holdfast.schema.resource import ResourceType
from holdfast.server.messages import Command

#: The list actions: what each shows, and how many at once unless the request says.
KINDS = {"listall": ("all", 100), "listdirs": ("directories", 10), "listfiles": ("files", 10)}
ACTIONS = ("listAll", "listDirs", "listFiles")


@contextmanager
def answered() -> Iterator[None]:
    """Turn what a backup server refuses, or that it does not answer, into the API's errors."""
    try:
        yield
    except BackupServerRefused as error:
        kinds: dict[int, type[ApiError]] = {400: BadRequest, 404: NotFound}
        raise kinds.get(error.status, Unreadable)(str(error)) from error
    except BackupServerUnavailable as error:
        raise BackupServerDown(f"Backup server: {error}.") from error


async def server_of_row(
    call: Call, resource: ResourceType, uid: UUID
) -> tuple[UUID, BackupServerConnection]:
    """Given a row, return its backup server and the line to there. Raises BackupServerDown."""
    server = await call.manager.reader.related(resource, uid, OWNER)
    with answered():
        if server is None:
            raise BackupServerUnavailable("it is not connected")
        return server, call.manager.connection_to(server)


async def started(
    call: Call,
    operation: str,
    server: UUID,
    command: str,
    target: UUID,
    arguments: dict[str, object] | None = None,
    *,
    status: int = 202,
) -> Response:
    """Given a command and the operation that it is, start its task and answer with that."""
    wanted = Command(
        request_id=uuid4(),
        operation=command,
        target=target,
        arguments=arguments or {},
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, operation, server, wanted)
    return await task_answer(call, task, status)


def action_of(call: Call) -> str:
    """Return the action of a request in lower case; empty when it names none."""
    return (call.parameter("action") or "").strip("/ ").casefold()


def page_of(call: Call, default: int) -> Page:
    """Return the page that a request asks for. Raises QueryError."""
    limits = replace(call.settings.page_limits, default=default)
    page = parse_page(call.parameters, limits, required=True)
    if page is None:
        raise BadRequest("Parameter page: expected a number greater than zero.")
    return page


async def file_content(
    call: Call, line: BackupServerConnection, path: str, parameters: dict[str, str | int]
) -> Response:
    """Answer with a file: it is passed on as it comes, never in memory as a whole."""
    async with AsyncExitStack() as stack:
        with answered():
            source = await stack.enter_async_context(line.stream(path, parameters))
        headers = {
            "Content-Disposition": _attachment(str(parameters["path"])),
            "X-Content-Type-Options": "nosniff",
            "Content-Length": source.headers["Content-Length"],
        }
        media = "application/octet-stream"
        if call.request.method == "HEAD":
            return Response(headers=headers, media_type=media)
        held = stack.pop_all()

    async def pieces() -> AsyncIterator[bytes]:
        async with held:
            async for piece in source.aiter_raw():
                yield piece

    return StreamingResponse(pieces(), headers=headers, media_type=media)


def _attachment(path: str) -> str:
    """Given a path, return the header that names its file; any sign may be in a name."""
    name = path.rstrip("/").rsplit("/", 1)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
