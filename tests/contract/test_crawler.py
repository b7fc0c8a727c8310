"""Every link of every document, from the entry point on, for every role and in both formats."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from contract.all_calls import DOCUMENTED
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.roles import Role
from schema.expected_further_types import FURTHER_DECLARED
from schema.expected_types import DECLARED
from support.crawler import Crawl, FoundLink, calls_at, root_of
from support.fake_backup_server import FakeBackupServer
from support.generated_rows import fill, give, uid
from support.managers import FORMATS, HOST, TOKEN, client_of, running_manager

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = f"{HOST}/api"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnterpriseManager]:
    """A manager with two rows of every type, and an account of every role."""
    async with running_manager(tmp_path_factory.mktemp("manager")) as manager:
        await manager.store.write(lambda c: fill(c, manager.schema, uid("LogonSession")))
        server = FakeBackupServer(uid("BackupServer"), "BackupServer 1")
        line = httpx.ASGITransport(app=server.app)
        await manager.connect("http://backup-server.local", "a-token", line)
        for role in Role:
            await manager.accounts.create(role.value, "secret", role)
        yield manager


async def crawl(manager: EnterpriseManager, role: Role, form: str) -> Crawl:
    """Given a role and a format, return the crawl of an account that has it, when it has ended."""
    async with client_of(manager) as client:

        async def get_tasks() -> None:
            session = await manager.logon_sessions.authenticate(client.headers[TOKEN])
            assert session is not None
            await manager.store.write(lambda c: give(c, manager.schema, session.uid))

        crawled = Crawl(client, BASE, form, frozenset({role}), get_tasks)
        await crawled.run(role.value, "secret")
    return crawled


def comparable(crawled: Crawl) -> dict[str, list[tuple[str, ...]]]:
    """Given a crawl, return the links of its documents as both formats have them.

    Each logged on for itself, and XML cannot hold every sign.
    """

    def plain(text: str | None) -> str | None:
        return text and text.replace(crawled.session, "own session").replace("\x01", "\ufffd")

    return {
        str(plain(href)): sorted(
            # An item's Name may be an element of it: XML tells the two apart, JSON does not.
            (x.rel, str(plain(x.href)), str(x.rel == "self" or plain(x.name)), str(plain(x.type)))
            for x in document.links
            if x.rel.isalpha()
        )
        for href, document in crawled.documents.items()
    }


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_every_link_leads_to_what_it_says_and_both_formats_have_the_same(
    manager: EnterpriseManager, role: Role
) -> None:
    in_xml, in_json = [await crawl(manager, role, form) for form in FORMATS]

    assert not in_xml.faults, "\n".join(in_xml.faults)
    assert not in_json.faults, "\n".join(in_json.faults)
    assert comparable(in_xml) == comparable(in_json)
    if role is Role.PORTAL_ADMINISTRATOR:
        _expect_everything(in_xml)
    print(f"{role.value}: {len(in_xml.documents)} documents, {len(in_xml.actions)} actions")


def _expect_everything(crawled: Crawl) -> None:
    """The administrator's crawl must have come to every type, in each form that it has."""
    types = DECLARED | FURTHER_DECLARED
    roots = {document.root for document in crawled.documents.values()}
    assert {declared.root for declared in types.values() if declared.key} - roots == set()
    assert any("/tasks/" in href for href in crawled.documents)
    assert len(crawled.documents) > 800
    assert len(crawled.actions) > 50
    rels = {link.rel for document in crawled.documents.values() for link in document.links}
    assert rels >= {"First", "Previous", "Next", "Last", "Up", "Down", "Alternate", "Related"}


async def test_dead_mistyped_and_forbidden_links_are_found_out(manager: EnterpriseManager) -> None:
    async with client_of(manager) as client:
        crawled = Crawl(client, BASE, "xml", frozenset({Role.PORTAL_USER}))
    job = f"{BASE}/jobs/{uid('Job')}"
    for link, fault in (
        (FoundLink("Down", "http://elsewhere/api/jobs", None, None), "leads away"),
        (FoundLink("Down", f"{BASE}/jobs?x=a b", None, None), "is no URI"),
        (FoundLink("Down", f"{BASE}/nothing", None, None), "is no call"),
        (FoundLink("Down", f"{BASE}/jobs", None, "JobReferenceList"), "is not allowed"),
        (FoundLink("Start", f"{job}?action=start", None, None), "is not allowed"),
        (FoundLink("Start", f"{job}?action=begin", None, None), "is no call"),
        (
            FoundLink("Create", f"{BASE}/vAppReplicaPoints/1?action=failover", None, None),
            "is not built",
        ),
    ):
        crawled.faults.clear()
        crawled.see(f"{BASE}/", [link])
        assert any(fault in found for found in crawled.faults), link
    assert crawled.unlike(FoundLink("Up", job, "Job", "JobReference"), "Job", "Job")
    assert crawled.unlike(FoundLink("Up", job, "Jib", "JobReference"), "EntityRef", "Job")
    assert crawled.unlike(FoundLink("Up", job, None, "JobReference"), "EntityRef", "Job")
    assert not crawled.unlike(FoundLink("Up", job, "Job", "JobReference"), "EntityRef", "Job")


async def test_addresses_are_told_from_one_another() -> None:
    found = [call.name for call in calls_at("POST", "/jobs/1", {"action": "START"})]
    assert found == ["POST /jobs/{id}?action=start"]
    assert not list(calls_at("POST", "/jobs/1", {}))
    assert len(DOCUMENTED) == 370
    assert root_of("JobReferenceList") == "EntityReferences"
