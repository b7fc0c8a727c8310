"""The routes of the private service that look into mounted restore points. See `messages`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from holdfast.engine.browser import NoSuchEntry
from holdfast.engine.errors import EngineError
from holdfast.engine.guest_entry import WrongPathError, path_parts
from holdfast.server.messages import MountedPoint, Refusal
from holdfast.server.mounts import Mounts
from holdfast.server.refusal import RefusedError

GREATEST_PAGE = 10_000
_KINDS = ("all", "directories", "files")

Handler = Callable[[Request], Awaitable[Response]]


def mount_routes(mounts: Mounts) -> list[Route]:
    """Given the mounts of a server, return the routes that serve them."""

    async def listed(request: Request) -> Response:
        point = uid_in(request.query_params.get("point", ""))
        return in_json(
            [MountedPoint(uid=m.uid, point=m.point, number=m.number) for m in mounts.of(point)]
        )

    async def release(request: Request) -> Response:
        await mounts.release(_mount(request))
        return Response(status_code=204)

    async def entry(request: Request) -> Response:
        with mounts.using(_mount(request)) as mount:
            return in_json(await mount.browser.entry(parts_of(request)))

    async def entries(request: Request) -> Response:
        kinds, offset, limit = part_wanted(request)
        with mounts.using(_mount(request)) as mount:
            return in_json(await mount.browser.listing(parts_of(request), kinds, offset, limit))

    async def content(request: Request) -> Response:
        parts = parts_of(request)
        with mounts.using(_mount(request)) as mount:
            found = await mount.browser.entry(parts)
            if found.kind != "file":
                raise NoSuchEntry(f"{found.name} is no regular file, or it is damaged.")
            pieces = mounts.content(mount, parts)
            # What cannot be read at all is told before the answer begins.
            first = await anext(pieces, b"")
        headers = {"Content-Length": str(found.size)}
        body = _whole(first, pieces, found.size)
        return StreamingResponse(body, headers=headers, media_type="application/octet-stream")

    return [
        Route("/mounts", guarded(listed), methods=["GET"]),
        Route("/mounts/{uid}", guarded(release), methods=["DELETE"]),
        Route("/mounts/{uid}/entry", guarded(entry), methods=["GET"]),
        Route("/mounts/{uid}/entries", guarded(entries), methods=["GET"]),
        Route("/mounts/{uid}/content", guarded(content), methods=["GET"]),
    ]


async def _whole(first: bytes, rest: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Pass a file's pieces on, never more than its size was said to be."""
    left = size
    piece = first
    try:
        while piece and left:
            yield piece[:left]
            left -= len(piece[:left])
            piece = await anext(rest, b"")
    finally:
        if hasattr(rest, "aclose"):
            await rest.aclose()


def guarded(handler: Handler) -> Handler:
    """Given a handler, return one that answers what is refused as `messages` says."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except WrongPathError as error:
            return in_json(Refusal(message=str(error)), 400)
        except (RefusedError, NoSuchEntry) as error:
            return in_json(Refusal(message=str(error)), 404)
        except EngineError as error:
            return in_json(Refusal(message=str(error)), 422)

    return answer


def part_wanted(request: Request) -> tuple[str, int, int]:
    """Return which part of a folder a request asks for: kinds, offset and limit."""
    kinds = request.query_params.get("kinds", "all")
    if kinds not in _KINDS:
        raise WrongPathError(f"kinds must be one of {', '.join(_KINDS)}.")
    offset = number_in(request, "offset", 0, 2**53)
    return kinds, offset, number_in(request, "limit", GREATEST_PAGE, GREATEST_PAGE)


def _mount(request: Request) -> UUID:
    return uid_in(request.path_params["uid"])


def uid_in(written: str) -> UUID:
    """Return the UID that is written somewhere; raise WrongPathError."""
    try:
        return UUID(written)
    except ValueError as error:
        raise WrongPathError(f"{written} is not a UID.") from error


def parts_of(request: Request) -> tuple[str, ...]:
    """Return the path that a request names; raise WrongPathError."""
    return path_parts(request.query_params.get("path", ""))


def number_in(request: Request, name: str, default: int, greatest: int) -> int:
    """Return a number of a request, or its default; raise WrongPathError."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= greatest):
        raise WrongPathError(f"{name} must be a whole number up to {greatest}.")
    return int(text)


def in_json(value: object, status: int = 200) -> Response:
    """Return an answer of JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
