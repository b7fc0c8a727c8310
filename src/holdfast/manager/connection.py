"""The line to a backup server: its private API, as a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from uuid import UUID

import httpx
import msgspec

from holdfast.server.messages import (
    Changes,
    Command,
    Information,
    MountedPoint,
    Outcome,
    Refusal,
)

Message = TypeVar("Message")

#: Seconds to wait for any answer beyond the time the request itself asks the server to wait.
_ANSWER_LIMIT = 30.0
_ATTEMPTS = 3
_LARGEST_BATCH = 1000


class BackupServerUnavailable(Exception):
    """The backup server does not answer, or not in words we know; the message says which."""


class BackupServerRefused(Exception):
    """The backup server says no; `status` is 400, 404 or 422, the message is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


#: A request that makes no sense, something that is not there, something that cannot be read.
_REFUSALS = (400, 404, 422)


class BackupServerConnection:
    """A connection to one backup server. Everything it answers is checked against the protocol."""

    def __init__(
        self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            transport=transport,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_ANSWER_LIMIT,
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

        Raises BackupServerUnavailable.
        """
        body = msgspec.json.encode(command)
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._ask("POST", "/commands", Outcome, body=body)
            except BackupServerUnavailable:
                await asyncio.sleep(0.2 * attempt)
        return await self._ask("POST", "/commands", Outcome, body=body)

    async def mounts(self, point: UUID) -> list[MountedPoint]:
        """Given a point, ask for its mounts. Raises BackupServerUnavailable."""
        return await self._ask(
            "GET", "/mounts", list[MountedPoint], parameters={"point": str(point)}
        )

    async def release(self, mount: UUID) -> None:
        """Given a mount, have it released. Raises BackupServerRefused, BackupServerUnavailable."""
        with _told():
            answer = await self._client.delete(f"/mounts/{mount}")
            _ensure_done(answer)

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
        with _told():
            request = self._client.build_request("GET", path, params=parameters)
            answer = await self._client.send(request, stream=True)
        try:
            with _told():
                if answer.status_code != httpx.codes.OK:
                    await answer.aread()
                _ensure_done(answer)
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
        with _told():
            answer = await self._client.request(
                method, path, params=dict(parameters or {}), content=body, timeout=limit
            )
            _ensure_done(answer)
            try:
                return msgspec.json.decode(answer.content, type=expected)
            except msgspec.DecodeError as error:
                raise BackupServerUnavailable(f"its answer to {path} is wrong: {error}") from error


@contextmanager
def _told() -> Iterator[None]:
    """Say in one kind of error that a backup server does not answer."""
    try:
        yield
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise BackupServerUnavailable(f"it does not answer ({reason})") from error


def _ensure_done(answer: httpx.Response) -> None:
    """Raise BackupServerRefused or BackupServerUnavailable unless a request was answered well."""
    if answer.is_success:
        return
    status = answer.status_code
    if status in _REFUSALS:
        try:
            refusal = msgspec.json.decode(answer.content, type=Refusal)
        except msgspec.DecodeError:
            pass  # not one of the refusals that the protocol has
        else:
            raise BackupServerRefused(status, refusal.message)
    path = answer.request.url.path
    raise BackupServerUnavailable(f"it answered {path} with status {status}")
