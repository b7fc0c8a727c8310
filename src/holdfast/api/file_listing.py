"""How a folder inside a restore point is asked for, and how a file of it is sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from holdfast.api.call import Call
from holdfast.api.errors import ApiError, BadRequest, NotFound, Unavailable, Unreadable
from holdfast.manager.connection import (
    BackupServerConnection,
    BackupServerRefused,
    BackupServerUnavailable,
)
from holdfast.query.request import Page, parse_page

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
        raise Unavailable(f"Backup server: {error}.") from error


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
