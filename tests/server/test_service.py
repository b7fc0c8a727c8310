"""The feed and the commands, over HTTP as a manager uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from holdfast.server.messages import Changes, Command, Information, Outcome

from .lab import Lab, write_image


@pytest.fixture
async def client(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(lab.server.app),
        base_url="http://server",
        headers={"Authorization": f"Bearer {lab.server.token}"},
    ) as client:
        yield client


async def changes(client: httpx.AsyncClient, **parameters: int) -> Changes:
    answer = await client.get("/changes", params=parameters)
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content, type=Changes)


async def test_the_server_says_who_it_is(lab: Lab, client: httpx.AsyncClient) -> None:
    answer = await client.get("/information")
    information = msgspec.json.decode(answer.content, type=Information)
    assert information == await lab.server.information()
    assert information.name == "backup01"


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Basic wrong", "Bearer "])
@pytest.mark.parametrize("path", ["/information", "/changes", "/commands", "/nothing"])
async def test_nothing_is_told_without_the_token(lab: Lab, given: str | None, path: str) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(lab.server.app), base_url="http://server", headers=headers
    ) as stranger:
        answer = await stranger.get(path)
    assert answer.status_code == 401
    assert answer.json() == {"message": "The token is missing or wrong."}


async def test_the_feed_read_in_pieces_is_the_feed_read_at_once(
    lab: Lab, client: httpx.AsyncClient
) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    whole = await changes(client, after=0)
    assert not whole.more
    pieces, cursor, more = [], 0, True
    while more:
        batch = await changes(client, after=cursor, limit=2)
        pieces += batch.changes
        cursor, more = batch.cursor, batch.more
    assert pieces == whole.changes
    assert cursor == whole.cursor == (await lab.server.information()).cursor
    assert (await changes(client, after=cursor)).changes == []
    assert len({(c.type, c.uid) for c in pieces}) == len(pieces)


async def test_what_happens_after_a_cursor_is_told_after_it(
    lab: Lab, client: httpx.AsyncClient
) -> None:
    job = await lab.create_job("a.raw")
    cursor = (await changes(client, after=0)).cursor
    outcome = await lab.command("delete-job", job)
    told = await changes(client, after=cursor)
    gone = {"Job", "ObjectInJob", "HierarchyItem"}
    assert {(c.type, c.removed) for c in told.changes} == {(name, True) for name in gone}
    assert told.cursor == outcome.cursor


async def test_a_long_poll_is_answered_when_something_happens(
    lab: Lab, client: httpx.AsyncClient
) -> None:
    cursor = (await changes(client, after=0)).cursor
    waiting = asyncio.create_task(changes(client, after=cursor, wait=30))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await lab.create_job("a.raw")
    answer = await asyncio.wait_for(waiting, 2)
    assert {c.type for c in answer.changes} == {"Job", "ObjectInJob", "HierarchyItem"}


async def test_a_long_poll_ends_empty_when_its_time_is_over(
    lab: Lab, client: httpx.AsyncClient
) -> None:
    cursor = (await lab.server.information()).cursor
    answer = await changes(client, after=cursor, wait=1)
    assert (answer.changes, answer.cursor, answer.more) == ([], cursor, False)


async def test_a_command_is_answered_with_its_outcome(lab: Lab, client: httpx.AsyncClient) -> None:
    job = await lab.create_job("a.raw")
    command = Command(request_id=uuid4(), operation="stop-job", target=job)
    for _ in range(2):
        answer = await client.post("/commands", content=msgspec.json.encode(command))
        outcome = msgspec.json.decode(answer.content, type=Outcome)
        assert outcome.message == 'Job "Nightly" is not running.'


@pytest.mark.parametrize(
    "parameters",
    [{"after": "x"}, {"after": "-1"}, {"limit": "0"}, {"wait": "31"}, {"after": "9" * 30}],
)
async def test_a_bad_parameter_is_refused(
    client: httpx.AsyncClient, parameters: dict[str, Any]
) -> None:
    answer = await client.get("/changes", params=parameters)
    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["message"]


async def test_a_reader_that_has_seen_more_than_there_is_learns_that_the_feed_starts_anew(
    client: httpx.AsyncClient,
) -> None:
    before = await changes(client, after=0)
    answer = await changes(client, after=1000, wait=30)
    assert answer.epoch != before.epoch
    assert (answer.changes, answer.cursor) == ([], before.cursor)
    assert (await changes(client, after=0)).epoch == answer.epoch


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"request_id": 1}', b"\xff"])
async def test_a_bad_body_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/commands", content=body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The command is not valid")


async def test_errors_of_the_framework_have_the_same_shape(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/nothing"), await client.get("/commands")):
        assert answer.status_code in {404, 405}
        assert list(answer.json()) == ["message"]
