"""Requests given to an ASGI application directly: nothing between but the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp


@dataclass(frozen=True)
class Answered:
    """An answer: its status, its headers by their names in lower case, its body."""

    status: int
    headers: dict[str, list[str]]
    content: bytes


async def ask(
    app: ASGIApp, method: str, url: str, headers: dict[str, str], body: bytes = b""
) -> Answered:
    """Given an application and a request whose URL is percent-encoded, return the answer.

    What an application raises is raised.
    """
    address = urlsplit(url)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": address.scheme,
        "path": unquote(address.path),
        "raw_path": address.path.encode("ascii"),
        "query_string": address.query.encode("ascii"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in {"Host": address.netloc, **headers}.items()
        ],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", address.port),
    }
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    status = 0
    given: dict[str, list[str]] = {}
    content = bytearray()

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            for name, value in message["headers"]:
                given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        else:
            content.extend(message.get("body", b""))

    await app(scope, receive, send)
    return Answered(status, given, bytes(content))
