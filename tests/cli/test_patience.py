"""Who holds a connection without asking for anything loses it; a slow download does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from holdfast.cli import patience
from holdfast.cli.certificate import Certificate
from holdfast.cli.listeners import Frontend, bind

_LIMIT = 5.0
_PIECES = 10
Open = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(_PIECES):
            await asyncio.sleep(_LIMIT / 8)
            yield b"x" * 1000

    answer: Response = StreamingResponse(slowly())
    if scope["path"] != "/slow":
        answer = PlainTextResponse(str(len(await request.body())))
    await answer(scope, receive, send)


@pytest.fixture
async def open_one(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Serve, with little patience; return what opens a connection."""
    monkeypatch.setattr(patience, "REQUEST_SECONDS", _LIMIT)
    listener = bind("http", "127.0.0.1", 0)
    unused = Certificate(Path("none"), Path("none"))
    frontend = Frontend(application, [listener], unused)
    await frontend.start()
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        opened.append(writer)
        return reader, writer

    yield connect
    for writer in opened:
        writer.close()
    await frontend.stop()


async def test_a_client_that_does_not_end_its_request_loses_its_connection(open_one: Open) -> None:
    silent, half_a_head, half_a_body, dripping = [await open_one() for _ in range(4)]
    half_a_head[1].write(b"GET / HTTP/1.1\r\nHost: here\r\n")
    half_a_body[1].write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc")

    async def drip() -> None:
        dripping[1].write(b"GET / HTTP/1.1\r\nHost: here\r\n")
        while True:
            dripping[1].write(b"X-More: x\r\n")
            await asyncio.sleep(_LIMIT / 10)

    going_on = asyncio.create_task(drip())
    async with asyncio.timeout(60):
        for reader, _writer in (silent, half_a_head, half_a_body, dripping):
            assert await _all_of(reader) == b""
    going_on.cancel()


async def test_a_slow_answer_goes_on_and_the_connection_is_kept_for_the_next_request(
    open_one: Open,
) -> None:
    reader, writer = await open_one()
    async with asyncio.timeout(60):
        writer.write(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readuntil(b"0\r\n\r\n")
        assert answer.count(b"x") == 1000 * _PIECES
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"abc")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(1) == b"3"
        # Of the next request, too, half is not enough.
        writer.write(b"GET / HT")
        assert await reader.read() == b""


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""  # what was sent after the end has met a closed door
