"""Every document of every resource type, in both formats, and every link between them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import httpx
import pytest
import pytest_asyncio

from contract.expectations import EXPECTED, QUERY_FIELDS, SUB_COLLECTIONS, Expected
from holdfast.schema.core import CORE
from support.documents import json_of, links_of, local, parsed, part
from support.managers import HOST, JSON, TOKEN, XML, administrator_client
from support.sample_rows import AWKWARD, BARE, FULL, REASON, REPLICA_JOB, TYPES, fill

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = f"{HOST}/api"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged on to a manager with rows of every type."""
    directory = tmp_path_factory.mktemp("manager")
    async with administrator_client(directory) as (manager, client):
        session = await manager.logon_sessions.authenticate(client.headers[TOKEN])
        assert session is not None
        await manager.store.write(lambda c: fill(c, manager.schema, session.uid))
        yield client


# Reading both formats the same way ---------------------------------------------------------------

#: Members that are named otherwise in JSON: by the element that holds them and their own name.
OTHER_NAMES = {
    ("RetryOptions", "RetrySpecified"): "RetrySpecified1",
    ("Schedule", "Day"): "Days",
    ("Includes", "ObjectInJob"): "ObjectInJobs",
}


def in_xml(text: str) -> str:
    """Given text, return what XML can hold of it."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", text)


def same_value(written: str, value: Any) -> bool:
    """Given text of an XML document and a JSON value, say whether they are the same."""
    if isinstance(value, bool):
        return written == str(value).lower()
    if isinstance(value, int):
        return re.fullmatch(r"-?\d+", written) is not None and int(written) == value
    if isinstance(value, float):
        return float(written) == value
    return isinstance(value, str) and written == in_xml(value)


def compare(element: ElementTree.Element, value: Any, where: str) -> None:
    """Given an element and a JSON value, fail unless both carry the same."""
    if not isinstance(value, dict):
        assert not element.attrib, where
        assert len(element) == 0, where
        assert same_value(element.text or "", value), f"{where}: {element.text!r}, {value!r}"
        return
    left = dict(value)
    for name, written in element.attrib.items():
        assert same_value(written, left.pop(name)), f"{where}@{name}"
    children: dict[str, list[ElementTree.Element]] = {}
    for child in element:
        children.setdefault(local(child), []).append(child)
    if (links := children.pop("Links", None)) is not None:
        listed = [{n: v for n, v in link.items() if v is not None} for link in left.pop("Links")]
        expected = [{n: in_xml(v) for n, v in link.items()} for link in listed]
        assert links_of(element) == expected, where
        assert len(links) == 1, where
    for name, found in children.items():
        inside = f"{where}/{name}"
        member = left.pop(OTHER_NAMES.get((local(element), name), name))
        if isinstance(member, list):
            assert len(member) == len(found), inside
            for one, item in zip(found, member, strict=True):
                compare(one, item, inside)
        else:
            assert len(found) == 1, inside
            compare(found[0], member, inside)
    if text := (element.text or "").strip():
        assert same_value(text, left.pop("Value")), where
    # What XML leaves out is null or empty in JSON.
    assert all(rest in (None, [], "") for rest in left.values()), f"{where}: {left}"


def link_shapes(links: list[dict[str, str]]) -> list[tuple[str, str | None, bool]]:
    """Given links, return of each its Rel, its Type and whether it has a Name."""
    return [(link["Rel"], link.get("Type"), "Name" in link) for link in links]


def address(name: str, uid: object) -> str:
    """Given a type and a row, return its address below the API."""
    expected = EXPECTED[name]
    parent = f"{expected.below}/{FULL['Job']}" if expected.below else ""
    identifier = {FULL["Task"]: "task-1", BARE["Task"]: "task-2"}.get(uid, uid)
    return f"{parent}{expected.collection}/{identifier}"


def check_item(element: ElementTree.Element, name: str, entity: bool, *, full: bool = True) -> None:
    """Given the element of a row, check its attributes, its links and its elements' order."""
    expected = EXPECTED[name]
    uid = (FULL if full else BARE)[name]
    attributes = {"Type", "Href"} if expected.alone else {"Type", "Href", "Name", "UID"}
    suffix = "?format=Entity" if entity and not expected.alone else ""
    if entity:
        attributes |= set(expected.attributes)
        assert element.attrib["Type"] == name
    else:
        assert element.attrib["Type"] == f"{name}Reference"
    assert set(element.attrib) == attributes
    assert element.attrib["Href"] == f"{BASE}{address(name, uid)}{suffix}"
    if not expected.alone:
        assert element.attrib["UID"] == f"urn:veeam:{name}:{uid}"
        assert element.attrib["Name"] == (in_xml(f"{name} {AWKWARD}") if full else f"Bare {name}")
    names = [local(child) for child in element]
    elements = [child for child in names if child != "Links"]
    assert names[:1] == ["Links"] or "Links" not in names
    if not entity:
        assert elements == []
    elif full:
        assert tuple(elements) == expected.elements
    else:
        assert elements == [known for known in expected.elements if known in elements]
    if full:
        wanted = expected.links if entity else expected.reference_links
        assert link_shapes(links_of(element)) == list(wanted)


def check_members(value: dict[str, Any], name: str, entity: bool) -> None:
    """Given the JSON object of a row, check the order of its members."""
    expected = EXPECTED[name]
    if not entity:
        assert list(value) == ["Links", "UID", "Name", "Href", "Type"]
        return
    elements = [OTHER_NAMES.get(("", known), known) for known in expected.elements]
    if "IsRetry" in elements:
        elements.remove("IsRetry")
        elements.insert(0, "IsRetry")
    named = [] if expected.alone else ["Name", "UID"]
    assert list(value) == [*elements, *expected.attributes, *named, "Links", "Href", "Type"]


def row_of(elements: list[ElementTree.Element], name: str, uid: object) -> ElementTree.Element:
    """Given the elements of several rows, return that of one row."""
    path = f"{address(name, uid)}"
    found = [e for e in elements if urlsplit(e.attrib["Href"]).path == f"/api{path}"]
    assert len(found) == 1, path
    return found[0]


async def get_both(
    client: httpx.AsyncClient, path: str
) -> tuple[ElementTree.Element, dict[str, Any]]:
    """Given a path, return what stands there in XML and in JSON."""
    answers = [await client.get(f"/api{path}", headers=form) for form in (XML, JSON)]
    for answer in answers:
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["Content-Length"] == str(len(answer.content))
    return parsed(answers[0]), json_of(answers[1])


def forms(expected: Expected) -> list[str]:
    """Given a type, return the values of `format` under which it looks different."""
    return ["Entity"] if expected.alone else ["Reference", "Entity"]


ITEMS = [(name, form) for name in TYPES for form in forms(EXPECTED[name])]
TOP = [(name, form) for name, form in ITEMS if not EXPECTED[name].below]
BELOW = [(above, path, n, f) for above, path, n in SUB_COLLECTIONS for f in forms(EXPECTED[n])]


async def test_contract_covers_every_declared_type_and_element() -> None:
    # The other types are held against the tables of `tests/schema`.
    assert set(TYPES) == set(EXPECTED) == set(QUERY_FIELDS)
    for name in TYPES:
        resource = CORE[name]
        assert tuple(e.name for e in resource.elements) == EXPECTED[resource.name].elements


@pytest.mark.parametrize("full", [True, False], ids=["full", "bare"])
@pytest.mark.parametrize(("name", "form"), ITEMS)
async def test_item(client: httpx.AsyncClient, name: str, form: str, full: bool) -> None:
    entity = form == "Entity"
    uid = (FULL if full else BARE)[name]

    element, value = await get_both(client, f"{address(name, uid)}?format={form}")

    assert local(element) == (name if entity else "EntityRef")
    check_item(element, name, entity, full=full)
    check_members(value, name, entity)
    compare(element, value, name)


@pytest.mark.parametrize("name", [name for name in TYPES if not EXPECTED[name].alone])
async def test_item_without_format_is_a_reference(client: httpx.AsyncClient, name: str) -> None:
    element, value = await get_both(client, address(name, FULL[name]))

    assert local(element) == "EntityRef"
    assert value["Type"] == f"{name}Reference"


def check_list(
    element: ElementTree.Element, value: dict[str, Any], name: str, form: str, extra: int = 0
) -> None:
    """Given a collection in both formats, check it and the full row in it."""
    entity, expected = form == "Entity", EXPECTED[name]
    root, item = (expected.plural, name) if entity else ("EntityReferences", "Ref")
    assert local(element) == root
    rows = list(element)
    assert {local(row) for row in rows} == {item}
    assert list(value) == [expected.plural if entity else "Refs"]
    objects = next(iter(value.values()))
    assert len(rows) == len(objects) == 1 + extra
    check_item(row_of(rows, name, FULL[name]), name, entity)
    for row, one in zip(rows, objects, strict=True):
        check_members(one, name, entity)
        compare(row, one, name)


@pytest.mark.parametrize(("name", "form"), TOP)
async def test_collection(client: httpx.AsyncClient, name: str, form: str) -> None:
    element, value = await get_both(client, f"{EXPECTED[name].collection}?format={form}")

    check_list(element, value, name, form, extra=2 if name == "Job" else 1)


@pytest.mark.parametrize(("above", "path", "name", "form"), BELOW)
async def test_sub_collection_holds_the_rows_of_its_item_alone(
    client: httpx.AsyncClient, above: str, path: str, name: str, form: str
) -> None:
    element, value = await get_both(client, f"{address(above, FULL[above])}/{path}?format={form}")

    check_list(element, value, name, form, extra={"Job": 1, "ObjectInJob": 1}.get(name, 0))


@pytest.mark.parametrize(("above", "path", "name"), SUB_COLLECTIONS)
async def test_empty_sub_collection_is_an_empty_list(
    client: httpx.AsyncClient, above: str, path: str, name: str
) -> None:
    for form in forms(EXPECTED[name]):
        element, value = await get_both(
            client, f"{address(above, BARE[above])}/{path}?format={form}"
        )
        assert len(element) == 0
        assert list(value.values()) == [[]]


async def test_sessions_of_a_replication_job_are_below_it(client: httpx.AsyncClient) -> None:
    path = f"/jobs/{REPLICA_JOB}/replicaSessions?format=Entity"
    element, value = await get_both(client, path)

    check_list(element, value, "ReplicaJobSession", "Entity")
    reference, _ = await get_both(client, f"/jobs/{REPLICA_JOB}")
    assert ("Down", "ReplicaJobSessionReferenceList", False) in link_shapes(links_of(reference))
    assert ("Down", "BackupJobSessionReferenceList", False) not in link_shapes(links_of(reference))


@pytest.mark.parametrize(("name", "form"), ITEMS)
async def test_query(client: httpx.AsyncClient, name: str, form: str) -> None:
    entity, expected = form == "Entity", EXPECTED[name]
    element, value = await get_both(client, f"/query?type={name}&format={form}")

    assert local(element) == "QueryResult"
    assert list(value) == ["Refs", "Entities", "Resources", "Links", "PagingInfo"]
    outer = ("Resources" if expected.alone else "Entities") if entity else "Refs"
    assert [local(child) for child in element] == [outer, "PagingInfo"]
    inner = expected.plural if entity else "Refs"
    if entity:
        rows = list(part(element, f"{outer}/{expected.plural}") or ())
        objects = value[outer][inner][inner]
        assert list(value[outer]) == list(value[outer][inner]) == [inner]
    else:
        rows, objects = list(part(element, outer) or ()), value["Refs"]["Refs"]
        assert list(value["Refs"]) == ["Refs"]
    unused = {"Refs", "Entities", "Resources", "Links"} - {outer}
    assert all(value[member] is None for member in unused)
    assert {local(row) for row in rows} == {name if entity else "Ref"}
    assert len(rows) == (3 if name == "Job" else 2)
    check_item(row_of(rows, name, FULL[name]), name, entity)
    for row, one in zip(rows, objects, strict=True):
        check_members(one, name, entity)
        compare(row, one, name)
    paging = part(element, "PagingInfo")
    assert paging is not None
    assert paging.attrib == {"PagesCount": "1", "PageSize": "15", "PageNum": "1"}
    assert list(value["PagingInfo"]) == ["Links", "PageNum", "PageSize", "PagesCount"]
    assert link_shapes(links_of(paging)) == [("First", None, False), ("Last", None, False)]
    compare(paging, value["PagingInfo"], "PagingInfo")


@pytest.mark.parametrize(("name", "form"), ITEMS)
async def test_query_that_finds_nothing_is_an_empty_list_and_one_page(
    client: httpx.AsyncClient, name: str, form: str
) -> None:
    field = "TaskId" if name == "Task" else "Name"
    path = f"/query?type={name}&format={form}&filter={field}==nothing"
    element, value = await get_both(client, path)

    plural, outer = EXPECTED[name].plural, "Resources" if EXPECTED[name].alone else "Entities"
    if form == "Entity":
        assert value[outer] == {plural: {plural: []}}
    else:
        assert value["Refs"] == {"Refs": []}
    assert value["PagingInfo"]["PagesCount"] == 1
    assert len(list(element.iter())) == len(list(element.iter("*")))
    paging = part(element, "PagingInfo")
    assert paging is not None
    assert [link["Rel"] for link in links_of(paging)] == ["First", "Last"]
    assert all("page=1" in link["Href"] for link in links_of(paging))


# Services ----------------------------------------------------------------------------------------


async def test_logon_session_starts_with_the_way_up(client: httpx.AsyncClient) -> None:
    element, value = await get_both(client, "/logonSessions")
    session = element[0]

    assert [local(child) for child in session] == ["Links", "UserName", "SessionId"]
    links = links_of(session)
    assert (links[0]["Rel"], links[0]["Type"]) == ("Up", "EnterpriseManager")
    assert links[0]["Href"].endswith("/api/")
    assert [link["Rel"] for link in links[-2:]] == ["Delete", "Down"]
    compare(session, value["LogonSessions"][0], "LogonSession")


async def test_query_service_leads_to_every_type_but_what_lives_in_a_job(
    client: httpx.AsyncClient,
) -> None:
    element, value = await get_both(client, "/querySvc")

    links = links_of(element)
    assert links[0]["Rel"] == "Up"
    types = [link["Type"].removesuffix("List") for link in links[1:]]
    assert set(types) >= set(TYPES) - {"ObjectInJob"}
    for link in links[1:]:
        assert "format=Entities" in link["Href"]
        assert "pageSize=15&page=1" in link["Href"]
    compare(element, value, "QuerySvc")


async def test_entry_point_has_neither_address_nor_type(client: httpx.AsyncClient) -> None:
    element, value = await get_both(client, "/")

    assert local(element) == "EnterpriseManager"
    assert element.attrib == {}
    assert [(link["Rel"], link["Type"]) for link in links_of(element)] == [
        ("Down", "LogonSessionList"),
        ("Create", "LogonSession"),
    ]
    versions = part(element, "SupportedVersions")
    assert versions is not None
    assert [version.attrib["Name"] for version in versions] == ["v1_5", "v1_6", "v1_7"]
    assert list(value) == ["SupportedVersions", "Links"]
    for version, one in zip(versions, value["SupportedVersions"]["SupportedVersions"], strict=True):
        compare(version, one, "SupportedVersion")


# Values ------------------------------------------------------------------------------------------


async def test_line_breaks_and_awkward_signs_survive_in_text(client: httpx.AsyncClient) -> None:
    path = f"{address('BackupTaskSession', FULL['BackupTaskSession'])}?format=Entity"
    element, value = await get_both(client, path)

    reason = part(element, "Reason")
    assert reason is not None
    assert reason.text == in_xml(REASON)
    assert value["Reason"] == REASON
    assert element.attrib["VmDisplayName"] == in_xml(AWKWARD)
    assert value["VmDisplayName"] == AWKWARD
    assert value["TotalSize"] == 2**53 + 1


@pytest.mark.parametrize("name", [name for name in TYPES if not EXPECTED[name].alone])
async def test_row_with_an_awkward_name_can_be_asked_for_by_it(
    client: httpx.AsyncClient, name: str
) -> None:
    doubled = f"{name} {AWKWARD}".replace('"', '""')
    wanted = quote(f'Name=="{doubled}"', "")
    path = f"/query?type={name}&filter={wanted}"
    element, value = await get_both(client, path)

    assert [one["UID"] for one in value["Refs"]["Refs"]] == [f"urn:veeam:{name}:{FULL[name]}"]
    paging = part(element, "PagingInfo")
    assert paging is not None
    for link in links_of(paging):
        again = await client.get(link["Href"], headers=JSON)
        assert json_of(again) == value


async def test_camel_case_is_given_to_those_who_ask_for_it(client: httpx.AsyncClient) -> None:
    path = f"/api{address('BackupTaskSession', FULL['BackupTaskSession'])}?format=Entity"
    plain = json_of(await client.get(path, headers=JSON))
    camel = json_of(await client.get(path, headers={"Accept": "application/json; case=camel"}))

    assert list(camel)[:2] == ["jobSessionUid", "creationTimeUTC"]
    assert {"uid", "vmUid", "vmDisplayName", "links", "href", "type"} <= set(camel)
    assert list(camel.values())[:-3] == list(plain.values())[:-3]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/xml"),
        ("", "application/xml"),
        ("*/*", "application/xml"),
        ("text/xml", "application/xml"),
        ("application/xml", "application/xml"),
        ("text/html", "application/xml"),
        ("image/png, text/plain;q=0.5", "application/xml"),
        ("nonsense;;q=,", "application/xml"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/xml;q=0.5, application/json;q=0.9", "application/json"),
        ("application/xml;q=0.9, application/json;q=0.5", "application/xml"),
        ("application/json;q=0", "application/xml"),
    ],
)
async def test_format_is_what_accept_asks_for(
    client: httpx.AsyncClient, accept: str | None, expected: str
) -> None:
    request = client.build_request("GET", "/api/jobs")
    del request.headers["Accept"]
    if accept is not None:
        request.headers["Accept"] = accept
    answer = await client.send(request)

    assert answer.headers["Content-Type"].split(";")[0] == expected


# Query fields ------------------------------------------------------------------------------------

LITERALS = {
    "uid": str(FULL["Job"]),
    "text": "anything",
    "number": "12",
    "moment": "2025-08-15T06:00:00Z",
    "boolean": "true",
}
FIELDS = [(name, field) for name, fields in QUERY_FIELDS.items() for field in fields]


@pytest.mark.parametrize(("name", "field"), FIELDS)
async def test_documented_field_can_be_asked_and_sorted_by(
    client: httpx.AsyncClient, name: str, field: str
) -> None:
    kind = QUERY_FIELDS[name][field]
    literal = LITERALS.get(kind, kind)
    answers = {}
    for operator in ("==", "!=", "<", "<=", ">", ">="):
        path = f"/api/query?type={name}&filter={field}{quote(operator)}{literal}"
        answer = await client.get(path, headers=JSON)
        assert answer.status_code == 200, (path, answer.text)
        answers[operator] = answer.json()
    for order in ("sortAsc", "sortDesc"):
        answer = await client.get(f"/api/query?type={name}&{order}={field.upper()}")
        assert answer.status_code == 200, (order, field, answer.text)
    found = {operator: _rows_in(value) for operator, value in answers.items()}
    every = _rows_in((await client.get(f"/api/query?type={name}", headers=JSON)).json())
    assert sorted(found["=="] + found["!="]) == sorted(every)
    assert set(found["<="]) == set(found["<"]) | set(found["=="])


def _rows_in(value: dict[str, Any]) -> list[str]:
    if value["Refs"] is not None:
        return [row["Href"] for row in value["Refs"]["Refs"]]
    (container,) = value["Resources"].values()
    return [row["Href"] for rows in container.values() for row in rows]
