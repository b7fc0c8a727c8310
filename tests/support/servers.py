"""The API behind a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from holdfast.cli.certificate import Certificate


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to pytest."""
        yield


@asynccontextmanager
async def served(app: ASGIApp, tls: Certificate | None = None) -> AsyncIterator[int]:
    """Given an application, serve it over HTTP/1.1 on a free port of loopback; give the port.

    With a certificate, over TLS.
    """
    bound = socket.create_server(("127.0.0.1", 0), backlog=512)
    configuration = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=tls and tls.certificate,
        ssl_keyfile=tls and tls.key,
    )
    server = _Server(configuration)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def raw_exchange(port: int, request: bytes) -> bytes:
    """Given the bytes of a request that closes its connection, return the bytes of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer
