"""Addresses as clients write them, and addresses as they are given back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import UUID, uuid5

import httpx
import pytest
import pytest_asyncio

from holdfast.api.call import ApiSettings
from holdfast.catalog.writer import RowState, put
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.task_links import catalog_address
from support.documents import error_message, json_of, links_of, parsed, part
from support.managers import (
    FORMATS,
    JSON,
    TOKEN,
    administrator_client,
    client_of,
)
from support.sample_rows import FULL, fill

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOB = FULL["Job"]
TASK_SESSIONS = 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[EnterpriseManager, httpx.AsyncClient]]:
    """A manager with rows, and a client that is logged on to it."""
    directory = tmp_path_factory.mktemp("manager")
    async with administrator_client(directory) as (manager, client):
        session = await manager.logon_sessions.authenticate(client.headers[TOKEN])
        assert session is not None
        await manager.store.write(lambda c: fill(c, manager.schema, session.uid))

        def more(connection: Any) -> None:
            for number in range(TASK_SESSIONS):
                values = {
                    "VmDisplayName": "a & b+c %3F=é;",
                    "TotalSize": number,
                    "State": "Pending",
                }
                state = RowState(UUID(int=number + 1), f"vm {number}", values)
                put(connection, manager.schema["BackupTaskSession"], state)

        await manager.store.write(more)
        yield manager, client


@pytest.fixture
def client(running: tuple[EnterpriseManager, httpx.AsyncClient]) -> httpx.AsyncClient:
    """The client that is logged on."""
    return running[1]


# Paths -------------------------------------------------------------------------------------------

SAME = [
    [f"/api/jobs/{JOB}", f"/API/JOBS/{JOB}", f"/Api/Jobs/{str(JOB).upper()}"],
    [f"/api/jobs/{JOB}", f"/api/jobs/{JOB}/", f"/api//jobs///{JOB}//", f"/api/jobs/{JOB.hex}"],
    [
        f"/api/jobs/{JOB}",
        f"/api/jobs/urn:veeam:Job:{JOB}",
        f"/api/jobs/URN:VEEAM:JOB:{JOB}",
        f"/api/jobs/urn%3Aveeam%3AJob%3A{JOB}",
        f"/api/jobs/%7B{JOB}%7D",
    ],
    [
        f"/api/jobs/{JOB}?format=Entity",
        f"/api/jobs/{JOB}?format=entity",
        f"/api/jobs/{JOB}?FORMAT=Entities",
        f"/api/jobs/{JOB}/?format=Entity",
        f"/api/jobs/{JOB}%3Fformat=Entity",
        f"/api/jobs/{JOB}%3fformat%3DEntity",
        f"/api/jobs/{JOB}?format=Entity&unknown=1&x&=&%00=%00",
    ],
    ["/api/jobs", "/api/jobs/", "/api/JOBS?format=Reference", "/api/jobs?format=", "/api/jobs?x=y"],
    [
        "/api/query?type=Job&format=Entities",
        "/api/query/?type=job&Format=Entity",
        "/api/query%3Ftype%3DJob%26format%3DEntity",
        "/api/query%3Ftype=Job?format=Entity",
        "/api/QUERY?TYPE=JOB&format=ENTITIES",
    ],
    [
        f"/api/backupServers/{FULL['BackupServer']}/managedServers",
        f"/api/BACKUPSERVERS/{FULL['BackupServer']}/MANAGEDSERVERS/",
        f"/api/backupservers/urn:veeam:BackupServer:{FULL['BackupServer']}/managedservers",
    ],
    ["/api/tasks/task-1", "/api/Tasks/TASK-1", "/api/tasks/task-1/?format=Reference"],
    [
        f"/api/jobs/{JOB}/includes/{FULL['ObjectInJob']}",
        f"/api/jobs/urn:veeam:Job:{JOB}/Includes/{str(FULL['ObjectInJob']).upper()}/",
    ],
    ["/api/", "/api", "/API//", "/api/?x=y"],
    ["/api/logonSessions", "/api/LOGONSESSIONS/"],
]


def without_paging(value: Any) -> Any:
    """Given a document, return it without the addresses of its pages, which repeat the request."""
    return (
        {n: v for n, v in value.items() if n != "PagingInfo"} if isinstance(value, dict) else value
    )


@pytest.mark.parametrize("addresses", SAME, ids=lambda addresses: addresses[0])
async def test_different_spellings_are_answered_alike(
    client: httpx.AsyncClient, addresses: list[str]
) -> None:
    answers = []
    for address in addresses:
        answer = await client.get(f"http://localhost:9399{address}", headers=JSON)
        assert answer.status_code == 200, address
        answers.append(without_paging(json_of(answer)))
    for address, answer in zip(addresses, answers, strict=True):
        assert answer == answers[0], address


async def test_encoded_signs_in_a_value_are_not_taken_for_structure(
    client: httpx.AsyncClient,
) -> None:
    value = quote("a & b+c %3F=é;", "")
    for address in (
        f"/api/query?type=BackupTaskSession&filter=VmDisplayName==%22{value}%22",
        f"/api/query%3Ftype=BackupTaskSession%26filter=VmDisplayName==%22{quote(value, '')}%22",
    ):
        answer = json_of(await client.get(address, headers=JSON))
        assert answer["PagingInfo"]["PagesCount"] == 3, address


AWKWARD_NAMES = ["plain", "a/b", "a?b=c", "50% off", "a%2Fb", "x#y;z+&", "é 日本 'q' \"r\""]


@pytest.mark.parametrize("name", AWKWARD_NAMES)
async def test_machine_is_found_by_its_name_as_links_write_it(
    running: tuple[EnterpriseManager, httpx.AsyncClient], name: str
) -> None:
    manager, client = running
    machine, point = (uuid5(JOB, f"{kind} {name}") for kind in ("machine", "point"))

    def put_machine(connection: Any) -> None:
        put(connection, manager.schema["CatalogVm"], RowState(machine, name))
        of_it = RowState(point, "a point", relations={"vm": machine})
        put(connection, manager.schema["CatalogVmRestorePoint"], of_it)

    await manager.store.write(put_machine)
    written = f"http://localhost:9399/api{catalog_address(name, point)}"
    found = json_of(await client.get(f"{written}?format=Entity", headers=JSON))
    assert found["Href"] == f"{written}?format=Entity"
    [up] = [link for link in found["Links"] if link["Rel"] == "Up"]
    assert up["Name"] == name
    assert json_of(await client.get(up["Href"], headers=JSON))["Name"] == name
    listed = f"{written.rpartition('/')[0]}?pageSize=1"
    page = json_of(await client.get(listed, headers=JSON))
    assert [one["Href"] for one in page["Refs"]] == [written]
    for link in page["PagingInfo"]["Links"]:
        assert json_of(await client.get(link["Href"], headers=JSON)) == page
    if not {"/", "?"} & set(name):
        # Clients that make addresses themselves encode a name once.
        once = f"http://localhost:9399/api/catalog/vms/{quote(name, safe='')}"
        if "%2F" not in name:
            assert json_of(await client.get(once, headers=JSON))["Name"] == name


async def test_plus_stands_for_a_space_in_a_filter(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/query?type=BackupTaskSession&filter=Name==vm+7", headers=JSON)
    assert [row["Name"] for row in json_of(answer)["Refs"]["Refs"]] == ["vm 7"]


# The addresses that are given back ---------------------------------------------------------------


async def _hrefs(client: httpx.AsyncClient, path: str, **headers: str) -> set[str]:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return {e.attrib["Href"] for e in parsed(answer).iter() if "Href" in e.attrib}


PATHS = [
    "/api/",
    "/api/jobs",
    f"/api/jobs/{JOB}?format=Entity",
    "/api/query?type=Job",
    "/api/querySvc",
]


@pytest.mark.parametrize(
    "host",
    [
        "localhost:9399",
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:9399",
        "127.1.2.3",
        "[::1]:9399",
        "backup.localhost:8443",
    ],
)
async def test_addresses_are_those_of_the_request(client: httpx.AsyncClient, host: str) -> None:
    for path in PATHS:
        hrefs = await _hrefs(client, path, Host=host)
        assert hrefs
        assert all(href.startswith(f"http://{host}/api/") for href in hrefs), hrefs


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9399",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example/localhost",
        "localhost:port",
        "localhost:99999",
        "localhost?x",
        "localhost#x",
        "local host",
        'localhost"onload=x',
        "localhost<b>",
        "[::1",
        "10.0.0.1",
        "",
    ],
)
async def test_strange_host_is_refused(client: httpx.AsyncClient, host: str) -> None:
    for form in FORMATS.values():
        for path in PATHS:
            answer = await client.get(path, headers=form | {"Host": host})
            assert "Host" in error_message(answer, 400), path


async def test_allowed_hosts_are_answered_whatever_their_case(
    running: tuple[EnterpriseManager, httpx.AsyncClient],
) -> None:
    manager, logged_on = running
    settings = ApiSettings(allowed_hosts=frozenset({"Backup.Example", "10.0.0.1"}))
    async with client_of(manager, settings) as client:
        client.headers[TOKEN] = logged_on.headers[TOKEN]
        for host in ("backup.example:9398", "BACKUP.example", "Backup.Example", "10.0.0.1:80"):
            hrefs = await _hrefs(client, "/api/jobs", Host=host)
            assert all(href.startswith(f"http://{host}/api/") for href in hrefs)
        other = await client.get("/api/jobs", headers={"Host": "other.example"})
        error_message(other, 400)


@pytest.mark.parametrize("public", ["https://backup.example:9398", "https://backup.example:9398/"])
async def test_public_address_takes_the_place_of_the_requests(
    running: tuple[EnterpriseManager, httpx.AsyncClient], public: str
) -> None:
    manager, logged_on = running
    async with client_of(manager, ApiSettings(public_url=public)) as client:
        client.headers[TOKEN] = logged_on.headers[TOKEN]
        for path in PATHS:
            for host in ("localhost:9399", "whatever.example"):
                hrefs = await _hrefs(client, path, Host=host)
                assert hrefs
                assert all(h.startswith("https://backup.example:9398/api/") for h in hrefs)


# Paging links ------------------------------------------------------------------------------------

QUERY = "/api/query?"
FILTER = "filter=VmDisplayName==%22a%20%26%20b%2Bc%20%253F=%C3%A9;%22;TotalSize%3E=0"


def pairs(href: str) -> list[tuple[str, str]]:
    """Given an address, return its parameters, decoded, in their order."""
    return parse_qsl(urlsplit(href).query, keep_blank_values=True, strict_parsing=True)


async def _paging(client: httpx.AsyncClient, address: str) -> dict[str, str]:
    """Given an address, return the addresses of the paging links, the same in both formats."""
    info = part(parsed(await client.get(address)), "PagingInfo")
    assert info is not None
    links = links_of(info)
    assert all(set(link) == {"Rel", "Href"} for link in links)
    value = json_of(await client.get(address, headers=JSON))["PagingInfo"]["Links"]
    assert [link["Href"] for link in value] == [link["Href"] for link in links]
    return {link["Rel"]: link["Href"] for link in links}


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        (f"type=BackupTaskSession&{FILTER}", "type pageSize page filter"),
        (f"{FILTER}&type=BackupTaskSession", "pageSize page filter type"),
        (f"type=BackupTaskSession&{FILTER}&page=2", "type pageSize filter page"),
        (f"type=BackupTaskSession&pageSize=15&{FILTER}", "type pageSize page filter"),
        (f"page=1&{FILTER}&pageSize=15&type=BackupTaskSession", "page filter pageSize type"),
        ("type=BackupTaskSession", "type pageSize page"),
        ("TYPE=BackupTaskSession&PAGE=1", "TYPE PAGE pageSize"),
        (
            "x=1&type=BackupTaskSession&x=2&format=Entities&sortDesc=Name&empty=",
            "x type x format sortDesc empty pageSize page",
        ),
    ],
)
async def test_paging_links_keep_the_parameters_in_order(
    client: httpx.AsyncClient, parameters: str, kept: str
) -> None:
    links = await _paging(client, f"{QUERY}{parameters}")

    for rel, href in links.items():
        assert href.startswith("http://localhost:9399/api/query?")
        assert [name for name, _ in pairs(href)] == kept.split(), rel
        asked = [p for p in pairs(f"?{parameters}") if p[0].casefold() != "page"]
        given = [
            p
            for p in pairs(href)
            if p[0].casefold() != "page" and (p[0] != "pageSize" or p in asked)
        ]
        assert given == asked
        assert dict(pairs(href))["pageSize"] == "15"
    assert {"First", "Last"} <= set(links)


@pytest.mark.parametrize("size", [1, 7, 15, 40, 41, 100])
async def test_walking_the_pages_by_their_links_meets_every_row_once(
    client: httpx.AsyncClient, size: int
) -> None:
    address: str | None = f"{QUERY}type=BackupTaskSession&pageSize={size}&sortAsc=Result&{FILTER}"
    pages = -(-TASK_SESSIONS // size)
    seen: list[str] = []
    number = 0
    while address is not None:
        number += 1
        answer = json_of(await client.get(address, headers=JSON))
        seen += [row["UID"] for row in answer["Refs"]["Refs"]]
        info = answer["PagingInfo"]
        assert (info["PageNum"], info["PageSize"], info["PagesCount"]) == (number, size, pages)
        links = {link["Rel"]: link["Href"] for link in info["Links"]}
        order = ["First", "Previous", "Next", "Last"]
        expected = [
            rel
            for rel in order
            if not (rel == "Previous" and number == 1) and not (rel == "Next" and number == pages)
        ]
        assert [link["Rel"] for link in info["Links"]] == expected
        numbers = {"First": 1, "Previous": number - 1, "Next": number + 1, "Last": pages}
        for rel, href in links.items():
            assert dict(pairs(href))["page"] == str(numbers[rel])
        address = links.get("Next")
    assert len(seen) == len(set(seen)) == TASK_SESSIONS


async def test_page_past_the_end_is_empty_and_knows_how_many_there_are(
    client: httpx.AsyncClient,
) -> None:
    for page in ("4", "1000", "99999999999999999999"):
        address = f"{QUERY}type=BackupTaskSession&{FILTER}&page={page}"
        answer = json_of(await client.get(address, headers=JSON))
        assert answer["Refs"]["Refs"] == []
        assert answer["PagingInfo"]["PagesCount"] == 3
        links = {link["Rel"]: link["Href"] for link in answer["PagingInfo"]["Links"]}
        assert list(links) == ["First", "Previous", "Last"]
        assert dict(pairs(links["Previous"]))["page"] == "3"


async def test_page_size_is_bounded(client: httpx.AsyncClient) -> None:
    for asked, given in (("9999", 9999), ("10000", 10000), ("10001", 10000), ("9" * 30, 10000)):
        address = f"{QUERY}type=Job&pageSize={asked}"
        answer = json_of(await client.get(address, headers=JSON))
        assert answer["PagingInfo"]["PageSize"] == given


async def test_plain_collection_is_paged_when_asked(client: httpx.AsyncClient) -> None:
    whole = json_of(await client.get("/api/vmRestorePoints", headers=JSON))
    assert list(whole) == ["Refs"]
    page = json_of(await client.get("/api/VMRestorePoints?pageSize=1&page=2", headers=JSON))
    assert list(page) == ["Refs", "PagingInfo"]
    assert page["Refs"] == whole["Refs"][1:2]
    links = {link["Rel"]: link["Href"] for link in page["PagingInfo"]["Links"]}
    first = json_of(await client.get(links["First"], headers=JSON))
    assert first["Refs"] == whole["Refs"][:1]
