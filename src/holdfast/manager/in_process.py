"""The line to a backup server that runs in this process, for httpx.

Unlike httpx's own transport, an answer is passed on while it is made: what is downloaded is never
in memory as a whole, and who stops reading stops the one who writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
from starlette.types import ASGIApp

_PIECES_AHEAD = 2

Message = MutableMapping[str, Any]


class InProcessTransport(httpx.AsyncBaseTransport):
    """Gives requests to an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; the body follows as the application sends it."""
        exchange = _Exchange(self._app, request, await request.aread())
        status, headers = await exchange.head()
        return httpx.Response(status, headers=headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request and the body of its answer."""

    def __init__(self, app: ASGIApp, request: httpx.Request, body: bytes) -> None:
        self._body: bytes | None = body
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(_PIECES_AHEAD)
        self._gone = asyncio.Event()
        self._serving = asyncio.create_task(self._serve(app, _scope(request)))

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return status and headers."""
        try:
            message = await self._messages.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if message is None:
            await self._fail("The application gave no answer.")
            raise AssertionError
        return message["status"], list(message["headers"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return
        await self._fail("The answer was cut short.")

    async def aclose(self) -> None:
        """Let the application know that nobody reads on."""
        self._gone.set()
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def _fail(self, reason: str) -> None:
        outcome = (await asyncio.gather(self._serving, return_exceptions=True))[0]
        cause = outcome if isinstance(outcome, BaseException) else None
        raise httpx.RemoteProtocolError(reason) from cause

    async def _serve(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._messages.put)
        finally:
            # Not when the reader has gone: nobody would ever take it out.
            if not self._gone.is_set():
                await self._messages.put(None)

    async def _receive(self) -> Message:
        if self._body is None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
        "root_path": "",
    }
