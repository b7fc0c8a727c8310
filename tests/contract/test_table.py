"""The table of calls, read by every role in both formats: status, root, and links.

That elements stand in their order is seen to by the client, which holds all XML to the XML schema,
and that JSON says the same as XML by `test_crawler`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio

from contract.all_calls import DOCUMENTED, QUERIES, Addresses, Documented, product_call
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.schema.roles import Role
from schema.generated_rows import fill, uid_of
from support.crawler import FoundLink, calls_at, method_of, read_document
from support.documents import error_message
from support.fake_backup_server import FakeBackupServer
from support.managers import FORMATS, HOST, client_of, log_on, running_manager

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = f"{HOST}/api"
#: What differs from one logon session to another, and what is no document.
OF_ITS_OWN = ("/", "/logonSessions", "/logonSessions/{id}", "/tasks/{id}")
#: Roots of JSON documents that have neither a Type nor a member named like the root.
UNTOLD = {
    *("EnterpriseSecuritySettings", "NASService", "VCloudService", "VSphereSelfService"),
    *("SummaryReport", "OverviewReportFrame", "VmsOverviewReportFrame"),
    *("JobStatisticsReportFrame", "ProcessedVmsReportFrame", "RepositoryReportFrame"),
    *("FileSystemEntry", "FileSystemEntries"),
    *("EnterpriseAccountInRole", "EnterpriseAccountHierarchyScope"),
}


@dataclass
class Read:
    """A manager, and what its administrator reads: of each call the address and the links."""

    manager: EnterpriseManager
    addresses: dict[str, str]
    links: dict[tuple[str, str], list[FoundLink]]


def reading() -> list[Documented]:
    """Return the calls that read documents and are carried out."""
    return [
        call
        for call in DOCUMENTED
        if call.method == "GET" and product_call(call).built and call.root != "-"
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def read(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Read]:
    """A manager with a row of every type and an account of every role, read by one of them."""
    async with running_manager(tmp_path_factory.mktemp("manager")) as manager:
        await manager.store.write(fill)
        line = httpx.ASGITransport(app=FakeBackupServer(uid_of("BackupServer"), "a server").app)
        await manager.connect("http://backup-server.local", "a-token", line)
        for role in Role:
            await manager.accounts.create(role.value, "secret", role)
        found = Read(manager, {}, {})
        async with client_of(manager) as client:
            await log_on(client, Role.PORTAL_ADMINISTRATOR.value)
            addresses = Addresses(client)
            for call in reading():
                address, there = await addresses.of(call.address)
                address = address.replace("list*", "listAll") + QUERIES.get(call.name, "")
                assert there or call.address in OF_ITS_OWN, call.name
                found.addresses[call.name] = address
                for form in FORMATS:
                    found.links[call.name, form] = await links_of(client, call, address, form)
        yield found


async def links_of(
    client: httpx.AsyncClient, call: Documented, address: str, form: str
) -> list[FoundLink]:
    """Given a call and its address, make it; return the links of the answer, if it is right."""
    if call.address in OF_ITS_OWN:
        return []
    answer = await client.get(f"{BASE}{address}", headers=FORMATS[form])
    assert answer.status_code == call.status, (call.name, answer.text)
    document = read_document(answer)
    told = document.root is not None or (form == "json" and call.root in UNTOLD)
    assert told, call.name
    assert document.root in (call.root, None), (call.name, document.root)
    return [link for link in document.links if link.rel.isalpha() and link.rel != "self"]


def may_follow(role: Role, link: FoundLink) -> bool:
    """Given a role and a link, say whether it is to be shown: it is a call that is theirs."""
    address = urlsplit(link.href)
    query = {name.casefold(): value for name, value in parse_qsl(address.query)}
    path = address.path.removeprefix("/api")
    if link.href.startswith(f"{BASE}/query?type=ExternalRepository&"):
        path, query = "/externalRepositories", {}
    calls = list(calls_at(method_of(link), path, query))
    assert calls, link
    return any(role in call.roles and product_call(call).built for call in calls)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
async def test_role_reads_what_the_table_says_with_the_links_that_are_theirs(
    read: Read, role: Role, form: str
) -> None:
    allowed = 0
    async with client_of(read.manager) as client:
        await log_on(client, role.value)
        for call in reading():
            address = read.addresses[call.name]
            if role not in call.roles:
                answer = await client.get(f"{BASE}{address}", headers=FORMATS[form])
                assert role.value in error_message(answer, 403), call.name
                continue
            allowed += 1
            shown = await links_of(client, call, address, form)
            wanted = [link for link in read.links[call.name, form] if may_follow(role, link)]
            assert without_session(shown) == without_session(wanted), call.name
    print(f"{role.value} may read {allowed} of {len(reading())}")
    assert allowed > 10


def without_session(links: list[FoundLink]) -> list[FoundLink]:
    """Given links, return them without the one to the logon session that asked."""
    return [link for link in links if link.type != "LogonSession"]
