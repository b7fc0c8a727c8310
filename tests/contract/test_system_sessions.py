"""The events of system sessions: a document of the session's own, in both formats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from support.documents import error_message, json_of, links_of, local, parsed
from support.generated_rows import fill, uid
from support.managers import HOST, JSON, TOKEN, administrator_client

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSION = uid("SystemSession")
PATH = f"/systemSessions/{SESSION}"
UP = {
    "Rel": "Up",
    "Type": "BackupJobSession",
    "Href": f"{HOST}/api{PATH}?format=Entity",
    "Name": 'SystemSession full & <"é">',
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged on to a manager with rows of every type."""
    async with administrator_client(tmp_path_factory.mktemp("manager")) as (manager, client):
        session = await manager.logon_sessions.authenticate(client.headers[TOKEN])
        assert session is not None
        await manager.store.write(lambda c: fill(c, manager.schema, session.uid))
        yield client


async def test_events_lead_to_their_session(client: httpx.AsyncClient) -> None:
    root = parsed(await client.get(f"/api{PATH}/events"))
    assert local(root) == "SystemSessionEvents"
    assert root.attrib == {"Type": "SystemSessionEvents", "Href": f"{HOST}/api{PATH}/events"}
    assert [local(child) for child in root] == ["Links"]
    assert links_of(root) == [UP]

    value = json_of(await client.get(f"/api{PATH}/events", headers=JSON))
    assert list(value) == ["Events", "Links", "Href", "Type"]
    assert value["Events"] == []
    assert value["Links"] == [UP]
    assert value["Href"] == root.attrib["Href"]


async def test_session_leads_to_its_events(client: httpx.AsyncClient) -> None:
    root = parsed(await client.get(f"/api{PATH}?format=Entity"))
    down = [link for link in links_of(root) if link["Rel"] == "Down"]
    assert [(link["Type"], link["Name"]) for link in down] == [("SystemSessionEvents", UP["Name"])]
    assert local(parsed(await client.get(down[0]["Href"]))) == "SystemSessionEvents"


@pytest.mark.parametrize("written", [str(UUID(int=1)), "nonsense"])
async def test_events_of_no_session_are_not_found(client: httpx.AsyncClient, written: str) -> None:
    answer = await client.get(f"/api/systemSessions/{written}/events")
    assert error_message(answer, 404) == f"Cannot find SystemSession [{written}]."
