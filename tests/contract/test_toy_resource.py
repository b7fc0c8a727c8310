"""A resource type nobody wrote code for: its declaration alone makes it part of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from sqlite3 import Connection
from uuid import UUID, uuid5

import httpx
import pytest
import pytest_asyncio

from holdfast.catalog.writer import RowState, put
from holdfast.schema.core import RESOURCE_TYPES
from holdfast.schema.resource import Link, Relation, ResourceType, Schema, SubCollection, through
from holdfast.schema.types import BOOLEAN, DATE_TIME, INTEGER, REAL, STRING, Element, Enumeration
from support.documents import error_message, json_of, links_of, local, parsed, part
from support.managers import FORMATS, HOST, JSON, XML, administrator_client

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The whole of what makes it:
TOY = ResourceType(
    name="TapeLibrary",
    plural="TapeLibraries",
    collection="/tapeLibraries",
    relations=(Relation("server", "BackupServer"), Relation("spare", "TapeLibrary")),
    elements=(
        Element("Model", STRING, optional=True),
        Element("Slots", INTEGER),
        Element("FillRatio", REAL),
        Element("Online", BOOLEAN),
        Element("State", Enumeration(("Idle", "Busy", "Broken"))),
        Element("InstalledUTC", DATE_TIME, field="Installed"),
    ),
    fields=(*through("server", "BackupServer"), *through("spare", "Spare")),
    links=(
        Link("Up", relation="server", named=True),
        Link("Alternate", "TapeLibraryReference", path="", named=True),
        Link("Related", relation="spare", entity=True, named=True),
        Link("Down", "TapeLibraryReferenceList", path="/sparedBy"),
    ),
    reference_links=(Link("Alternate", "TapeLibrary", path="?format=Entity", named=True),),
    children=(SubCollection("sparedBy", "TapeLibrary", "spare"),),
)

_NAMESPACE = UUID("11111111-0000-4000-8000-000000000000")
SERVER = uuid5(_NAMESPACE, "server")
COUNT = 23
TOYS = [uuid5(_NAMESPACE, f"toy {number}") for number in range(COUNT)]
STATES = ("Busy", "Idle", "Broken")


def _fill(connection: Connection, schema: Schema) -> None:
    put(connection, schema["BackupServer"], RowState(SERVER, "srv & 1"))
    for number, uid in enumerate(TOYS):
        values = {
            "Model": None if number % 4 == 0 else f"Model <{number % 3}>",
            "Slots": number,
            "FillRatio": number / 8,
            "Online": number % 2 == 0,
            "State": STATES[number % 3],
            "InstalledUTC": 1_600_000_000_000 + number * 86_400_000,
        }
        relations = {"server": SERVER} | ({"spare": TOYS[number - 1]} if number else {})
        state = RowState(uid, f"Library {number:02d}", values, relations)
        put(connection, schema["TapeLibrary"], state)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a manager that knows the toy beside the core types."""
    schema = Schema((*RESOURCE_TYPES, TOY))
    directory = tmp_path_factory.mktemp("manager")
    async with administrator_client(directory, schema, from_schema=True) as (manager, client):
        await manager.store.write(lambda c: _fill(c, schema))
        yield client


async def _names(client: httpx.AsyncClient, rest: str) -> list[str]:
    """Ask for toys, in both formats, and return their names; both must say the same."""
    path = f"/api/query?type=TapeLibrary&{rest}"
    value = json_of(await client.get(path, headers=JSON))
    root = parsed(await client.get(path, headers=XML))
    names = [row["Name"] for row in value["Refs"]["Refs"]]
    refs = part(root, "Refs")
    assert refs is not None
    assert [row.attrib["Name"] for row in refs] == names
    return names


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Slots>=20", [20, 21, 22]),
        ("FillRatio<0.3", [0, 1, 2]),
        ("online==TRUE;slots<5", [0, 2, 4]),
        ("State==broken;Slots<9", [2, 5, 8]),
        ("State>Busy;Slots<9", [2, 5, 8]),
        ('Model=="model <1>";Slots<8', [1, 7]),
        ('Model!="model <1>";Slots<5', [0, 2, 3, 4]),
        ("Installed<2020-09-15", [0, 1]),
        ("InstalledUTC<2020-09-15T00:00:00Z", [0, 1]),
        (f"SpareUid=={TOYS[3]}", [4]),
        ('SpareName=="library 07"', [8]),
        (f"BackupServerUid==urn:veeam:BackupServer:{SERVER};(Slots==3,Slots==1)", [1, 3]),
        ('BackupServerName=="SRV & 1";Slots<1', [0]),
    ],
)
async def test_toy_is_found_by_every_field(
    client: httpx.AsyncClient, text: str, numbers: list[int]
) -> None:
    filtered = httpx.QueryParams({"filter": text})
    assert await _names(client, str(filtered)) == [f"Library {number:02d}" for number in numbers]


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("Slots", lambda n: n),
        ("FillRatio", lambda n: n),
        ("Online", lambda n: n % 2 == 0),
        ("State", lambda n: ("Idle", "Busy", "Broken").index(STATES[n % 3])),
        ("Model", lambda n: "" if n % 4 == 0 else f"model <{n % 3}>"),
        ("Installed", lambda n: n),
        ("SpareName", lambda n: n),
        ("Name", lambda n: n),
    ],
)
async def test_toy_is_sorted_and_paged_by_every_field(
    client: httpx.AsyncClient, sort: str, key
) -> None:
    for parameter, reverse in (("sortAsc", False), ("sortDesc", True)):
        expected = sorted(range(COUNT), key=lambda n: (key(n), TOYS[n].bytes), reverse=reverse)
        paged = [
            name
            for page in range(1, 6)
            for name in await _names(client, f"{parameter}={sort}&pageSize=5&page={page}")
        ]
        assert paged == [f"Library {number:02d}" for number in expected]


async def test_toy_item_has_both_forms_in_both_formats(client: httpx.AsyncClient) -> None:
    path = f"/api/tapelibraries/urn:veeam:TapeLibrary:{TOYS[5]}"
    href = f"{HOST}/api/tapeLibraries/{TOYS[5]}"
    server, spare = f"{HOST}/api/backupServers/{SERVER}", f"{HOST}/api/tapeLibraries/{TOYS[4]}"

    reference = parsed(await client.get(path))
    assert local(reference) == "EntityRef"
    assert reference.attrib == {
        "Type": "TapeLibraryReference",
        "Href": href,
        "Name": "Library 05",
        "UID": f"urn:veeam:TapeLibrary:{TOYS[5]}",
    }
    entity = parsed(await client.get(f"{path}?format=entity"))
    assert local(entity) == "TapeLibrary"
    assert links_of(entity) == [
        {"Rel": "Up", "Type": "BackupServerReference", "Href": server, "Name": "srv & 1"},
        {"Rel": "Alternate", "Type": "TapeLibraryReference", "Href": href, "Name": "Library 05"},
        {
            "Rel": "Related",
            "Type": "TapeLibrary",
            "Href": f"{spare}?format=Entity",
            "Name": "Library 04",
        },
        {"Rel": "Down", "Type": "TapeLibraryReferenceList", "Href": f"{href}/sparedBy"},
    ]
    assert [(local(child), child.text) for child in entity][1:] == [
        ("Model", "Model <2>"),
        ("Slots", "5"),
        ("FillRatio", "0.625"),
        ("Online", "false"),
        ("State", "Broken"),
        ("InstalledUTC", "2020-09-18T12:26:40Z"),
    ]
    value = json_of(await client.get(f"{path}?format=Entity", headers=JSON))
    assert list(value)[:8] == [
        "Model", "Slots", "FillRatio", "Online", "State", "InstalledUTC", "Name", "UID",
    ]  # fmt: skip
    assert [value["Slots"], value["FillRatio"], value["Online"]] == [5, 0.625, False]


async def test_toy_has_a_collection_and_one_below_it(client: httpx.AsyncClient) -> None:
    for form in ("Reference", "Entity"):
        root = parsed(await client.get(f"/api/tapeLibraries?format={form}"))
        assert local(root) == ("TapeLibraries" if form == "Entity" else "EntityReferences")
        assert len(root) == COUNT
        below = parsed(await client.get(f"/api/tapeLibraries/{TOYS[5]}/sparedBy?format={form}"))
        assert [row.attrib["Name"] for row in below] == ["Library 06"]


async def test_every_link_of_the_toy_is_answered(client: httpx.AsyncClient) -> None:
    for form in FORMATS.values():
        entity = parsed(await client.get(f"/api/tapeLibraries/{TOYS[5]}?format=Entity"))
        for link in links_of(entity):
            assert (await client.get(link["Href"], headers=form)).status_code == 200


async def test_toy_is_listed_where_all_types_are(client: httpx.AsyncClient) -> None:
    session = parsed(await client.get("/api/logonSessions"))[0]
    service = parsed(await client.get("/api/querySvc"))

    types = {link.get("Type") for link in links_of(session)}
    assert {"TapeLibraryReferenceList", "TapeLibraryList"} <= types
    (listed,) = [link for link in links_of(service) if link.get("Type") == "TapeLibraryList"]
    assert (await client.get(listed["Href"])).status_code == 200


async def test_toy_is_refused_like_any_other(client: httpx.AsyncClient) -> None:
    for form in FORMATS.values():
        unknown = await client.get(f"/api/tapeLibraries/{SERVER}", headers=form)
        assert error_message(unknown, 404) == f"Cannot find TapeLibrary [{SERVER}]."
        error_message(await client.post("/api/tapeLibraries", headers=form), 405)
        wrong = await client.get("/api/query?type=TapeLibrary&filter=State==Gone", headers=form)
        assert "Idle, Busy, Broken" in error_message(wrong, 400)
