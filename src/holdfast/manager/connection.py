"""The line to a backup server: its private API, as a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from uuid import UUID

import httpx
import msgspec

from holdfast.manager.pinning import caused_by_certificate, pinned_context
from holdfast.server.messages import (
    Changes,
    Command,
    Information,
    MountedPoint,
    Outcome,
    Refusal,
)

Message = TypeVar("Message")

#: Seconds to wait for a connection, and for any answer beyond the time the request itself asks
#: the server to wait.
_CONNECT_LIMIT = 5.0
_ANSWER_LIMIT = 30.0
_ATTEMPTS = 3
_NOT_FOUND = 404
_LARGEST_BATCH = 1000
_TOKEN_REFUSED = 401


class BackupServerUnavailable(Exception):
    """The backup server does not answer, or not in words we know; the message says which."""


class BackupServerNotTrusted(BackupServerUnavailable):
    """The backup server and the manager do not trust each other: certificate or token is wrong."""


class BackupServerRefused(Exception):
    """The backup server says no; `status` is 400, 404 or 422, the message is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


#: A request that makes no sense, something that is not there, something that cannot be read.
_REFUSALS = (400, 404, 422)


class BackupServerConnection:
    """A connection to one backup server. Everything it answers is checked against the protocol.

    With a `fingerprint`, the server must show exactly the certificate that this is of. Without
    one the line must end in this process (`transport`).
    """

    def __init__(
        self,
        url: str,
        token: str,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        fingerprint: str | None = None,
    ) -> None:
        if transport is None and fingerprint is not None:
            transport = httpx.AsyncHTTPTransport(verify=pinned_context(fingerprint))
        if transport is None:
            raise ValueError("a connection needs a pinned certificate or a transport")
        self._client = httpx.AsyncClient(
            base_url=url,
            transport=transport,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_timeout(_ANSWER_LIMIT),
            # The token goes to the server alone: through no proxy that the environment names.
            trust_env=False,
        )
        self.url = httpx.URL(url)

    async def close(self) -> None:
        """Let the connection go."""
        await self._client.aclose()

    async def information(self) -> Information:
        """Ask who the backup server is. Raises BackupServerUnavailable."""
        return await self._ask("GET", "/information", Information)

    async def changes(self, after: int, wait: int) -> Changes:
        """Given a cursor, ask for what changed since; wait up to so many seconds for something.

        Raises BackupServerUnavailable.
        """
        parameters = {"after": after, "limit": _LARGEST_BATCH, "wait": wait}
        return await self._ask(
            "GET", "/changes", Changes, parameters=parameters, limit=_ANSWER_LIMIT + wait
        )

    async def execute(self, command: Command) -> Outcome:
        """Given a command, have it carried out, once, however often the line breaks meanwhile.

        When the line stays broken, whether it was carried out is not known.

        Raises BackupServerUnavailable.
        """
        body = msgspec.json.encode(command)
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._ask("POST", "/commands", Outcome, body=body)
            except BackupServerNotTrusted:
                raise
            except BackupServerUnavailable:
                await asyncio.sleep(0.2 * attempt)
        return await self._ask("POST", "/commands", Outcome, body=body)

    async def outcome(self, request_id: UUID) -> Outcome | None:
        """Given a request id, ask how that command ended; None if it was never carried out.

        Raises BackupServerUnavailable.
        """
        path = f"/commands/{request_id}"
        answer = await self._request("GET", path)
        return None if answer.status_code == _NOT_FOUND else _read(answer, path, Outcome)

    async def mounts(self, point: UUID) -> list[MountedPoint]:
        """Given a point, ask for its mounts. Raises BackupServerUnavailable."""
        return await self._ask(
            "GET", "/mounts", list[MountedPoint], parameters={"point": str(point)}
        )

    async def release(self, mount: UUID) -> None:
        """Given a mount, have it released. Raises BackupServerRefused, BackupServerUnavailable."""
        path = f"/mounts/{mount}"
        _ensure_done(await self._request("DELETE", path), path)

    async def look(
        self, path: str, expected: type[Message], parameters: dict[str, str | int]
    ) -> Message:
        """Ask about the inside of a restore point. Raises as `release` does."""
        return await self._ask("GET", path, expected, parameters=parameters)

    @asynccontextmanager
    async def stream(
        self, path: str, parameters: dict[str, str | int]
    ) -> AsyncIterator[httpx.Response]:
        """Ask for a file's content, to be read piece by piece. Raises as `release` does."""
        with _told(self._client):
            request = self._client.build_request("GET", path, params=parameters)
            answer = await self._client.send(request, stream=True)
        try:
            with _told(self._client):
                if answer.status_code != httpx.codes.OK:
                    await answer.aread()
                _ensure_done(answer, path)
                yield answer
        finally:
            await answer.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        expected: type[Message],
        *,
        parameters: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        limit: float = _ANSWER_LIMIT,
    ) -> Message:
        return _read(await self._request(method, path, parameters, body, limit), path, expected)

    async def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        limit: float = _ANSWER_LIMIT,
    ) -> httpx.Response:
        with _told(self._client):
            return await self._client.request(
                method,
                path,
                params=dict(parameters or {}),
                content=body,
                timeout=_timeout(limit),
            )


def _timeout(answer: float) -> httpx.Timeout:
    return httpx.Timeout(answer, connect=_CONNECT_LIMIT)


@contextmanager
def _told(client: httpx.AsyncClient) -> Iterator[None]:
    """Say in one kind of error that a backup server does not answer, or is not the one meant."""
    try:
        yield
    except RuntimeError as error:
        # httpx has no error of its own for a line that was let go while somebody was asking.
        if not client.is_closed:
            raise
        raise BackupServerUnavailable("it is no longer connected") from error
    except httpx.HTTPError as error:
        if (refused := caused_by_certificate(error)) is not None:
            raise BackupServerNotTrusted(str(refused.args[0])) from error
        reason = str(error) or type(error).__name__
        raise BackupServerUnavailable(f"it does not answer ({reason})") from error


def _read(answer: httpx.Response, path: str, expected: type[Message]) -> Message:
    _ensure_done(answer, path)
    try:
        return msgspec.json.decode(answer.content, type=expected)
    except msgspec.DecodeError as error:
        raise BackupServerUnavailable(f"its answer to {path} is wrong: {error}") from error


def _ensure_done(answer: httpx.Response, path: str) -> None:
    """Raise BackupServerRefused or BackupServerUnavailable unless a request was answered well."""
    if answer.is_success:
        return
    status = answer.status_code
    if status == _TOKEN_REFUSED:
        raise BackupServerNotTrusted("it does not accept the token")
    if status in _REFUSALS:
        try:
            refusal = msgspec.json.decode(answer.content, type=Refusal)
        except msgspec.DecodeError:
            pass  # not one of the refusals that the protocol has
        else:
            raise BackupServerRefused(status, refusal.message)
    raise BackupServerUnavailable(f"it answered {path} with status {status}")
