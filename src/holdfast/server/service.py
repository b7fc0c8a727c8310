"""The server's private service: the routes of `messages`, for managers with the token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server import identity, outbox
from holdfast.server.commands import Commands
from holdfast.server.messages import Changes, Command
from holdfast.server.store import Store

LONGEST_WAIT = 30.0
DEFAULT_LIMIT = 500
GREATEST_LIMIT = 5000
LARGEST_BODY = 4 * 1024 * 1024


def make_service(
    store: Store, commands: Commands, token: str, further: Sequence[Route] = ()
) -> Starlette:
    """Given what it serves, return the service as an ASGI application; `further` are its routes
    beside the feed and the commands."""

    async def get_information(_request: Request) -> Response:
        return _json(await store.read(identity.information))

    async def get_changes(request: Request) -> Response:
        after = int(_number(request, "after", 0, 0, 2**63 - 1))
        limit = int(_number(request, "limit", DEFAULT_LIMIT, 1, GREATEST_LIMIT))
        wait = _number(request, "wait", 0, 0, LONGEST_WAIT)
        if after > (await store.read(outbox.cursor)):
            # The reader has seen more than we know: our database was put back from an older copy.
            # Numbers would be given twice, so the feed is another one from here on.
            await store.write(identity.renew_epoch)
        elif wait > 0:
            await store.wait_for_changes(after, wait)
        if store.closed:
            raise HTTPException(503, "The backup server is shutting down.")
        return _json(await store.read(lambda c: _changes(c, after, limit)))

    async def post_command(request: Request) -> Response:
        try:
            command = msgspec.json.decode(await _body(request), type=Command)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPException(400, f"The command is not valid: {error}") from error
        return _json(await commands.execute(command))

    async def get_outcome(request: Request) -> Response:
        outcome = await commands.outcome(request.path_params["request_id"])
        if outcome is None:
            raise HTTPException(404, "No command of this request id was carried out.")
        return _json(outcome)

    return Starlette(
        routes=[
            Route("/information", get_information, methods=["GET"]),
            Route("/changes", get_changes, methods=["GET"]),
            Route("/commands", post_command, methods=["POST"]),
            Route("/commands/{request_id:uuid}", get_outcome, methods=["GET"]),
            *further,
        ],
        middleware=[Middleware(_TokenRequired, token=token)],
        exception_handlers={HTTPException: _error},
    )


def _changes(connection: Connection, after: int, limit: int) -> Changes:
    known = identity.information(connection)
    changes, more = outbox.changes_after(connection, after, limit)
    # Never beyond the end: that would be taken for a reader of an older feed.
    cursor = changes[-1].sequence if changes else min(after, known.cursor)
    return Changes(epoch=known.epoch, cursor=cursor, more=more, changes=changes)


class _TokenRequired:
    """Lets only requests with the bearer token pass."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._allows(scope):
            response = _json(
                {"message": "The token is missing or wrong."},
                401,
                headers={"WWW-Authenticate": 'Bearer realm="Holdfast backup server"'},
            )
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def _number(request: Request, name: str, default: float, least: float, greatest: float) -> float:
    """Given a query parameter's name and bounds, return its value; 400 for what is not in them."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= greatest):
        raise HTTPException(400, f"{name} must be a whole number from {least} to {greatest}.")
    return int(text)


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > LARGEST_BODY:
            raise HTTPException(413, f"A command has at most {LARGEST_BODY} bytes.")
    return bytes(received)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


async def _error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these only
    headers = dict(error.headers) if error.headers else None
    return _json({"message": error.detail}, error.status_code, headers)
