"""The ports Holdfast listens on: bound first, served later, closed together."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from holdfast.cli.certificate import Certificate
from holdfast.cli.errors import Failure
from holdfast.cli.patience import PatientForATime
from holdfast.cli.settings_loading import flag_of

#: Seconds that running requests are given when Holdfast stops.
GRACE = 5
_BACKLOG = 512
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach them from here


@dataclass(frozen=True)
class Listener:
    """A bound port. `scheme` is http or https."""

    scheme: str
    host: str
    socket: socket.socket

    @property
    def port(self) -> int:
        """The port number, also when a free one was asked for."""
        return int(self.socket.getsockname()[1])

    @property
    def base(self) -> str:
        """The base of the API as reached from this machine."""
        return f"{self.origin}/api"

    @property
    def origin(self) -> str:
        """Scheme, host and port as reached from this machine."""
        host = _EVERYWHERE.get(self.host, self.host)
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


def bind(scheme: str, host: str, port: int, settings: str | None = None) -> Listener:
    """Given a scheme, an address and a port (0: any free one), bind it.

    Nothing is accepted before it is served. Raise Failure naming the flag that is in the way;
    `settings` is how the two settings begin, where that is not the scheme.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            # Listening already now makes a second process fail here and not later.
            bound.listen(_BACKLOG)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        part = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        flag = flag_of(f"{settings or scheme}_{part}")
        reason = error.strerror or str(error)
        raise Failure(f"{flag}: cannot listen on port {port} of {host}: {reason}") from None
    bound.setblocking(False)
    return Listener(scheme, host, bound)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, which has two of these."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


class Frontend:
    """One application served on several listeners."""

    def __init__(self, app: ASGIApp, listeners: list[Listener], tls: Certificate) -> None:
        self._listeners = listeners
        self._servers = [_Server(_configuration(app, at, tls)) for at in listeners]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serve. Returns once every listener answers; raise Failure when one does not."""
        self._tasks = [
            asyncio.create_task(server.serve(sockets=[listener.socket]))
            for server, listener in zip(self._servers, self._listeners, strict=True)
        ]
        while not all(server.started for server in self._servers):
            for task in self._tasks:
                if task.done():
                    raise Failure(f"the API cannot be served: {task.exception()}")
            await asyncio.sleep(0.01)

    async def wait(self) -> None:
        """Return when one of the listeners has stopped serving."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Accept nothing more, let running requests end for a while, close."""
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _configuration(app: ASGIApp, listener: Listener, tls: Certificate) -> uvicorn.Config:
    secure = listener.scheme == "https"
    return uvicorn.Config(
        app,
        http=PatientForATime,  # h11 keeps the case of header names, which some clients compare
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=tls.certificate if secure else None,
        ssl_keyfile=tls.key if secure else None,
        ssl_context_factory=_tls_context if secure else None,
    )


def _tls_context(
    config: uvicorn.Config,  # noqa: ARG001 - uvicorn's signature
    default: Callable[[], ssl.SSLContext],
) -> ssl.SSLContext:
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
