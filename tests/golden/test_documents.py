"""The five documents the API is built around, asked for as they were and compared whole.

What each was asked is in `REQUESTS`; the answers stand in `expected/` as printed. They hold a few
slips of their own; `SLIPS` lists every one and how the text is set right before comparing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from lxml import etree

from golden.rows import fill, fill_tasks
from holdfast.api.app import create_app
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.roles import Role

EXPECTED = Path(__file__).parent / "expected"

REQUESTS = {
    "query-backup-task-session": (
        "https://localhost:9398/api/query?type=BackupTaskSession&format=Entities"
        "&sortDesc=CreationTime&pageSize=3&page=1&filter=Result==Failed;VmDisplayName==dbserver01"
    ),
    "backup-session-entity": (
        "https://localhost:9398/api/backupSessions/a057c2c3-f3bd-4ab4-9fb7-24058cccb4f6"
        "?format=Entity"
    ),
    "backup-task-session-reference": (
        "http://localhost:9399/api/backupTaskSessions/88767486-89d6-4340-92f0-2ad615a8f21b"
    ),
    "backup-task-session-entity": (
        "http://localhost:9399/api/backupTaskSessions/88767486-89d6-4340-92f0-2ad615a8f21b"
        "?format=Entity"
    ),
    "query-task": "https://localhost:9398/api/query?type=Task&filter=State==Finished",
    "query-replica-task-session": (
        "https://localhost:9398/api/query?type=ReplicaTaskSession&format=Entities"
        "&sortDesc=CreationTime&filter=Result==Success;VmDisplayName==apache02"
    ),
}

#: Document, what it prints, what is meant.
SLIPS = [
    # An ampersand that the rendering of a page has unescaped is not XML.
    ("query-backup-task-session", "&", "&amp;"),
    ("query-task", "&", "&amp;"),
    ("query-replica-task-session", "&", "&amp;"),
    # The paging links of one answer forget the filter of their request.
    ("query-task", "type=Task&amp;pageSize=15&amp;page=1",
     "type=Task&amp;pageSize=15&amp;page=1&amp;filter=State==Finished"),
    # One document names two hosts for itself.
    ("backup-session-entity", "https://enterprise04.tech.local:9398", "https://localhost:9398"),
]  # fmt: skip


def canonical(document: bytes) -> bytes:
    """Given XML, return its canonical form without the white space between elements."""
    parser = etree.XMLParser(remove_blank_text=True)
    tree = etree.fromstring(document, parser)
    # Exclusive: namespaces that a document declares and never uses (two of them do) do not count.
    return etree.tostring(tree, method="c14n", exclusive=True)


def expected_document(name: str) -> bytes:
    """Given a document's name, return it as printed, its slips set right."""
    text = (EXPECTED / f"{name}.xml").read_text(encoding="utf-8").strip()
    # All are indented with spaces that do not break, which XML takes for text.
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    for document, printed, meant in SLIPS:
        if document == name:
            assert printed in text, f"{name} has no such slip: {printed}"
            text = text.replace(printed, meant)
    return text.encode()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged on to a manager whose catalog holds the documents' data."""
    manager = EnterpriseManager(tmp_path)
    await manager.start()
    await manager.store.write(lambda c: fill(c, manager.schema))
    await manager.accounts.create("admin", "secret", Role.PORTAL_ADMINISTRATOR)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=create_app(manager)), base_url="https://localhost:9398"
    ) as client:
        answer = await client.post("/api/sessionMngr/?v=latest", auth=("admin", "secret"))
        token = answer.headers["X-RestSvcSessionId"]
        client.cookies.clear()
        client.headers["X-RestSvcSessionId"] = token
        session = await manager.logon_sessions.authenticate(token)
        assert session is not None
        await manager.store.write(lambda c: fill_tasks(c, manager.schema, session.uid))
        yield client
    await manager.stop()


@pytest.mark.parametrize("name", REQUESTS)
async def test_document_is_answered_as_printed(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(REQUESTS[name])

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert canonical(answer.content).decode() == canonical(expected_document(name)).decode()


async def test_every_page_of_the_failed_task_sessions_can_be_walked_by_its_links(
    client: httpx.AsyncClient,
) -> None:
    namespace = {"e": "http://www.veeam.com/ent/v1.0"}
    seen: list[str] = []
    address: str | None = REQUESTS["query-backup-task-session"]
    while address is not None:
        page = etree.fromstring((await client.get(address)).content)
        seen += page.xpath("//e:BackupTaskSession/@UID", namespaces=namespace)
        following = page.xpath("//e:Link[@Rel='Next']/@Href", namespaces=namespace)
        address = str(following[0]) if following else None

    assert len(seen) == len(set(seen)) == 19
