"""The line to a backup server: its private API, as a client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

import httpx
import msgspec

from holdfast.manager.pinning import caused_by_certificate, pinned_context
from holdfast.server.messages import Changes, Command, Information, Outcome

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

    async def _ask(
        self,
        method: str,
        path: str,
        expected: type[Message],
        *,
        parameters: dict[str, int] | None = None,
        body: bytes | None = None,
        limit: float = _ANSWER_LIMIT,
    ) -> Message:
        return _read(await self._request(method, path, parameters, body, limit), path, expected)

    async def _request(
        self,
        method: str,
        path: str,
        parameters: dict[str, int] | None = None,
        body: bytes | None = None,
        limit: float = _ANSWER_LIMIT,
    ) -> httpx.Response:
        with _told():
            return await self._client.request(
                method, path, params=parameters, content=body, timeout=_timeout(limit)
            )


def _timeout(answer: float) -> httpx.Timeout:
    return httpx.Timeout(answer, connect=_CONNECT_LIMIT)


@contextmanager
def _told() -> Iterator[None]:
    """Say in one kind of error that a backup server does not answer, or is not the one meant."""
    try:
        yield
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
    """Raise BackupServerUnavailable unless a request was answered well."""
    if answer.is_success:
        return
    if answer.status_code == _TOKEN_REFUSED:
        raise BackupServerNotTrusted("it does not accept the token")
    raise BackupServerUnavailable(f"it answered {path} with status {answer.status_code}")
