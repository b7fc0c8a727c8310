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
        point = _uid(request.query_params.get("point", ""))
        return _json(
            [MountedPoint(uid=m.uid, point=m.point, number=m.number) for m in mounts.of(point)]
        )

    async def release(request: Request) -> Response:
        await mounts.release(_mount(request))
        return Response(status_code=204)

    async def entry(request: Request) -> Response:
        with mounts.using(_mount(request)) as mount:
            return _json(await mount.browser.entry(_parts(request)))

    async def entries(request: Request) -> Response:
        kinds = request.query_params.get("kinds", "all")
        if kinds not in _KINDS:
            raise WrongPathError(f"kinds must be one of {', '.join(_KINDS)}.")
        offset = _number(request, "offset", 0, 2**53)
        limit = _number(request, "limit", GREATEST_PAGE, GREATEST_PAGE)
        with mounts.using(_mount(request)) as mount:
            return _json(await mount.browser.listing(_parts(request), kinds, offset, limit))

    async def content(request: Request) -> Response:
        parts = _parts(request)
        with mounts.using(_mount(request)) as mount:
            found = await mount.browser.entry(parts)
            if found.kind != "file":
                raise NoSuchEntry(f"{found.name} is not a file.")
            pieces = mounts.content(mount, parts)
            # What cannot be read at all is told before the answer begins.
            first = await anext(pieces, b"")
        headers = {"Content-Length": str(found.size)}
        body = _whole(first, pieces, found.size)
        return StreamingResponse(body, headers=headers, media_type="application/octet-stream")

    return [
        Route("/mounts", _guarded(listed), methods=["GET"]),
        Route("/mounts/{uid}", _guarded(release), methods=["DELETE"]),
        Route("/mounts/{uid}/entry", _guarded(entry), methods=["GET"]),
        Route("/mounts/{uid}/entries", _guarded(entries), methods=["GET"]),
        Route("/mounts/{uid}/content", _guarded(content), methods=["GET"]),
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


def _guarded(handler: Handler) -> Handler:
    """Given a handler, return one that answers what is refused as `messages` says."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except WrongPathError as error:
            return _json(Refusal(message=str(error)), 400)
        except (RefusedError, NoSuchEntry) as error:
            return _json(Refusal(message=str(error)), 404)
        except EngineError as error:
            return _json(Refusal(message=str(error)), 422)

    return guarded


def _mount(request: Request) -> UUID:
    return _uid(request.path_params["uid"])


def _uid(written: str) -> UUID:
    try:
        return UUID(written)
    except ValueError as error:
        raise WrongPathError(f"{written} is not a UID.") from error


def _parts(request: Request) -> tuple[str, ...]:
    return path_parts(request.query_params.get("path", ""))


def _number(request: Request, name: str, default: int, greatest: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= greatest):
        raise WrongPathError(f"{name} must be a whole number up to {greatest}.")
    return int(text)


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
