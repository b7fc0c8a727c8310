"""Paths as clients write them, made into the paths we know.

Tolerated: doubled and final slashes, and a percent-encoded ``?`` with everything behind it
encoded once more. Letters are compared without case by the routes themselves.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

_ENCODED_QUESTION_MARK = re.compile(rb"%3f", re.IGNORECASE)
# Below here are names of files, and a question mark is as good a sign as any in them.
_FILE_NAMES = re.compile(rb"/(?:mounts/[0-9]+|guestfs)/", re.IGNORECASE)
_ORIGIN = re.compile(rb"^https?://[^/]*", re.IGNORECASE)
_SLASHES = re.compile("/{2,}")


class TolerantPaths:
    """ASGI middleware that puts a request's path into its plain form."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            scope = _plain(dict(scope))
        await self._app(scope, receive, send)


def _plain(scope: Scope) -> Scope:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    # A proxy's way of asking: the whole address in place of the path.
    raw = _ORIGIN.sub(b"", raw)
    path: str = unquote_to_bytes(raw).decode("utf-8", "replace")
    split = _ENCODED_QUESTION_MARK.search(raw)
    if split is not None and _FILE_NAMES.search(raw[: split.start()]) is None:
        path = unquote_to_bytes(raw[: split.start()]).decode("utf-8", "replace")
        hidden = unquote_to_bytes(raw[split.end() :])
        query: bytes = scope["query_string"]
        scope["query_string"] = hidden + (b"&" + query if query else b"")
    path = _SLASHES.sub("/", path)
    scope["path"] = path.rstrip("/") or "/"
    scope["raw_path"] = scope["path"].encode()
    return scope
